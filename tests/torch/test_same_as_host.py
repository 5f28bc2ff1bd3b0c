"""Twenty steps in dukd-host and here: the same weights to begin with, the same batches, the same seed of the plugin.

dukd-host is given images that are one patch each, so that only their order is its own; that is drawn again here
(hosts/reference/data/sampler.c, hosts/common/random.c).
"""
import json
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import dukd
from support import SHARED, edsr, fitnets, images, program

STEPS, IMAGES, BATCH, SIDE, SEED = 20, 8, 4, 16, 11
M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def philox(counter, key):
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k0, b & M32, (a >> 32) ^ c[3] ^ k1, a & M32]
        k0, k1 = (k0 + 0x9E3779B9) & M32, (k1 + 0xBB67AE85) & M32
    return c


class Stream:
    """dukd_random_stream"""

    def __init__(self, seed, purpose, index):
        self.key, self.counter, self.block, self.waiting = (seed & M32, seed >> 32), (index & M32, index >> 32, purpose), 0, None

    def bits(self):
        if self.waiting is not None:
            word, self.waiting = self.waiting, None
            return word
        out = philox((*self.counter, self.block), self.key)
        self.block += 1
        self.waiting = out[3] << 32 | out[2]
        return out[1] << 32 | out[0]

    def below(self, bound):
        refused = (1 << 64) % bound
        while True:
            word = self.bits()
            if word >= refused:
                return word % bound


def permute(key, count, place):
    """dukd_sampler_permute"""
    rounds, x = Stream(key, 2, 0), place
    for r in range(96):
        pairing = rounds.below(count)
        partner = (pairing - x) % count
        larger = max(x, partner)
        if philox((larger & M32, larger >> 32, ~r & M32, 0), (key & M32, key >> 32))[0] & 1:
            x = partner
    return x


def order(step):
    """The images of a step, as dukd-host takes them."""
    chosen = []
    for k in range((step - 1) * BATCH, step * BATCH):
        key = Stream(SEED, 1, k // IMAGES).bits()
        chosen.append(permute(key, IMAGES, k % IMAGES))
    return chosen


def photographs(scale):
    """Bytes of IMAGES pairs of patches: pieces of photographs where there are some, else noise."""
    files = sorted((SHARED / "data").glob("**/*.png"))[:IMAGES]
    side = SIDE * scale
    pairs = []
    for i in range(IMAGES):
        if len(files) == IMAGES:
            hr = np.asarray(Image.open(files[i]).convert("RGB"))[60:60 + side, 80:80 + side]
        else:
            hr = (images(1, SIDE, scale, seed=i)[1][0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        lr = np.asarray(Image.fromarray(hr).resize((SIDE, SIDE), Image.BICUBIC))
        pairs.append((lr, hr))
    return pairs


MODES = {
    "paper": {"model_type": "DUKDPlugin"},
    "hardest": {"model_type": "DUKDPlugin", "train": {"zoom_in": "hardest"}},
    "official": {"model_type": "DUKD", "train": {"pixel_opt": {"type": "L1Loss", "loss_weight": 5.0},
                                                 "kd_opt": {"type": "L1Loss", "loss_weight": 1.0},
                                                 "dukd_opt": {"n_gt_sub": [2], "zoom_out": True}, "noisy": {"prob": 0.3}}},
    # a plugin with parameters of its own
    "hint": {"train": {"terms": ["rec", "hint"], "w_hint": 5, "hint": {"student_layer": "body.0", "teacher_layer": "conv_after_body"}}},
}


def host_options(options, scale, folder):
    net = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "upscale": scale, "res_scale": 0.1,
           "img_range": 255.0, "rgb_mean": [0.4488, 0.4371, 0.4040]}
    return {"name": "same", **{k: v for k, v in options.items() if k == "model_type"}, "scale": scale, "manual_seed": SEED, "num_threads": 1,
            "datasets": {"train": {"type": "PairedImageDataset", "dataroot_gt": f"{folder}/hr", "dataroot_lq": f"{folder}/lr",
                                   "filename_tmpl": "{}", "io_backend": {"type": "disk"}, "gt_size": SIDE * scale,
                                   "use_hflip": False, "use_rot": False, "batch_size_per_gpu": BATCH, "num_worker_per_gpu": 1}},
            "network_g": net, "network_t": {**net, "num_feat": 12, "num_block": 3},
            "path": {"pretrain_network_g": f"{folder}/g.safetensors", "pretrain_network_t": f"{folder}/t.safetensors",
                     "experiments_root": f"{folder}/run"},
            "train": {**options.get("train", {}), "ema_decay": 0.999, "total_iter": STEPS, "optim_g": {"type": "Adam", "lr": 1e-3, "betas": [0.9, 0.99]},
                      "scheduler": {"type": "MultiStepLR", "milestones": [10], "gamma": 0.5}},
            "logger": {"print_freq": 1, "save_checkpoint_freq": STEPS, "use_tb_logger": False}}


@pytest.mark.parametrize("mode", MODES)
def test_twenty_steps(mode, tmp_path):
    host, scale, options = program("dukd-host"), 2, MODES[mode]
    plugin = fitnets() if mode == "hint" else None
    pairs = photographs(scale)
    for kind in ("lr", "hr"):
        (tmp_path / kind).mkdir()
    for i, (lr, hr) in enumerate(pairs):
        Image.fromarray(lr).save(tmp_path / f"lr/{i}.png")
        Image.fromarray(hr).save(tmp_path / f"hr/{i}.png")
    student, teacher = edsr(8, 2, scale, seed=1), edsr(12, 3, scale, seed=2)
    for net, name in ((student, "g"), (teacher, "t")):
        save_file({f"params.{k}": v for k, v in net.state_dict().items()}, str(tmp_path / f"{name}.safetensors"))
    (tmp_path / "o.yml").write_text(json.dumps(host_options(options, scale, tmp_path)))
    done = subprocess.run([host, "train", tmp_path / "o.yml", *(["--plugin", plugin] if plugin else [])], capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    begin = {k: v.clone() for k, v in student.state_dict().items()}
    session = dukd.Session(options, {"student": student, "teacher": teacher}, (BATCH, 3, SIDE, SIDE), scale, seed=SEED, plugin=plugin)
    optimizer = torch.optim.Adam([*student.parameters(), *session.parameters()], 1e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10], 0.5)
    average = torch.optim.swa_utils.AveragedModel(student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999))
    average.n_averaged.fill_(1)
    first = {k: v.detach().clone() for k, v in session.named_parameters()}
    losses = []
    for step in range(1, STEPS + 1):
        lr, hr = (torch.from_numpy(np.stack([pairs[i][k] for i in order(step)]).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
                  for k in (0, 1))
        for p in session.step(lr, hr):
            p.apply(optimizer, average)
        schedule.step()
        losses.append(session.losses())
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    logged = {row["iteration"]: row["losses"] for row in logged if "losses" in row}
    assert len(logged) == STEPS
    for step, ours in enumerate(losses, 1):
        assert set(ours) == set(logged[step])
        for name, value in ours.items():
            assert abs(logged[step][name] / value - 1) <= 1e-5, (step, name)
    theirs = load_file(tmp_path / "run/models/net_g_latest.safetensors")
    ours = {"params." + k: (v, begin[k]) for k, v in student.state_dict().items()}
    ours.update({"params_ema." + k: (v, begin[k]) for k, v in average.module.state_dict().items()})
    if plugin:
        theirs.update(load_own(tmp_path / f"run/training_states/{STEPS}.state"))
        ours.update({"plugin." + k: (v, first[k]) for k, v in session.named_parameters()})
        ours.update({"plugin_ema." + k: (v, first[k]) for k, v in session.averages().items()})
        assert len([k for k in ours if k.startswith("plugin")]) == 4
    for k, (v, start) in ours.items():
        difference = (theirs[k] - v).norm()
        assert difference / v.norm() <= 1e-4 and difference / (v - start).norm() <= 1e-2, (k, float(difference / (v - start).norm()))


def load_own(path):
    """plugin.* and plugin_ema.* of dukd-host's training state, which is a safetensors file."""
    return {k: v for k, v in load_file(path).items() if k.startswith(("plugin.", "plugin_ema."))}
