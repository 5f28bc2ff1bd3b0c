"""The package's source archive: libdukd's sources are inside, and a wheel with both libraries comes of it alone."""
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from support import SOURCE


def test_a_wheel_from_the_archive_alone(tmp_path):
    for module in ("scikit_build_core", "pip"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"SKIP: {module} is not installed")
    for program in ("cmake", "cc"):
        if shutil.which(program) is None:
            pytest.skip(f"SKIP: {program} is not there")
    package = SOURCE / "hosts/torch"
    done = subprocess.run([sys.executable, "-c", f"import backend; backend.build_sdist({str(tmp_path)!r})"], cwd=package,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (package / "sources").exists()
    archive, = tmp_path.glob("dukd-*.tar.gz")
    with tarfile.open(archive) as t:
        names = [n.partition("/")[2] for n in t.getnames()]
        t.extractall(tmp_path / "elsewhere")
    assert {"pyproject.toml", "sources/plugin/plugin.c", "sources/abi/dukd_plugin.h", "sources/LICENSE"} <= set(names)
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, archive],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    wheel, = tmp_path.glob("dukd-*.whl")
    assert {"dukd/libdukd.so", "dukd/libdukd_torch.so", "dukd/parameters.py"} <= set(zipfile.ZipFile(wheel).namelist())
