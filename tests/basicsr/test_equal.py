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
from support import SHARED, fitnets, program

import dukd.models

STEPS, SCALE, SIDE, BATCH = 20, 2, 24, 3
LOSS, WEIGHTS, MOVED = 1e-5, 1e-4, 1e-2

MODES = {
    "paper": ("DUKDPlugin", {"mode": "paper", "w_rec": 1.0, "w_kd": 0.5, "w_dukd": 2.0, "zoom_in_count": 2}),
    "hardest": ("DUKDPlugin", {"zoom_in": "hardest"}),
    "official": ("DUKD", {**runs.OFFICIAL, "dukd_opt": {"n_gt_sub": [2], "zoom_out": True}}),
    "fakd": ("DUKDPlugin", {"terms": ["fakd"], "fakd": {"layers": ["conv_first", 0, "conv_after_body"]}}),
}
FEATURES = {"layers": ["features.1", "features.6", "features.11"], "layer_weights": [0.25, 0.5, 1], "negatives": 2}
# a teacher that learns, its features of VGG19's layers; a student that is a part of it; a plugin with parameters of its own
MORE = {
    "csd": ("DUKDPlugin", {"terms": ["csd"], "csd": FEATURES}),
    "shared": ("DUKDPlugin", {"terms": ["csd"], "csd": {**FEATURES, "detach_teacher": False}, "share_weights": True}),
    "hint": ("DUKDPlugin", {"terms": ["rec", "hint"], "w_hint": 2, "hint": {"student_layer": "body.1", "teacher_layer": "conv_first"}}),
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


def content_of(folder, model_type, section, student, teacher):
    content = runs.options(folder, model_type, SCALE, student, teacher, train=section)
    content["datasets"]["train"].update(gt_size=SIDE * SCALE, batch_size_per_gpu=BATCH, use_hflip=False, use_rot=False)
    content["train"].update(ema_decay=0.999, total_iter=STEPS)
    content["train"]["optim_g"]["lr"] = 1e-4  # the authors'
    content["train"]["scheduler"]["milestones"] = [10]
    del content["val"], content["datasets"]["val"]
    content["path"]["pretrain_network_t"] = safetensors(folder / "teacher.pth")
    return content


def compare(folder, file, monkeypatch, host_words=(), host_file=None):
    """Trains by both hosts and compares the losses of each step, and the files of weights: {name: (weights, start)}."""
    host = program("dukd-host")
    done = subprocess.run([host, "train", host_file or file, "--set", "name=host", *host_words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    here = runs.train(file, "name=here", f"logger:save_checkpoint_freq={STEPS}", folder=folder, monkeypatch=monkeypatch)
    rows = [json.loads(line) for line in (folder / "experiments/host/metrics.jsonl").read_text().splitlines()]
    rows = [row["losses"] for row in rows if "losses" in row]
    assert len(rows) == len(here.losses) == STEPS
    for i, (theirs, ours) in enumerate(zip(rows, here.losses), 1):
        assert set(theirs) == set(ours)
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=LOSS), (i, name)
    return here


def same_files(folder, which, start):
    """A network's files, of values and averages."""
    theirs = load_file(folder / f"experiments/host/models/{which}_latest.safetensors")
    ours = torch.load(folder / f"experiments/here/models/{which}_latest.pth", weights_only=True)
    for key in ("params", "params_ema"):
        want = {k[len(key) + 1:]: v for k, v in theirs.items() if k.startswith(key + ".")}
        got = {k: v for k, v in ours[key].items() if k in want}
        of_all, of_moved = runs.far(got, want, {k: start[k] for k in want})
        assert want and of_all <= WEIGHTS and of_moved <= MOVED, (which, key, of_all, of_moved)


@pytest.mark.parametrize("mode, network", [(m, n) for m in MODES for n in ("EDSR", "SwinIR") if (m, n) != ("fakd", "SwinIR")])
def test_same_file_same_training(mode, network, tmp_path, monkeypatch):
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
    content = content_of(tmp_path, model_type, section, student, teacher)
    runs.write_weights(tmp_path / "g.pth", student, seed=21)
    content["path"]["pretrain_network_g"] = safetensors(tmp_path / "g.pth")
    file = runs.write(tmp_path / "o.yml", content)
    compare(tmp_path, file, monkeypatch)
    same_files(tmp_path, "net_g", torch.load(tmp_path / "g.pth", weights_only=True)["params"])
    assert yaml.safe_load((tmp_path / "o.yml").read_text()) == content


def features(folder):
    """VGG19's weights as torchvision's file has them, random."""
    torch.manual_seed(5)
    weights = dict(dukd.models.VGG19().state_dict())
    weights["classifier.0.bias"] = torch.zeros(4)
    torch.save(weights, folder / "vgg19.pth")
    return str(folder / "vgg19.pth")


@pytest.mark.parametrize("mode", MORE)
def test_what_else_is_trained(mode, tmp_path, monkeypatch):
    patch(tmp_path)
    model_type, section = MORE[mode]
    student, teacher = runs.edsr(8, 2, SCALE), runs.edsr(12, 2, SCALE)
    content = content_of(tmp_path, model_type, section, student, teacher)
    if mode != "shared":
        runs.write_weights(tmp_path / "g.pth", student, seed=21)
        content["path"]["pretrain_network_g"] = safetensors(tmp_path / "g.pth")
    if mode != "hint":
        content["network_f"] = {"type": "VGG19", "use_input_norm": mode == "csd", "img_range": 1 if mode == "csd" else 255}
        content["path"]["pretrain_network_f"] = features(tmp_path)
    words, host_file = [], None
    if mode == "hint":
        monkeypatch.setenv("DUKD_LIBRARY", fitnets())
        words = ["--plugin", fitnets()]
        host_file = runs.write(tmp_path / "host.yml", {k: v for k, v in content.items() if k != "model_type"})
    file = runs.write(tmp_path / "o.yml", content)
    here = compare(tmp_path, file, monkeypatch, words, host_file)
    start = torch.load(tmp_path / "teacher.pth", weights_only=True)["params"]
    whole = {k: start[k] for k in start}
    begin = torch.load(tmp_path / "g.pth", weights_only=True)["params"] if mode != "shared" else \
        {k: whole[k][tuple(slice(n) for n in v.shape)] for k, v in here.weights().items()}
    same_files(tmp_path, "net_g", begin)
    if mode != "hint":
        same_files(tmp_path, "net_t", start)
        assert here.model.teacher_learns
        return
    assert not here.model.teacher_learns
    state = load_file(tmp_path / f"experiments/host/training_states/{STEPS}.state")
    ours = torch.load(tmp_path / f"experiments/here/training_states/{STEPS}.state", weights_only=True)["dukd"]["session"]["parameters"]
    first = {k: v.clone() for k, v in here.first.items()}
    for prefix, kind in (("plugin.", "values"), ("plugin_ema.", "averages")):
        assert set(ours[kind]) == {"projection.weight", "projection.bias"}
        want = {k: state[prefix + k] for k in ours[kind]}
        of_all, of_moved = runs.far(ours[kind], want, first)
        assert of_all <= WEIGHTS and of_moved <= MOVED, (prefix, of_all, of_moved)
