"""What can go wrong, as exceptions: one class for each of the plugin's codes, with its message as it is."""
from . import abi


class DukdError(RuntimeError):
    """Base of all below. ``code`` is the header's number, or None where the plugin was not asked."""

    code = None


class LibraryError(DukdError):
    """No plugin was found, it could not be loaded, or it was built for another draft of the ABI."""


class ArgumentError(DukdError, ValueError):
    """A tensor of the wrong shape, type or device, or a number out of range."""

    code = abi.E_ARGUMENT


class OptionError(DukdError, ValueError):
    """An option: unknown, of the wrong type, out of range, or not together with another."""

    code = abi.E_OPTION


class UnsupportedError(DukdError):
    """Well-formed, but this plugin, backend or host cannot do it."""

    code = abi.E_UNSUPPORTED


class StateError(DukdError):
    """This call does not come now: order of calls, another thread in the session, or a forked process."""

    code = abi.E_STATE


class OutOfMemoryError(DukdError, MemoryError):
    """The plugin could not allocate."""

    code = abi.E_MEMORY


class BackendError(DukdError):
    """The device, or a library below the plugin, failed."""

    code = abi.E_BACKEND


class CancelledError(DukdError):
    """The host asked the plugin to give up."""

    code = abi.E_CANCELLED


class InternalError(DukdError):
    """A bug of the plugin."""

    code = abi.E_INTERNAL


_BY_CODE = {c.code: c for c in (ArgumentError, OptionError, UnsupportedError, StateError, OutOfMemoryError,
                                BackendError, CancelledError, InternalError)}


def of_code(code, message):
    """The exception for a negative code of the plugin."""
    made = _BY_CODE.get(code, DukdError)(message)
    made.code = code
    return made
