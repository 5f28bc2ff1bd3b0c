"""dukd-conform --host on a trainer made of hosts/torch: calls, flags, errors, micro-batches, weights after known gradients."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import pytest

import dukd
from support import program

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def server(tmp_path):
    path = tmp_path / "socket"
    process = subprocess.Popen([sys.executable, str(HERE / "conform_server.py"), "serve", str(path)])
    for _ in range(600):
        if path.exists():
            break
        assert process.poll() is None, "the server did not start"
        time.sleep(0.1)
    yield f"{shlex.quote(sys.executable)} -S {shlex.quote(str(HERE / 'conform_server.py'))} call {shlex.quote(str(path))}"
    process.kill()
    process.wait()


def test_host_conforms(server):
    conform = program("dukd-conform")
    run = server + " --plugin {plugin} --iterations {steps} --out {work} --micro {micro} --drops"
    command = [str(conform), "--host", run, "--resumes", run + " --resume", "--loads", run + " --start {start}", "--rate", "0.01",
               "--weights", "{work}/weights.safetensors#params.", "--average", "{work}/weights.safetensors#params_ema.", "--drops"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"})
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed, 0 skipped" in done.stdout
    assert len(re.findall(r"^ *pass +own-", done.stdout, re.M)) == 5, "the plugin's own parameters were not looked at"


def test_libraries_own_checks_pass_on_the_packages_plugin():
    """The libdukd inside the package, not only the build's."""
    conform = program("dukd-conform")
    done = subprocess.run([str(conform), dukd.Plugin().path, "--only", "static", "--only", "loading"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
