"""One pass of a step: what a training loop sees."""
from collections import namedtuple
from ctypes import POINTER, byref, c_int64, pointer

import torch

from . import abi, bridge
from .errors import ArgumentError, StateError, UnsupportedError
from .tensors import Slot, require_tensor

#: What a pass asks for. ``network``: its name. ``layer``: path of a module, None the output. ``source``: ("input", i) or
#: ("tap", i). ``train``: in training mode. ``want_grad``: the plugin gives its gradient. ``keep``: lives until the step ends.
Tap = namedtuple("Tap", "id network layer from_layer source train want_grad keep")


FROM_LAYER = ("the plugin asks for a tap that starts at layer '{}': a PyTorch module runs from its input; have the network split into "
              "two modules, or take a method that taps from inputs and outputs")


class _PluginLoss(torch.autograd.Function):
    """The plugin's losses of a pass as a function of its taps: a scalar whose gradient is what the plugin wrote."""

    @staticmethod
    def forward(ctx, owner, *values):
        ctx.owner, ctx.grads = owner, owner._submit(values)
        return values[0].new_zeros((), dtype=torch.float32)

    @staticmethod
    def backward(ctx, upstream):
        if ctx.grads is None:
            raise StateError("backward came twice for one pass")
        grads, ctx.grads = ctx.grads, None
        if not ctx.owner._plain:  # the scalar went through something else before backward began
            grads = [None if g is None else g * upstream.to(g.dtype) for g in grads]
        ctx.owner._own_backward(upstream)
        return (None, *grads)


class Layout:
    """What stays the same whenever the pass with this plan index comes: its taps, how they are run, and the memory."""

    def __init__(self, raw, networks, trained):
        self.taps = [self._tap(raw.taps[i].contents, i, raw.n_inputs, networks) for i in range(raw.n_taps)]
        n = len(self.taps)
        needs = [t.want_grad for t in self.taps]
        for t in reversed(self.taps):  # what flows through a derived tap goes on into networks that are trained
            kind, i = t.source
            if kind == "tap" and needs[t.id] and self.taps[i].network in trained:
                needs[i] = True
        # taps of one network on one source in one mode are one run of it
        self.groups = []
        by_key = {}
        for t in self.taps:
            key = (t.network, t.source, t.train)
            if key not in by_key:
                kind, i = t.source
                by_key[key] = {"network": networks[t.network], "input": i if kind == "input" else None,
                               "tap": i if kind == "tap" else None, "cut": kind == "tap" and not needs[i],
                               "train": t.train, "grad": False, "output": [], "layers": []}
                self.groups.append(by_key[key])
            group = by_key[key]
            group["grad"] = group["grad"] or needs[t.id]
            if t.layer is None:
                group["output"].append(t.id)
            else:
                group["layers"].append((t.id, t.layer))
        self.names = [f"{t.network}'s {'output' if t.layer is None else repr(t.layer)} (tap {t.id})" for t in self.taps]
        self.values = [Slot() for _ in range(n)]
        self.grads = [Slot() if t.want_grad else None for t in self.taps]
        tensors = POINTER(abi.Tensor) * max(n, 1)
        self._arrays = (tensors(*[pointer(s.struct) for s in self.values]),
                        tensors(*[pointer(s.struct) if s else POINTER(abi.Tensor)() for s in self.grads]))
        self.submit = abi.new(abi.Submit, n_taps=n, values=self._arrays[0], grads=self._arrays[1])
        self.submit_ref = byref(self.submit)
        self.views = [{} for _ in range(raw.n_inputs)]

    @staticmethod
    def _tap(raw, i, n_inputs, networks):
        names = list(networks)
        if raw.flags & ~abi.TAP_FLAGS:
            raise UnsupportedError(f"the plugin asks for a tap with flags {raw.flags:#x}, which this host does not know")
        if raw.network >= len(names):
            raise UnsupportedError(f"the plugin asks for a tap of network {raw.network} of {len(names)}")
        if raw.from_layer:
            raise UnsupportedError(FROM_LAYER.format(raw.from_layer.decode()))
        if raw.source_kind == abi.SOURCE_INPUT and raw.source_id < n_inputs:
            source = ("input", raw.source_id)
        elif raw.source_kind == abi.SOURCE_TAP and raw.source_id < i:
            source = ("tap", raw.source_id)
        else:
            raise UnsupportedError(f"the plugin asks for a tap from source {raw.source_kind}, {raw.source_id}, which the pass "
                                   "does not have")
        return Tap(i, names[raw.network], raw.layer.decode() if raw.layer else None,
                   raw.from_layer.decode() if raw.from_layer else None, source, bool(raw.flags & abi.TAP_MODE_TRAIN),
                   bool(raw.flags & abi.TAP_WANT_GRAD), bool(raw.flags & abi.TAP_KEEP))

    def view(self, i, raw, owner):
        """Input i as a torch.Tensor on the plugin's memory. The plugin uses the same memory step after step."""
        t = raw.tensor.contents
        if t.strides and min(t.strides[:t.ndim]) < 0:
            return self._forwards(t)
        key = (t.data, t.byte_offset, tuple(t.strides[:t.ndim]) if t.strides else None)
        known = self.views[i].get(key)
        if known is None:
            if len(self.views[i]) >= 8:  # a plugin that takes new memory each time
                self.views[i].clear()
            known = self.views[i][key] = bridge.view(t)
            known._dukd_owner = owner  # the memory lives as long as somebody looks at it
        return known


    @staticmethod
    def _forwards(t):
        """The one case that is a copy: PyTorch has no negative strides."""
        shape, strides = t.shape[:t.ndim], t.strides[:t.ndim]
        backwards = [d for d in range(t.ndim) if strides[d] < 0]
        lowest = sum((shape[d] - 1) * strides[d] for d in backwards)
        mirrored = abi.Tensor.from_buffer_copy(t)
        mirrored.strides = (c_int64 * t.ndim)(*map(abs, strides))
        mirrored.byte_offset = t.byte_offset
        mirrored.data = t.data + lowest * (t.dtype.bits // 8)
        return bridge.view(mirrored).flip(backwards)


class Pass:
    """A pass of a step, between ``next_pass`` and what its flags order.

    ``zero_grad``: clear the gradients before ``backward``. ``optimize``: an optimizer step after it. ``ema``: one update
    of the weights' average after that. ``id`` counts from 0 in a step, ``plan_index`` says which pass of the plan it is.
    ``taps``: what it asks for. ``inputs``: its images, the plugin's memory: they change with the next step, so clone
    what you keep, and never write to them.
    """

    __slots__ = ("_session", "_layout", "_raw", "_inputs", "_plain", "_own_parts", "id", "plan_index", "zero_grad", "optimize", "ema",
                 "wants_backward", "submitted")

    def __init__(self, session, layout, raw):
        flags = raw.flags
        if flags & ~abi.PASS_FLAGS:
            raise UnsupportedError(f"the plugin hands out a pass with flags {flags:#x}, which this host does not know")
        self._session, self._layout, self._raw, self._inputs = session, layout, raw, None
        self._plain, self._own_parts = False, None
        self.id, self.plan_index, self.submitted = raw.id, raw.plan_index, False
        self.zero_grad = bool(flags & abi.PASS_ZERO_GRAD_BEFORE)
        self.wants_backward = bool(flags & abi.PASS_BACKWARD)
        self.optimize = bool(flags & abi.PASS_OPTIMIZE_AFTER)
        self.ema = bool(flags & abi.PASS_EMA_AFTER)
        if self.optimize and not self.wants_backward and session._group() is not None:
            raise UnsupportedError("the plugin asks for an optimizer step after a pass without backward; ranks average gradients "
                                   "in the backward before an optimizer step: train this method on one rank")

    @property
    def taps(self):
        return list(self._layout.taps)

    @property
    def inputs(self):
        if self._inputs is None:
            self._session._require_pass(self)
            raw, layout, owner = self._raw, self._layout, self._session._handle
            self._inputs = [layout.view(i, raw.inputs[i].contents, owner) for i in range(raw.n_inputs)]
        return self._inputs

    def origin(self, i):
        """Where the images of input i come from: a dict of kind, samples, rows, cols, augment (header: dukd_origin),
        or None where the plugin does not say."""
        self._session._require_pass(self)
        found = self._raw.inputs[i].contents.origin
        if not found:
            return None
        o, n = found.contents, found.contents.n_samples
        if o.flags & abi.ORIGIN_ON_DEVICE:
            return {"kind": o.kind, "on_device": True}
        return {"kind": o.kind, "samples": o.samples[:n], "rows": o.rows[:n] if o.rows else None,
                "cols": o.cols[:n] if o.cols else None, "augment": o.augment[:n] if o.augment else None}

    def compute(self):
        """Runs the networks on the pass's inputs: a list of tensors, one a tap."""
        session, layout, inputs = self._session, self._layout, self.inputs
        values = [None] * len(layout.taps)
        no_sync = not self.optimize  # DDP: gradients of all passes are averaged in the one before the optimizer
        for group in layout.groups:
            network = group["network"]
            x = inputs[group["input"]] if group["tap"] is None else values[group["tap"]]
            if group["cut"]:
                x = x.detach()
            before = network.set_mode(group["train"])
            try:
                with torch.set_grad_enabled(group["grad"]):
                    output, layers = network.run(x, [name for _, name in group["layers"]], no_sync and group["grad"])
            finally:
                network.restore(before)
            for i in group["output"]:
                values[i] = output
            for i, name in group["layers"]:
                values[i] = layers[name]
        session._keep(t for t, tap in zip(values, layout.taps) if tap.keep)
        return values

    def submit(self, values=None):
        """Hands the taps' values to the plugin (computed here unless given), which computes the losses and their
        gradients. Gives back a scalar: its value is 0 (``session.losses()`` has the values, after the step), its
        ``backward()`` brings the plugin's gradients into the networks. ``Pass.backward`` is this and that."""
        self._plain = False
        return self._values_to_loss(values)

    def _values_to_loss(self, values):
        self._session._require_pass(self)
        if self.submitted:
            raise StateError(f"pass {self.id} has been submitted already")
        values = self.compute() if values is None else list(values)
        if len(values) != len(self._layout.taps):
            raise ArgumentError(f"pass {self.id} has {len(self._layout.taps)} taps, {len(values)} values were given")
        for v, name in zip(values, self._layout.names):
            require_tensor(v, name)
        if not values:
            self._submit(())
            return None
        with torch.enable_grad():
            return _PluginLoss.apply(self, *values)

    def _submit(self, values):
        """submit_pass; the list of gradients."""
        session, layout = self._session, self._layout
        grads = []
        for v, slot, out, name in zip(values, layout.values, layout.grads, layout.names):
            slot.fill(v, name)
            if out is None:
                grads.append(None)
                continue
            # the last one's memory, unless the layout has changed
            old = out.tensor
            if old is None or out.layout[0] != v.shape or out.layout[2:] != (v.dtype, v.device) or \
                    (old.stride() != v.stride() and v.is_contiguous(memory_format=torch.contiguous_format)):
                old = torch.empty_like(v, requires_grad=False)
            out.fill(old, name)
            grads.append(old)
        layout.submit.pass_id = self.id
        session._scale(layout.submit)
        own = session._own
        if own:
            own.ready(self.zero_grad)
        # a scalar that may be scaled, or never run backward: the plugin's own gradients wait for that, too
        kept = own.aside() if own and not self._plain else None
        try:
            session._call("submit_pass", layout.submit_ref)
        finally:
            if kept is not None:
                self._own_parts = own.put_back(kept)
        self.submitted = True
        return grads

    def _own_backward(self, upstream):
        """The plugin's own parameters, when backward begins: their gradients are there, and ranks average them."""
        own, group = self._session._own, self._session._group() if self.optimize else None
        if not own:
            return
        if self._own_parts is not None:
            own.add(self._own_parts, upstream)
        if group is not None:
            own.combine(self._session.world_size, group)

    def backward(self, values=None):
        """Computes the taps, submits them and, where the pass wants it, runs backward: gradients add up in ``.grad``.
        Clear before it where ``zero_grad`` says so."""
        self._plain = True
        loss = self._values_to_loss(values)
        if self.wants_backward:
            if loss is None or not loss.requires_grad:
                raise StateError(f"pass {self.id} wants its gradients, but no parameter of the networks requires one")
            loss.backward()

    def apply(self, optimizer, ema=None):
        """All that the pass's flags order: clear, ``backward``, optimizer step (by the session's GradScaler where it has
        one), average. ``ema``: an object with ``update_parameters(module)``, as torch's AveragedModel, or a function. A
        plugin's own parameters (``session.parameters()``) must be the optimizer's, too; they are averaged by an AveragedModel's
        rule."""
        own = self._session._own
        if own:
            own.require_in(optimizer)
        if self.zero_grad:
            optimizer.zero_grad()
        self.backward()
        if self.optimize:
            scaler = self._session.scaler
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
        if self.ema and ema is not None:
            if hasattr(ema, "update_parameters"):
                ema.update_parameters(self._session.networks["student"].inner)
                if own and hasattr(ema, "multi_avg_fn"):
                    own.average_as(ema)
            else:
                ema()
