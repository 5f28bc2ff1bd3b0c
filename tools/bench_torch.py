#!/usr/bin/env python3
"""What the plugin costs from PyTorch: tools/bench torch, or bench_torch.py [loss|abi|openmp...] [--rounds N]

  loss    hook, losses and gradients of a DUKD step without the networks, N 16, HR 3x192x192, x4, f32: the plugin against
          the same in eager torch and under torch.compile
  abi     what a pass costs beside the plugin's own work: a step on the smallest images
  openmp  a whole step with the plugin against the same step with the losses in torch, with one OpenMP runtime and with two
          (patchelf makes a libdukd with a libgomp of its own), loaded before and after torch's
"""
import argparse
import ctypes
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

if len(sys.argv) > 2 and sys.argv[1] == "--first":  # the worst order: this library and its OpenMP before torch's
    ctypes.CDLL(sys.argv[2])
    del sys.argv[1:3]

import torch
from torch.nn import functional as F

import dukd
from dukd.models import EDSR

BATCH, SIDE, SCALE = 16, 48, 4


# ---------------------------------------------------------------- the same in torch

def down_matrix(size, scale):
    """MATLAB's antialiased bicubic as a matrix: symmetric border, weights normalised."""
    def cubic(x):
        x = x.abs()
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return near * (x <= 1) + far * ((x > 1) & (x <= 2))
    out, taps = -(-size // scale), 4 * scale + 2
    centre = (torch.arange(out, dtype=torch.float64) + 0.5) * scale - 0.5
    first = (centre - 2 * scale).floor()
    at = first[:, None] + torch.arange(taps)
    w = cubic((centre[:, None] - at) / scale)
    w = w / w.sum(1, keepdim=True)
    at = at.long() % (2 * size)
    at = torch.where(at >= size, 2 * size - 1 - at, at)
    return torch.zeros(out, size, dtype=torch.float64).scatter_add_(1, at, w).float()


def draw(n, rows):
    """The draws of a batch: crops, and D as (flip, flip, quarter turns, invert) for zoom in and zoom out."""
    at = torch.randint(rows, (n, 2)).tolist()
    d = [[(torch.rand(4) < 0.3).tolist() + [int(torch.randint(1, 4, ()))] for _ in range(n)] for _ in range(2)]
    return at, [[(a, b, turn if c else 0, i) for a, b, c, i, turn in rows_] for rows_ in d]


def augment_each(x, d):
    """Image by image, as one writes it first (and as the authors' code does)."""
    out = []
    for image, (a, b, k, i) in zip(x, d):
        image = image.flip(-1) if a else image
        image = image.flip(-2) if b else image
        image = torch.rot90(image, k, (-2, -1)) if k else image
        out.append(1 - image if i else image)
    return torch.stack(out)


def undo_each(x, d):
    out = []
    for image, (a, b, k, i) in zip(x, d):
        image = 1 - image if i else image
        image = torch.rot90(image, -k, (-2, -1)) if k else image
        image = image.flip(-2) if b else image
        out.append(image.flip(-1) if a else image)
    return torch.stack(out)


def masks(d):
    """The same draws as tensors, for a compiler that wants no branches."""
    a, b, k, i = (torch.tensor([row[j] for row in d]).view(-1, 1, 1, 1) for j in range(4))
    return a, b, k, i


def augment_whole(x, m):
    a, b, k, i = m
    x = torch.where(a, x.flip(-1), x)
    x = torch.where(b, x.flip(-2), x)
    x = torch.where(k == 1, torch.rot90(x, 1, (-2, -1)), torch.where(k == 2, x.flip((-2, -1)), torch.where(k == 3, torch.rot90(x, 3, (-2, -1)), x)))
    return torch.where(i, 1 - x, x)


def undo_whole(x, m):
    a, b, k, i = m
    x = torch.where(i, 1 - x, x)
    x = torch.where(k == 1, torch.rot90(x, 3, (-2, -1)), torch.where(k == 2, x.flip((-2, -1)), torch.where(k == 3, torch.rot90(x, 1, (-2, -1)), x)))
    x = torch.where(b, x.flip(-2), x)
    return torch.where(a, x.flip(-1), x)


def hook_torch(lr, hr, matrix, at, d, augment):
    n, side = lr.shape[0], lr.shape[-1]
    zo = matrix @ lr @ matrix.T
    zi = torch.stack([hr[b, :, at[b][0]:at[b][0] + side, at[b][1]:at[b][1] + side] for b in range(n)])
    return zi, augment(zi, d[0]), zo, augment(zo, d[1])


def loss_torch(hr, s, t, d, undo):
    return (F.l1_loss(s[0], hr) + F.l1_loss(s[0], t[0]) + F.l1_loss(undo(s[1], d[1]), t[1]) + F.l1_loss(undo(s[2], d[0]), t[2]))


# ---------------------------------------------------------------- timing

def timed(rounds, functions):
    """Median seconds of each function. In turn, three calls at a time of which the first is not counted: what else the
    machine does falls on all of them, and none begins with the caches as another has left them."""
    for f in functions.values():
        f()
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, f in functions.items():
            f()
            for _ in range(2):
                t = time.perf_counter()
                f()
                times[name].append(time.perf_counter() - t)
    return {name: statistics.median(t) for name, t in times.items()}


def values_for(session, lr, hr):
    """A tensor for each tap of a step, in the order of the passes: students want gradients."""
    made = []
    for p in session.step(lr, hr):
        shapes = [v.shape for v in p.compute()]
        made.append([torch.rand(s).requires_grad_(t.want_grad) for s, t in zip(shapes, p.taps)])
        p.backward()
    return made


class Twice(torch.nn.Module):
    """A network that costs nothing: what is timed is not the networks."""

    def __init__(self, scale):
        super().__init__()
        self.scale, self.weight = scale, torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return F.interpolate(x, scale_factor=self.scale) * self.weight


def step_plugin(session, lr, hr, values):
    for p, v in zip(session.step(lr, hr), values):
        torch.autograd.grad(p.submit(v), [x for x in v if x.requires_grad])


def bench_loss(rounds):
    lr, hr = torch.rand(BATCH, 3, SIDE, SIDE), torch.rand(BATCH, 3, SIDE * SCALE, SIDE * SCALE)
    session = dukd.Session({}, {"student": Twice(SCALE), "teacher": Twice(SCALE)}, lr.shape, SCALE)
    values = values_for(session, lr, hr)
    # in the order LR, zoom out, zoom in; the student's is the one with a gradient
    s, t = ([next(v for v in p if v.requires_grad is wanted) for p in values] for wanted in (True, False))
    matrix = down_matrix(SIDE, SCALE)
    at, d = draw(BATCH, SIDE * SCALE - SIDE + 1)
    as_masks = [masks(rows) for rows in d]

    def eager():
        hook_torch(lr, hr, matrix, at, d, augment_each)
        torch.autograd.grad(loss_torch(hr, s, t, d, undo_each), s)

    def vectorised():
        hook_torch(lr, hr, matrix, at, as_masks, augment_whole)
        torch.autograd.grad(loss_torch(hr, s, t, as_masks, undo_whole), s)

    hook_c, loss_c = torch.compile(hook_torch), torch.compile(loss_torch)

    def compiled():
        hook_c(lr, hr, matrix, at, as_masks, augment_whole)
        torch.autograd.grad(loss_c(hr, s, t, as_masks, undo_whole), s)

    found = timed(rounds, {"plugin": lambda: step_plugin(session, lr, hr, values), "eager torch, image by image": eager,
                           "eager torch, whole batches": vectorised, "torch.compile, whole batches": compiled})
    print(f"hook, losses and gradients, N {BATCH}, HR 3x{SIDE * SCALE}x{SIDE * SCALE}, x{SCALE}, f32, {torch.get_num_threads()} threads")
    for name, seconds in found.items():
        print(f"  {name:32}{seconds * 1e3:8.2f} ms   {seconds / found['plugin']:6.2f} times the plugin's")


def bench_abi(rounds):
    lr, hr = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 16, 16)
    session = dukd.Session({}, {"student": Twice(2), "teacher": Twice(2)}, lr.shape, 2)
    values = values_for(session, lr, hr)
    n = len(values)

    def calls():  # next pass, submit and its gradients' memory; no autograd
        for p, v in zip(session.step(lr, hr), values):
            p._submit(v)

    def whole():
        step_plugin(session, lr, hr, values)

    def inputs():
        for p, v in zip(session.step(lr, hr), values):
            p.inputs
            p._submit(v)

    found = timed(rounds * 100, {"calls": calls, "inputs": inputs, "whole": whole})
    print(f"a pass on the smallest images (1x3x8x8, x2; {n} passes a step, whose begin and end are in these figures)")
    for name, text in (("calls", "the plugin's calls"), ("inputs", "and its inputs as tensors"), ("whole", "and autograd's way there and back")):
        print(f"  {text:36}{found[name] / n * 1e6:8.1f} us a pass")


def openmp_step(rounds):
    """Two lines for bench_openmp: medians of a step with the plugin (as --threads says) and with the losses in torch."""
    torch.manual_seed(0)
    scale, side, n = 2, 32, 4
    student, teacher = EDSR(num_feat=16, num_block=4, upscale=scale), EDSR(num_feat=32, num_block=4, upscale=scale)
    optimizer = torch.optim.Adam(student.parameters(), 1e-4)
    lr, hr = torch.rand(n, 3, side, side), torch.rand(n, 3, side * scale, side * scale)
    session = dukd.Session({}, {"student": student, "teacher": teacher}, lr.shape, scale, threads=os.environ["BENCH_THREADS"])
    matrix = down_matrix(side, scale)

    def plugin():
        for p in session.step(lr, hr):
            p.apply(optimizer)

    def in_torch():
        at, d = draw(n, side * scale - side + 1)
        zi, zi_d, zo, zo_d = hook_torch(lr, hr, matrix, at, d, augment_each)
        optimizer.zero_grad()
        with torch.no_grad():
            t = [teacher(x) for x in (lr, zo, zi)]
        loss = F.l1_loss(s := student(lr), hr) + F.l1_loss(s, t[0])
        loss.backward()
        F.l1_loss(undo_each(student(zo_d), d[1]), t[1]).backward()
        F.l1_loss(undo_each(student(zi_d), d[0]), t[2]).backward()
        optimizer.step()

    alone = timed(rounds, {"torch": in_torch})["torch"]  # before the plugin's threads are there
    both = timed(rounds, {"plugin": plugin, "torch": in_torch})
    print(alone, both["plugin"], both["torch"])


def bench_openmp(rounds):
    plugin = pathlib.Path(dukd.Plugin().path).resolve()
    with tempfile.TemporaryDirectory() as folder:
        own = None
        if shutil.which("patchelf"):
            needed = subprocess.run(["ldd", plugin], capture_output=True, text=True).stdout
            gomp = next((line.split("=>")[1].split()[0] for line in needed.splitlines() if "libgomp" in line), None)
            if gomp:
                own = pathlib.Path(folder) / "libdukd.so"
                runtime = pathlib.Path(folder) / "libgomp-own.so.1"
                shutil.copy(gomp, runtime)
                shutil.copy(plugin, own)
                shutil.copy(plugin.with_name("libdukd_torch.so"), folder)
                subprocess.run(["patchelf", "--set-soname", runtime.name, runtime], check=True)
                subprocess.run(["patchelf", "--replace-needed", "libgomp.so.1", runtime.name, "--set-rpath", "$ORIGIN", own], check=True)
        cases = [("one runtime, torch's threads (the default)", plugin, "torch", None, {}),
                 ("one runtime, threads='plugin'", plugin, "plugin", None, {})]
        if own:
            cases += [("two, torch's threads, plugin's first", own, "torch", own, {}),
                      ("two, torch's threads, torch's first", own, "torch", None, {}),
                      ("two, threads='plugin', plugin's first", own, "plugin", own, {}),
                      ("two, threads='plugin', torch's first", own, "plugin", None, {}),
                      ("two, threads='plugin', waiting passively", own, "plugin", own, {"OMP_WAIT_POLICY": "passive"})]
        else:
            print("note: without patchelf there is no second runtime to measure")
        print("a step, EDSR 32c 4b teaches 16c 4b, x2, N 4, LR 32x32; ms: losses in torch before the plugin has run | with the plugin, and "
              "losses in torch, in turn")
        for text, library, threads, first, more in cases:
            command = [sys.executable, __file__, *(["--first", str(first)] if first else []), "openmp-step", "--rounds", str(rounds)]
            environment = {**os.environ, "DUKD_LIBRARY": str(library), "BENCH_THREADS": threads, **more}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                sys.exit(done.stderr)
            alone, with_plugin, in_torch = map(float, done.stdout.split())
            print(f"  {text:44}{alone * 1e3:8.1f} | {with_plugin * 1e3:8.1f} {in_torch * 1e3:8.1f}   plugin/torch {with_plugin / in_torch:5.2f}, "
                  f"torch after/before {in_torch / alone:5.2f}", flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("parts", nargs="*", choices=["loss", "abi", "openmp", "openmp-step", []], help="(default: all)")
    a.add_argument("--rounds", type=int, default=15)
    a = a.parse_args()
    work = {"loss": bench_loss, "abi": bench_abi, "openmp": bench_openmp, "openmp-step": openmp_step}
    for part in a.parts or ["loss", "abi", "openmp"]:
        work[part](a.rounds)


if __name__ == "__main__":
    main()
