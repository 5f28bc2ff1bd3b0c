#!/usr/bin/env python3
"""Checks every network of dukd-host against PyTorch at full size: outputs, the input's gradient, every parameter's gradient.

    tools/check_networks_torch.py [--build DIR] [--basicsr DIR] [--small] [--only WORD] [--bf16]

Needs torch and numpy (pip install torch) and the program dukd-engine-numbers of the build in DIR (default build/release).
--basicsr names the folder that holds BasicSR's package (of `pip download --no-deps --no-binary :all: basicsr`, unpacked):
its own classes EDSR, RCAN and SwinIR are then the reference. IMDN, RFDN and CARN-M, and EDSR where BasicSR is not there, are
written out here; VGG19 is torchvision's where that is installed. References run in float64 from the float32 numbers that the engine gets; the error of a tensor is
max|delta| / max|reference|.

A ReLU whose input is nearer to zero than f32 can tell may go either way, and its gradient with it (in PyTorch's own f32
too), and so may a maximum. A case that is above its bound is therefore drawn again, up to five times, and it is said: a
mistake fails every time.

f32, every tensor: 1e-5, or four times the error of PyTorch's own float32 where that is more (1e-3 at
most: the gradients inside RCAN's attention are small differences of large numbers). bf16 (--bf16): output 1/64;
parameters' gradients, all together, ||delta|| / ||reference||: 1/16. --small: few channels and blocks, for a quick look.
"""
import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import types

import numpy as np
import torch
import torch.nn.functional as F

MEAN = (0.4488, 0.4371, 0.4040)


# ---------------------------------------------------------------- references that are written out here


class Plain(torch.nn.Module):
    """Parameters by their full names, as functions of the shapes that are asked for."""

    def __init__(self):
        super().__init__()
        self.stored = torch.nn.ParameterDict()

    def named(self):
        return {name.replace("/", "."): p for name, p in self.stored.items()}

    def conv(self, name, x, channels, kernel, stride=1, padding=None, groups=1):
        key = name.replace(".", "/")
        if key + "/weight" not in self.stored:
            bound = 1 / np.sqrt(x.shape[1] // groups * kernel * kernel)
            self.stored[key + "/weight"] = torch.nn.Parameter(
                torch.empty(channels, x.shape[1] // groups, kernel, kernel).uniform_(-bound, bound).to(x))
            self.stored[key + "/bias"] = torch.nn.Parameter(torch.empty(channels).uniform_(-bound, bound).to(x))
        padding = kernel // 2 if padding is None else padding
        return F.conv2d(x, self.stored[key + "/weight"], self.stored[key + "/bias"], stride, padding, groups=groups)


class EDSR(Plain):
    def __init__(self, num_feat, num_block, upscale, res_scale=1, **_):
        super().__init__()
        self.o = num_feat, num_block, upscale, res_scale

    def forward(self, x):
        feat, blocks, scale, res_scale = self.o
        mean = torch.tensor(MEAN).to(x).view(1, 3, 1, 1)
        head = v = self.conv("conv_first", (x - mean) * 255, feat, 3)
        for i in range(blocks):
            inner = F.relu(self.conv(f"body.{i}.conv1", v, feat, 3))
            v = v + self.conv(f"body.{i}.conv2", inner, feat, 3) * res_scale
        v = self.conv("conv_after_body", v, feat, 3) + head
        steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        for i, r in enumerate(steps):
            v = F.pixel_shuffle(self.conv(f"upsample.{2 * i}", v, feat * r * r, 3), r)
        return self.conv("conv_last", v, 3, 3) / 255 + mean


class IMDN(Plain):
    def __init__(self, upscale, num_feat=64, num_block=6):
        super().__init__()
        self.o = num_feat, num_block, upscale

    def block(self, b, x):
        feat = self.o[0]
        rest, kept = x, []
        for i in (1, 2, 3):
            y = F.leaky_relu(self.conv(f"{b}.c{i}", rest, feat, 3), 0.05)
            kept.append(y[:, : feat // 4])
            rest = y[:, feat // 4 :]
        y = torch.cat(kept + [self.conv(f"{b}.c4", rest, feat // 4, 3)], 1)
        level = y.mean((2, 3), keepdim=True)
        weight = (y - level).pow(2).mean((2, 3), keepdim=True).sqrt() + level
        weight = F.relu(self.conv(f"{b}.cca.conv_du.0", weight, feat // 16, 1))
        weight = torch.sigmoid(self.conv(f"{b}.cca.conv_du.2", weight, feat, 1))
        return self.conv(f"{b}.c5", y * weight, feat, 1) + x

    def forward(self, x):
        feat, blocks, scale = self.o
        head = x = self.conv("fea_conv", x, feat, 3)
        outputs = []
        for i in range(blocks):
            x = self.block(f"IMDB{i + 1}", x)
            outputs.append(x)
        x = F.leaky_relu(self.conv("c.0", torch.cat(outputs, 1), feat, 1), 0.05)
        x = self.conv("LR_conv", x, feat, 3) + head
        return F.pixel_shuffle(self.conv("upsampler.0", x, 3 * scale**2, 3), scale)


class RFDN(Plain):
    def __init__(self, upscale, num_feat=50, num_block=4):
        super().__init__()
        self.o = num_feat, num_block, upscale

    def block(self, b, x):
        feat, kept = self.o[0], []
        for i in (1, 2, 3):
            kept.append(F.leaky_relu(self.conv(f"{b}.c{i}_d", x, feat // 2, 1), 0.05))
            x = F.leaky_relu(self.conv(f"{b}.c{i}_r", x, feat, 3) + x, 0.05)
        kept.append(F.leaky_relu(self.conv(f"{b}.c4", x, feat // 2, 3), 0.05))
        x = self.conv(f"{b}.c5", torch.cat(kept, 1), feat, 1)
        narrow = self.conv(f"{b}.esa.conv1", x, feat // 4, 1)
        small = F.max_pool2d(self.conv(f"{b}.esa.conv2", narrow, feat // 4, 3, 2, 0), 7, 3)
        small = F.relu(self.conv(f"{b}.esa.conv_max", small, feat // 4, 3))
        small = F.relu(self.conv(f"{b}.esa.conv3", small, feat // 4, 3))
        small = self.conv(f"{b}.esa.conv3_", small, feat // 4, 3)
        wide = F.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)
        weight = self.conv(f"{b}.esa.conv4", wide + self.conv(f"{b}.esa.conv_f", narrow, feat // 4, 1), feat, 1)
        return x * torch.sigmoid(weight)

    def forward(self, x):
        feat, blocks, scale = self.o
        head = x = self.conv("fea_conv", x * 255, feat, 3)
        outputs = []
        for i in range(blocks):
            x = self.block(f"B{i + 1}", x)
            outputs.append(x)
        x = F.leaky_relu(self.conv("c.0", torch.cat(outputs, 1), feat, 1), 0.05)
        x = self.conv("LR_conv", x, feat, 3) + head
        return F.pixel_shuffle(self.conv("upsampler.0", x, 3 * scale**2, 3), scale) / 255


class CARN_M(Plain):
    def __init__(self, upscale, num_feat=64, group=4):
        super().__init__()
        self.o = num_feat, group, upscale

    def cascade(self, x, prefix, part):
        kept = x
        for i in (1, 2, 3):
            kept = torch.cat([kept, part(x, i)], 1)
            x = F.relu(self.conv(f"{prefix}c{i}.body.0", kept, self.o[0], 1))
        return x

    def inner(self, x, b):
        feat, groups, _ = self.o
        y = F.relu(self.conv(f"b{b}.b1.body.0", x, feat, 3, groups=groups))
        y = F.relu(self.conv(f"b{b}.b1.body.2", y, feat, 3, groups=groups))
        return F.relu(self.conv(f"b{b}.b1.body.4", y, feat, 1) + x)

    def forward(self, x):
        feat, groups, scale = self.o
        mean = torch.tensor(MEAN).to(x).view(1, 3, 1, 1)
        x = self.conv("entry", x - mean, feat, 3)
        x = self.cascade(x, "", lambda v, i: self.cascade(v, f"b{i}.", lambda u, _: self.inner(u, i)))
        for k, r in enumerate([3] if scale == 3 else [2] * (scale.bit_length() - 1)):
            x = F.relu(self.conv(f"upsample.up{scale}.body.{3 * k}", x, feat * r * r, 3, groups=groups))
            x = F.pixel_shuffle(x, r)
        return self.conv("exit", x, 3, 3) + mean


def vgg19_of(torchvision):
    """torchvision's vgg19 up to the ReLU before its fifth pooling, with random weights."""

    class VGG19(torch.nn.Module):
        def __init__(self, use_input_norm=True, img_range=1):
            super().__init__()
            self.features = torchvision.models.vgg19(weights=None).features[:36]
            for layer in self.features:
                if isinstance(layer, torch.nn.ReLU):
                    layer.inplace = False
            self.o = use_input_norm, img_range

        def forward(self, x):
            norm, by = self.o
            x = x * by
            if norm:
                mean, deviation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
                x = (x - torch.tensor(mean).to(x).view(1, 3, 1, 1)) / torch.tensor(deviation).to(x).view(1, 3, 1, 1)
            return self.features(x)

    return VGG19


# ---------------------------------------------------------------- BasicSR's classes


def load_basicsr(folder):
    """The classes of three of BasicSR's files by themselves: the package would ask for everything that BasicSR needs."""
    archs = pathlib.Path(folder) / "basicsr" / "archs"
    for name in ("basicsr", "basicsr.utils", "basicsr.utils.registry", "basicsr.archs", "basicsr.archs.arch_util"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    sys.modules["basicsr.utils.registry"].ARCH_REGISTRY = types.SimpleNamespace(register=lambda: lambda kind: kind)
    source = (archs / "arch_util.py").read_text()
    head = "import collections.abc\nimport math\nimport torch\nimport warnings\nfrom itertools import repeat\n"
    head += "from torch import nn as nn\nfrom torch.nn import functional as F\nfrom torch.nn import init as init\n"
    head += "from torch.nn.modules.batchnorm import _BatchNorm\nModulatedDeformConv = object\n"
    source = source[source.index("@torch.no_grad()") :].replace("ModulatedDeformConvPack", "object")
    exec(head + source, sys.modules["basicsr.archs.arch_util"].__dict__)
    kinds = {}
    for name in ("EDSR", "RCAN", "SwinIR"):
        path = archs / f"{name.lower()}_arch.py"
        spec = importlib.util.spec_from_file_location(f"basicsr.archs.{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        kinds[name] = getattr(module, name)
    return kinds


# ---------------------------------------------------------------- the comparison


def relative(got, want):
    most, delta = np.abs(want).max(), np.abs(got - want).max()
    return delta / most if most > 0 else (0.0 if delta == 0 else np.inf)


def words_of(options):
    def text(v):
        return str(v).lower() if isinstance(v, bool) else "[" + ",".join(map(str, v)) + "]" if isinstance(v, list) else str(v)

    return " ".join(f"{k}={text(v)}" for k, v in options.items())


def parameters(net):
    return net.named() if isinstance(net, Plain) else dict(net.named_parameters())


def run_torch(net, kind, x, cotangent):
    net = net.to(kind)
    if not isinstance(net, Plain) and hasattr(net, "mean"):
        net.mean = net.mean.to(kind)
    for p in parameters(net).values():
        p.grad = None
    x = torch.tensor(x, dtype=kind, requires_grad=True)
    y = net(x)
    y.backward(torch.tensor(cotangent, dtype=kind))
    grads = {name: p.grad.double().numpy() for name, p in parameters(net).items()}
    return y.detach().double().numpy(), x.grad.double().numpy(), grads


def run_engine(program, name, options, x, cotangent, weights, precision):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        command = [program, name, words_of(options), x.shape[0], x.shape[2], x.shape[3], precision, folder]
        command = [str(c) for c in command]
        listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[1:]
        order = [(line.split()[0], int(line.split()[1])) for line in listing]
        if sorted(n for n, _ in order) != sorted(weights):
            sys.exit(f"{name}: parameters differ: {sorted(set(n for n, _ in order) ^ set(weights))[:6]}")
        np.concatenate([weights[n].ravel() for n, _ in order]).astype(np.float32).tofile(folder / "weights")
        x.tofile(folder / "input")
        cotangent.tofile(folder / "cotangent")
        subprocess.run(command, check=True, capture_output=True)
        output = np.fromfile(folder / "output", np.float32).reshape(cotangent.shape)
        d_input = np.fromfile(folder / "d_input", np.float32).reshape(x.shape)
        flat, at, grads = np.fromfile(folder / "d_weights", np.float32), 0, {}
        for n, count in order:
            grads[n] = flat[at : at + count].reshape(weights[n].shape).astype(np.float64)
            at += count
    return output, d_input, grads


def check(program, kind, name, options, shape, precision):
    for attempt in range(5):
        if check_once(program, kind, name, options, shape, precision, attempt):
            return True
    return False


def check_once(program, kind, name, options, shape, precision, attempt):
    torch.manual_seed(1000 * attempt + 7 * shape[0] + shape[1] + options.get("upscale", 1))
    rng = np.random.default_rng([shape[1], options.get("upscale", 1), attempt])
    net = kind(**options).eval()
    x = rng.uniform(0, 1, (shape[0], 3, *shape[1:])).astype(np.float32)
    with torch.no_grad():
        if isinstance(net, Plain):
            net(torch.tensor(x[:1]))  # makes its parameters
        for n, p in parameters(net).items():  # biases and tables that start as zero would hide mistakes
            p.add_(torch.empty_like(p).uniform_(-0.02, 0.02))
    weights = {n: p.detach().numpy().copy() for n, p in parameters(net).items()}
    with torch.no_grad():
        cotangent = rng.uniform(-1, 1, net(torch.tensor(x)).shape).astype(np.float32)
    single = run_torch(net, torch.float32, x, cotangent)
    want = run_torch(net, torch.float64, x, cotangent)
    got = run_engine(program, name, options, x, cotangent, weights, precision)

    def errors(of):
        grads = {n: relative(of[2][n], want[2][n]) for n in weights}
        worst = max(grads, key=lambda n: grads[n])
        return relative(of[0], want[0]), relative(of[1], want[1]), grads[worst], worst

    ours, theirs = errors(got), errors(single)
    delta = np.sqrt(sum(((got[2][n] - want[2][n]) ** 2).sum() for n in weights))
    norm = delta / np.sqrt(sum((want[2][n] ** 2).sum() for n in weights))
    if precision == "f32":
        good = all(ours[k] <= min(1e-3, max(1e-5, 4 * theirs[k])) for k in (0, 1, 2))
    else:
        good = ours[0] <= 1 / 64 and norm <= 1 / 16
    print(f"{name} {words_of(options)} {precision} {shape[0]} x {shape[1]} x {shape[2]}: output {ours[0]:.1e}  "
          f"d_input {ours[1]:.1e} (torch's f32 {theirs[1]:.1e})  d_weights {ours[2]:.1e} ({ours[3]}; torch's f32 "
          f"{theirs[2]:.1e}), all {norm:.1e}  {'passed' if good else 'above its bound'}", flush=True)
    return good


def cases(small, basicsr, torchvision):
    if torchvision:
        yield "VGG19", dict(use_input_norm=True), (2, 37, 48)
        yield "VGG19", dict(use_input_norm=False, img_range=255), (1, 32, 33)
    swin = dict(window_size=8, img_range=1.0, mlp_ratio=2, resi_connection="1conv")
    for up in (2, 3, 4):
        base = dict(num_in_ch=3, num_out_ch=3, upscale=up)
        feat, blocks = (8, 2) if small else (64, 32)
        yield "EDSR", dict(base, num_feat=feat, num_block=blocks, res_scale=0.1), (2, 17, 12)
        if basicsr:
            for b in (2,) if small else (6, 20):
                yield "RCAN", dict(base, num_feat=64, num_group=2 if small else 10, num_block=b), (1, 7, 6)
            wide = [(60, [2, 2])] if small else [(60, [6] * 4), (180, [6] * 6)]
            for dim, depths in wide:
                yield "SwinIR", dict(swin, upscale=up, img_size=48, embed_dim=dim, depths=depths, num_heads=[6] * len(depths),
                                     upsampler="pixelshuffle"), (2, 16, 24)
            yield "SwinIR", dict(swin, upscale=up, img_size=16, embed_dim=60, depths=[2, 2], num_heads=[6, 6],
                                 upsampler="pixelshuffledirect", resi_connection="3conv"), (1, 16, 16)
        yield "IMDN", dict(upscale=up), (2, 17, 22)
        yield "RFDN", dict(upscale=up), (2, 17, 36)
        yield "CARN_M", dict(upscale=up), (2, 13, 18)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="folder of the build")
    parser.add_argument("--basicsr", help="folder that holds BasicSR's package")
    parser.add_argument("--small", action="store_true", help="few channels and blocks")
    parser.add_argument("--only", default="", help="networks whose name holds this word")
    parser.add_argument("--bf16", action="store_true", help="bf16 too")
    o = parser.parse_args()
    program = pathlib.Path(o.build) / "bin" / "dukd-engine-numbers"
    if not program.exists():
        sys.exit(f"{program} is not there: build it, or name another build by --build")
    kinds = {"EDSR": EDSR, "IMDN": IMDN, "RFDN": RFDN, "CARN_M": CARN_M}
    if o.basicsr:
        kinds.update(load_basicsr(o.basicsr))
    else:
        print("without --basicsr: RCAN and SwinIR are not checked, EDSR against what is written out here")
    torchvision = None
    try:
        import torchvision
    except ImportError:
        print("without torchvision: VGG19 is not checked")
    if torchvision:
        kinds["VGG19"] = vgg19_of(torchvision)
    results = [
        check(program, kinds[name], name, options, shape, precision)
        for precision in (("f32", "bf16") if o.bf16 else ("f32",))
        for name, options, shape in cases(o.small, o.basicsr, torchvision)
        if o.only in name
    ]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
