"""The plugin's images and workspaces in memory of PyTorch's: on CUDA from its caching allocator, so that both have one pool, one
account of it (torch.cuda.memory_summary) and its limits."""
import contextlib
import logging

import torch

from . import abi

_LOG = logging.getLogger("dukd")


def _from_cuda(device, size, stream):
    """(address, what keeps it). The plugin asks before it knows the streams of its steps and gives back when the session ends, and PyTorch
    knows of one stream for each block: so what is under way on the device is waited for, both times."""
    torch.cuda.synchronize(device)
    address = torch.cuda.caching_allocator_alloc(size, device, stream or 0)
    return address, address


def _from_cpu(kind, size):
    kept = torch.empty(size, dtype=torch.uint8, pin_memory=kind == abi.DEVICE_CUDA_HOST)
    return kept.data_ptr(), kept


def functions():
    """(alloc, free) for a dukd_host. They know no session: memory may outlive it, as long as somebody looks at an image."""
    given = {}  # address handed out: (device type, address or tensor it lies in)

    def alloc(_ctx, kind, device, size, align, stream):
        try:
            room = size + align  # PyTorch's own alignment (64 on the CPU, 512 on CUDA) may be less than what is asked for
            first, kept = _from_cuda(device, room, stream) if kind == abi.DEVICE_CUDA else _from_cpu(kind, room)
            address = first + -first % align
            given[address] = kind, kept
            return address
        except (RuntimeError, MemoryError, OverflowError, TypeError) as e:  # the plugin says that there is none
            _LOG.debug("alloc of %d bytes: %s", size, e)
            return None

    def free(_ctx, address, _kind, device, _stream):
        kind, kept = given.pop(address)
        if kind == abi.DEVICE_CUDA:
            with contextlib.suppress(RuntimeError):  # a device that is lost has nothing under way
                torch.cuda.synchronize(device)
            torch.cuda.caching_allocator_delete(kept)

    return abi.Alloc(alloc), abi.Free(free)
