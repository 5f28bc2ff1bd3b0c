"""What a plugin says of itself: `python -m dukd.info [LIB.so]`."""
import sys

from . import Plugin
from .errors import DukdError


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(a in ("-h", "--help") for a in arguments) or len(arguments) > 1:
        print("usage: python -m dukd.info [LIB.so]\nName, version, backends, losses and options of a plugin "
              "(default: the one in this package).")
        return 0 if len(arguments) == 1 else 2
    try:
        plugin = Plugin(*arguments)
    except DukdError as e:
        print(f"dukd.info: {e}", file=sys.stderr)
        return 1
    print(f"{plugin.name} {plugin.version}\n{plugin.build}\n{plugin.path}\n\nbackends:")
    for b in plugin.backends:
        print(f"  {b.name:8}{'usable' if b.usable else 'not usable'}: {b.detail}")
    print("\nlosses:")
    for loss in plugin.losses:
        print(f"  {loss.name:8}{loss.help}")
    print("\noptions:")
    for o in plugin.options:
        kind = "/".join(o.choices) if o.choices else o.type
        default = "" if o.default is None else f" (default {o.default})"
        print(f"  {o.name}: {'list of ' if o.is_list else ''}{kind}{default}\n      {o.help}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
