"""What BasicSR 1.4.2 imports and newer libraries no longer have. Filled in memory, before basicsr is imported; files and
libraries stay as they are."""
import importlib
import importlib.util
import sys
import types

# module that is gone: (what basicsr takes from it, where that is now)
_MOVED = {
    "torchvision.transforms.functional_tensor": ("rgb_to_grayscale", "torchvision.transforms.functional"),
    "scipy.ndimage.filters": ("convolve", "scipy.ndimage"),
}

VERSION = "1.4.2"  # what this package was written for and is tested with


class BasicSRError(ImportError):
    """BasicSR is not there, or is another than this package knows."""


def _is_there(name):
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def provide_moved_names():
    """Makes a module of each name above that is gone, with the one thing in it that basicsr wants."""
    for name, (wanted, now) in _MOVED.items():
        parent, _, leaf = name.rpartition(".")
        if _is_there(name) or not _is_there(parent):
            continue
        module = types.ModuleType(name, f"Put here by dukd.basicsr: {wanted} is in {now} today.")
        setattr(module, wanted, getattr(importlib.import_module(now), wanted))
        sys.modules[name] = module
        setattr(importlib.import_module(parent), leaf, module)


def import_basicsr():
    """The module basicsr, imported. BasicSRError where that is impossible, saying why."""
    if not _is_there("basicsr"):
        raise BasicSRError(f"BasicSR is not installed: pip install basicsr=={VERSION}")
    provide_moved_names()
    try:
        basicsr = importlib.import_module("basicsr")
        importlib.import_module("basicsr.train")
        importlib.import_module("basicsr.test")
    except ImportError as e:
        hint = f"this package knows version {VERSION}, from PyPI"
        if "libGL" in str(e) or "libgthread" in str(e):  # OpenCV's wheel with windows, on a machine without them
            hint = "pip uninstall -y opencv-python && pip install opencv-python-headless"
        raise BasicSRError(f"basicsr cannot be imported: {e}; {hint}") from e
    if basicsr.__version__ != VERSION:
        raise BasicSRError(f"basicsr is version {basicsr.__version__}; this package knows {VERSION}: "
                           f"pip install basicsr=={VERSION}")
    return basicsr
