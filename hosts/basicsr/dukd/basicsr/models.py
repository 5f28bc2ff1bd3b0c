"""BasicSR's model types that train by a DUKD plugin."""
import inspect
import logging
import math
import os
from collections import OrderedDict

import torch
from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY

from .. import Plugin, Session
from ..models import VGG19
from . import data_order, keys, network_file, networks
from .errors import RunError
from .settings import find, missing

_SCHEDULERS = ("MultiStepLR", "MultiStepRestartLR", "CosineAnnealingRestartLR")


# ---------------------------------------------------------------- validation on any size

def _reflected(length, multiple, device):
    """Indices that continue 0 .. length - 1 by reflection to a multiple of ``multiple``; images of any size."""
    padded = -(-length // multiple) * multiple
    i = torch.arange(padded, device=device)
    period = max(1, 2 * (length - 1))
    i = i % period
    return torch.where(i < length, i, period - i)


def _window(options, net):
    """What the sides of an image must be multiples of: the network's option window_size, or its default; 1 without."""
    default = inspect.signature(type(net).__init__).parameters.get("window_size")
    window = options.get("window_size", 1 if default is None else default.default)
    return window if isinstance(window, int) and window > 0 else 1  # of another kind: not SwinIR's


def padded_test(model):
    """SRModel.test for networks that take multiples of a window (SwinIR) only: reflected right and bottom, and cropped."""
    average = getattr(model, "net_g_ema", None)
    net = average if average is not None else model.net_g
    window = _window(model.opt["network_g"], model.get_bare_model(net))
    h, w = model.lq.shape[-2:]
    x = model.lq
    if h % window or w % window:
        x = x[..., _reflected(h, window, x.device), :][..., _reflected(w, window, x.device)]
    net.eval()
    try:
        with torch.no_grad():
            output = net(x)
    finally:
        if average is None:
            net.train()
    scale = output.shape[-2] // x.shape[-2]
    model.output = output[..., :h * scale, :w * scale]


# ---------------------------------------------------------------- training

class DistilledModel(SRModel):
    """A student that learns by a plugin's method: networks, optimizer, average and schedule are BasicSR's.

    The plugin says what runs and when the optimizer steps; everything that is not BasicSR's in the option file is
    for the plugin. Batches must be of one size (datasets.train: gt_size, batch_size_per_gpu).
    """

    def __init__(self, opt):
        if opt["is_train"]:
            logging.getLogger("dukd").parent = get_root_logger()  # what the plugin says stands in the run's log
            self.plugin = Plugin()
            self._plugin_options, notes = keys.for_plugin(opt, {o.name for o in self.plugin.options}, self.plugin.name)
            for note in notes:
                get_root_logger().info(note)
            networks.check_networks(opt)
            if find(opt, "train.scheduler") is not None and find(opt, "train.scheduler.type") not in _SCHEDULERS:
                found = find(opt, "train.scheduler.type")
                raise missing(opt, "train.scheduler.type", " or ".join(_SCHEDULERS)) if found is None else keys.wrong(
                    opt, "train.scheduler.type", f"found {found!r}, expected {' or '.join(_SCHEDULERS)}")
        super().__init__(opt)

    # ---------------------------------------------------------------- networks

    def load_network(self, net, load_path, strict=True, param_key="params"):
        """BasicSR's, for safetensors too; says which file does not fit, and why."""
        net = self.get_bare_model(net)
        weights, used = network_file.pick(network_file.read(load_path), load_path, param_key)
        log = get_root_logger()
        log.info(f"Loading {net.__class__.__name__} model from {load_path}, with param key: [{used}].")
        weights = {(k[7:] if k.startswith("module.") else k): v for k, v in weights.items()}
        if isinstance(net, VGG19):  # torchvision's file has the classifier, too
            weights = {k: v for k, v in weights.items() if not k.startswith("classifier.")}
        self._print_different_keys_loading(net, weights, strict)
        try:
            net.load_state_dict(weights, strict=strict)
        except RuntimeError as e:
            lines = [line.strip() for line in str(e).strip().splitlines()]
            raise network_file.WeightsError(f"{load_path} does not fit {net.__class__.__name__}: "
                                            f"{(lines[1:2] or lines)[0][:300]}") from None

    def _average_of(self, letter, net):
        """EMA of network_LETTER as SRModel makes it: from the file's params_ema, else from the network itself."""
        average, path = build_network(self.opt[f"network_{letter}"]).to(self.device), self.opt["path"]
        average.load_state_dict(self.get_bare_model(net).state_dict())
        if path.get(f"pretrain_network_{letter}") is not None:
            self.load_network(average, path[f"pretrain_network_{letter}"], path.get(f"strict_load_{letter}", True), "params_ema")
        return average.requires_grad_(False).eval()

    def _init_teacher(self):
        """net_t and net_f, frozen; None where the option file has none (the plugin says so where it needs one)."""
        path, alone = self.opt["path"], not self.opt["dist"] and self.opt["num_gpu"] > 1
        self.net_t = self.net_f = None
        if self.opt.get("network_t") is not None:
            net = build_network(self.opt["network_t"]).to(self.device)
            self.load_network(net, path["pretrain_network_t"], path.get("strict_load_t", True), path.get("param_key_t", "params"))
            net.requires_grad_(False)
            self.net_t = torch.nn.DataParallel(net) if alone else net  # in DDP only where it is trained (_init_trained)
        if self.opt.get("network_f") is not None:
            torch.manual_seed(self.opt["manual_seed"])  # of random features: the same on all ranks
            net = build_network(self.opt["network_f"]).to(self.device)
            if path.get("pretrain_network_f") is not None:
                self.load_network(net, path["pretrain_network_f"], path.get("strict_load_f", True), path.get("param_key_f"))
            else:
                get_root_logger().warning("features: RANDOM weights, as path.random_network_f asks: for tests only")
            self.net_f = net.requires_grad_(False).eval()

    def _init_share(self):
        """The student that is a part of its teacher: its first weights, and (share_weights) all later ones."""
        self.share = self.share_ema = None
        shares = keys.flag(self.opt, "train.share_weights")
        key = "train.share_weights" if shares else "path.init_from_teacher"
        if not shares and not keys.flag(self.opt, key):
            return
        share = networks.Share(self.opt, key, self.get_bare_model(self.net_g), self.get_bare_model(self.net_t))
        if shares or self.opt["path"].get("resume_state") is None:
            share.take()
        if shares:
            self.share = share
        if self.opt["path"].get("resume_state") is None:
            get_root_logger().info("student: starts as the first channels of the teacher")

    # ---------------------------------------------------------------- setting up

    def init_training_settings(self):
        train = self.opt["train"]
        self.net_g.train()
        self.ema_decay = train.get("ema_decay") or 0
        self._init_teacher()
        self._init_share()
        if self.ema_decay > 0:
            get_root_logger().info(f"Use Exponential Moving Average with decay: {self.ema_decay}")
            self.net_g_ema = self._average_of("g", self.net_g)
        self.skip_nonfinite = keys.choice(self.opt, "train.nonfinite", ("stop", "skip")) == "skip"
        self.skipped, self._moved = 0, False
        self._init_session()
        self._init_trained()
        self.setup_optimizers()
        if find(self.opt, "train.scheduler") is not None:
            self.setup_schedulers()

    def _init_session(self):
        opt = self.opt
        for needed in ("gt_size", "batch_size_per_gpu"):
            if find(opt, f"datasets.train.{needed}") is None:
                raise missing(opt, f"datasets.train.{needed}", "the plugin wants to know the size of a batch")
        batch, gt = data_order.batch_size(opt), opt["datasets"]["train"]["gt_size"]
        self.micro_batches = find(opt, "train.micro_batches") or 1
        if batch % self.micro_batches:
            raise keys.wrong(opt, "train.micro_batches", f"{self.micro_batches} does not divide a batch of {batch}")
        channels = 1 if find(opt, "datasets.train.color") == "y" else 3
        precision = keys.choice(opt, "precision", ("f32", "bf16"))
        nets = {"student": self.net_g, "teacher": self.net_t, "features": self.net_f}
        nets = {name: net for name, net in nets.items() if net is not None}
        self.session = Session(self._plugin_options, nets,
                               (batch // self.micro_batches, channels, gt // opt["scale"], gt // opt["scale"]), opt["scale"],
                               seed=opt["manual_seed"], micro_count=self.micro_batches, device=self.device,
                               autocast=torch.bfloat16 if precision == "bf16" else None, rank=opt["rank"],
                               world_size=opt["world_size"], plugin=self.plugin,
                               place=lambda key: keys.place_of(opt, key) or getattr(opt, "file", "") or "option file")
        taps = [t for p in self.session.plan() for t in p["taps"] if t.network != "features"]
        if isinstance(self.net_g, torch.nn.DataParallel) and any(t.layer for t in taps):
            raise RunError("this method looks into the networks' layers, which DataParallel hides: num_gpu: 1, or a rank for "
                           "each GPU by --launcher pytorch")

    def _init_trained(self):
        """A teacher that the method trains, too: by the student's optimizer, with an average of its own."""
        log, trained = get_root_logger(), self.session.trained - {"student"}
        if trained - {"teacher"}:
            raise RunError(f"this method trains the {(trained - {'teacher'}).pop()}, too; student and teacher are what this host "
                           "trains (hosts/torch trains any network)")
        self.teacher_learns, self.net_t_ema = bool(trained), None
        own = self.session.named_parameters()
        if own:
            log.info(f"the plugin trains {sum(p.numel() for _, p in own)} parameters of its own: "
                     f"{', '.join(name + ' ' + 'x'.join(map(str, p.shape)) for name, p in own)}")
        if not self.teacher_learns:
            if self.share is not None:
                raise keys.wrong(self.opt, "train.share_weights", "the student is a part of a teacher that is trained with it, but "
                                 "nothing trains the teacher here: train.terms with csd does (path.init_from_teacher: true starts a "
                                 "student from its teacher's channels and trains it alone)")
            return
        log.info(f"the teacher is trained, too{'; the student is the first channels of it' if self.share else ''}")
        self.get_bare_model(self.net_t).requires_grad_(True)
        if self.opt["dist"]:
            self.net_t = self.model_to_device(self.net_t)
            self.session.wrap("teacher", self.net_t)
        if self.ema_decay > 0:
            self.net_t_ema = self._average_of("t", self.net_t)
            if self.share is not None:
                self.share_ema = networks.Share(self.opt, "train.share_weights", self.net_g_ema, self.net_t_ema)
                self.share_ema.take()

    def setup_optimizers(self):
        """BasicSR's one optimizer, for all that is trained. A student that is a part of its teacher is trained as that."""
        params = [] if self.share is not None else [p for p in self.net_g.parameters() if p.requires_grad]
        if self.teacher_learns:
            params += self.net_t.parameters()
        params += self.session.parameters()
        options = self.opt["train"]["optim_g"]
        self.optimizer_g = self.get_optimizer(options.pop("type"), params, **options)
        self.optimizers.append(self.optimizer_g)

    def get_optimizer(self, optim_type, params, lr, **kwargs):
        if optim_type == "SGD":
            return torch.optim.SGD(params, lr, **kwargs)
        if optim_type != "Adam":
            raise keys.wrong(self.opt, "train.optim_g.type", f"found {optim_type!r}, expected Adam or SGD")
        return super().get_optimizer(optim_type, params, lr, **kwargs)

    # ---------------------------------------------------------------- an iteration

    def optimize_parameters(self, current_iter):
        # DropPath and the like: what is drawn depends on the iteration alone, so that a resumed run draws the same
        torch.manual_seed(data_order.mix(self.opt["manual_seed"], self.opt["rank"], current_iter) % 2**63)
        n = self.lq.shape[0] // self.micro_batches
        try:
            for m in range(self.micro_batches):
                part = slice(m * n, (m + 1) * n)
                for p in self.session.step(self.lq[part], self.gt[part], iteration=current_iter):
                    self._obey(p, current_iter)
            self.log_dict = self._losses(current_iter)
        except RuntimeError as e:
            if not self.opt["dist"] or isinstance(e, RunError) or not _is_of_ranks(e):
                raise
            raise RunError(f"rank {self.opt['rank']}, iteration {current_iter}: another rank has ended or cannot be reached "
                           f"({str(e).strip().splitlines()[0]}); its own message is in its output") from e

    def _obey(self, p, current_iter):
        """What a pass's flags order, in their order."""
        if p.zero_grad:
            self.optimizer_g.zero_grad()
            if self.share is not None:
                self.net_g.zero_grad()
        p.backward()
        if p.optimize:
            if self.share is not None:
                self.share.give()
            if self._gradients_are_finite():
                self.optimizer_g.step()
                self._moved = True
                if self.share is not None:
                    self.share.take()
            elif self.skip_nonfinite:
                self.skipped += 1
                get_root_logger().warning(f"Iteration {current_iter}: a gradient is not finite; its optimizer step is left out "
                                          f"({self.skipped} so far).")
            else:
                self._refuse_nonfinite(current_iter, "a gradient")
        if p.ema and self.ema_decay > 0 and self._moved:  # a step that was left out moves no average
            self._moved = False
            self._average()

    def _average(self):
        self.model_ema(decay=self.ema_decay)
        if self.net_t_ema is not None:
            averaged = dict(self.net_t_ema.named_parameters())
            for k, v in self.get_bare_model(self.net_t).named_parameters():
                averaged[k].data.mul_(self.ema_decay).add_(v.data, alpha=1 - self.ema_decay)
        if self.share_ema is not None:
            self.share_ema.take()
        self.session.average(self.ema_decay)

    def _gradients_are_finite(self):
        grads = [p.grad for group in self.optimizer_g.param_groups for p in group["params"] if p.grad is not None]
        norms = torch._foreach_norm(grads, math.inf) if grads else []
        return bool(torch.stack(norms).isfinite().all()) if norms else True

    def _refuse_nonfinite(self, current_iter, what):
        raise RunError(f"iteration {current_iter}: {what} is not finite; nothing has been written since the last training "
                       "state. Lower train.optim_g.lr or look at the data (train.nonfinite: skip goes on)")

    def _losses(self, current_iter):
        """The step's losses, means over all ranks."""
        losses = self.session.losses()
        if self.opt["dist"]:
            values = torch.tensor(list(losses.values()), dtype=torch.float64, device=self.device)
            torch.distributed.all_reduce(values)
            losses = dict(zip(losses, (values / self.opt["world_size"]).tolist()))
        if not self.skip_nonfinite:
            for name, value in losses.items():
                if not math.isfinite(value):
                    self._refuse_nonfinite(current_iter, name)
        return OrderedDict(losses)

    test = padded_test

    # ---------------------------------------------------------------- training states

    def save(self, epoch, current_iter):
        """A teacher that learns is a network file of its own, net_t_ITER, beside the student's; the state comes last."""
        if self.teacher_learns:
            pairs = {"params": self.net_t, **({} if self.net_t_ema is None else {"params_ema": self.net_t_ema})}
            self.save_network(list(pairs.values()), "net_t", current_iter, param_key=list(pairs))
        super().save(epoch, current_iter)

    @master_only
    def save_training_state(self, epoch, current_iter):
        """BasicSR's, with what a resumed run needs beside; written aside and renamed, so that a state is whole or not there."""
        if current_iter == -1:
            return
        best = {name: {metric: {k: v if isinstance(v, str) else float(v) if k == "val" else v for k, v in row.items()}
                       for metric, row in rows.items()} for name, rows in getattr(self, "best_metric_results", {}).items()}
        state = {"epoch": epoch, "iter": current_iter, "optimizers": [o.state_dict() for o in self.optimizers],
                 "schedulers": [s.state_dict() for s in self.schedulers],
                 "dukd": {"session": self.session.state_dict(), "manual_seed": self.opt["manual_seed"], "best": best,
                          "skipped": self.skipped, "teacher_learns": self.teacher_learns}}
        folder = self.opt["path"]["training_states"]
        path = os.path.join(folder, f"{current_iter}.state")
        try:
            torch.save(state, path + ".part")
            with open(path + ".part", "rb") as f:
                os.fsync(f.fileno())
            os.replace(path + ".part", path)
        except (OSError, RuntimeError) as e:
            raise RunError(f"{path}: the training state cannot be written: {str(e).strip().splitlines()[0]}") from e

    def resume_training(self, resume_state):
        for kind, own in (("optimizers", self.optimizers), ("schedulers", self.schedulers)):
            if len(resume_state[kind]) != len(own):
                raise RunError(f"the training state has {len(resume_state[kind])} {kind}, this run has {len(own)}")
        super().resume_training(resume_state)
        extra = resume_state.get("dukd")
        if extra is None:
            get_root_logger().warning("The training state was not written by this package: the plugin's part begins anew.")
            return
        self.session.load_state_dict(extra["session"])
        self.best_metric_results, self.skipped = extra["best"], extra["skipped"]
        if not self.best_metric_results:
            del self.best_metric_results  # BasicSR asks whether it is there


def _is_of_ranks(error):
    """Whether a RuntimeError says that another rank is gone; torch has no class for it."""
    text = str(error)
    return any(word in text for word in ("Connection", "gloo", "NCCL", "peer", "Broken pipe", "timed out", "Timed out"))


def _register():
    """The model types. The plugin is told which one it is by the option file's own model_type."""
    docs = {"DUKDPlugin": "The paper's loss (train.mode: paper), or any other that the plugin has.",
            "DUKD": "The authors' name and keys: their released code's two steps (official mode).",
            "BaseKD": "The authors' name and keys: response KD.",
            "FAKD": "The authors' name and keys: feature affinities."}
    for name, doc in docs.items():
        if name in MODEL_REGISTRY:
            other = MODEL_REGISTRY.get(name)
            raise ImportError(f"BasicSR has a model type {name} already, from {other.__module__}: do not import that and "
                              "dukd.basicsr in one program")
        made = type(name, (DistilledModel,), {"__doc__": doc, "__module__": __name__})
        MODEL_REGISTRY.register(made)
        globals()[name] = made


_register()
