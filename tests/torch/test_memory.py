"""The plugin's memory from PyTorch: the same bits, all of it given back, and what happens where there is none."""
import gc
import weakref

import pytest
import torch

import dukd
from dukd import abi, memory
from support import edsr, images

LR, HR = images(2, 12, 2)


def session(**arguments):
    return dukd.Session({}, {"student": edsr(4, 1, 2, seed=1), "teacher": edsr(4, 1, 2, seed=2)}, LR.shape, 2, seed=3, **arguments)


def run(s):
    seen = []
    for p in s.step(LR, HR):
        seen.append(p.inputs[0].clone())
        p.backward()
    return seen, s.losses()


def test_the_same_bits_and_all_is_given_back(monkeypatch):
    made, original = [], memory._from_cpu

    def watched(kind, size):
        address, kept = original(kind, size)
        made.append(weakref.ref(kept))
        return address, kept

    monkeypatch.setattr(memory, "_from_cpu", watched)
    s = session(memory="torch")
    inputs, losses = run(s)
    assert len(made) > 2 and all(ref() is not None for ref in made)
    for p in s.step(LR, HR):
        image = p.inputs[0]
        p.backward()
    del p
    s.close()
    gc.collect()
    assert not [ref for ref in made if ref() is not None]
    del image
    count = len(made)
    plain, same = run(session())
    assert len(made) == count and losses == same and all(torch.equal(a, b) for a, b in zip(inputs, plain))


def test_alignment_and_what_is_given_back(monkeypatch):
    made, original = [], memory._from_cpu

    def watched(kind, size):
        address, kept = original(kind, size)
        made.append(weakref.ref(kept))
        return address, kept

    monkeypatch.setattr(memory, "_from_cpu", watched)
    alloc, free = memory.functions()
    for align in (1, 64, 4096, 1 << 16):
        a, b = (alloc(None, abi.DEVICE_CPU, 0, 100, align, None) for _ in range(2))
        assert a % align == 0 and b % align == 0 and abs(a - b) >= 100
        free(None, a, abi.DEVICE_CPU, 0, None)
        assert made[-2]() is None and made[-1]() is not None
        free(None, b, abi.DEVICE_CPU, 0, None)
        assert made[-1]() is None


def test_cuda_memory_is_the_caching_allocators(monkeypatch):
    """No GPU here: what torch's allocator is asked for, that the address it gave is given back, not the aligned one, and that the
    device has ended its work before either."""
    asked, given_back, waited = [], [], []
    monkeypatch.setattr(torch.cuda, "caching_allocator_alloc", lambda size, device, stream: asked.append((size, device, stream)) or 1040)
    monkeypatch.setattr(torch.cuda, "caching_allocator_delete", given_back.append)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append((device, len(asked), len(given_back))))
    alloc, free = memory.functions()
    address = alloc(None, abi.DEVICE_CUDA, 1, 100, 512, 77)
    assert address == 1536 and address + 100 <= 1040 + asked[0][0] and asked[0][1:] == (1, 77)
    free(None, address, abi.DEVICE_CUDA, 1, 77)
    assert given_back == [1040]
    assert waited == [(1, 0, 0), (1, 1, 0)]


def test_no_memory_is_an_exception(monkeypatch):
    def none(kind, size):
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(memory, "_from_cpu", none)
    with pytest.raises(dukd.OutOfMemoryError):
        session(memory="torch")
