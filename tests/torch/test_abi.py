"""dukd.abi against the header's text and abi/layout.golden: sizes, offsets, names of fields, constants."""
import ctypes
import re

from dukd import abi
from support import SOURCE

HEADERS = [SOURCE / "abi" / n for n in ("dukd_plugin.h", "dukd_ext_draws.h", "dukd_ext_params.h")]


def layout():
    """{struct: (size, [(offset, size, field)])} of the golden file."""
    structs, current = {}, None
    for line in (SOURCE / "abi/layout.golden").read_text().splitlines():
        words = line.split()
        if line.startswith("dukd_"):
            current = structs.setdefault(words[0], (int(words[1]), []))
        elif words[0] == "draft":
            assert int(words[1]) == abi.ABI_DRAFT
        else:
            current[1].append((int(words[0]), int(words[1]), words[2]))
    return structs


def test_every_struct_has_the_headers_layout():
    want = layout()
    known = {n for n in want if n in abi.STRUCTS}
    assert set(abi.STRUCTS) <= set(want)
    ours = {n for n in want if not n.startswith("dukd_ext_") or n in abi.STRUCTS}
    assert ours - known <= extension_structs(), "structs of the header that dukd.abi lacks"
    for name in known:
        size, fields = want[name]
        kind = abi.STRUCTS[name]
        assert ctypes.sizeof(kind) == size, name
        got = [(getattr(kind, f[0]).offset, getattr(kind, f[0]).size, f[0]) for f in kind._fields_]
        assert got == fields, name


def extension_structs():
    """Structs of extensions that this package does not speak."""
    found = set()
    for header in (SOURCE / "abi").glob("dukd_ext_*.h"):
        if header not in HEADERS:
            found |= set(re.findall(r"typedef struct (\w+)", header.read_text()))
    return found


def constants():
    found = {}
    for header in HEADERS:
        for name, value in re.findall(r"^#define\s+DUKD_(\w+)\s+(.+?)\s*(?:/\*.*)?$", header.read_text().replace("\\\n", " "),
                                      re.M):
            value = value.strip().strip("()")
            if re.fullmatch(r"-?(0x[0-9A-Fa-f]+|\d+)(u|ull)?", value):
                found[name] = int(re.sub("u.*", "", value), 0)
            elif value.startswith('"'):
                found[name] = value.strip('"')
    return found


def test_every_constant_has_the_headers_value():
    want = constants()
    assert len(want) > 60
    sizes = {n[:-5].lower(): v for n, v in want.items() if n.endswith("_SIZE")}
    for name, value in sizes.items():
        assert ctypes.sizeof(abi.STRUCTS["dukd_" + name]) == value, name
    for name, value in want.items():
        if not name.endswith("_SIZE"):
            assert getattr(abi, name) == value, name


def test_functions_have_the_headers_number_of_arguments():
    text = re.sub(r"/\*.*?\*/", " ", HEADERS[0].read_text(), flags=re.S)
    table = re.search(r"typedef struct dukd_plugin \{(.*?)\} dukd_plugin;", text, re.S).group(1)
    pointers = dict(re.findall(r"\(\*(\w+)\)\(([^;]*?)\);", table, re.S))
    assert len(pointers) == 14
    for name, kind in abi.Plugin._fields_:
        if name in pointers:
            count = 0 if pointers[name].strip() == "void" else pointers[name].count(",") + 1
            assert len(kind._argtypes_) == count, name
