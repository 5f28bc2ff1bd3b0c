import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "torch"))  # support.py: golden files, programs

import logging  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def new_log():
    """BasicSR sets its logger up once a process; each test gets one of its own."""
    import dukd.basicsr  # noqa: F401
    from basicsr.utils.logger import initialized_logger
    initialized_logger.clear()
    log = logging.getLogger("basicsr")
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
