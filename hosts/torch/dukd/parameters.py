"""A plugin's own parameters (abi/dukd_ext_params.h): the values and gradients are torch's, the plugin knows their memory."""
import logging
import weakref
from ctypes import POINTER, byref, pointer, sizeof

import torch
from torch import distributed as dist

from . import abi
from .errors import ArgumentError, UnsupportedError
from .tensors import Slot

_LOG = logging.getLogger("dukd")


def _listed(extension, session):
    """[(name, shape)] as the plugin lists them."""
    if extension.struct_size < sizeof(abi.ExtParams) or not extension.list or not extension.bind:
        raise UnsupportedError(f"the plugin's extension {abi.EXT_PARAMS} is incomplete")
    found = POINTER(abi.ParamList)()
    session._functions["list"] = extension.list
    session._call("list", byref(found))
    rows = []
    for i in range(found.contents.n_params):
        info = found.contents.params[i].contents
        shape = tuple(info.shape[:info.ndim]) if info.ndim else ()
        if not info.name or info.flags or any(n < 1 for n in shape):
            raise UnsupportedError(f"the plugin's parameter {i} is not described as {abi.EXT_PARAMS} says")
        rows.append((info.name.decode(), shape))
    if len(dict(rows)) != len(rows):
        raise UnsupportedError("two of the plugin's parameters have one name")
    return rows


class OwnParameters:
    """Parameters that the session's plugin trains along with the student; none for most methods.

    ``by_name``: name to torch.nn.Parameter, f32, on the session's device, in the plugin's order. Their gradients lie in memory
    of fixed place: the plugin adds to it in submit_pass. An optimizer that sets ``.grad`` to None, or puts another tensor
    there, is followed before each pass (``ready``), and where the values' memory has moved the plugin is told (``rebind``).
    """

    def __init__(self, session):
        extension = session.plugin.extension(abi.EXT_PARAMS, abi.ExtParams)
        rows = _listed(extension, session) if extension is not None else []
        self._session = weakref.ref(session)
        self.by_name = {name: torch.nn.Parameter(torch.zeros(shape, dtype=torch.float32, device=session.device))
                        for name, shape in rows}
        self._values = list(self.by_name.values())
        self._grads = [torch.zeros_like(v, requires_grad=False) for v in self._values]
        self._slots = [(Slot(), Slot()) for _ in self._values]
        self._checked, self._before, self._warned = None, None, False
        if self._values:
            session._functions["bind"] = extension.bind
            self._bind(abi.BIND_INIT)
        self.averages = {k: v.detach().clone() for k, v in self.by_name.items()}
        self._averaged = False

    def __bool__(self):
        return bool(self._values)

    def _bind(self, flags):
        session, n = self._session(), len(self._values)
        for (value, grad), v, g, name in zip(self._slots, self._values, self._grads, self.by_name):
            if v.dtype != torch.float32 or v.device != g.device or v.shape != g.shape or not v.is_contiguous():
                raise ArgumentError(f"the plugin's parameter {name} has become {str(v.dtype)[6:]} of shape {list(v.shape)} on "
                                    f"{v.device}; it must stay float32 {list(g.shape)}, dense, on {g.device}")
            value.fill(v.detach(), name)
            grad.fill(g, name)
        tensors = POINTER(abi.Tensor) * n
        message = abi.new(abi.ParamBind, flags=flags, n_params=n,
                          values=tensors(*[pointer(value.struct) for value, _ in self._slots]),
                          grads=tensors(*[pointer(grad.struct) for _, grad in self._slots]), stream=session._stream())
        session._call("bind", byref(message))

    def rebind(self):
        """Between steps: follows values whose memory has moved (``p.data = ...``)."""
        if any(v.data_ptr() != value.struct.data or v.dtype != torch.float32 for v, (value, _) in zip(self._values, self._slots)):
            self._bind(0)

    # ---------------------------------------------------------------- a pass

    def ready(self, clear):
        """Before submit_pass: .grad is the memory that the plugin knows. clear: the pass has ZERO_GRAD_BEFORE."""
        for v, g in zip(self._values, self._grads):
            now = v.grad
            if clear or now is None:
                g.zero_()
            elif now.data_ptr() != g.data_ptr():
                g.copy_(now)
            if now is not g:
                v.grad = g

    def aside(self):
        """Takes what is in the gradients away, so that the next pass's part can be had alone (``put_back``)."""
        kept = [g.clone() for g in self._grads]
        for g in self._grads:
            g.zero_()
        return kept

    def put_back(self, kept):
        """What ``aside`` took; gives the part that was added since, which is in the gradients no more."""
        added = [g.clone() for g in self._grads]
        for g, k in zip(self._grads, kept):
            g.copy_(k)
        return added

    def add(self, parts, factor):
        with torch.no_grad():
            for g, part in zip(self._grads, parts):
                g.add_(part * factor)

    def combine(self, world_size, group):
        """Mean of the gradients over all ranks, before an optimizer step."""
        for g in self._grads:
            dist.all_reduce(g, group=group)
            g.div_(world_size)

    # ---------------------------------------------------------------- optimizer and average

    def require_in(self, optimizer):
        """Refuses an optimizer that does not train them: nothing else would tell."""
        if self._checked is not None and self._checked() is optimizer:
            return
        known = {id(p) for group in optimizer.param_groups for p in group["params"]}
        lost = [name for name, v in self.by_name.items() if v.requires_grad and id(v) not in known]
        if lost:
            raise ArgumentError(f"the plugin trains parameters of its own ({', '.join(lost)}): give them to the optimizer, "
                                "torch.optim.Adam([*net.parameters(), *session.parameters()])")
        self._checked = weakref.ref(optimizer)

    def watch(self, optimized):
        """Between steps: says once where a step that should have moved them has not (a loop that does not use apply)."""
        now = [v._version for v in self._values]
        if optimized and self._before == now and not self._warned:
            self._warned = True
            _LOG.warning("the plugin's own parameters (%s) have not moved: does the optimizer have session.parameters()?",
                         ", ".join(self.by_name))
        self._before = now

    def average(self, decay):
        """average = decay * average + (1 - decay) * value, beginning with the first values."""
        self._averaged = True
        with torch.no_grad():
            for k, v in self.averages.items():
                v.mul_(decay).add_(self.by_name[k], alpha=1 - decay)

    def average_as(self, model):
        """One update by the rule of a torch AveragedModel, which has just updated the student's average."""
        self._averaged = True
        averaged, values = list(self.averages.values()), [v.detach() for v in self._values]
        count = model.n_averaged - 1  # update_parameters has counted already
        with torch.no_grad():
            if int(count) == 0:
                torch._foreach_copy_(averaged, values)
            elif model.multi_avg_fn is not None:
                model.multi_avg_fn(averaged, values, count)
            else:
                rule = model.avg_fn or (lambda a, v, n: a + (v - a) / (n + 1))
                for a, v in zip(averaged, values):
                    a.copy_(rule(a, v, count))

    # ---------------------------------------------------------------- resume

    def state_dict(self):
        state = {"values": {k: v.detach().clone() for k, v in self.by_name.items()}}
        if self._averaged:
            state["averages"] = {k: v.clone() for k, v in self.averages.items()}
        return state

    def check(self, state):
        """Refuses a state of other parameters; nothing has changed then."""
        theirs = {k: tuple(v.shape) for k, v in (state or {"values": {}})["values"].items()}
        ours = {k: tuple(v.shape) for k, v in self.by_name.items()}
        if theirs != ours:
            told = ["none" if not row else ", ".join(f"{k} {'x'.join(map(str, s)) or 'scalar'}" for k, s in row.items())
                    for row in (theirs, ours)]
            raise ArgumentError(f"the state is of a run whose plugin trains other parameters: {told[0]}; here: {told[1]}")

    def load_state_dict(self, state):
        with torch.no_grad():
            for k, v in self.by_name.items():
                v.copy_(state["values"][k])
                self.averages[k].copy_(state.get("averages", state["values"])[k])
        self._averaged = "averages" in state
