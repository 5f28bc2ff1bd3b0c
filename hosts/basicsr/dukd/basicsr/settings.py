"""The options of a run, ready for BasicSR: defaults, values that it would trip over, paths, what this machine has.

What BasicSR's parse_options does, and before it what a clear message needs. Defaults are dukd-host's
(hosts/reference/train/README.md), so that one file means the same to both.
"""
import os
import pathlib
from collections import OrderedDict

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from ..errors import OptionError
from .keys import place_of, registered, wrong

_NUMBERS = """
train.optim_g.lr train.optim_g.weight_decay train.optim_g.eps train.ema_decay train.scheduler.gamma
train.scheduler.eta_min
"""
_WHOLE = """
scale num_threads train.total_iter train.warmup_iter train.micro_batches val.val_freq logger.print_freq
logger.save_checkpoint_freq manual_seed datasets.train.gt_size datasets.train.batch_size_per_gpu
datasets.train.num_worker_per_gpu datasets.train.dataset_enlarge_ratio
"""
NEVER = 10**15  # a val_freq that does not come


def find(options, key):
    """Value of a dotted key, None where it is absent."""
    for word in key.split("."):
        if not isinstance(options, dict) or options.get(word) is None:
            return None
        options = options[word]
    return options


def _put(options, key, value):
    *sections, leaf = key.split(".")
    for word in sections:
        options = options[word]
    options[leaf] = value


def missing(options, key, what):
    place = place_of(options, key.rpartition(".")[0]) or getattr(options, "file", "")
    return OptionError(f"{place + ': ' if place else ''}{key} is missing: {what}")


def _check_numbers(options):
    """1e-4 is a text to YAML 1.1; as a number of BasicSR's it is taken for one, as dukd-host does."""
    for key in (_NUMBERS + _WHOLE).split():
        value = find(options, key)
        if value is None:
            continue
        try:
            if isinstance(value, (bool, list, dict)):
                raise ValueError
            number = float(value)
        except (ValueError, TypeError):
            raise wrong(options, key, f"expected a number, found {value!r}") from None
        if key in _WHOLE.split():
            if number != int(number):
                raise wrong(options, key, f"expected a whole number, found {value!r}")
            number = int(number)
        if isinstance(value, str) or key in _WHOLE.split():
            _put(options, key, number)
    for key, least in (("scale", 1), ("train.total_iter", 1), ("train.micro_batches", 1), ("val.val_freq", 1),
                       ("logger.print_freq", 1), ("logger.save_checkpoint_freq", 1), ("datasets.train.gt_size", 1),
                       ("datasets.train.batch_size_per_gpu", 1), ("datasets.train.num_worker_per_gpu", 0),
                       ("datasets.train.dataset_enlarge_ratio", 1), ("num_threads", 0)):
        value = find(options, key)
        if value is not None and value < least:
            raise wrong(options, key, f"expected {least} or more, found {value}")


def _defaults(section, **values):
    for key, value in values.items():
        if section.get(key) is None:
            section[key] = value


def _section(options, name):
    if options.get(name) is None:
        options[name] = OrderedDict()
    if not isinstance(options[name], dict):
        raise wrong(options, name, f"expected a section (its keys indented in the lines below it), found {options[name]!r}")
    return options[name]


def _dataset(options, key, section):
    """One of ``datasets``: defaults, and whether its folders are there."""
    at = f"datasets.{key}"
    _defaults(section, name=key, type="PairedImageDataset")
    if section["type"] == "PairedImageDataset":
        _defaults(section, io_backend=OrderedDict(type="disk"))
        if find(section, "io_backend.type") is None:
            section["io_backend"]["type"] = "disk"
        if section.get("dataroot_gt") is None:
            raise missing(options, f"{at}.dataroot_gt", "the folder of the high-resolution images")
        if section.get("dataroot_lq") is None:
            raise missing(options, f"{at}.dataroot_lq", "the folder of the low-resolution images; BasicSR makes none itself: "
                          f"`dukd-host prepare {section['dataroot_gt']} OUT --scale {options.get('scale')}` does")
    for root in ("dataroot_gt", "dataroot_lq"):
        folder = section.get(root)
        if isinstance(folder, str):
            section[root] = os.path.expanduser(folder)
            if not os.path.exists(section[root]):
                raise wrong(options, f"{at}.{root}", f"{folder} is not there")
    phase = key.split("_")[0]
    if phase == "train" and section["type"] == "PairedImageDataset":
        _defaults(section, use_hflip=True, use_rot=True, num_worker_per_gpu=1, dataset_enlarge_ratio=1)
        for needed, what in (("gt_size", "the side of a high-resolution patch in pixels"),
                             ("batch_size_per_gpu", "how many patches a batch has")):
            if section.get(needed) is None:
                raise missing(options, f"{at}.{needed}", what)
        if section["gt_size"] % options["scale"]:
            raise wrong(options, f"{at}.gt_size", f"{section['gt_size']} is no multiple of scale {options['scale']}")
    section["phase"] = phase
    if "scale" in options:
        section["scale"] = options["scale"]


def _paths(options, root, training):
    path = _section(options, "path")
    for key, value in path.items():
        if isinstance(value, str) and ("resume_state" in key or "pretrain_network" in key or key.endswith("s_root")):
            path[key] = os.path.expanduser(value)
    own = path.pop("experiments_root" if training else "results_root", None)
    path.pop("results_root" if training else "experiments_root", None)  # BasicSR would make the folder
    kind = "experiments" if training else "results"
    folder = own or os.path.join(root, kind, options["name"])
    path[f"{kind}_root"] = path["log"] = folder
    path["visualization"] = os.path.join(folder, "visualization")
    if training:
        path["models"] = os.path.join(folder, "models")
        path["training_states"] = os.path.join(folder, "training_states")


def _devices(options, tell):
    wanted = options.get("num_gpu", "auto")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted is None or wanted == "auto":
        options["num_gpu"] = there
        return
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise wrong(options, "num_gpu", f"expected 0, a number of GPUs or auto, found {wanted!r}")
    if wanted > 0 and there == 0:
        options["num_gpu"] = 0
        place = place_of(options, "num_gpu")
        tell(f"{place + ': ' if place else ''}num_gpu is {wanted}, but PyTorch finds no GPU here: this run is on the CPU")


def check(options):
    """What must be right before a rank waits for others. Defaults of general keys."""
    _defaults(options, name=pathlib.Path(getattr(options, "file", "run")).stem)
    if not isinstance(options["name"], str) or not options["name"] or "/" in options["name"]:
        raise wrong(options, "name", f"{options['name']!r} cannot be the name of a folder")
    if options.get("model_type") is None:
        raise missing(options, "model_type", "what to train by: DUKD, DUKDPlugin, BaseKD, SRModel, ...")
    registered(options, "model_type", options["model_type"], MODEL_REGISTRY)
    _section(options, "datasets")
    _check_numbers(options)


def complete(options, root, training, debug, tell):
    """The rest, for all that BasicSR's train and test read. ``tell``: prints a line once."""
    _devices(options, tell)
    if debug and not options["name"].startswith("debug"):
        options["name"] = "debug_" + options["name"]
    if options.get("scale") is None:
        raise missing(options, "scale", "how many times larger the output is, 2, 3 or 4")
    sets = options["datasets"]
    for key in [k for k, v in sets.items() if not v]:  # "val: ~"
        del sets[key]
    if not training and len(sets) > 1:
        sets.pop("train", None)
    for key, section in sets.items():
        if not isinstance(section, dict):
            raise wrong(options, f"datasets.{key}", "expected a section (its keys indented in the lines below it)")
        _dataset(options, key, section)
    if not any(k.split("_")[0] == "train" for k in sets) if training else not sets:
        raise missing(options, "datasets.train" if training else "datasets.test_1",
                      "the images to train on" if training else "the images to test on")
    _paths(options, root, training)
    if options.get("val") is not None or not training:
        _defaults(_section(options, "val"), save_img=False, suffix=None, val_freq=NEVER)
        options["val"].setdefault("suffix", None)
    if not training:
        return
    for key, what in (("train.total_iter", "how many iterations to train"),
                      ("train.optim_g.lr", "the learning rate; the paper's is !!float 1e-4")):
        if find(options, key) is None:
            raise missing(options, key, what)
    _defaults(options["train"]["optim_g"], type="Adam")
    _defaults(_section(options, "logger"), print_freq=100, save_checkpoint_freq=5000, use_tb_logger=False)
    if "debug" in options["name"]:
        if options.get("val") is not None:
            options["val"]["val_freq"] = 8
        options["logger"].update(print_freq=1, save_checkpoint_freq=8)
    if options["logger"]["use_tb_logger"]:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as e:
            tell(f"logger.use_tb_logger: TensorBoard is not installed ({e}): nothing is written for it")
            options["logger"]["use_tb_logger"] = False
