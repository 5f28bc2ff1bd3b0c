"""A plugin in Python whose loss is linear in its taps, so that its gradient is known: loss = sum of coefficient * tap.

    plugin = linear_plugin([dict(network=0, layer="body.0", grad=True), dict(network=2, source=("tap", 0), ...)])

Each row is a tap of the one pass of a step: network (number), layer, from_layer, source ("input", 0) or ("tap", i), grad, train, keep.
ask: whether it asks for shapes.
`plugin.coefficients[i]` is the tensor that tap i is multiplied by, made when a value first comes.
"""
import ctypes
from ctypes import POINTER, byref, cast, c_char_p, c_double, pointer

import torch

from dukd import abi
from dukd.library import Plugin


def linear_plugin(rows, ask=True):
    plugin = Plugin.__new__(Plugin)
    plugin.path, plugin.coefficients, plugin.seen, plugin.kept = "linear_plugin", {}, [], []
    kept = plugin.kept

    def tensor(t):
        return abi.Tensor.from_buffer_copy(t)

    taps = []
    for i, r in enumerate(rows):
        kind, source = r.get("source", ("input", 0))
        flags = (abi.TAP_WANT_GRAD * r.get("grad", False) | abi.TAP_MODE_TRAIN * r.get("train", False) |
                 abi.TAP_KEEP * r.get("keep", False) | r.get("flags", 0))
        layer = r.get("layer")
        taps.append(abi.new(abi.Tap, id=i, network=r.get("network", 0), flags=flags, source_id=source,
                            source_kind=abi.SOURCE_INPUT if kind == "input" else abi.SOURCE_TAP,
                            layer=layer.encode() if layer else None,
                            from_layer=r["from_layer"].encode() if "from_layer" in r else None))
    n = len(taps)
    pass_flags = abi.PASS_ZERO_GRAD_BEFORE | abi.PASS_OPTIMIZE_AFTER | abi.PASS_BACKWARD * any(r.get("grad") for r in rows)
    one_input = abi.new(abi.Input)
    one = abi.new(abi.Pass, flags=pass_flags, n_inputs=1, n_taps=n,
                  inputs=(POINTER(abi.Input) * 1)(pointer(one_input)),
                  taps=(POINTER(abi.Tap) * n)(*[pointer(t) for t in taps]))
    plan = abi.new(abi.Plan, n_passes=1, passes=(POINTER(abi.Pass) * 1)(pointer(one)))
    state = {"given": False}

    def fail(error, code, message):
        if error:
            error.contents.code, error.contents.message = code, message
        return code

    def get_info():
        return ctypes.addressof(info)

    def query_backend(_i, _out, _error):
        return abi.E_ARGUMENT

    def get_extension(_id):
        return None

    def create_session(params, out, error):
        host, shape = params.contents.host.contents, list(params.contents.lr_shape)
        shapes = []
        for t in taps:
            size = (ctypes.c_int64 * 4)(*(shapes[t.source_id] if t.source_kind == abi.SOURCE_TAP else shape))
            got, why = (ctypes.c_int64 * 4)(), abi.new(abi.Error)
            if ask and host.tap_shape(host.ctx, byref(t), size, got, byref(why)) != 0:
                return fail(error, abi.E_UNSUPPORTED, b"a network cannot: " + why.message)
            shapes.append(list(got))
        plugin.shapes = shapes
        kept.append((ctypes.c_int64 * 4)(*shape))
        size = abi.Tensor(ndim=4, device=params.contents.device, dtype=params.contents.dtype)
        size.shape = kept[-1]
        kept.append(size)
        one_input.tensor = pointer(size)
        out[0] = 1
        return abi.OK

    def begin_step(_s, step, _error):
        kept[:] = kept[:2] + [tensor(step.contents.lr.contents)]
        one_input.tensor = pointer(kept[-1])
        state["given"] = False
        return abi.OK

    def next_pass(_s, out, _error):
        if state["given"]:
            return abi.STEP_DONE
        state["given"] = True
        out[0] = pointer(one)
        return abi.OK

    def submit_pass(_s, submit, _error):
        from dukd import bridge
        s = submit.contents
        plugin.seen = []
        for i in range(n):
            v = bridge.view(s.values[i].contents)
            plugin.seen.append(v.clone())
            if i not in plugin.coefficients:
                g = torch.Generator().manual_seed(i)
                plugin.coefficients[i] = torch.randn(v.shape, generator=g)
            if s.grads[i]:
                bridge.view(s.grads[i].contents).copy_(plugin.coefficients[i] * s.grad_scale)
        return abi.OK

    names = (c_char_p * 1)(b"l_total")
    values = (c_double * 1)(0.0)

    def read_losses(_s, out, _error):
        out.contents.n_losses, out.contents.names, out.contents.values = 1, cast(names, POINTER(c_char_p)), values
        return abi.OK

    def get_plan(_s, out, _error):
        out[0] = pointer(plan)
        return abi.OK

    def done(*_):
        return abi.OK

    info = abi.new(abi.PluginInfo, name=b"linear", version=b"0", build=b"")
    kinds = dict(abi.Plugin._fields_)
    functions = dict(get_info=get_info, query_backend=query_backend, get_extension=get_extension,
                     create_session=create_session, destroy_session=lambda _s: None, get_plan=get_plan, begin_step=begin_step,
                     next_pass=next_pass, submit_pass=submit_pass, end_step=done, cancel_step=done, read_losses=read_losses,
                     get_state=done, set_state=done)
    made = {k: kinds[k](f) for k, f in functions.items() if k != "get_info"}
    raw = ctypes.CFUNCTYPE(ctypes.c_void_p)(get_info)  # a callback in Python cannot give a pointer with a type
    table = abi.new(abi.Plugin, abi_draft=abi.ABI_DRAFT, get_info=cast(raw, kinds["get_info"]), **made)
    plugin.functions = (made, raw)
    plugin._read(table)
    return plugin
