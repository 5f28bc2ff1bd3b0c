"""dukd-conform --host on `python -m dukd.basicsr train`: calls, flags, options, errors, micro-batches, resuming, weights after
known gradients."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import pytest
import runs
from support import program

HERE = pathlib.Path(__file__).parent
SERVER = HERE.parent / "torch/conform_server.py"  # imports torch and BasicSR once, and forks


@pytest.fixture
def server(tmp_path):
    path = tmp_path / "socket"
    process = subprocess.Popen([sys.executable, str(SERVER), "serve", str(path), str(HERE)])
    for _ in range(600):
        if path.exists():
            break
        assert process.poll() is None, "the server did not start"
        time.sleep(0.1)
    yield f"{shlex.quote(sys.executable)} -S {shlex.quote(str(SERVER))} call {shlex.quote(str(path))}"
    process.kill()
    process.wait()


def test_host_conforms(server, tmp_path):
    conform = program("dukd-conform")
    runs.write_images(tmp_path / "images", [(24, 32)] * 4, 2)
    run = server + f" --plugin {{plugin}} --images {tmp_path}/images --iterations {{steps}} --out {{work}} --micro {{micro}} --drops"
    command = [str(conform), "--host", run, "--resumes", run + " --resume", "--loads", run + " --start {start}", "--rate", "0.01",
               "--weights", "{work}/weights.safetensors#params.", "--average", "{work}/weights.safetensors#params_ema.", "--drops"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "OMP_NUM_THREADS": "1"})
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
    assert len(re.findall(r"^ *pass +own-", done.stdout, re.M)) == 5, "the plugin's own parameters were not looked at"
