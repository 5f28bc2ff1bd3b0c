"""dukd.basicsr: model types for BasicSR 1.4.2 that train by a DUKD plugin.

Importing it registers DUKD, BaseKD, FAKD (the authors' names and keys) and DUKDPlugin in BasicSR's MODEL_REGISTRY, and
provides what BasicSR imports and newer libraries no longer have. `python -m dukd.basicsr train -opt FILE` is the way to use
it; see README.md.
"""
from .compat import import_basicsr

import_basicsr()

from . import models  # noqa: E402,F401 (registers)
