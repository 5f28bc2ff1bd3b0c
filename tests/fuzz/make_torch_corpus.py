#!/usr/bin/env python3
"""Makes corpus/torch: small files as torch.save writes them, and hostile ones. Also the fixtures of unit/test_torch_file.c.

    tests/fuzz/make_torch_corpus.py        (needs torch; only to make the corpus anew)

The good ones hold conv.weight (2x3x2x2: 0, 1, .. 23) and conv.bias (1, 2).
"""
import collections
import io
import pathlib
import pickle
import struct
import sys
import zipfile

import torch

OUT = pathlib.Path(__file__).parent / "corpus" / "torch"
torch.manual_seed(1)


def good():
    return collections.OrderedDict([("conv.weight", torch.arange(24.0).reshape(2, 3, 2, 2)), ("conv.bias", torch.tensor([1.0, 2.0]))])


def write(name, data):
    (OUT / name).write_bytes(data)


def saved(file, **how):
    to = io.BytesIO()
    torch.save(file, to, **how)
    return to.getvalue()


def archive(pickled, entries=(), method=zipfile.ZIP_STORED):
    to = io.BytesIO()
    with zipfile.ZipFile(to, "w", method) as z:
        z.writestr(zipfile.ZipInfo("a/data.pkl"), pickled, compress_type=method)
        for name, data in entries:
            z.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return to.getvalue()


def python2(numbers):
    """As Python 2 wrote before PyTorch 1.0: byte strings, a memo from 1, an OrderedDict of a list, _rebuild_tensor_v2."""
    text = lambda s: b"U" + bytes([len(s)]) + s.encode()
    tensor = (b"ctorch._utils\n_rebuild_tensor_v2\nq\x02((" + text("storage") + b"ctorch\nFloatStorage\nq\x03" + text("7") +
              text("cuda:0") + b"K\x02NtQK\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\nq\x04]\x85RtR")
    body = b"\x80\x02ccollections\nOrderedDict\nq\x01]](" + text("conv.bias") + tensor + b"ea\x85Rq\x05}" + text("_metadata") + b"Nsb."
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    start += pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"long": 8}}, 2)
    return start + body + b"\x80\x02]q\x01" + text("7") + b"a." + struct.pack("<q2f", 2, *numbers)


class Call:
    def __reduce__(self):
        import os
        return os.system, ("touch dukd_was_here",)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    old = dict(_use_new_zipfile_serialization=False)
    write("zip.pth", saved({"params": good()}))
    write("legacy.pth", saved(good(), **old))
    write("protocol4.pth", saved(good(), pickle_protocol=4, **old))
    write("python2.pth", python2((1.0, 2.0)))
    write("turned.pth", saved({"turned": torch.arange(6.0).reshape(2, 3).t(), "parameter": torch.nn.Parameter(torch.ones(2))}, **old))
    write("state.pth", saved({"iter": 7, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "lr": [1e-4]}, "net": good()}, **old))
    write("call.pth", saved({"params": good(), "x": Call()}, **old))
    write("call_zip.pth", archive(pickle.dumps(Call(), 2)))
    write("deep.pth", archive(b"\x80\x02" + b"}X\x01\x00\x00\x00a" * 100 + b"N" + b"s" * 100 + b"."))
    write("itself.pth", archive(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."))
    write("compressed.pth", archive(pickle.dumps({}, 2) + bytes(100), [("a/data/0", bytes(4096))], zipfile.ZIP_DEFLATED))
    write("safetensors_640.st", (640).to_bytes(8, "little") + b"{}" + b" " * 638)
    print(*sorted(p.name for p in OUT.iterdir()), file=sys.stderr)


if __name__ == "__main__":
    main()
