"""The training images in an order that a resumed run can take up again.

BasicSR's sampler begins each epoch anew when a run is resumed, and crops and flips come from random states of the workers,
which are in no training state (and are the same in each epoch). Here what an image's crop and flips are drawn from depends on
(seed, epoch, place in the epoch) alone, so a resumed run gets the batches that the uninterrupted one would have had, with any
number of workers, and n ranks get together what one would.
"""
import os
import random
import threading

import numpy as np
import torch
from torch.utils import data

from .errors import RunError


def mix(*numbers):
    """One 64-bit number of several (splitmix64's last steps): near numbers give unrelated ones."""
    mixed = 0x9E3779B97F4A7C15
    for n in numbers:
        mixed = (mixed ^ n) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        mixed ^= mixed >> 31
    return mixed


def batch_size(options):
    """Images of a batch that one process loads. ``options``: of the run."""
    of_one = options["datasets"]["train"]["batch_size_per_gpu"]
    return of_one * options["num_gpu"] if not options["dist"] and options["num_gpu"] > 1 else of_one  # DataParallel


def _crop_first():
    """BasicSR refuses to train on an HR image that is no exact multiple of its LR image, which it crops for validation.
    Here it is cropped for training, too, as dukd-host does. In this process alone: readers are processes of their own."""
    from basicsr.data import paired_image_dataset
    original = paired_image_dataset.paired_random_crop
    if getattr(original, "crops_first", False):
        return

    def paired_random_crop(gt, lq, gt_size, scale, gt_path=None):
        if not isinstance(gt, list) and not isinstance(lq, list) and \
                lq.shape[0] == gt.shape[0] // scale and lq.shape[1] == gt.shape[1] // scale:
            gt = gt[:lq.shape[0] * scale, :lq.shape[1] * scale]
        return original(gt, lq, gt_size, scale, gt_path)

    paired_random_crop.crops_first = True
    paired_image_dataset.paired_random_crop = paired_random_crop


# Crops draw from the process's own random states. With prefetch_mode: cpu and no readers BasicSR loads in threads, two of them
# for a moment (its prefetcher is made and then reset), so one image at a time is drawn for. A reader begins with a lock of its own.
_drawing = threading.Lock()


def _new_lock():
    global _drawing
    _drawing = threading.Lock()


os.register_at_fork(after_in_child=_new_lock)


class DrawnByPlace(data.Dataset):
    """BasicSR's data set for training; an index is (image, key of the draws)."""

    def __init__(self, dataset):
        self.dataset = dataset
        paths = getattr(dataset, "paths", None)
        if isinstance(paths, list) and all(isinstance(p, dict) and "gt_path" in p for p in paths):
            paths.sort(key=lambda p: p["gt_path"])  # BasicSR's order is the folder's, which no copy of it keeps

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        image, key = index
        _crop_first()
        with _drawing:
            random.seed(key)
            np.random.seed(key % 2**32)
            return self.dataset[image]

    def __getattr__(self, name):  # opt, paths, ...: what BasicSR may ask a data set for
        if name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)


def resumable(enlarged_sampler, options, resumed, tell):
    """A sampler class of BasicSR's EnlargedSampler whose indices are for DrawnByPlace.

    ``resumed``: (epoch, iteration) of the training state, or None. ``tell``: prints a line.
    """

    class ResumableSampler(enlarged_sampler):
        """BasicSR's permutation of an epoch. Ranks share each batch in blocks, so that together they have, in order, the
        batch that one rank would have with all of them. The first epoch of a resumed run is continued."""

        def __init__(self, dataset, num_replicas, rank, ratio=1):
            super().__init__(dataset, num_replicas, rank, ratio)
            self.batch = batch_size(options)
            self.per_epoch = self.num_samples // self.batch
            if self.per_epoch == 0:
                raise RunError(f"datasets.train: {len(dataset)} images, taken {ratio} times by {num_replicas} rank(s), are fewer "
                               f"than a batch of {self.batch}: lower batch_size_per_gpu or raise dataset_enlarge_ratio")
            self.done = 0  # batches of the first epoch that are behind us
            if resumed is None:
                return
            done = resumed[1] - resumed[0] * self.per_epoch
            if 0 <= done <= self.per_epoch:
                self.done = done
            else:
                tell("The data set or the batch size has changed since the training state was written: the epoch begins anew.")

        def __iter__(self):
            generator = torch.Generator()
            generator.manual_seed(self.epoch)
            order = torch.randperm(self.total_size, generator=generator).tolist()
            seed, images = options["manual_seed"], len(self.dataset)
            for number in range(self.done if resumed and self.epoch == resumed[0] else 0, self.per_epoch):
                first = (number * self.num_replicas + self.rank) * self.batch
                for place in range(first, first + self.batch):
                    yield order[place] % images, mix(seed, self.epoch, place)

        def __len__(self):
            return self.per_epoch * self.batch

    return ResumableSampler
