"""Folders of images: pairs of patches to train on, whole pairs to test on; RGB, float32, values in [0, 1]."""
import math
import pathlib

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def list_images(folder):
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{folder} holds no images ({' '.join(sorted(SUFFIXES))})")
    return found


def load(path):
    """H x W x 3, uint8."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def shrink(hr, scale):
    """LR of an image whose sides are multiples of scale: Pillow's bicubic, antialiased, which differs from MATLAB's at
    borders and by rounding. For comparisons with published numbers make LR by `dukd-host prepare` and name its folder."""
    return np.asarray(Image.fromarray(hr).resize((hr.shape[1] // scale, hr.shape[0] // scale), Image.BICUBIC))


def to_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255))


class Pairs(Dataset):
    """Pairs of an HR folder and an LR folder (the same order of names; None: LR is made). patch: LR side of random
    patches, flipped and turned; None: whole images. Index i is (sample, seed): what is cut depends on nothing else."""

    def __init__(self, hr, lr, scale, patch=None):
        self.hr, self.lr, self.scale, self.patch = list_images(hr), list_images(lr) if lr else None, scale, patch
        if self.lr and len(self.lr) != len(self.hr):
            raise SystemExit(f"{hr} holds {len(self.hr)} images, {lr} {len(self.lr)}")

    def __len__(self):
        return len(self.hr)

    def pair(self, i):
        hr, s = load(self.hr[i]), self.scale
        hr = hr[:hr.shape[0] // s * s, :hr.shape[1] // s * s]
        lr = load(self.lr[i]) if self.lr else shrink(hr, s)
        if (lr.shape[0] * s, lr.shape[1] * s) != hr.shape[:2]:
            raise ValueError(f"{self.lr[i]} is {lr.shape[1]} x {lr.shape[0]}, {self.hr[i]} is {hr.shape[1]} x {hr.shape[0]}: "
                             f"no pair at scale {s}")
        return lr, hr

    def __getitem__(self, index):
        i, seed = index if isinstance(index, tuple) else (index, 0)
        lr, hr = self.pair(i)
        if self.patch is not None:
            n, s, draw = self.patch, self.scale, np.random.default_rng(seed)
            if lr.shape[0] < n or lr.shape[1] < n:
                raise ValueError(f"{self.hr[i]} is smaller than a patch of {n * s} x {n * s}")
            row, col = draw.integers(lr.shape[0] - n + 1), draw.integers(lr.shape[1] - n + 1)
            lr, hr = lr[row:row + n, col:col + n], hr[row * s:(row + n) * s, col * s:(col + n) * s]
            if draw.integers(2):
                lr, hr = lr[:, ::-1], hr[:, ::-1]
            turns = int(draw.integers(4))
            lr, hr = np.rot90(lr, turns), np.rot90(hr, turns)
        return to_tensor(lr), to_tensor(hr)


class Endless(Sampler):
    """(image, seed) of batch after batch, from iteration `first` on: a function of seed and iteration alone, so that a run
    that was resumed sees what it would have seen. Each rank takes its part of the global batch."""

    def __init__(self, images, batch, seed, first, rank=0, ranks=1):
        self.images, self.batch, self.seed, self.first, self.rank, self.ranks = images, batch, seed, first, rank, ranks

    def __iter__(self):
        iteration, whole, epoch, order = self.first, self.batch * self.ranks, None, None
        while True:
            batch = []
            for k in range((iteration - 1) * whole + self.rank * self.batch, (iteration - 1) * whole + (self.rank + 1) * self.batch):
                if k // self.images != epoch:
                    epoch = k // self.images
                    order = np.random.default_rng((self.seed, 1, epoch)).permutation(self.images)
                batch.append((int(order[k % self.images]), (self.seed, 2, k)))
            yield batch
            iteration += 1


def psnr(net, folder, scale, device):
    """Mean PSNR of the Y channel over a folder's images, each whole."""
    net.eval()
    total, data = 0.0, Pairs(folder, None, scale)
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64).view(3, 1, 1)
    with torch.no_grad():
        for i in range(len(data)):
            lr, hr = data[i]
            sr = net(lr[None].to(device))[0].float().cpu()
            a, b = ((t.double().clamp(0, 1).mul(255).round() / 255 * weights).sum(0)[scale:-scale, scale:-scale] for t in (sr, hr))
            total += 10 * math.log10(255 ** 2 / max(float((a - b).square().mean()), 1e-10))
    net.train()
    return total / len(data)
