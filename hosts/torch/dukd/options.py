"""Options of a Python program or a command line as the ABI wants them: dotted key, texts as YAML resolves them, a place for
messages."""
import argparse
import json
import numbers
from ctypes import POINTER, c_char_p, pointer

from . import abi
from .errors import OptionError


def _scalar(key, value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        value = float(value)
        if value != value or value in (float("inf"), float("-inf")):
            raise OptionError(f"{key}: {value} is no finite number")
        return repr(value)
    if isinstance(value, str):
        return value
    raise OptionError(f"{key}: a {type(value).__name__} is no option; text, numbers, true and false, None, and lists "
                      "and sections of these are")


def flatten(options, prefix=""):
    """[(dotted key, None | text | [texts])] of nested or dotted dicts. A section that is empty is a None."""
    rows = []
    for name, value in (options or {}).items():
        if not isinstance(name, str) or not name:
            raise OptionError(f"{prefix or 'options'}: a key is {name!r}; keys are texts")
        key = prefix + name
        if isinstance(value, dict):
            rows += flatten(value, key + ".") if value else [(key, None)]
        elif isinstance(value, (list, tuple)):
            rows.append((key, [_scalar(key, v) for v in value]))
        else:
            rows.append((key, None if value is None else _scalar(key, value)))
    if not prefix:
        seen = set()
        for key, _ in rows:
            if key in seen:
                raise OptionError(f"{key} is given twice, as a section's and as a dotted key")
            seen.add(key)
    return rows


def to_abi(options, place):
    """(array of pointers to abi.Option, count, what must be kept alive). place: a text, or a function of the key."""
    rows = flatten(options)
    made, kept = [], []
    for key, value in rows:
        values = [] if value is None else [value] if isinstance(value, str) else value
        texts = (c_char_p * max(1, len(values)))(*[v.encode() for v in values])
        kind = abi.VALUE_NULL if value is None else abi.VALUE_SCALAR if isinstance(value, str) else abi.VALUE_LIST
        where = place(key) if callable(place) else place
        o = abi.new(abi.Option, kind=kind, key=key.encode(), place=where.encode() if where else None, values=texts,
                    n_values=len(values))
        made.append(o)
        kept += [texts, o]
    array = (POINTER(abi.Option) * max(1, len(made)))(*[pointer(o) for o in made])
    return array, len(made), kept


# ---------------------------------------------------------------- of a command line

def words(text):
    """A value of the command line: number, true, false, null, [list] or text."""
    try:
        return json.loads(text)
    except ValueError:
        return [words(t.strip()) for t in text[1:-1].split(",") if t.strip()] if text[:1] + text[-1:] == "[]" else text


def key_and_value(text):
    """(key, value) of KEY=VALUE, as a type of argparse's."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    return key, words(value)
