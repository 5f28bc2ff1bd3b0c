#!/usr/bin/env python3
"""What an iteration of BasicSR costs with the plugin: tools/bench basicsr, or bench_basicsr.py [--rounds N] [--case NAME]

Official mode, f32, the same networks, weights and batches in three ways, taken in turn:
  plugin   model_type DUKD of dukd.basicsr
  torch    the same two steps with the losses in torch, as one would write them: teacher without gradients, the whole batch
           scaled down by two matrix products, D by masks over the batch
  authors  the same two steps in the way of the released code: a gradient that nobody uses is computed for the teacher, every
           image is scaled down by itself (BasicSR's imresize), D by lists of indices
"""
import argparse
import contextlib
import copy
import io
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import torch
from torch.nn import functional as F

import dukd.basicsr  # noqa: F401 (first: it provides what basicsr imports)
from basicsr.archs import build_network
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from basicsr.utils.matlab_functions import imresize
from basicsr.utils.registry import MODEL_REGISTRY

P, W_PIX, W_KD = 0.3, 5.0, 1.0


def edsr(feat, blocks, scale):
    return {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": feat, "num_block": blocks, "upscale": scale,
            "res_scale": 0.1}


# name: (what it is, student, teacher, scale, batch, LR patch)
CASES = {
    "table4": ("EDSR 64c 32b -> 16c 32b, x4, batch 4, LR 48x48", (16, 32), (64, 32), 4, 4, 48),
    "demo": ("EDSR 32c 8b -> 16c 4b, x2, batch 8, LR 32x32", (16, 4), (32, 8), 2, 8, 32),
    "tiny": ("EDSR 4c 1b -> 4c 1b, x4, batch 16, LR 48x48: hardly any network", (4, 1), (4, 1), 4, 16, 48),
}


class WithTeacher(SRModel):
    """What both ways in torch share: a teacher, and a step of two losses."""

    teacher_gradient = False

    def init_training_settings(self):
        super().init_training_settings()
        self.net_t = build_network(self.opt["network_t"]).to(self.device)
        self.load_network(self.net_t, self.opt["path"]["pretrain_network_t"])
        if not self.teacher_gradient:
            self.net_t.requires_grad_(False)
        scale, side = self.opt["scale"], self.opt["datasets"]["train"]["gt_size"] // self.opt["scale"]
        self.down = imresize_matrix(side, scale)

    def teach(self, x):
        if self.teacher_gradient:
            return self.net_t(x)
        with torch.no_grad():
            return self.net_t(x)

    def optimize_parameters(self, current_iter):
        scale, side, row = self.opt["scale"], self.lq.shape[-1], {}
        self.optimizer_g.zero_grad()
        out = self.net_g(self.lq)
        row["l_pix"] = W_PIX * F.l1_loss(out, self.gt)
        row["l_kd"] = W_KD * F.l1_loss(out, self.teach(self.lq))
        (row["l_pix"] + row["l_kd"]).backward()
        self.optimizer_g.step()

        r, c = divmod(int(np.random.permutation(scale * scale)[0]), scale)
        x = self.gt[..., r * side:(r + 1) * side, c * side:(c + 1) * side]
        target = self.teach(x)
        chosen = np.random.random((4, len(x))) < P
        row["l_zoom_in"] = W_KD * F.l1_loss(self.augment(self.net_g(self.augment(x, chosen)), chosen), target)
        small = self.shrink(self.lq)
        out = self.net_g(small)
        row["l_zoom_out_pix"] = W_PIX * F.l1_loss(out, self.lq)
        row["l_zoom_out_kd"] = W_KD * F.l1_loss(out, self.teach(small))
        (row["l_zoom_in"] + row["l_zoom_out_pix"] + row["l_zoom_out_kd"]).backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(row)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)


def imresize_matrix(side, scale):
    """imresize along one dimension as a matrix: what it makes of each unit vector."""
    columns = [imresize(unit.reshape(1, side, 1).expand(1, side, side).contiguous(), 1 / scale)[0, :, 0] for unit in torch.eye(side)]
    return torch.stack(columns, 1)


@MODEL_REGISTRY.register()
class BenchTorch(WithTeacher):
    def shrink(self, x):
        return torch.einsum("ph,nchw,qw->ncpq", self.down, x, self.down)

    def augment(self, x, chosen):
        invert, height, width, turn = (torch.from_numpy(c)[:, None, None, None] for c in chosen)
        x = torch.where(invert, 1 - x, x)
        x = torch.where(height, x.flip(-2), x)
        x = torch.where(width, x.flip(-1), x)
        return torch.where(turn, x.transpose(-2, -1), x)


@MODEL_REGISTRY.register()
class BenchAuthors(WithTeacher):
    teacher_gradient = True

    def shrink(self, x):
        return torch.stack([imresize(image, 1 / self.opt["scale"]) for image in x])

    def augment(self, x, chosen):
        invert, height, width, turn = (torch.from_numpy(np.flatnonzero(c)) for c in chosen)
        x = x.clone()
        x[invert] = 1 - x[invert]
        x[height] = x[height].flip(-2)
        x[width] = x[width].flip(-1)
        x[turn] = x[turn].clone().transpose(-2, -1)
        return x


def options(model_type, case, folder):
    _, student, teacher, scale, batch, side = CASES[case]
    section = {"type": "L1Loss", "reduction": "mean"}
    ours = model_type == "DUKD"
    train = {"ema_decay": 0.999, "optim_g": {"type": "Adam", "lr": 1e-4, "betas": [0.9, 0.99]}, "total_iter": 1000,
             "scheduler": {"type": "MultiStepLR", "milestones": [500], "gamma": 0.1}, "pixel_opt": {**section, "loss_weight": W_PIX}}
    if ours:
        train.update(kd_opt={**section, "loss_weight": W_KD}, noisy={"prob": P}, dukd_opt={"n_gt_sub": [1], "zoom_out": True})
    return {"name": "bench", "model_type": model_type, "scale": scale, "num_gpu": 0, "manual_seed": 1, "is_train": True,
            "dist": False, "rank": 0, "world_size": 1,
            "datasets": {"train": {"type": "PairedImageDataset", "gt_size": side * scale, "batch_size_per_gpu": batch}},
            "network_g": edsr(*student, scale), "network_t": edsr(*teacher, scale),
            "path": {"pretrain_network_g": f"{folder}/g.pth", "pretrain_network_t": f"{folder}/t.pth"}, "train": train,
            "logger": {}}


def measure(case, rounds, folder, clock):
    _, student, teacher, scale, batch, side = CASES[case]
    for name, sizes, seed in (("g", student, 1), ("t", teacher, 2)):
        torch.manual_seed(seed)
        torch.save({"params": build_network(edsr(*sizes, scale)).state_dict()}, f"{folder}/{name}.pth")
    models = {name: build_model(copy.deepcopy(options(kind, case, folder)))
              for name, kind in (("plugin", "DUKD"), ("torch", "BenchTorch"), ("authors", "BenchAuthors"))}
    data = {"lq": torch.rand(batch, 3, side, side), "gt": torch.rand(batch, 3, side * scale, side * scale)}
    seconds = {name: [] for name in models}
    names = list(models)
    for i in range(1, rounds + 3):
        for name in names[i % 3:] + names[:i % 3]:  # in turn, none always first
            began = clock()
            models[name].update_learning_rate(i)
            models[name].feed_data(data)
            models[name].optimize_parameters(i)
            if i > 2:
                seconds[name].append(clock() - began)
    return seconds


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--case", choices=CASES, action="append")
    p.add_argument("--threads", type=int, default=0, help="PyTorch's threads; 0: its own choice")
    p.add_argument("--cpu", action="store_true", help="CPU time instead of the clock's: for a machine that others use")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    print(f"BasicSR 1.4.2, PyTorch {torch.__version__}, {torch.get_num_threads()} threads; an iteration in ms{' of CPU time' * a.cpu}, "
          f"medians of {a.rounds}; ratios are medians of those of each round")
    for case in a.case or CASES:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            seconds = measure(case, a.rounds, pathlib.Path(folder), time.process_time if a.cpu else time.perf_counter)
        ms = {name: 1e3 * statistics.median(s) for name, s in seconds.items()}
        ratio = {name: statistics.median([b / a for a, b in zip(seconds["plugin"], seconds[name])]) for name in seconds}
        print(f"{CASES[case][0]}\n  plugin {ms['plugin']:8.2f}   losses in torch {ms['torch']:8.2f} (x {ratio['torch']:.3f})   "
              f"authors' way {ms['authors']:8.2f} (x {ratio['authors']:.3f})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
