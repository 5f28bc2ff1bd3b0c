"""Finding a plugin, and what it says of itself."""
import ctypes
import os
import pathlib
from collections import namedtuple
from ctypes import byref, c_uint32

from . import abi
from .errors import LibraryError, of_code

Option = namedtuple("Option", "name type is_list default min max choices help")
Loss = namedtuple("Loss", "name help")
Backend = namedtuple("Backend", "name usable device_type detail")

_TYPES = {abi.OPTION_BOOL: "bool", abi.OPTION_INT: "int", abi.OPTION_FLOAT: "float", abi.OPTION_STRING: "string"}


def _text(raw):
    return None if raw is None else raw.decode("utf-8", "replace")


def default_path():
    """The library that is used when none is named: $DUKD_LIBRARY, else the one in this package."""
    named = os.environ.get("DUKD_LIBRARY")
    if named:
        return named
    inside = pathlib.Path(__file__).with_name("libdukd.so")
    if not inside.exists():
        raise LibraryError(f"{inside} is not there: install the package with `pip install ./hosts/torch`, or name a "
                           "plugin's library in DUKD_LIBRARY")
    return str(inside)


class Plugin:
    """A loaded plugin. ``Plugin()`` is the one of this package, ``Plugin(path)`` any other.

    ``name``, ``version``, ``build``: texts. ``losses``, ``options``, ``backends``: lists of named tuples.
    Raises LibraryError where it cannot be loaded or was built for another draft of the ABI.
    """

    def __init__(self, path=None):
        self.path = str(default_path() if path is None else path)
        # a name without a slash would be looked for in the system's folders
        where = self.path if os.sep in self.path else os.path.join(os.curdir, self.path)
        try:
            self._library = ctypes.CDLL(where, mode=os.RTLD_NOW | os.RTLD_LOCAL)
            entry = getattr(self._library, abi.ENTRY_NAME)
        except OSError as e:
            raise LibraryError(f"{self.path}: {e}") from None
        except AttributeError:
            raise LibraryError(f"{self.path} is no DUKD plugin: it has no {abi.ENTRY_NAME}") from None
        entry.argtypes = [c_uint32]
        entry.restype = ctypes.POINTER(abi.Plugin)
        table = entry(abi.ABI_DRAFT)
        if not table:
            raise LibraryError(f"{self.path}: {abi.ENTRY_NAME} gave no table")
        self._read(table.contents)

    def _read(self, table):
        """Checks a table's draft and reads what the plugin says of itself."""
        self.table = table
        draft = self.table.abi_draft  # of another draft only the first two fields may be read
        if draft != abi.ABI_DRAFT:
            old = "the plugin" if draft < abi.ABI_DRAFT else "the Python package dukd"
            raise LibraryError(f"{self.path} was built for draft {draft} of the ABI, this package for draft "
                               f"{abi.ABI_DRAFT}: rebuild {old}")
        if self.table.struct_size < ctypes.sizeof(abi.Plugin):
            raise LibraryError(f"{self.path}: its table has {self.table.struct_size} bytes, "
                               f"{ctypes.sizeof(abi.Plugin)} are needed")
        info = self.table.get_info().contents
        self.name, self.version, self.build = _text(info.name), _text(info.version), _text(info.build)
        self.losses = [Loss(_text(info.losses[i].contents.name), _text(info.losses[i].contents.help))
                       for i in range(info.n_losses)]
        self.options = [self._option(info.options[i].contents) for i in range(info.n_options)]
        self._n_backends = info.n_backends

    @staticmethod
    def _option(o):
        return Option(_text(o.name), _TYPES.get(o.type & ~abi.OPTION_LIST, "string"), bool(o.type & abi.OPTION_LIST),
                      _text(o.default_text), o.min, o.max, [_text(o.choices[i]) for i in range(o.n_choices)],
                      _text(o.help))

    @property
    def backends(self):
        """What can compute here, and where it cannot, why. Asking may load the backend's library."""
        found, error = [], abi.new(abi.Error)
        for i in range(self._n_backends):
            b = abi.new(abi.BackendInfo)
            check(self.table.query_backend(i, byref(b), byref(error)), error)
            found.append(Backend(_text(b.name), b.usable == 1, b.device_type, _text(b.detail)))
        return found

    def extension(self, name, kind):
        """The plugin's table of functions for an extension, as struct ``kind``; None where it has none."""
        found = self.table.get_extension(name.encode())
        return ctypes.cast(found, ctypes.POINTER(kind)).contents if found else None

    def __repr__(self):
        return f"<dukd.Plugin {self.name} {self.version} at {self.path}>"


def check(code, error, cause=None):
    """Raises the exception of a negative code; else gives it back."""
    if code >= 0:
        return code
    raise of_code(code, _text(error.message) or f"the plugin failed with code {code} and no message") from cause
