#!/usr/bin/env python3
"""Checks that checkpoints go from BasicSR to dukd-host and back bit for bit, and those of networks' authors into it.

    tools/check_checkpoints_torch.py [--build DIR] [--basicsr DIR] [--big]

Needs torch and safetensors (pip install torch safetensors) and dukd-host of the build in DIR (default build/release).
--basicsr names the folder that holds BasicSR's package (basicsr/archs/*.py): its classes EDSR, RCAN and SwinIR are then
made, saved, converted both ways and loaded strictly; without it only files of made-up tensors are checked, and it is
said. Both of torch.save's formats are read. --big: the paper's sizes. Exit status 1 where a bit differs.
"""
import argparse
import collections
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import types

import torch
from safetensors.torch import load_file

SMALL = [
    ("EDSR", "edsr_arch", dict(num_in_ch=3, num_out_ch=3, num_feat=8, num_block=3, upscale=4)),
    ("RCAN", "rcan_arch", dict(num_in_ch=3, num_out_ch=3, num_feat=8, num_group=2, num_block=3, squeeze_factor=4, upscale=3)),
    ("SwinIR", "swinir_arch", dict(img_size=16, embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=8, mlp_ratio=2.0,
                                   upscale=2, upsampler="pixelshuffle")),
    ("SwinIR", "swinir_arch", dict(img_size=8, embed_dim=12, depths=[2], num_heads=[3], window_size=8, mlp_ratio=2.0,
                                   upscale=2, upsampler="pixelshuffledirect", resi_connection="3conv")),
]
BIG = [
    ("EDSR", "edsr_arch", dict(num_in_ch=3, num_out_ch=3, num_feat=64, num_block=32, upscale=4)),
    ("RCAN", "rcan_arch", dict(num_in_ch=3, num_out_ch=3, num_feat=64, num_group=10, num_block=20, upscale=4)),
    ("SwinIR", "swinir_arch", dict(img_size=48, embed_dim=180, depths=[6] * 6, num_heads=[6] * 6, window_size=8,
                                   mlp_ratio=2.0, upscale=4, upsampler="pixelshuffle")),
]


def arch(folder, module):
    """One of BasicSR's files by itself: its package would ask for everything that BasicSR needs."""
    for name in ("basicsr", "basicsr.utils", "basicsr.utils.registry", "basicsr.archs", "basicsr.archs.arch_util"):
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = []

    class Registry:
        def register(self):
            return lambda kind: kind

    sys.modules["basicsr.utils.registry"].ARCH_REGISTRY = Registry()
    sys.modules["basicsr.utils"].get_root_logger = None
    sys.modules["torchvision"] = sys.modules.get("torchvision", types.SimpleNamespace(__version__="0.9.0"))
    source = (folder / "basicsr" / "archs" / "arch_util.py").read_text()
    start = source.index("@torch.no_grad()")  # what stands before imports the deformable convolution
    head = "import collections.abc\nimport math\nimport torch\nfrom itertools import repeat\nfrom torch import nn as nn\n"
    head += "from torch.nn import functional as F\nfrom torch.nn import init as init\n"
    head += "from torch.nn.modules.batchnorm import _BatchNorm\nimport warnings\nModulatedDeformConv = object\n"
    exec(head + source[start:].replace("ModulatedDeformConvPack", "object"), sys.modules["basicsr.archs.arch_util"].__dict__)
    spec = importlib.util.spec_from_file_location("basicsr.archs." + module, folder / "basicsr" / "archs" / f"{module}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def same(a, b):
    return set(a) == set(b) and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape
        and torch.equal(a[k].contiguous().view(torch.uint8) if a[k].dim() else a[k],
                        b[k].contiguous().view(torch.uint8) if b[k].dim() else b[k])
        for k in a)


def option(value):
    return str(value).replace(" ", "").replace("'", "")


class Checks:
    def __init__(self, program, folder):
        self.program, self.folder, self.results = program, folder, []

    def convert(self, *words):
        run = subprocess.run([str(self.program), "convert", *map(str, words), "-q"], capture_output=True, text=True)
        if run.returncode:
            print(run.stderr.strip())
        return run.returncode == 0

    def result(self, what, good):
        self.results.append(good)
        print(f"{what}: {'passed' if good else 'FAILED'}", flush=True)

    def network(self, name, kind, options):
        """BasicSR -> safetensors -> BasicSR, in both of PyTorch's formats, params and params_ema."""
        torch.manual_seed(1)
        net, other = kind(**options), kind(**options)
        files = {"params": net.state_dict(), "params_ema": other.state_dict()}
        words = ["--network", name] + [f"{k}={option(v)}" for k, v in options.items()]
        where = self.folder / "net.pth"
        for zipped in (True, False):
            torch.save(files, where, _use_new_zipfile_serialization=zipped)
            good = self.convert(where, self.folder / "a.safetensors", *words)
            # the second conversion knows the network from the file
            good = good and self.convert(self.folder / "a.safetensors", self.folder / "back.pth")
            good = good and self.convert(self.folder / "back.pth", self.folder / "b.safetensors")
            if good:
                back = torch.load(self.folder / "back.pth", weights_only=True)
                fresh = kind(**options)
                fresh.load_state_dict(back["params"], strict=True)
                good = all(same(files[k], back[k]) for k in files) and same(fresh.state_dict(), files["params"])
                good = good and same(load_file(self.folder / "a.safetensors"), load_file(self.folder / "b.safetensors"))
            self.result(f"{name} {'1.6 and later' if zipped else 'before 1.6'}, there and back", good)
        wrapped = torch.nn.DataParallel(net)
        torch.save(wrapped.state_dict(), where)
        good = self.convert(where, self.folder / "a.safetensors", *words)
        ours = load_file(self.folder / "a.safetensors") if good else {}
        params = dict(net.named_parameters())
        good = good and all(torch.equal(ours["params." + k], v) for k, v in params.items()) and len(ours) == len(params)
        self.result(f"{name} bare, module. before each name", good)

    def authors(self):
        """EDSR-PyTorch's and RCAN's own names, as modules of those names give them."""
        def conv(a, b, k=3):
            return torch.nn.Conv2d(a, b, k, padding=k // 2)

        def mean(sign):
            shift = torch.nn.Conv2d(3, 3, 1)
            shift.weight.data = torch.eye(3).view(3, 3, 1, 1)
            shift.bias.data = sign * 255.0 * torch.tensor([0.4488, 0.4371, 0.4040])
            return shift

        def block(attention):
            body = [conv(8, 8), torch.nn.ReLU(), conv(8, 8)]
            if attention:
                layer = torch.nn.Module()
                layer.conv_du = torch.nn.Sequential(conv(8, 2, 1), torch.nn.ReLU(), conv(2, 8, 1), torch.nn.Sigmoid())
                body.append(layer)
            made = torch.nn.Module()
            made.body = torch.nn.Sequential(*body)
            return made

        def net(body):
            made = torch.nn.Module()
            made.sub_mean, made.add_mean = mean(-1), mean(1)
            made.head = torch.nn.Sequential(conv(3, 8))
            made.body = torch.nn.Sequential(*body, conv(8, 8))
            up = torch.nn.Sequential(conv(8, 32), torch.nn.PixelShuffle(2), conv(8, 32), torch.nn.PixelShuffle(2))
            made.tail = torch.nn.Sequential(up, conv(8, 3))
            return made

        def group():
            made = torch.nn.Module()
            made.body = torch.nn.Sequential(block(True), block(True), conv(8, 8))
            return made

        edsr, rcan = net([block(False), block(False)]), net([group(), group(), group()])
        edsr_words = ["--network", "EDSR", "num_in_ch=3", "num_out_ch=3", "num_feat=8", "num_block=2", "upscale=4"]
        rcan_words = ["--network", "RCAN", "num_in_ch=3", "num_out_ch=3", "num_feat=8", "num_group=3", "num_block=2",
                      "squeeze_factor=4", "upscale=4"]
        pairs = {"conv_first.weight": "head.0.weight", "conv_last.bias": "tail.1.bias", "upsample.2.bias": "tail.0.2.bias"}
        edsr_pairs = pairs | {"body.1.conv2.weight": "body.1.body.2.weight", "conv_after_body.weight": "body.2.weight"}
        rcan_pairs = pairs | {
            "body.2.residual_group.1.rcab.0.weight": "body.2.body.1.body.0.weight",
            "body.1.residual_group.0.rcab.3.attention.1.weight": "body.1.body.0.body.3.conv_du.0.weight",
            "body.1.residual_group.0.rcab.3.attention.3.bias": "body.1.body.0.body.3.conv_du.2.bias",
            "body.0.conv.bias": "body.0.body.2.bias", "conv_after_body.weight": "body.3.weight"}
        for name, made, words, expected in (("EDSR", edsr, edsr_words, edsr_pairs), ("RCAN", rcan, rcan_words, rcan_pairs)):
            theirs = made.state_dict()
            torch.save(theirs, self.folder / "authors.pt", _use_new_zipfile_serialization=False)
            good = self.convert(self.folder / "authors.pt", self.folder / "a.safetensors", *words)
            ours = load_file(self.folder / "a.safetensors") if good else {}
            good = good and all(torch.equal(ours["params." + o], theirs[t]) for o, t in expected.items())
            good = good and len(ours) == len(theirs) - 4
            self.result(f"{name} by its authors' names", good)
            theirs["sub_mean.bias"] = theirs["sub_mean.bias"] + 2
            torch.save(theirs, self.folder / "authors.pt")
            self.result(f"{name} of another mean colour is refused",
                        not self.convert(self.folder / "authors.pt", self.folder / "never.safetensors", *words))

    def tensors(self):
        """Every type and odd layout, in dictionaries with other things in them."""
        torch.manual_seed(2)
        kinds = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16,
                 torch.int8, torch.uint8, torch.bool]
        tensors = {f"t{i}": (torch.randn(3, 4) * 9).to(kind) for i, kind in enumerate(kinds)}
        big = torch.randn(6, 5, 4, 3)
        tensors |= {"turned": big.permute(3, 1, 0, 2), "piece": big[1:4, :, 2, ::2], "last": big.to(memory_format=torch.channels_last),
                    "scalar": torch.tensor(3.5), "nothing": torch.zeros(2, 0, 3), "row": torch.arange(10)[3:7]}
        file = {"net": collections.OrderedDict(tensors), "parameter": torch.nn.Parameter(torch.randn(2, 2)), "iter": 70000,
                "rate": 1e-4, "name": "x", "none": None, "list": [1, [2.5, "a"], (True, False)], "long": 1 << 90,
                "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"betas": (0.9, 0.99)}]}}
        expected = {"net." + k: v for k, v in tensors.items()} | {"parameter": file["parameter"].data}
        for zipped, protocol in ((True, 2), (True, 3), (True, 4), (False, 2), (False, 3), (False, 4)):
            torch.save(file, self.folder / "t.pth", _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
            good = self.convert(self.folder / "t.pth", self.folder / "t.safetensors")
            good = good and same(expected, load_file(self.folder / "t.safetensors"))
            good = good and self.convert(self.folder / "t.safetensors", self.folder / "u.pth")
            good = good and same(expected, torch.load(self.folder / "u.pth", weights_only=True))
            self.result(f"all types, {'1.6 and later' if zipped else 'before 1.6'}, protocol {protocol}", good)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="folder of the build")
    parser.add_argument("--basicsr", type=pathlib.Path, help="folder that holds basicsr/archs")
    parser.add_argument("--big", action="store_true", help="the paper's sizes")
    o = parser.parse_args()
    program = pathlib.Path(o.build) / "bin" / "dukd-host"
    if not program.exists():
        sys.exit(f"{program} is not there: build it, or name another build by --build")
    with tempfile.TemporaryDirectory() as folder:
        checks = Checks(program, pathlib.Path(folder))
        checks.tensors()
        checks.authors()
        if o.basicsr:
            for name, module, options in BIG if o.big else SMALL:
                checks.network(name, getattr(arch(o.basicsr, module), name), options)
        else:
            print("SKIP: BasicSR's own classes: name the folder of its package by --basicsr")
    print(f"{sum(checks.results)} passed, {len(checks.results) - sum(checks.results)} failed")
    return 0 if all(checks.results) else 1


if __name__ == "__main__":
    sys.exit(main())
