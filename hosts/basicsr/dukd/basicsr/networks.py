"""Networks beside the student: what an option file may say of them, features, and a student that is a part of its teacher."""
import difflib
import inspect

import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.utils.registry import ARCH_REGISTRY

from ..models import VGG19
from . import keys
from .settings import find, missing

if "VGG19" not in ARCH_REGISTRY:
    ARCH_REGISTRY.register(VGG19)


def check_network(options, name):
    """Refuses a network section that BasicSR could not build, or that enlarges by another number than ``scale``. (network_f makes
    features, of any size.)"""
    section = options.get(name)
    if not isinstance(section, dict) or section.get("type") is None:
        raise missing(options, f"{name}.type", "the name of a network, such as EDSR")
    kind = keys.registered(options, f"{name}.type", section["type"], ARCH_REGISTRY)
    accepted = inspect.signature(kind).parameters
    for key in section:
        if key != "type" and key not in accepted and not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
            near = difflib.get_close_matches(key, list(accepted), 1)
            raise keys.wrong(options, f"{name}.{key}", f"{section['type']} has no such option"
                             f"{f'; is {near[0]} meant?' if near else ''}")
    for key, p in accepted.items():
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and key not in section:
            raise missing(options, f"{name}.{key}", f"{section['type']} needs it")
    if name == "network_f":
        return
    upscale = section.get("upscale", accepted["upscale"].default if "upscale" in accepted else options["scale"])
    if upscale != options["scale"]:
        raise keys.wrong(options, f"{name}.upscale", f"{section['type']} enlarges {upscale} times, but scale is "
                         f"{options['scale']}: student and teacher may differ in all but that")


def check_networks(options):
    """All network sections of a training, and the keys that belong to them."""
    check_network(options, "network_g")
    for letter, what in (("t", "the teacher's weights"),
                         ("f", "the weights of network_f. For VGG19 it is torchvision's vgg19-dcbb9e9d.pth, from "
                               "https://download.pytorch.org/models/ (for a test without it: path.random_network_f: true)")):
        name, weights = f"network_{letter}", f"path.pretrain_network_{letter}"
        if options.get(name) is not None:
            check_network(options, name)
            if find(options, weights) is None and not (letter == "f" and keys.flag(options, "path.random_network_f")):
                raise missing(options, weights, f"{what} ({name} is there)" if letter == "t" else what)
        elif find(options, weights) is not None:
            raise missing(options, name, f"the network of {weights}{', {type: VGG19}' if letter == 'f' else ''}")
    for key in ("train.share_weights", "path.init_from_teacher"):
        if not keys.flag(options, key):
            continue
        if options.get("network_t") is None:
            raise keys.wrong(options, key, "the student is to be a part of its teacher, and there is no network_t")
        if find(options, "path.pretrain_network_g") is not None and find(options, "path.resume_state") is None:
            raise keys.wrong(options, key, "the student's weights are taken from its teacher: take path.pretrain_network_g out")


# ---------------------------------------------------------------- a part of another network

# Those whose channels lie one by one and in order, so that the first channels of all parameters are a network of the kind.
_CAN_BE_PARTS = (EDSR, RCAN)


class Share:
    """A network whose parameters are the leading blocks of another's of the same names: CSD's student in its teacher.

    ``part`` and ``whole``: modules. ``key``: what the option file says this by, for messages. The two keep memory of their own:
    ``take`` copies values into the part, ``give`` adds the part's gradients to the whole's and clears them.
    """

    def __init__(self, options, key, part, whole):
        if not isinstance(part, _CAN_BE_PARTS):
            raise keys.wrong(options, key, f"the student can be no part of a teacher: it is a {type(part).__name__}, whose first "
                             "channels are no such network. EDSR and RCAN can")
        theirs = dict(whole.named_parameters())
        self.rows = []
        for name, p in part.named_parameters():
            w = theirs.get(name)
            if w is None:
                raise keys.wrong(options, key, f"the student is no part of the teacher: the teacher has no {name}; the two must be "
                                 "of one type and depth, the student with fewer channels")
            if p.dim() != w.dim() or any(n > m for n, m in zip(p.shape, w.shape)):
                raise keys.wrong(options, key, f"the student is no part of the teacher: its {name} is {_shape(p)}, the teacher's "
                                 f"{_shape(w)}; the two must be of one type, the student with fewer channels")
            self.rows.append((p, w, tuple(slice(n) for n in p.shape)))

    @torch.no_grad()
    def take(self):
        for p, w, block in self.rows:
            p.copy_(w[block])

    @torch.no_grad()
    def give(self):
        for p, w, block in self.rows:
            if p.grad is None:
                continue
            if w.grad is None:
                w.grad = torch.zeros_like(w)
            w.grad[block] += p.grad
            p.grad.zero_()


def _shape(p):
    return "x".join(map(str, p.shape))
