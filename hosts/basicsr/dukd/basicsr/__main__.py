"""python -m dukd.basicsr train|test -opt FILE: see run.py."""
import atexit
import os
import sys

_USAGE = """usage: python -m dukd.basicsr train -opt FILE [--auto_resume] [--force_yml A:B=C ...] [--launcher pytorch] [--debug]
       python -m dukd.basicsr test  -opt FILE [--force_yml A:B=C ...]

BasicSR's own train and test, with the model types of this project. `train --help` lists the switches."""


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    if not argv or argv[0] not in ("train", "test"):
        print(f"dukd.basicsr: {'no command ' + repr(argv[0]) if argv else 'train or test'}\n{_USAGE}", file=sys.stderr)
        return 2
    from ..errors import DukdError, OptionError
    from .compat import BasicSRError
    try:
        from .run import run
        run(argv[0], argv[1:])
    except OptionError as e:
        print(f"dukd.basicsr: {e}", file=sys.stderr)
        return 2
    except (DukdError, BasicSRError) as e:
        print(f"dukd.basicsr: {e}", file=sys.stderr)
        return 1
    return 0


def _leave(status):
    """Ends the process. One that fails among ranks leaves before libraries are taken down: gloo's threads, whose partner may be gone, would
    end it by SIGABRT instead of this status. What is registered for the exit (writers of logs) runs all the same."""
    distributed = sys.modules.get("torch.distributed")
    if not status or distributed is None or not distributed.is_available() or not distributed.is_initialized():
        sys.exit(status)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(main())
