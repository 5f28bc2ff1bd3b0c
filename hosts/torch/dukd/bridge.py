"""libdukd_torch: the few functions that are written in C (csrc/dukd_torch.h)."""
import ctypes
import os
import pathlib
from ctypes import POINTER, Structure, byref, c_int32, c_uint32, c_void_p

import torch

from . import abi
from .errors import LibraryError

NAME = "libdukd_torch.so"


class Team(Structure):
    """dukd_torch_team: the OpenMP runtime of PyTorch's."""

    _fields_ = [("parallel", c_void_p), ("thread_num", c_void_p), ("threads", c_uint32), ("pad0", c_uint32)]


def _open():
    places = [pathlib.Path(__file__).with_name(NAME)]
    if os.environ.get("DUKD_LIBRARY"):  # a build tree has both in one folder
        places.append(pathlib.Path(os.environ["DUKD_LIBRARY"]).resolve().with_name(NAME))
    for place in places:
        if place.exists():
            library = ctypes.CDLL(str(place), mode=ctypes.RTLD_LOCAL)
            break
    else:
        raise LibraryError(f"{NAME} is not there ({' nor '.join(map(str, places))}): install the package with "
                           "`pip install ./hosts/torch`, or name a build's library in DUKD_LIBRARY")
    library.dukd_torch_team_init.argtypes = [POINTER(Team), ctypes.c_char_p, c_uint32]
    library.dukd_torch_team_init.restype = c_int32
    library.dukd_torch_view.argtypes = [POINTER(abi.Tensor)]
    library.dukd_torch_view.restype = c_void_p
    library.dukd_torch_view_free.argtypes = [c_void_p]
    library.dukd_torch_view_free.restype = None
    return library


library = _open()
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype = ctypes.py_object
_capsule.argtypes = [c_void_p, ctypes.c_char_p, c_void_p]


def torch_team(threads):
    """PyTorch's threads as a Team, or None where PyTorch has no OpenMP that knows gcc's calls."""
    path = pathlib.Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    team = Team()
    if library.dukd_torch_team_init(byref(team), str(path).encode(), threads) != 0:
        return None
    return team


def address(name):
    """Address of one of the library's functions."""
    return ctypes.cast(getattr(library, name), c_void_p).value


def view(tensor):
    """A torch.Tensor on the memory of an abi.Tensor, without a copy; the memory stays its owner's."""
    managed = library.dukd_torch_view(byref(tensor))
    if not managed:
        raise MemoryError("a view of one of the plugin's tensors")
    try:
        return torch.from_dlpack(_capsule(managed, b"dltensor", None))
    except BaseException:
        library.dukd_torch_view_free(managed)
        raise
