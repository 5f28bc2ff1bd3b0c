"""Twenty steps of one option file in dukd-host and here, from the same weights and batches: the same losses and weights.

All images of the set are copies of one patch, so that a batch is the same in whatever order two hosts take them; what the
plugin draws is the same by its own rule (seed, iteration, sample).
"""
import json
import subprocess

import cv2
import pytest
import runs
import torch
import yaml
from safetensors.torch import load_file, save_file
from support import SHARED, program

STEPS, SCALE, SIDE, BATCH = 20, 2, 24, 3
LOSS, WEIGHTS, MOVED = 1e-5, 1e-4, 1e-2

MODES = {
    "paper": ("DUKDPlugin", {"mode": "paper", "w_rec": 1.0, "w_kd": 0.5, "w_dukd": 2.0, "zoom_in_count": 2}),
    "hardest": ("DUKDPlugin", {"zoom_in": "hardest"}),
    "official": ("DUKD", {**runs.OFFICIAL, "dukd_opt": {"n_gt_sub": [2], "zoom_out": True}}),
}


def patch(folder):
    found = sorted((SHARED / "data/Set5/HR").glob("*.png"))
    if not found:
        pytest.skip(f"SKIP: {SHARED}/data/Set5/HR is not there (DUKD_SHARED)")
    hr = cv2.imread(str(found[0]))[60:60 + SIDE * SCALE, 80:80 + SIDE * SCALE]
    lr = cv2.resize(hr, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    for name in ("HR", "LR"):
        (folder / name).mkdir()
    for i in range(BATCH):
        cv2.imwrite(str(folder / f"HR/p{i}.png"), hr)
        cv2.imwrite(str(folder / f"LR/p{i}x2.png"), lr)


def safetensors(pth):
    path = pth.with_suffix(".safetensors")
    save_file({f"params.{k}": v for k, v in torch.load(pth, weights_only=True)["params"].items()}, str(path))
    return str(path)


@pytest.mark.parametrize("network", ["EDSR", "SwinIR"])
@pytest.mark.parametrize("mode", MODES)
def test_same_file_same_training(mode, network, tmp_path, monkeypatch):
    host = program("dukd-host")
    patch(tmp_path)
    model_type, section = MODES[mode]
    student, teacher = runs.edsr(8, 2, SCALE), runs.edsr(12, 3, SCALE)
    if network == "SwinIR":
        student, teacher = runs.swinir(8, SCALE), runs.swinir(12, SCALE)
        student["drop_path_rate"] = teacher["drop_path_rate"] = 0.0  # the two hosts draw other paths
        section = json.loads(json.dumps(section))
        if model_type == "DUKD":  # SIDE / SCALE is no multiple of the window
            section["dukd_opt"]["zoom_out"] = False
        else:
            section["zoom_out"] = False
    content = runs.options(tmp_path, model_type, SCALE, student, teacher, train=section)
    content["datasets"]["train"].update(gt_size=SIDE * SCALE, batch_size_per_gpu=BATCH, use_hflip=False, use_rot=False)
    content["train"].update(ema_decay=0.999, total_iter=STEPS)
    content["train"]["optim_g"]["lr"] = 1e-4  # the authors'
    content["train"]["scheduler"]["milestones"] = [10]
    del content["val"], content["datasets"]["val"]
    runs.write_weights(tmp_path / "g.pth", student, seed=21)
    content["path"]["pretrain_network_t"] = safetensors(tmp_path / "teacher.pth")
    content["path"]["pretrain_network_g"] = safetensors(tmp_path / "g.pth")
    file = runs.write(tmp_path / "o.yml", content)

    done = subprocess.run([host, "train", file, "--set", "name=host"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    here = runs.train(file, "name=here", folder=tmp_path, monkeypatch=monkeypatch)

    rows = [json.loads(line) for line in (tmp_path / "experiments/host/metrics.jsonl").read_text().splitlines()]
    rows = [row["losses"] for row in rows if "losses" in row]
    assert len(rows) == len(here.losses) == STEPS
    for i, (theirs, ours) in enumerate(zip(rows, here.losses), 1):
        assert set(theirs) == set(ours)
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=LOSS), (i, name)
    theirs = load_file(tmp_path / "experiments/host/models/net_g_latest.safetensors")
    start = torch.load(tmp_path / "g.pth", weights_only=True)["params"]
    for key, average in (("params.", False), ("params_ema.", True)):
        want = {k[len(key):]: v for k, v in theirs.items() if k.startswith(key)}
        ours = {k: v for k, v in here.weights(average).items() if k in want}
        of_all, of_moved = runs.far(ours, want, {k: start[k] for k in want})
        assert of_all <= WEIGHTS and of_moved <= MOVED, (key, of_all, of_moved)
    assert yaml.safe_load((tmp_path / "o.yml").read_text()) == content
