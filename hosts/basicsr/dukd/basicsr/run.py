"""`python -m dukd.basicsr train` and `test`: BasicSR's own pipelines, with what they need on today's machines put into them.

BasicSR's train_pipeline and test_pipeline run as they are. Some of the functions that they call are replaced, in this process
alone: reading options (places, --force_yml), starting ranks (gloo where there is no GPU), loading a training state (without
a GPU, with the order of images), and what a process on the CPU cannot do. A model type of BasicSR's own trains this way, too.
"""
import argparse
import datetime
import importlib
import os
import random
import sys
import traceback

import torch
import torch.distributed as dist

from . import data_order, option_file, settings
from .compat import import_basicsr
from .errors import RunError
from .keys import wrong
from .models import padded_test

_HELP = """BasicSR's {command}, with the model types DUKD, BaseKD, FAKD and DUKDPlugin; see hosts/basicsr/README.md.
All switches are BasicSR's. Without --launcher one process runs; ranks are started by
torchrun --nproc_per_node N -m dukd.basicsr {command} -opt FILE --launcher pytorch."""


def _arguments(command, argv):
    parser = argparse.ArgumentParser(prog=f"python -m dukd.basicsr {command}", description=_HELP.format(command=command),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], default="none", help="who has started the ranks")
    parser.add_argument("--auto_resume", action="store_true", help="go on from the newest training state of the run, if any")
    parser.add_argument("--debug", action="store_true", help="name debug_..., validate and save every 8 iterations")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help="ignored: RANK counts")
    parser.add_argument("--force_yml", nargs="+", metavar="A:B=C", help="values instead of the file's: train:total_iter=10")
    return parser.parse_args(argv)


def _tell(text):
    """One line, from one rank."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- ranks

def _start_ranks(launcher, options):
    """As BasicSR's init_dist; by gloo where there is no GPU."""
    if launcher == "none":
        print("Disable distributed.", flush=True)
        return
    if torch.cuda.is_available():
        from basicsr.utils.dist_util import init_dist
        init_dist(launcher, **(options.get("dist_params") or {} if launcher == "slurm" else {}))
        return
    lost = [v for v in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if v not in os.environ]
    if launcher == "slurm" or lost:
        raise RunError("slurm's launcher needs GPUs; use torchrun and --launcher pytorch" if launcher == "slurm" else
                       f"--launcher pytorch: {', '.join(lost)} not set; start the ranks by torchrun --nproc_per_node N -m "
                       "dukd.basicsr train ... --launcher pytorch")
    if torch.multiprocessing.get_start_method(allow_none=True) is None:
        torch.multiprocessing.set_start_method("spawn")
    minutes = os.environ.get("DUKD_RANK_TIMEOUT_MINUTES")
    try:
        dist.init_process_group("gloo", timeout=datetime.timedelta(minutes=float(minutes)) if minutes else None)
    except (RuntimeError, ValueError) as e:
        raise RunError(f"the ranks cannot find each other: {str(e).strip().splitlines()[0]}") from e


def _settle_seed(options, resumed):
    """manual_seed, drawn where it is absent: the same on all ranks, and the one before where a run is resumed."""
    if options.get("manual_seed") is None:
        seed = (resumed or {}).get("dukd", {}).get("manual_seed")
        options["manual_seed"] = random.randint(1, 10000) if seed is None else seed
        if options["dist"]:
            told = torch.tensor([options["manual_seed"]], device="cuda" if torch.cuda.is_available() else "cpu")
            dist.broadcast(told, 0)
            options["manual_seed"] = int(told)
    from basicsr.utils import set_random_seed
    set_random_seed(options["manual_seed"] + options["rank"])


# ---------------------------------------------------------------- training states

def _newest_state(folder):
    found = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        stem, dot, end = name.rpartition(".")
        if dot and end == "state" and stem.isdigit():
            found[int(stem)] = name
    return os.path.join(folder, found[max(found)]) if found else None


def _read_state(options):
    """The training state that a run goes on from, or None; the options say so then."""
    path = options["path"]
    if options["auto_resume"]:
        found = _newest_state(path["training_states"])
        if found is None:
            return None
        path["resume_state"] = found
    if path.get("resume_state") is None:
        return None
    try:
        state = torch.load(path["resume_state"], map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise wrong(options, "path.resume_state", f"{path['resume_state']} is not there") from None
    except Exception as e:  # noqa: BLE001 (pickle's and zip's errors are of many kinds)
        raise RunError(f"{path['resume_state']} cannot be read as a training state: {str(e).strip().splitlines()[0]}") from None
    if not isinstance(state, dict) or not {"iter", "epoch", "optimizers", "schedulers"} <= set(state):
        raise RunError(f"{path['resume_state']} is no training state of BasicSR")
    return state


def _point_at_state(options, state):
    """BasicSR's check_resume: the student is taken from the run's models, and so is a teacher that learns. Other networks stay what
    the option file says."""
    from basicsr.utils import check_resume
    path = options["path"]
    ignored = path.get("ignore_resume_networks") or []
    ignored = [ignored] if isinstance(ignored, str) else list(ignored)
    ignored += ["network_f"] if state.get("dukd", {}).get("teacher_learns") else ["network_f", "network_t"]
    kept = {k: path[k] for n in ("network_t", "network_f") if n in ignored
            for k in (f"pretrain_{n}", f"param_key_{n[-1]}") if k in path}
    path["ignore_resume_networks"] = ignored
    check_resume(options, state["iter"])
    path.update(kept)


# ---------------------------------------------------------------- what is put into BasicSR

_replaced = []  # (owner, name, BasicSR's own), so that a second run in one process begins with BasicSR as it is


def _put(owner, name, value):
    _replaced.append((owner, name, owner.__dict__[name]))
    setattr(owner, name, value)


def _restore():
    while _replaced:
        setattr(*_replaced.pop())


def _folders_alone(original):
    """make_exp_dirs makes a folder of all that the section path has but a few names; these two are flags."""

    def make_exp_dirs(options):
        path = {k: v for k, v in options["path"].items() if k not in ("random_network_f", "init_from_teacher")}
        return original({**options, "path": path})

    return make_exp_dirs


def _on_cpu_too(original):
    """BaseModel.model_to_device wraps a network for a GPU that may not be there."""

    def model_to_device(self, net):
        if self.device.type == "cuda" or not self.opt["dist"]:
            return original(self, net)
        return torch.nn.parallel.DistributedDataParallel(
            net.to(self.device), find_unused_parameters=self.opt.get("find_unused_parameters", False))

    return model_to_device


# prefetch_mode: cpu reads in a thread, whose error (a killed worker) left the training waiting for ever
def _run_and_hand_on(self):
    try:
        for item in self.generator:
            self.queue.put(item)
        self.queue.put(None)
    except BaseException as e:  # noqa: BLE001 (raised again where it is waited for)
        self.queue.put(e)


def _next_or_raise(self):
    item = self.queue.get()
    if isinstance(item, BaseException):
        raise item
    if item is None:
        raise StopIteration
    return item


class _Pipeline:
    """BasicSR's modules train and test with the functions of this run in them."""

    def __init__(self, command, arguments):
        self.command, self.arguments, self.training = command, arguments, command == "train"
        self.state = None

    def parse_options(self, root, is_train=True):
        a = self.arguments
        options = option_file.read(a.opt)
        option_file.force(options, a.force_yml)
        settings.check(options)
        options["dist"] = a.launcher != "none"
        _start_ranks(a.launcher, options)
        options["rank"], options["world_size"] = (dist.get_rank(), dist.get_world_size()) if options["dist"] else (0, 1)
        options["auto_resume"], options["is_train"] = a.auto_resume, is_train
        settings.complete(options, root, is_train, a.debug, _tell)
        if options.get("num_threads"):
            torch.set_num_threads(options["num_threads"])
        self.state = _read_state(options) if is_train else None
        _settle_seed(options, self.state)
        self.options = options
        return options, a

    def load_resume_state(self, options):
        if self.state is not None:
            _point_at_state(options, self.state)
        return self.state

    def install(self):
        _restore()
        module = importlib.import_module(f"basicsr.{self.command}")
        _put(module, "parse_options", self.parse_options)
        _put(module, "make_exp_dirs", _folders_alone(module.make_exp_dirs))
        base = importlib.import_module("basicsr.models.base_model").BaseModel
        sr = importlib.import_module("basicsr.models.sr_model").SRModel
        _put(base, "model_to_device", _on_cpu_too(base.model_to_device))
        _put(sr, "test", padded_test)
        if not self.training:
            return module
        generator = importlib.import_module("basicsr.data.prefetch_dataloader").PrefetchGenerator
        _put(generator, "run", _run_and_hand_on)
        _put(generator, "__next__", _next_or_raise)
        build_dataset, sampler = module.build_dataset, module.EnlargedSampler

        def build(dataset_options):
            dataset = build_dataset(dataset_options)
            return data_order.DrawnByPlace(dataset) if dataset_options["phase"] == "train" else dataset

        def sample(*args, **kwargs):
            resumed = (self.state["epoch"], self.state["iter"]) if self.state else None
            return data_order.resumable(sampler, self.options, resumed, _tell)(*args, **kwargs)

        _put(module, "build_dataset", build)
        _put(module, "EnlargedSampler", sample)
        _put(module, "load_resume_state", self.load_resume_state)
        return module


def _is_of_readers(error):
    """Whether a reader's end is what an error says: torch has no class for it, and an image that was half handed over when
    its reader died is a broken connection."""
    if isinstance(error, (ConnectionError, EOFError)):
        return any(frame.filename.endswith("dataloader.py") for frame in traceback.extract_tb(error.__traceback__))
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error) and not isinstance(error, RunError)


def run(command, argv):
    """Trains or tests by BasicSR's pipeline, in the current folder."""
    arguments = _arguments(command, argv)
    import_basicsr()
    module = _Pipeline(command, arguments).install()
    try:
        try:
            (module.train_pipeline if command == "train" else module.test_pipeline)(os.getcwd())
        except (RuntimeError, OSError, EOFError) as e:
            if not _is_of_readers(e):
                raise
            raise RunError(f"a process that reads images has ended ({(str(e).strip() or type(e).__name__).splitlines()[0]}); out of memory is a "
                           "usual reason: fewer datasets.train.num_worker_per_gpu need less") from e
        if dist.is_initialized():
            dist.destroy_process_group()
    finally:
        _restore()
