"""Which keys of an option file are BasicSR's or this host's, and which are left for the plugin."""
import difflib
import fnmatch

from ..errors import OptionError

# Read by BasicSR 1.4.2, put in by it, or read by this package. "*" stands for one word, "**" for whatever comes below.
_OWN = """
name model_type scale num_gpu manual_seed find_unused_parameters suffix crop_border save_img use_pbar
dist rank world_size auto_resume is_train root_path
dist_params.**
num_threads precision

network_g.** network_t.** network_f.**

path.pretrain_network_g path.param_key_g path.strict_load_g path.pretrain_network_t path.param_key_t path.strict_load_t
path.pretrain_network_f path.param_key_f path.strict_load_f path.random_network_f path.init_from_teacher
path.resume_state path.ignore_resume_networks path.root
path.experiments_root path.results_root path.models path.training_states path.log path.visualization

train.ema_decay train.total_iter train.warmup_iter train.nonfinite train.micro_batches train.share_weights
train.optim_g.type train.optim_g.lr train.optim_g.weight_decay train.optim_g.betas train.optim_g.eps train.optim_g.amsgrad
train.optim_g.momentum
train.scheduler.type train.scheduler.milestones train.scheduler.gamma train.scheduler.restarts
train.scheduler.restart_weights train.scheduler.periods train.scheduler.eta_min

val.val_freq val.save_img val.suffix val.pbar val.metrics.**

logger.print_freq logger.save_checkpoint_freq logger.use_tb_logger logger.wandb.project logger.wandb.resume_id
"""

_DATASET = """
name type dataroot_gt dataroot_lq filename_tmpl meta_info_file color mean std phase scale
io_backend.type io_backend.db_paths io_backend.client_keys
gt_size use_hflip use_rot use_shuffle num_worker_per_gpu batch_size_per_gpu dataset_enlarge_ratio
prefetch_mode num_prefetch_queue pin_memory persistent_workers
"""

# Known, but of no effect here: said once in the log.
IGNORED = {
    "engine": "it is dukd-host's; here PyTorch computes",
    "use_pbar": "BasicSR reads val.pbar",
    "val.use_pbar": "BasicSR reads val.pbar",
    "val.self_ensemble": "no code reads it, BasicSR's and the authors' included; dukd-host test has --self-ensemble",
    "datasets.*.lq_border": "it says how dukd-host makes low-resolution files; BasicSR reads those of dataroot_lq",
}

# Of BasicSR's other model types: what would change the training must not be passed over in silence.
_ELSEWHERE = {
    "train.perceptual_opt.**": "model_type {model} has no perceptual loss: take the section out",
    "train.gan_opt.**": "model_type {model} has no discriminator: take the section out",
    "train.optim_d.**": "model_type {model} has no discriminator: take the section out",
    "train.net_d_*": "model_type {model} has no discriminator: take it out",
}


def _match(pattern, key):
    """"train.**" is the section itself, too (where it is empty)."""
    if pattern.endswith(".**"):
        pattern, key = pattern[:-3], ".".join(key.split(".")[:pattern.count(".")])
    return pattern.count(".") == key.count(".") and fnmatch.fnmatchcase(key, pattern)


class OwnKeys:
    """The table for one option file. ``options``: nested, as BasicSR has them."""

    def __init__(self, options):
        self.patterns = _OWN.split() + list(IGNORED)
        self.concrete = [p for p in self.patterns if "*" not in p]
        for name, section in (options.get("datasets") or {}).items():
            at = f"datasets.{name}"
            if not isinstance(section, dict) or section.get("type") == "PairedImageDataset":
                self.patterns += [f"{at}.{key}" for key in _DATASET.split()]
                self.concrete += [f"{at}.{key}" for key in _DATASET.split()]
            else:  # a data set of somebody else's has keys of its own
                self.patterns.append(f"{at}.**")

    def knows(self, key):
        return any(_match(p, key) for p in self.patterns)

    def is_section(self, key):
        return any(p.startswith(key + ".") for p in self.patterns)

    def nearest(self, key, others):
        """The own key that a wrong one was meant for, or None where one of ``others`` is as near."""
        names = self.concrete + list(others)
        found = difflib.get_close_matches(key, names, 1, 0.8)
        if not found:
            leaf = [n for n in names if n.rpartition(".")[2] == key.rpartition(".")[2]]
            found = leaf[:1]
        return found[0] if found and found[0] in self.concrete else None


def _leaves(options, prefix=""):
    for name, value in options.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from _leaves(value, key + ".")
        else:
            yield key, None if isinstance(value, dict) else value


def place_of(options, key):
    """"file:12:3" of a key, "" where it is unknown (options that did not come through option_file)."""
    return getattr(options, "places", {}).get(key, "")


def wrong(options, key, text):
    """An OptionError about a key, at its place."""
    place = place_of(options, key)
    return OptionError(f"{place + ': ' if place else ''}{key}: {text}")


def registered(options, key, name, registry):
    """The class of one of BasicSR's registries by its name; refuses others with the nearest."""
    for known in (name, f"{name}_basicsr"):
        if known in registry:
            return dict(iter(registry))[known]
    near = difflib.get_close_matches(str(name), list(registry.keys()), 1)
    raise wrong(options, key, f"BasicSR has none called {name!r}{f'; is {near[0]} meant?' if near else ''}")


def choice(options, key, choices):
    """The value of a key that is one of ``choices``; the first where it is absent."""
    value = options
    for word in key.split("."):
        value = value.get(word) if isinstance(value, dict) else None
    if value is None:
        return choices[0]
    if value not in choices or type(value) is not type(choices[0]):
        raise wrong(options, key, f"found {value!r}, expected {' or '.join(str(c).lower() for c in choices)}")
    return value


def flag(options, key):
    """A key that is true or false; false where it is absent."""
    return choice(options, key, (False, True))


def for_plugin(options, plugin_keys, plugin_name="dukd"):
    """({dotted key: value} for the plugin, notes for the log).

    All that is not BasicSR's or this host's goes to the plugin, which refuses what it does not know. A key that was
    meant for BasicSR is refused here, with that name.
    """
    own, given, notes = OwnKeys(options), {}, []
    model = options.get("model_type")
    for key, value in _leaves(options):
        for pattern, why in IGNORED.items():
            if _match(pattern, key) and value is not None:
                place = place_of(options, key)
                notes.append(f"{place + ': ' if place else ''}{key} is ignored: {why}")
        if key in plugin_keys:
            given[key] = value
        elif key == "model_type":  # BasicSR's own key; libdukd has it as an option, too
            if value != "DUKDPlugin":
                raise wrong(options, key, f"{value} is a method of libdukd's; with plugin {plugin_name} it is DUKDPlugin")
        elif not own.knows(key) and not (value is None and own.is_section(key)):
            for pattern, why in _ELSEWHERE.items():
                if _match(pattern, key):
                    raise wrong(options, key, why.format(model=model))
            meant = own.nearest(key, plugin_keys)
            if meant is not None:
                raise wrong(options, key, f"unknown option; is {meant} meant?")
            given[key] = value
    return given, notes
