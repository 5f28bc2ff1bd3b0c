"""abi/dukd_plugin.h, dukd_ext_draws.h and dukd_ext_params.h in ctypes: constants, structs, types of functions.

A mirror, nothing more: names are the header's without the prefix, and ``tests/torch/test_abi.py`` compares every
size, offset and constant with the header and with ``abi/layout.golden``. What the fields mean is written there.
"""
import ctypes
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_int32, c_int64, c_uint8, c_uint16,
                    c_uint32, c_uint64, c_void_p)

ABI_DRAFT = 2
ENTRY_NAME = "dukd_get_plugin_draft"

OK, STEP_DONE, WAIT, WEIGHTS_MOVED = 0, 1, 2, 3
E_ARGUMENT, E_OPTION, E_UNSUPPORTED, E_STATE = -1, -2, -3, -4
E_MEMORY, E_BACKEND, E_CANCELLED, E_INTERNAL = -5, -6, -7, -8

DEVICE_CPU, DEVICE_CUDA, DEVICE_CUDA_HOST = 1, 2, 3
TYPE_FLOAT, TYPE_BFLOAT = 2, 4

OPTION_BOOL, OPTION_INT, OPTION_FLOAT, OPTION_STRING, OPTION_LIST = 1, 2, 3, 4, 0x100
VALUE_SCALAR, VALUE_LIST, VALUE_NULL = 1, 2, 3

CAP_TWO_STEPS, CAP_LAYERS, CAP_DERIVED, CAP_OTHER_GRAD = 0x01, 0x02, 0x04, 0x08
CAP_MODE_TRAIN, CAP_PARAMS = 0x10, 0x20

LOG_DEBUG, LOG_INFO, LOG_WARNING = 0, 1, 2
SESSION_LOSS_SCALE = 0x1

ORIGIN_OTHER, ORIGIN_LR, ORIGIN_HR, ORIGIN_LR_DOWN = 0, 1, 2, 3
AUGMENT_FLIP_W, AUGMENT_FLIP_H, AUGMENT_TRANSPOSE, AUGMENT_INVERT = 1, 2, 4, 8
ORIGIN_ON_DEVICE = 0x1

TAP_MODE_TRAIN, TAP_WANT_GRAD, TAP_KEEP, TAP_FLAGS = 0x1, 0x2, 0x4, 0x7
SOURCE_INPUT, SOURCE_TAP = 0, 1

PASS_ZERO_GRAD_BEFORE, PASS_BACKWARD, PASS_OPTIMIZE_AFTER, PASS_EMA_AFTER, PASS_FLAGS = 0x1, 0x2, 0x4, 0x8, 0xF

EXT_DRAWS = "dukd.draws/1"
DRAW_CROP_ROW, DRAW_CROP_COL, DRAW_TILE, DRAW_FLIP_W, DRAW_FLIP_H = 1, 2, 3, 4, 5
DRAW_ROTATE, DRAW_TRANSPOSE, DRAW_INVERT = 6, 7, 8
BRANCH_ZOOM_IN, BRANCH_ZOOM_OUT = 1, 2

EXT_PARAMS = "dukd.params/1"
BIND_INIT = 0x1


class Error(Structure):
    _fields_ = [("struct_size", c_uint32), ("code", c_int32), ("message", c_char * 256)]


class Device(Structure):
    _fields_ = [("device_type", c_int32), ("device_id", c_int32)]


class Dtype(Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class Tensor(Structure):
    _fields_ = [("data", c_void_p), ("device", Device), ("ndim", c_int32), ("dtype", Dtype),
                ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)), ("byte_offset", c_uint64)]


class OptionInfo(Structure):
    _fields_ = [("struct_size", c_uint32), ("type", c_uint32), ("name", c_char_p), ("default_text", c_char_p),
                ("min", c_double), ("max", c_double), ("choices", POINTER(c_char_p)), ("n_choices", c_uint32),
                ("pad0", c_uint32), ("help", c_char_p)]


class LossInfo(Structure):
    _fields_ = [("struct_size", c_uint32), ("pad0", c_uint32), ("name", c_char_p), ("help", c_char_p)]


class PluginInfo(Structure):
    _fields_ = [("struct_size", c_uint32), ("n_losses", c_uint32), ("n_options", c_uint32), ("n_backends", c_uint32),
                ("name", c_char_p), ("version", c_char_p), ("build", c_char_p),
                ("losses", POINTER(POINTER(LossInfo))), ("options", POINTER(POINTER(OptionInfo)))]


class BackendInfo(Structure):
    _fields_ = [("struct_size", c_uint32), ("usable", c_int32), ("device_type", c_int32), ("pad0", c_uint32),
                ("name", c_char * 32), ("detail", c_char * 256)]


class Option(Structure):
    _fields_ = [("struct_size", c_uint32), ("kind", c_uint32), ("key", c_char_p), ("place", c_char_p),
                ("values", POINTER(c_char_p)), ("n_values", c_uint32), ("pad0", c_uint32)]


class Tap(Structure):
    _fields_ = [("struct_size", c_uint32), ("id", c_uint32), ("network", c_uint32), ("flags", c_uint32),
                ("source_kind", c_uint32), ("source_id", c_uint32), ("from_layer", c_char_p), ("layer", c_char_p)]


TapShape = CFUNCTYPE(c_int32, c_void_p, POINTER(Tap), POINTER(c_int64), POINTER(c_int64), POINTER(Error))
Alloc = CFUNCTYPE(c_void_p, c_void_p, c_int32, c_int32, c_uint64, c_uint64, c_void_p)
Free = CFUNCTYPE(None, c_void_p, c_void_p, c_int32, c_int32, c_void_p)
Log = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)


class Host(Structure):
    # parallel_for, max_threads: addresses of functions in C. should_cancel, get_extension: NULL.
    _fields_ = [("struct_size", c_uint32), ("n_networks", c_uint32), ("ctx", c_void_p), ("caps", c_uint64),
                ("networks", POINTER(c_char_p)), ("tap_shape", TapShape), ("alloc", Alloc), ("free", Free),
                ("log", Log), ("parallel_for", c_void_p), ("max_threads", c_void_p), ("should_cancel", c_void_p),
                ("get_extension", c_void_p)]


class SessionParams(Structure):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("host", POINTER(Host)),
                ("options", POINTER(POINTER(Option))), ("n_options", c_uint32), ("micro_count", c_uint32),
                ("seed", c_uint64), ("lr_shape", c_int64 * 4), ("scale", c_int32), ("dtype", Dtype),
                ("device", Device)]


class Step(Structure):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("iteration", c_int64), ("first_sample", c_int64),
                ("micro_index", c_uint32), ("micro_count", c_uint32), ("lr", POINTER(Tensor)),
                ("hr", POINTER(Tensor)), ("stream", c_void_p)]


class Origin(Structure):
    _fields_ = [("struct_size", c_uint32), ("kind", c_uint32), ("flags", c_uint32), ("n_samples", c_uint32),
                ("samples", POINTER(c_int64)), ("rows", POINTER(c_int32)), ("cols", POINTER(c_int32)),
                ("augment", POINTER(c_uint32))]


class Input(Structure):
    _fields_ = [("struct_size", c_uint32), ("id", c_uint32), ("tensor", POINTER(Tensor)), ("origin", POINTER(Origin))]


class Pass(Structure):
    _fields_ = [("struct_size", c_uint32), ("id", c_uint32), ("plan_index", c_uint32), ("flags", c_uint32),
                ("n_inputs", c_uint32), ("n_taps", c_uint32), ("inputs", POINTER(POINTER(Input))),
                ("taps", POINTER(POINTER(Tap)))]


class Plan(Structure):
    _fields_ = [("struct_size", c_uint32), ("n_passes", c_uint32), ("passes", POINTER(POINTER(Pass)))]


class Submit(Structure):
    _fields_ = [("struct_size", c_uint32), ("pass_id", c_uint32), ("n_taps", c_uint32), ("pad0", c_uint32),
                ("values", POINTER(POINTER(Tensor))), ("grads", POINTER(POINTER(Tensor))), ("grad_scale", c_double),
                ("grad_scale_dev", POINTER(Tensor))]


class Losses(Structure):
    _fields_ = [("struct_size", c_uint32), ("n_losses", c_uint32), ("iteration", c_int64),
                ("names", POINTER(c_char_p)), ("values", POINTER(c_double))]


class Draw(Structure):
    _fields_ = [("struct_size", c_uint32), ("what", c_uint32), ("branch", c_uint32), ("crop", c_uint32),
                ("iteration", c_int64), ("sample", c_int64), ("bound", c_uint64), ("probability", c_double)]


_E = POINTER(Error)
_S = c_void_p  # dukd_session *


class Plugin(Structure):
    _fields_ = [
        ("struct_size", c_uint32), ("abi_draft", c_uint32),
        ("get_info", CFUNCTYPE(POINTER(PluginInfo))),
        ("query_backend", CFUNCTYPE(c_int32, c_uint32, POINTER(BackendInfo), _E)),
        ("get_extension", CFUNCTYPE(c_void_p, c_char_p)),
        ("create_session", CFUNCTYPE(c_int32, POINTER(SessionParams), POINTER(c_void_p), _E)),
        ("destroy_session", CFUNCTYPE(None, _S)),
        ("get_plan", CFUNCTYPE(c_int32, _S, POINTER(POINTER(Plan)), _E)),
        ("begin_step", CFUNCTYPE(c_int32, _S, POINTER(Step), _E)),
        ("next_pass", CFUNCTYPE(c_int32, _S, POINTER(POINTER(Pass)), _E)),
        ("submit_pass", CFUNCTYPE(c_int32, _S, POINTER(Submit), _E)),
        ("end_step", CFUNCTYPE(c_int32, _S, _E)),
        ("cancel_step", CFUNCTYPE(c_int32, _S, _E)),
        ("read_losses", CFUNCTYPE(c_int32, _S, POINTER(Losses), _E)),
        ("get_state", CFUNCTYPE(c_int32, _S, c_void_p, POINTER(c_uint64), _E)),
        ("set_state", CFUNCTYPE(c_int32, _S, c_void_p, c_uint64, _E)),
    ]


DrawSource = CFUNCTYPE(c_int32, c_void_p, POINTER(Draw), POINTER(c_uint64))


class ExtDraws(Structure):
    _fields_ = [("struct_size", c_uint32), ("pad0", c_uint32),
                ("set_source", CFUNCTYPE(c_int32, _S, DrawSource, c_void_p, _E))]


class ParamInfo(Structure):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("name", c_char_p), ("shape", POINTER(c_int64)),
                ("ndim", c_uint32), ("pad0", c_uint32)]


class ParamList(Structure):
    _fields_ = [("struct_size", c_uint32), ("n_params", c_uint32), ("params", POINTER(POINTER(ParamInfo)))]


class ParamBind(Structure):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("n_params", c_uint32), ("pad0", c_uint32),
                ("values", POINTER(POINTER(Tensor))), ("grads", POINTER(POINTER(Tensor))), ("stream", c_void_p)]


class ExtParams(Structure):
    _fields_ = [("struct_size", c_uint32), ("pad0", c_uint32),
                ("list", CFUNCTYPE(c_int32, _S, POINTER(POINTER(ParamList)), _E)),
                ("bind", CFUNCTYPE(c_int32, _S, POINTER(ParamBind), _E))]


#: The header's name of each struct, for the test and for messages.
STRUCTS = {"dukd_error": Error, "dukd_device": Device, "dukd_dtype": Dtype, "dukd_tensor": Tensor,
           "dukd_option_info": OptionInfo, "dukd_loss_info": LossInfo, "dukd_plugin_info": PluginInfo,
           "dukd_backend_info": BackendInfo, "dukd_option": Option, "dukd_host": Host,
           "dukd_session_params": SessionParams, "dukd_step": Step, "dukd_origin": Origin, "dukd_input": Input,
           "dukd_tap": Tap, "dukd_pass": Pass, "dukd_plan": Plan, "dukd_submit": Submit, "dukd_losses": Losses,
           "dukd_plugin": Plugin, "dukd_draw": Draw, "dukd_ext_draws": ExtDraws, "dukd_param_info": ParamInfo,
           "dukd_param_list": ParamList, "dukd_param_bind": ParamBind, "dukd_ext_params": ExtParams}


def new(kind, /, **fields):
    """A struct with its struct_size set."""
    return kind(struct_size=ctypes.sizeof(kind), **fields)
