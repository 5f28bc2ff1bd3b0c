"""How this package is built: scikit-build-core's backend, whose source archive has libdukd's sources inside (folder sources/).

In a checkout those are the repository's own, two folders up; an archive has nothing above it.
"""
import pathlib
import shutil

from scikit_build_core import build as _build
from scikit_build_core.build import *  # noqa: F401,F403 (what a build backend has)

_HERE = pathlib.Path(__file__).parent
# Of the repository; CMake's DUKD_PLUGIN_ONLY needs no more.
_SOURCES = ("CMakeLists.txt", "LICENSE", "abi", "plugin", "hosts/torch/CMakeLists.txt", "hosts/torch/csrc")


def build_sdist(sdist_directory, config_settings=None):
    inside, repository = _HERE / "sources", _HERE.parents[1]
    if (_HERE / "PKG-INFO").exists():  # an archive of an archive
        return _build.build_sdist(sdist_directory, config_settings)
    shutil.rmtree(inside, ignore_errors=True)
    try:
        for name in _SOURCES:
            (inside / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
            copy(repository / name, inside / name)
        return _build.build_sdist(sdist_directory, config_settings)
    finally:
        shutil.rmtree(inside, ignore_errors=True)
