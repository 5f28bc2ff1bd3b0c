"""torch.Tensor to dukd_tensor: by pointer, whatever the strides, never a copy."""
from ctypes import c_int64

import torch

from . import abi
from .errors import ArgumentError

DTYPES = {torch.float32: (abi.TYPE_FLOAT, 32), torch.float16: (abi.TYPE_FLOAT, 16),
          torch.bfloat16: (abi.TYPE_BFLOAT, 16)}


def device_of(device, what="device"):
    """(type, number) as DLPack has them."""
    if device.type == "cpu":
        return abi.DEVICE_CPU, 0
    if device.type == "cuda":
        return abi.DEVICE_CUDA, torch.cuda.current_device() if device.index is None else device.index
    raise ArgumentError(f"{what} is on device {device}; cpu and cuda there are")


def dtype_of(dtype, what="dtype"):
    """(code, bits) as DLPack has them."""
    try:
        return DTYPES[dtype]
    except KeyError:
        raise ArgumentError(f"{what} is {str(dtype).replace('torch.', '')}; float32, float16 and bfloat16 there "
                            "are") from None


class Slot:
    """A dukd_tensor that is filled again and again: arrays are rewritten only where the layout has changed."""

    __slots__ = ("struct", "layout", "tensor", "_arrays")

    def __init__(self):
        self.struct, self.layout, self.tensor, self._arrays = abi.Tensor(), None, None, None

    def fill(self, t, what):
        """Points at t's memory and keeps t alive until the next fill. ``what`` names it in messages."""
        layout = (t.shape, t.stride(), t.dtype, t.device) if t.layout is torch.strided else None
        if layout is None:
            raise ArgumentError(f"{what} is {t.layout}, expected a dense tensor")
        if layout != self.layout:
            self.layout = None
            n, s = t.dim(), self.struct
            device, code = device_of(t.device, what), dtype_of(t.dtype, what)
            self._arrays = ((c_int64 * max(n, 1))(*t.shape), (c_int64 * max(n, 1))(*t.stride()))
            s.device, s.dtype, s.ndim = abi.Device(*device), abi.Dtype(*code, 1), n
            s.shape, s.strides = self._arrays
            self.layout = layout
        self.struct.data = t.data_ptr()
        self.tensor = t
        return self.struct


def require_tensor(t, what):
    """A clear message for what is no tensor."""
    if not isinstance(t, torch.Tensor):
        raise ArgumentError(f"{what} is a {type(t).__name__}, expected a torch.Tensor")
    return t
