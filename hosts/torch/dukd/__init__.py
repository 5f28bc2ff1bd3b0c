"""dukd: distils super-resolution networks in PyTorch with a DUKD plugin. See README.md, `python -m dukd.train --help`.

    session = dukd.Session(options, {"student": net, "teacher": teacher}, lr_shape=(16, 3, 48, 48), scale=4)
    for p in session.step(lr, hr):
        p.apply(optimizer)
    print(session.losses())
"""
from . import abi
from .errors import (ArgumentError, BackendError, CancelledError, DukdError, InternalError, LibraryError, OptionError,
                     OutOfMemoryError, StateError, UnsupportedError)
from .library import Plugin
from .passes import Pass, Tap
from .session import Session

__version__ = "0.1.0"
__all__ = ["ArgumentError", "BackendError", "CancelledError", "DukdError", "InternalError", "LibraryError", "OptionError",
           "OutOfMemoryError", "Pass", "Plugin", "Session", "StateError", "Tap", "UnsupportedError", "__version__"]

__path__ = __import__("pkgutil").extend_path(__path__, __name__)  # hosts/basicsr puts dukd.basicsr beside this
