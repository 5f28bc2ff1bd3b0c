"""python -m dukd.train on a folder of images: trains, is killed and goes on, two ranks, messages."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

COMMON = ["--scale", "2", "--student", "num_feat=6,num_block=1", "--batch", "4", "--patch", "16", "--rate", "2e-3",
          "--log-every", "5", "--save-every", "10", "--threads", "1", "--ema", "0.9"]
TEACHER = ["--teacher", "num_feat=8,num_block=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("train") / "hr"
    where.mkdir()
    y, x = np.mgrid[0:60, 0:72]
    for i in range(5):
        waves = np.stack([np.sin(x / (3 + i) + c) + np.cos(y / (4 + c) + i) for c in range(3)], -1)
        Image.fromarray((waves * 60 + 128).astype(np.uint8)).save(where / f"{i}.png")
    return where


def run(*arguments, launcher=("-m",), **keywords):
    return subprocess.run([sys.executable, *launcher, "dukd.train", *map(str, arguments)], capture_output=True, text=True,
                          timeout=240, **keywords)


def totals(text):
    return [float(line.split("l_total")[1]) for line in text.splitlines() if "l_total" in line]


def weights(out):
    return torch.load(out / "student.pth", weights_only=True)["params"]


def test_it_learns(folder, tmp_path):
    done = run("--hr", folder, "--val", folder, "--iterations", 60, "--out", tmp_path / "t", "--set", "model_type=SRModel",
               "--set", "train.pixel_opt.type=L1Loss", *COMMON)
    assert done.returncode == 0, done.stderr
    losses = totals(done.stdout)
    assert losses[-1] < 0.8 * losses[0] and "PSNR" in done.stdout
    with_teacher = run("--hr", folder, "--iterations", 20, "--out", tmp_path / "s", "--teacher", "num_feat=6,num_block=1", "--teacher-weights",
                       tmp_path / "t/student.pth", "--set", "train.zoom_in=hardest", *COMMON)
    assert with_teacher.returncode == 0, with_teacher.stderr
    assert "l_zoom_in" in with_teacher.stdout


def test_killed_and_gone_on_with_is_bit_equal(folder, tmp_path):
    arguments = ["--hr", folder, "--iterations", 40, *TEACHER, *COMMON]
    straight = run(*arguments, "--out", tmp_path / "a")
    assert straight.returncode == 0, straight.stderr
    process = subprocess.Popen([sys.executable, "-m", "dukd.train", *map(str, arguments), "--out", str(tmp_path / "b")],
                               stdout=subprocess.DEVNULL, start_new_session=True)
    for _ in range(2400):
        if (tmp_path / "b/state.pth").exists() or process.poll() is not None:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)  # workers too
    process.wait()
    again = run(*arguments, "--out", tmp_path / "b")
    assert again.returncode == 0, again.stderr
    assert "going on after iteration" in again.stdout
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_two_ranks_are_one(folder, tmp_path):
    one = run("--hr", folder, "--iterations", 6, "--out", tmp_path / "one", *TEACHER, *COMMON)
    assert one.returncode == 0, one.stderr
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    two = run("--hr", folder, "--iterations", 6, "--out", tmp_path / "two", *TEACHER, *COMMON, "--batch", 2, launcher=launcher)
    assert two.returncode == 0, two.stderr
    a, b = weights(tmp_path / "one"), weights(tmp_path / "two")
    for k in a:
        assert (a[k] - b[k]).norm() <= 1e-3 * a[k].norm(), k


@pytest.mark.parametrize("arguments,words", [
    (["--hr", "no/such"], "no/such is no folder"),
    (["--set", "train.zoom_inn=random"], "train.zoom_in"),
    (["--set", "train.zoom_in"], "is not KEY=VALUE"),
    (["--micro", "3"], "--micro 3 does not divide --batch 4"),
    (["--plugin", "no/such.so"], "no/such.so"),
    (["--student", "no.such:Net"], "no.such|No module named 'no'"),
    (["--patch", "999"], "smaller than a patch"),
    ([], "teacher"),  # the plugin's options want one
])
def test_messages(folder, tmp_path, arguments, words):
    base = ["--hr", folder, "--iterations", 2, "--out", tmp_path, *(TEACHER if arguments else []), *COMMON]
    done = run(*base, *arguments)
    assert done.returncode != 0
    assert any(w in done.stderr for w in words.split("|")), done.stderr


def test_help():
    done = run("--help")
    assert done.returncode == 0 and "examples:" in done.stdout
    assert subprocess.run([sys.executable, "-m", "dukd.info"], capture_output=True, text=True).stdout.count("train.zoom_in") >= 2
