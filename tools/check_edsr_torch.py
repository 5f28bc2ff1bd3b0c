#!/usr/bin/env python3
"""Checks the engine's EDSR against PyTorch: outputs, the input's gradient and every parameter's gradient.

    tools/check_edsr_torch.py [--build DIR] [--small]

Needs torch and numpy (pip install torch) and the program dukd-engine-numbers of the build in DIR (default
build/release). The reference is EDSR written here in plain PyTorch, run in float64 from the float32 numbers that the
engine gets. Error of a tensor: max|delta| / max|reference|. Exit status 1 where one is above its bound.

A ReLU whose input is nearer to zero than f32 can tell may go either way, and its gradient with it (in PyTorch's own f32
too). Draws with such an input are drawn again, so that there is one right answer.

f32, every tensor: 1e-5. bf16: output 1/128, input's gradient 1/48; parameters' gradients, all together,
||delta|| / ||reference||: 1/48. --small: few channels and blocks, for a quick look.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

MEAN = (0.4488, 0.4371, 0.4040)


MARGIN = 1e-6  # of a layer's mean magnitude: some f32 roundings of a sum of 576 terms


def forward(p, x, blocks, scale, res_scale, img_range=255.0):
    """EDSR as BasicSR has it; p: parameters by name. Also: whether each ReLU's input is clear of zero."""
    clear = True

    def conv(name, v):
        return F.conv2d(v, p[name + ".weight"], p[name + ".bias"], padding=1)

    mean = torch.tensor(MEAN, dtype=x.dtype).view(1, 3, 1, 1)
    head = conv("conv_first", (x - mean) * img_range)
    v = head
    for i in range(blocks):
        inner = conv(f"body.{i}.conv1", v)
        clear = clear and bool(inner.abs().min() > MARGIN * inner.abs().mean())
        v = v + conv(f"body.{i}.conv2", F.relu(inner)) * res_scale
    v = conv("conv_after_body", v) + head
    if scale == 3:
        v = F.pixel_shuffle(conv("upsample.0", v), 3)
    else:
        for i in range(scale.bit_length() - 1):
            v = F.pixel_shuffle(conv(f"upsample.{2 * i}", v), 2)
    return conv("conv_last", v) / img_range + mean, clear


def shapes(feat, blocks, scale):
    out = [("conv_first", feat, 3)]
    for i in range(blocks):
        out += [(f"body.{i}.conv1", feat, feat), (f"body.{i}.conv2", feat, feat)]
    out += [("conv_after_body", feat, feat)]
    if scale == 3:
        out += [("upsample.0", 9 * feat, feat)]
    else:
        out += [(f"upsample.{2 * i}", 4 * feat, feat) for i in range(scale.bit_length() - 1)]
    return out + [("conv_last", 3, feat)]


def relative(got, want):
    most = np.abs(want).max()
    delta = np.abs(got - want).max()
    return delta / most if most > 0 else (0.0 if delta == 0 else np.inf)


def draw(seed, feat, blocks, scale, res_scale, batch, height, width):
    """Weights by name and an input, all float32, that keep every ReLU clear of zero."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        weights = {}
        for name, cout, cin in shapes(feat, blocks, scale):
            bound = 1 / np.sqrt(9 * cin)
            weights[name + ".weight"] = rng.uniform(-bound, bound, (cout, cin, 3, 3)).astype(np.float32)
            weights[name + ".bias"] = rng.uniform(-bound, bound, cout).astype(np.float32)
        x = rng.uniform(0, 1, (batch, 3, height, width)).astype(np.float32)
        with torch.no_grad():
            p = {n: torch.tensor(w, dtype=torch.float64) for n, w in weights.items()}
            if forward(p, torch.tensor(x, dtype=torch.float64), blocks, scale, res_scale)[1]:
                cotangent = rng.uniform(-1, 1, (batch, 3, height * scale, width * scale)).astype(np.float32)
                return weights, x, cotangent
    sys.exit("no draw keeps the ReLUs clear of zero: use smaller images")


def check(program, feat, blocks, scale, res_scale, batch, height, width, precision):
    weights, x, cotangent = draw(1000 * scale + height, feat, blocks, scale, res_scale, batch, height, width)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.concatenate([w.ravel() for w in weights.values()]).tofile(folder / "weights")
        x.tofile(folder / "input")
        cotangent.tofile(folder / "cotangent")
        command = [program, feat, blocks, scale, res_scale, batch, height, width, precision, folder]
        listing = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
        theirs = [line.split() for line in listing.splitlines()]
        if [t[0] for t in theirs] != list(weights):
            sys.exit("the parameters of the program and of this script differ in name or order")
        output = np.fromfile(folder / "output", np.float32).reshape(cotangent.shape)
        d_input = np.fromfile(folder / "d_input", np.float32).reshape(x.shape)
        d_weights = np.fromfile(folder / "d_weights", np.float32)

    p = {n: torch.tensor(w, dtype=torch.float64, requires_grad=True) for n, w in weights.items()}
    xt = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y, _ = forward(p, xt, blocks, scale, res_scale)
    y.backward(torch.tensor(cotangent, dtype=torch.float64))

    errors = {"output": relative(output, y.detach().numpy()), "input": relative(d_input, xt.grad.numpy())}
    at, worst, worst_name, delta, whole = 0, 0.0, "", 0.0, 0.0
    for name, w in weights.items():
        want = p[name].grad.numpy()
        got = d_weights[at : at + w.size].reshape(w.shape).astype(np.float64)
        at += w.size
        error = relative(got, want)
        delta += ((got - want) ** 2).sum()
        whole += (want**2).sum()
        if not error <= worst:
            worst, worst_name = error, name
    norm = np.sqrt(delta / whole)
    bound = {"output": 1e-5, "input": 1e-5} if precision == "f32" else {"output": 1 / 128, "input": 1 / 48}
    good = all(errors[k] <= bound[k] for k in bound)
    good = good and (worst <= 1e-5 if precision == "f32" else norm <= 1 / 48)
    print(
        f"EDSR {feat}c{blocks}b x{scale} {precision:4} {batch} x {height} x {width}: output {errors['output']:.1e}  "
        f"d_input {errors['input']:.1e}  d_weights {worst:.1e} ({worst_name}), all {norm:.1e}  "
        f"{'passed' if good else 'FAILED'}",
        flush=True,
    )
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="folder of the build")
    parser.add_argument("--small", action="store_true", help="8 channels, 2 blocks")
    o = parser.parse_args()
    program = pathlib.Path(o.build) / "bin" / "dukd-engine-numbers"
    if not program.exists():
        sys.exit(f"{program} is not there: build it, or name another build by --build")
    feat, blocks = (8, 2) if o.small else (64, 32)
    results = [
        check(program, feat, blocks, scale, 0.1, batch, height, width, precision)
        for precision in ("f32", "bf16")
        for scale in (2, 3, 4)
        for batch, height, width in ((1, 23, 31), (2, 17, 12))
    ]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
