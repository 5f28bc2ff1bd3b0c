"""What the tests of hosts/torch share. Environment: DUKD_SHARED (golden numbers, photographs; default ../shared beside the
sources), DUKD_BIN (programs of a build; default build/release/bin)."""
import json
import os
import pathlib

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from dukd import abi
from dukd.models import EDSR

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("DUKD_SHARED", SOURCE.parent / "shared"))
BIN = pathlib.Path(os.environ.get("DUKD_BIN", SOURCE / "build/release/bin"))

torch.set_num_threads(min(2, torch.get_num_threads()))


def program(name):
    """A program of the build; the test is skipped where it is not built."""
    path = BIN / name
    if not path.exists():
        pytest.skip(f"SKIP: {path} is not built (tools/build, or DUKD_BIN)")
    return path


def fitnets():
    """The second plugin, which has parameters of its own (tests/fitnets), as a path."""
    path = BIN.parent / "tests/fitnets/fitnets.so"
    if not path.exists():
        pytest.skip(f"SKIP: {path} is not built (tools/build release -DDUKD_TESTS=ON, or DUKD_BIN)")
    return str(path)


def golden_file(name):
    path = SHARED / "golden" / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"SKIP: {path} is not there (DUKD_SHARED)")
    return path


def edsr(feat, blocks, scale, seed=0, res_scale=0.1):
    """An EDSR with random weights; no bias is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return EDSR(num_feat=feat, num_block=blocks, upscale=scale, res_scale=res_scale)


def images(n, side, scale, seed=1, dtype=torch.float32):
    """A batch (lr, hr) of smooth noise in [0, 1]."""
    g = torch.Generator().manual_seed(seed)
    hr = torch.rand(n, 3, side * scale, side * scale, generator=g)
    hr = torch.nn.functional.avg_pool2d(hr, 3, 1, 1, count_include_pad=False)
    return torch.nn.functional.avg_pool2d(hr, scale).to(dtype), hr.to(dtype)


class Golden:
    """A recorded run: official_* and paper_* of the golden numbers, or a file of the same make at any path."""

    def __init__(self, path):
        path = pathlib.Path(path)
        self.name, self.tensors = path.stem, load_file(path)
        self.about = json.loads(path.with_suffix(".json").read_text())
        self.config, self.official = self.about["config"], self.about["kind"] == "official"
        self.batch, self.scale = self.config["batch"], self.config["scale"]
        self.iterations = self.config["its"]

    def net(self, which):
        c = dict(self.config[which])
        assert c.pop("type") == "EDSR"
        net = EDSR(**c)
        net.load_state_dict(self.weights(which))
        return net

    def weights(self, prefix):
        return {k[len(prefix) + 1:]: torch.from_numpy(v) for k, v in self.tensors.items() if k.startswith(prefix + ".")}

    def images(self, iteration):
        return tuple(torch.from_numpy(self.tensors[f"{k}.{iteration}"].astype(np.float32) / np.float32(255))
                     for k in ("lr", "hr"))

    def options(self):
        c = self.config
        if not self.official:
            o = {"train.w_rec": c["w_rec"], "train.w_kd": c["w_kd"], "train.w_dukd": c["w_dukd"],
                 "train.zoom_in": c["crop"], "train.zoom_in_count": c["count"]}
            if c["size"][0] != c["size"][1]:  # turns of oblong patches are refused, recorded ones are taken
                o["train.augment.rot90"] = 0
            return {"model_type": "DUKDPlugin", **o}
        o = {"pixel_opt": {"type": "L1Loss", "loss_weight": c["w_pix"]}, "kd_opt": {"type": "L1Loss", "loss_weight": c["w_kd"]},
             "dukd_opt": {"n_gt_sub": [c["n_gt_sub"]], "zoom_out": c["zoom_out"]}}
        if c["noisy"] is not None:
            o["noisy"] = {"prob": c["noisy"]}
        return {"model_type": "DUKD", "train": o}

    @property
    def loss_names(self):
        if self.official:
            return ["l_pix", "l_kd", "l_zoom_in", "l_zoom_out_pix", "l_zoom_out_kd"]
        return ["l_rec", "l_kd", "l_zoom_out", "l_zoom_in", "l_total"]

    def draw(self, d):
        """The recorded choice that a draw asks for."""
        it = d.iteration - 1
        row = d.crop * self.batch + (0 if d.sample < 0 else d.sample - it * self.batch)
        if d.what == abi.DRAW_TILE:
            return self.tensors["tiles"][it, d.crop]
        if d.what in (abi.DRAW_CROP_ROW, abi.DRAW_CROP_COL):
            return self.tensors["offsets"][it, row, int(d.what == abi.DRAW_CROP_COL)]
        if self.official:
            columns = [abi.DRAW_INVERT, abi.DRAW_FLIP_H, abi.DRAW_FLIP_W, abi.DRAW_TRANSPOSE]
            return self.tensors["ops"][it, row, columns.index(d.what)]
        columns = [abi.DRAW_FLIP_W, abi.DRAW_FLIP_H, abi.DRAW_ROTATE, abi.DRAW_INVERT]
        return self.tensors["ops_zi" if d.branch == abi.BRANCH_ZOOM_IN else "ops_zo"][it, row, columns.index(d.what)]


def relative(got, want):
    """max |difference| / max |reference|."""
    return float((got - want).abs().max() / want.abs().max())


def absolute(got, want):
    return float((got - want).abs().max())
