"""Compares two safetensors files with the format's own library: same_tensors.py A B. Exit status 0: the same tensors
and metadata."""
import sys

from safetensors import safe_open


def contents(path):
    with safe_open(path, framework="np") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, f.metadata()


(a, a_meta), (b, b_meta) = contents(sys.argv[1]), contents(sys.argv[2])
same = a.keys() == b.keys() and (a_meta or {}) == (b_meta or {})
for name in a if same else ():
    x, y = a[name], b[name]
    same = same and x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
sys.exit(0 if same else 1)
