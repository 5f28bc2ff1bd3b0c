"""Running a user's networks for taps: modes and their restoring, outputs of layers by hooks, shapes."""
import difflib

import torch
from torch import nn

from .errors import ArgumentError, UnsupportedError


def unwrap(module):
    """The user's own module inside DistributedDataParallel, DataParallel and torch.compile."""
    while True:
        if isinstance(module, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            module = module.module
        elif hasattr(module, "_orig_mod"):
            module = module._orig_mod
        else:
            return module


class Network:
    """One network of a session.

    ``module``: what is called for outputs (perhaps DDP or compiled). ``inner``: the user's module, of which layers are
    tapped by their paths in it. A plain function will do where nobody asks for layers.
    """

    def __init__(self, name, module, autocast=None):
        if not callable(module):
            raise ArgumentError(f"network '{name}' is a {type(module).__name__}; a torch.nn.Module or a function is needed")
        self.name, self.module, self.inner, self.autocast = name, module, unwrap(module), autocast
        self.is_module = isinstance(self.inner, nn.Module)
        self._modules = list(self.inner.modules()) if self.is_module else []
        self._shapes = {}

    def learns(self):
        """Whether there is anything in it to train, as far as one can see (a function shows nothing)."""
        return not self.is_module or any(p.requires_grad for p in self.inner.parameters())

    # ---------------------------------------------------------------- modes

    def set_mode(self, training):
        """Sets evaluation or training mode; gives back what ``restore`` needs to put every module as it was."""
        if all(m.training is training for m in self._modules):
            return None
        before = [m.training for m in self._modules]
        self.inner.train(training)
        return before

    def restore(self, before):
        if before is not None:
            for m, training in zip(self._modules, before):
                m.training = training

    # ---------------------------------------------------------------- running

    def layer(self, path):
        """The module at a path, as ``named_modules`` spells it."""
        if not self.is_module:
            raise UnsupportedError(f"network '{self.name}' is a function: it has no layer '{path}'")
        try:
            return self.inner.get_submodule(path)
        except AttributeError:
            names = [n for n, _ in self.inner.named_modules() if n]
            near = difflib.get_close_matches(path, names, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise UnsupportedError(f"network '{self.name}' has no layer '{path}'{hint}") from None

    def run(self, x, layers=(), no_sync=False):
        """(output, {layer: output}). A layer's output is the tensor that the layer gave; what the network then does to
        it in place (``res += x``) is seen. Gradients are on or off as the caller has them."""
        if not layers:
            return self._tensor(self._call(self.module, x, no_sync)), {}
        found, hooks = {}, []
        try:
            for path in layers:
                def keep(_module, _args, output, path=path):
                    found[path] = output
                hooks.append(self.layer(path).register_forward_hook(keep))
            # hooks that come and go would compile the network anew: layers are tapped in the network as it was written
            compiled = self.module is not self.inner and hasattr(self.module, "_orig_mod")
            output = self._call(self.inner if compiled else self.module, x, no_sync)
        finally:
            for hook in hooks:
                hook.remove()
        missing = [p for p in layers if p not in found]
        if missing:
            raise UnsupportedError(f"network '{self.name}' has a layer '{missing[0]}' but did not run it")
        return self._tensor(output), {p: self._tensor(t, f"layer '{p}' of ") for p, t in found.items()}

    def _call(self, module, x, no_sync):
        if no_sync and isinstance(module, nn.parallel.DistributedDataParallel):
            with module.no_sync():
                return self._cast(module, x)
        return self._cast(module, x)

    def _cast(self, module, x):
        # autocast keeps weights that it has converted: one converted without gradients would cut later runs off
        cached = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(cached and torch.is_grad_enabled())
        try:
            if self.autocast is None:
                return module(x)
            with torch.autocast(x.device.type, dtype=self.autocast, cache_enabled=torch.is_grad_enabled()):
                return module(x)
        finally:
            torch.set_autocast_cache_enabled(cached)

    def _tensor(self, value, of=""):
        if not isinstance(value, torch.Tensor):
            raise UnsupportedError(f"{of}network '{self.name}' gave a {type(value).__name__}, expected one tensor")
        return value

    # ---------------------------------------------------------------- shapes

    def shape(self, layer, size, dtype, device):
        """Shape of the output (layer None) or of a layer's for an input of ``size``: found by running one image of
        zeros in evaluation mode. Raises what the network raises."""
        key = tuple(size[1:])
        if key not in self._shapes:
            self._shapes[key] = self._measure(key, dtype, device)
        shapes = self._shapes[key]
        if layer is not None:
            self.layer(layer)
            if layer not in shapes:
                raise UnsupportedError(f"network '{self.name}' has a layer '{layer}' but did not run it")
        shape = shapes[layer]
        if not isinstance(shape, tuple):
            raise UnsupportedError(f"{'output' if layer is None else 'layer ' + repr(layer)} of network '{self.name}' is "
                                   f"{shape}, expected N x C x H x W")
        return (shape[0] * size[0],) + shape[1:]

    def _measure(self, key, dtype, device):
        def told(value):
            if not isinstance(value, torch.Tensor):
                return "a " + type(value).__name__
            return tuple(value.shape) if value.dim() == 4 else "of shape " + "x".join(map(str, value.shape))

        shapes, hooks = {}, []
        if self.is_module:
            for path, module in self.inner.named_modules():
                def note(_module, _args, output, path=path):
                    shapes[path] = told(output)
                if path:
                    hooks.append(module.register_forward_hook(note))
        before = self.set_mode(False)
        try:
            with torch.no_grad():
                shapes[None] = told(self._cast(self.inner, torch.zeros((1,) + key, dtype=dtype, device=device)))
        finally:
            self.restore(before)
            for hook in hooks:
                hook.remove()
        return shapes
