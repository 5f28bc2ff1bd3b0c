#!/usr/bin/env python3
"""Counts multiply-adds and parameters on BasicSR's own classes with fvcore, beside what the host says of the same networks.

    tools/count_multiply_adds.py --basicsr DIR [--build DIR]

Needs torch and fvcore (pip install torch fvcore) and dukd-engine-numbers of the build in DIR (default build/release). DIR of
--basicsr holds BasicSR's package, see tools/check_networks_torch.py. fvcore counts convolutions, linear layers and matrix
products, one operation for each element that an average pooling reads and five for each element of a layer norm: the
convention of the paper's tables. Exit status 1 where a number differs.
"""
import argparse
import pathlib
import subprocess
import sys
import warnings

import torch
from fvcore.nn import FlopCountAnalysis

from check_networks_torch import load_basicsr, words_of

RGB = dict(num_in_ch=3, num_out_ch=3)
CASES = [
    ("EDSR", dict(RGB, num_feat=48, num_block=20, upscale=3), (96, 160)),
    ("RCAN", dict(RGB, num_feat=32, num_group=3, num_block=4, squeeze_factor=8, upscale=2), (40, 72)),
    ("SwinIR", dict(img_size=48, window_size=8, embed_dim=48, depths=[2, 4], num_heads=[4, 6], mlp_ratio=2, upscale=3,
                    upsampler="pixelshuffledirect"), (48, 64)),
    ("SwinIR", dict(img_size=64, window_size=8, embed_dim=60, depths=[2, 2], num_heads=[6, 6], mlp_ratio=4, upscale=4,
                    upsampler="pixelshuffle", resi_connection="3conv", patch_norm=False), (64, 64)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="folder of the build")
    parser.add_argument("--basicsr", required=True, help="folder that holds BasicSR's package")
    o = parser.parse_args()
    kinds, same = load_basicsr(o.basicsr), True
    warnings.filterwarnings("ignore")
    for name, options, (h, w) in CASES:
        net = kinds[name](**options).eval()
        count = FlopCountAnalysis(net, torch.zeros(1, 3, h, w))
        count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        want = int(count.total()), sum(p.numel() for p in net.parameters())
        program = str(pathlib.Path(o.build) / "bin" / "dukd-engine-numbers")
        lines = subprocess.run([program, name, words_of(options), "1", str(h), str(w), "f32", "."], check=True,
                               capture_output=True, text=True).stdout.splitlines()
        got = int(lines[0].split()[1]), sum(int(line.split()[1]) for line in lines[1:])
        same = same and got == want
        print(f"{name} {words_of(options)} 3 x {h} x {w}: multiply-adds {got[0]} (fvcore {want[0]}), parameters {got[1]} "
              f"({want[1]}): {'the same' if got == want else 'DIFFERENT'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
