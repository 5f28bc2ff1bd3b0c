"""What the hosts of `dukd-conform --host` share: what they are told, and a layer whose mode shows."""
import argparse
import pathlib

import torch


def parse(arguments, **more):
    """--plugin LIB.so --iterations N --out DIR [--micro M] [--start FILE] [--resume] [--drops]; ``more``: name to help of
    further arguments that must be given."""
    p = argparse.ArgumentParser()
    p.add_argument("--plugin", required=True)
    p.add_argument("--iterations", type=int, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True, help="{work}")
    p.add_argument("--micro", type=int, default=1, help="micro-batches")
    p.add_argument("--start", help="weights to begin with, of another run")
    p.add_argument("--resume", action="store_true", help="go on with the run in --out")
    p.add_argument("--drops", action="store_true", help="networks that depend on the mode")
    for name, text in more.items():
        p.add_argument(f"--{name}", required=True, help=text)
    return p.parse_args(arguments)


class ByMode(torch.nn.Module):
    """A layer that depends on the mode, as dropout does, but gives the same each time."""

    def forward(self, x):
        return x * 0.5 if self.training else x
