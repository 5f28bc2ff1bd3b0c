"""What the tests of hosts/basicsr share: small option files, data and networks, and runs of `python -m dukd.basicsr`."""
import contextlib
import copy
import logging
import os
import pathlib
import subprocess
import sys
import time

import cv2
import numpy as np
import torch
import yaml

import dukd.basicsr  # noqa: F401 (first: it provides what basicsr imports)
from dukd.basicsr import models
from dukd.basicsr.__main__ import main

from basicsr.archs import build_network

EDSR = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "img_range": 255.0, "rgb_mean": [0.4488, 0.4371, 0.4040]}
SWINIR = {"type": "SwinIR", "in_chans": 3, "img_size": 24, "window_size": 8, "img_range": 1.0, "mlp_ratio": 2, "depths": [2],
          "num_heads": [2], "upsampler": "pixelshuffle", "resi_connection": "1conv"}


def edsr(feat, blocks, scale=2):
    return {**EDSR, "num_feat": feat, "num_block": blocks, "upscale": scale}


def swinir(dim, scale=2):
    return {**SWINIR, "embed_dim": dim, "upscale": scale}


def write_images(folder, sizes, scale, seed=0):
    """Smooth pictures of the sizes (rows, columns) in folder/HR, and their LR by area means in folder/LR (name + xS)."""
    (folder / "HR").mkdir(parents=True)
    (folder / "LR").mkdir()
    rng = np.random.default_rng(seed)
    for i, (h, w) in enumerate(sizes):
        small = rng.random((h // 6 + 2, w // 6 + 2, 3))
        hr = cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)
        hr = (np.clip(hr, 0, 1) * 255).astype(np.uint8)
        lr = cv2.resize(hr[:h // scale * scale, :w // scale * scale], (w // scale, h // scale), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "HR" / f"p{i}.png"), hr)
        cv2.imwrite(str(folder / "LR" / f"p{i}x{scale}.png"), lr)


def write_weights(path, network, seed=0):
    torch.manual_seed(seed)
    with quiet_log():
        torch.save({"params": build_network(network).state_dict()}, path)
    return str(path)


@contextlib.contextmanager
def quiet_log():
    from basicsr.utils.logger import initialized_logger
    log, was = logging.getLogger("basicsr"), "basicsr" in initialized_logger
    level = log.level
    initialized_logger["basicsr"] = True  # or a log without a file would be set up here, for good
    log.setLevel("CRITICAL")
    try:
        yield
    finally:
        log.setLevel(level)
        if not was:
            del initialized_logger["basicsr"]


def options(folder, model_type="DUKDPlugin", scale=2, student=None, teacher=None, train=None, **general):
    """An option file's content on folder/HR and folder/LR, small enough for a test. ``train``: what is added to the section."""
    student, teacher = student or edsr(6, 1, scale), teacher or edsr(8, 2, scale)
    where = {"name": "p", "type": "PairedImageDataset", "dataroot_gt": str(folder / "HR"), "dataroot_lq": str(folder / "LR"),
             "filename_tmpl": "{}x%d" % scale, "io_backend": {"type": "disk"}}
    section = {"ema_decay": 0.9, "optim_g": {"type": "Adam", "lr": 1e-3, "weight_decay": 0, "betas": [0.9, 0.99]},
               "scheduler": {"type": "MultiStepLR", "milestones": [3, 5], "gamma": 0.5}, "total_iter": 6, "warmup_iter": -1}
    section.update(copy.deepcopy(train or {}))
    if not (folder / "teacher.pth").exists():
        write_weights(folder / "teacher.pth", teacher)
    made = {"name": "run", "model_type": model_type, "scale": scale, "num_gpu": 0, "num_threads": 1, "manual_seed": 3,
            "datasets": {"train": {**where, "gt_size": 16 * scale, "use_hflip": True, "use_rot": True, "num_worker_per_gpu": 0,
                                   "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 1, "prefetch_mode": None},
                         "val": dict(where)},
            "network_g": student, "network_t": teacher,
            "path": {"pretrain_network_g": None, "pretrain_network_t": str(folder / "teacher.pth"), "resume_state": None},
            "train": section,
            "val": {"val_freq": 1000, "save_img": False,
                    "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": scale, "test_y_channel": True}}},
            "logger": {"print_freq": 1, "save_checkpoint_freq": 1000, "use_tb_logger": False}}
    made.update(general)
    return made


OFFICIAL = {"noisy": {"prob": 0.3}, "dukd_opt": {"n_gt_sub": [1], "zoom_out": True},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 5.0, "reduction": "mean"},
            "kd_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}}


def write(path, content):
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


class Trace:
    """What a run in this process did: the losses of each iteration, and its model."""

    def __init__(self):
        self.losses, self.rates, self.model = [], [], None
        self.first = None  # the plugin's own parameters, as they began

    def weights(self, average=False):
        net = self.model.net_g_ema if average else self.model.get_bare_model(self.model.net_g)
        return {k: v.detach().clone() for k, v in net.state_dict().items()}


def train(file, *force, folder, switches=(), monkeypatch):
    """`python -m dukd.basicsr train` in this process and folder: its Trace. Fails where the run fails."""
    trace, original = Trace(), models.DistilledModel.optimize_parameters

    def optimize(self, iteration):
        if trace.first is None:
            trace.first = {k: v.detach().clone() for k, v in self.session.named_parameters()}
        original(self, iteration)
        trace.losses.append(dict(self.log_dict))
        trace.rates.append(self.get_current_learning_rate()[0])
        trace.model = self

    monkeypatch.chdir(folder)
    # BasicSR puts an older run aside under a name that ends with the second, and fails where that is taken.
    while list(pathlib.Path(folder).glob(f"experiments/*_archived_{time.strftime('%Y%m%d_%H%M%S')}")):
        time.sleep(0.1)
    monkeypatch.setattr(models.DistilledModel, "optimize_parameters", optimize)
    status = main(["train", "-opt", str(file), *switches, *(["--force_yml", *force] if force else [])])
    monkeypatch.setattr(models.DistilledModel, "optimize_parameters", original)
    assert status == 0
    return trace


def refused(file, *force, folder, capsys, monkeypatch, command="train", switches=()):
    """The one line with which a run is refused."""
    monkeypatch.chdir(folder)
    capsys.readouterr()
    status = main([command, "-opt", str(file), *switches, *(["--force_yml", *force] if force else [])])
    err = capsys.readouterr().err
    assert status in (1, 2), f"was not refused: {err}"
    lines = [line for line in err.splitlines() if line.startswith("dukd.basicsr: ")]
    assert len(lines) == 1, err
    return lines[0][len("dukd.basicsr: "):]


def process(file, *force, folder, switches=(), environment=None):
    """The same as a process of its own: subprocess.Popen, output in one pipe."""
    words = [sys.executable, "-m", "dukd.basicsr", "train", "-opt", str(file), *switches,
             *(["--force_yml", *force] if force else [])]
    return subprocess.Popen(words, cwd=folder, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def same(a, b):
    """Weights that are equal bit for bit."""
    return set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)


def far(a, b, start=None):
    """(|a - b| / |b|, |a - b| / |b - start|) over all weights."""
    norm = lambda x: float(torch.sqrt(sum((v.double() ** 2).sum() for v in x)))  # noqa: E731
    difference = norm([a[k].double() - b[k].double() for k in b])
    moved = norm([b[k].double() - start[k].double() for k in b]) if start is not None else float("nan")
    return difference / norm(b.values()), difference / moved


