"""An option file as BasicSR reads it, with the place of every value, and --force_yml.

YAML 1.1 as PyYAML's safe loader resolves it. Beyond BasicSR, and the same as in dukd-host (yaml/README.md): a key that is
there twice is refused, merge keys work, --force_yml makes sections that are missing, and takes negative numbers, exponents
and "=" in values.
"""
import copy
from collections import OrderedDict

import yaml

from ..errors import OptionError


class Options(OrderedDict):
    """The options of a run. ``places``: dotted key to "file:line:column"; what is set later has no place. ``file``: path."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.places, self.file = {}, ""

    def __deepcopy__(self, memo):  # build_model works on a copy
        made = type(self)((k, copy.deepcopy(v, memo)) for k, v in self.items())
        made.places, made.file = dict(self.places), self.file
        return made


def _at(mark, name):
    return f"{name}:{mark.line + 1}:{mark.column + 1}"


class _Reader:
    """Nodes of one document to Python's values, noting places."""

    def __init__(self, loader, name):
        self.loader, self.name, self.places, self.open = loader, name, {}, []

    def value(self, node, path):
        if node in self.open:
            raise OptionError(f"{_at(node.start_mark, self.name)}: {path} contains itself")
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self.section(node, path)
            if path:
                self.places[path] = _at(node.start_mark, self.name)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(n, f"{path}.{i}") for i, n in enumerate(node.value)]
            return self.scalar(node, path)
        finally:
            self.open.pop()

    def scalar(self, node, path):
        try:
            return self.loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, OverflowError) as e:
            why = getattr(e, "problem", None) or e
            raise OptionError(f"{_at(node.start_mark, self.name)}: {path}: found '{node.value}': {why}") from None

    def section(self, node, path):
        first = {}
        for key, _ in node.value:  # before merging: a section's own keys win over merged ones
            if key.value in first and key.tag != "tag:yaml.org,2002:merge":
                raise OptionError(f"{_at(key.start_mark, self.name)}: the key \"{key.value}\" is here a second time; the "
                                  f"first is at {_at(first[key.value], self.name)}: remove one")
            first[key.value] = key.start_mark
        self.loader.flatten_mapping(node)
        made = OrderedDict()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise OptionError(f"{_at(key.start_mark, self.name)}: a key is a word")
            inside = f"{path}.{key.value}" if path else key.value
            made[key.value] = self.value(value, inside)
            if isinstance(value, yaml.MappingNode):
                self.places[inside] = _at(key.start_mark, self.name)
        return made


def _parse(text, name):
    """(value, places) of one YAML document."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        reader = _Reader(loader, name)
        return reader.value(node, ""), reader.places
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None) or getattr(e, "context_mark", None)
        what = getattr(e, "problem", None) or str(e)
        raise OptionError(f"{_at(mark, name) if mark else name}: not valid YAML: {what}; check the indentation, and "
                          "quote a text that contains \": \"") from None
    finally:
        loader.dispose()


def read(path):
    """Options of the file at ``path``. OptionError says what is wrong, and where."""
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except OSError as e:
        raise OptionError(f"{path}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise OptionError(f"{path} is no text in UTF-8") from None
    value, places = _parse(text, str(path))
    if not isinstance(value, dict):
        raise OptionError(f"{path} is no option file: keys with values are expected, as name: my_run")
    options = Options(value)
    options.places, options.file = places, str(path)
    return options


# ---------------------------------------------------------------- --force_yml

def _forced_value(text, name, shift):
    """The value of KEY=VALUE: a list or a quoted text is YAML, anything else a plain scalar as it stands."""
    if text.lower() in ("none", "~", ""):
        return None
    if text[0] in "['\"!":
        value, _ = _parse(text, name)
        if isinstance(value, dict):
            raise OptionError(f"{name}:1:{shift}: a value is a scalar or a list; set the keys of a section one by one")
        return [None if v == "None" else v for v in value] if isinstance(value, list) else value
    loader = yaml.SafeLoader("")
    try:
        tag = loader.resolve(yaml.ScalarNode, text, (True, False))
        if tag.rpartition(":")[2] in ("int", "float", "bool"):
            return loader.construct_object(yaml.ScalarNode(tag, text))
        return _number(text)
    except ValueError as e:
        raise OptionError(f"{name}:1:{shift}: found '{text}': {e}") from None
    finally:
        loader.dispose()


def _number(text):
    """1e-4, to YAML 1.1 a text, is a number on the command line; any other text stays what it is."""
    try:
        return float(text) if text.strip("+-.0123456789eE_") == "" and text[-1].isdigit() else text
    except ValueError:
        return text


def force(options, arguments):
    """Puts the arguments of --force_yml, as train:total_iter=10, into the options."""
    for number, argument in enumerate(arguments or (), 1):
        name = f"--force_yml argument {number}"
        keys, equals, text = argument.partition("=")
        keys = [k.strip() for k in keys.split(":")]
        if not equals or not all(keys):
            raise OptionError(f"{name}: \"{argument}\" is not of the form path:key=value, as train:total_iter=1000")
        shift = argument.index("=") + 2
        value = _forced_value(text.strip(), name, shift)
        section = options
        for depth, key in enumerate(keys[:-1], 1):
            inner = section.get(key)
            if inner is None:
                inner = section[key] = OrderedDict()
            if not isinstance(inner, (dict, list)) or isinstance(inner, list) and depth + 1 < len(keys):
                raise OptionError(f"{name}: {'.'.join(keys[:depth])} has no keys: it is {inner!r}")
            section = inner
        path = ".".join(keys)
        if isinstance(section, list):
            if not keys[-1].isdigit() or int(keys[-1]) >= len(section):
                raise OptionError(f"{name}: {'.'.join(keys[:-1])} is a list of {len(section)}: its elements are 0 to "
                                  f"{len(section) - 1}, not \"{keys[-1]}\"")
            section[int(keys[-1])] = value
            path = ".".join(keys[:-1])
        else:
            section[keys[-1]] = value
            for old in [p for p in options.places if p.startswith(path + ".")]:
                del options.places[old]
        options.places[path] = f"{name}:1:{shift}"
