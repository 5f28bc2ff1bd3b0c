"""A session: a plugin, its options, the user's networks, and the steps of a training."""
import ctypes
import logging
import threading
import weakref
from ctypes import POINTER, byref, c_char_p, c_int64, c_uint64, c_void_p

import torch

from . import abi, bridge, memory as memory_functions, options as option_rows, tensors
from .errors import ArgumentError, StateError, UnsupportedError
from .library import Plugin, check
from .networks import Network, unwrap
from .parameters import OwnParameters
from .passes import FROM_LAYER, Layout, Pass
from .tensors import Slot, require_tensor

_LOG = logging.getLogger("dukd")
_LEVELS = {abi.LOG_DEBUG: logging.DEBUG, abi.LOG_INFO: logging.INFO, abi.LOG_WARNING: logging.WARNING}
_STATE_FORMAT = 1


class _Handle:
    """The plugin's session, destroyed when nothing refers to it any more: neither the Session nor a view of its memory."""

    def __init__(self, table, pointer, kept):
        self.pointer = pointer
        self.close = weakref.finalize(self, _Handle._destroy, table, pointer, kept)

    @staticmethod
    def _destroy(table, pointer, _kept):
        table.destroy_session(pointer)


class Session:
    """Distils ``networks["student"]`` by a plugin's method.

        session = dukd.Session(options, {"student": net, "teacher": teacher}, lr_shape=(16, 3, 48, 48), scale=4)
        for p in session.step(lr, hr):
            p.apply(optimizer)

    options: nested or dotted dict of the plugin's options (``python -m dukd.info`` lists them).
    networks: name to module; "student" is one of them, "teacher" and "features" where the method wants them. Modules may
        be compiled or in DistributedDataParallel. Freeze those that must not learn by ``requires_grad_(False)``.
    lr_shape: N, C, h, w of a batch (a micro-batch; of this rank). scale: HR is N x C x scale h x scale w.
    seed: of the plugin's random choices, the same on all ranks. micro_count: calls of ``step`` an iteration.
    dtype, device: of LR and HR; device defaults to the student's.
    autocast: torch.bfloat16 or torch.float16 runs the networks under torch.autocast (an autocast around the loop does, too).
    scaler: a torch.amp.GradScaler that the training uses.
    rank, world_size: of torch.distributed where it is initialized, else 0 and 1.
    threads: "torch": the plugin's loops run on PyTorch's threads (README: two OpenMP runtimes); "plugin": on its own; a
        number: on so many of PyTorch's.
    memory: "torch": the plugin's images and workspaces lie in PyTorch's memory; "plugin": in its own; None: PyTorch's caching
        allocator on CUDA, the plugin's own on the CPU, where PyTorch has no better.
    plugin: a Plugin, a library's path, or None for the one in this package.
    place: a text, or a function of the key, that says in messages where an option comes from.

    One thread at a time; not to be copied, pickled or used after fork (make one in each process). ``iteration`` is that of
    the next step, from 1. Errors of the plugin are exceptions of ``dukd.errors`` with its message.
    """

    def __init__(self, options, networks, lr_shape, scale, seed=0, micro_count=1, *, dtype=torch.float32, device=None,
                 autocast=None, scaler=None, rank=None, world_size=None, threads="torch", memory=None, plugin=None,
                 place="options of dukd.Session"):
        self._handle, self._open, self._lock = None, None, threading.Lock()
        self.plugin = plugin if isinstance(plugin, Plugin) else Plugin(plugin)
        if "student" not in networks:
            raise ArgumentError(f"networks are {', '.join(networks) or 'none'}; 'student' must be one of them")
        if memory not in (None, "torch", "plugin"):
            raise ArgumentError(f"memory is {memory!r}; None, 'torch' and 'plugin' there are")
        if autocast not in (None, torch.bfloat16, torch.float16):
            raise ArgumentError(f"autocast is {autocast}; None, torch.bfloat16 and torch.float16 there are")
        self.networks = {name: Network(name, module, autocast) for name, module in networks.items()}
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.lr_shape, self.scale, self.seed = _four(lr_shape), int(scale), int(seed)
        self.micro_count, self.micro_index, self.iteration = int(micro_count), 0, 1
        self.dtype = dtype
        self.device = torch.device(device) if device is not None else self._device_of_student()
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.rank, self.world_size = _ranks(rank, world_size)
        self._error = abi.new(abi.Error)
        self._error_ref = byref(self._error)
        self._failure = None  # an exception inside a function that the plugin called
        self._lr, self._hr, self._scale_slot, self._one = Slot(), Slot(), Slot(), None
        self._kept, self._layouts, self._draws, self._optimized = [], {}, None, False
        # looked up once: ctypes makes a new object at each access to a struct's field
        self._functions = {name: getattr(self.plugin.table, name) for name, _ in abi.Plugin._fields_}
        self._create(options, threads, memory or ("torch" if self.device.type == "cuda" else "plugin"), place)
        plan = self.plan()
        self._with_grad = {"student"} | {t.network for p in plan for t in p["taps"] if t.want_grad}
        #: names of the networks that the method trains: of these the optimizer needs the parameters
        self.trained = {"student"} | {t.network for p in plan for t in p["taps"] if t.want_grad and t.source[0] == "input"}
        for name in self.trained - {"student"}:
            if not self.networks[name].learns():
                _LOG.warning("this method trains the %s, too, but none of its parameters requires a gradient: it stays as it is", name)
        self._own = OwnParameters(self)

    # ---------------------------------------------------------------- making it

    def _device_of_student(self):
        inner = self.networks["student"].inner
        for p in inner.parameters() if isinstance(inner, torch.nn.Module) else ():
            return p.device
        return torch.device("cpu")

    def _create(self, options, threads, memory, place):
        array, count, kept = option_rows.to_abi(options, place)
        host, host_kept = self._host(threads, memory)
        flags = abi.SESSION_LOSS_SCALE if self.scaler is not None else 0
        params = abi.new(abi.SessionParams, flags=flags, host=ctypes.pointer(host), options=array, n_options=count,
                         micro_count=_count(self.micro_count, "micro_count"),
                         seed=self.seed & 0xFFFFFFFFFFFFFFFF, lr_shape=(c_int64 * 4)(*self.lr_shape), scale=self.scale,
                         dtype=abi.Dtype(*tensors.dtype_of(self.dtype), 1),
                         device=abi.Device(*tensors.device_of(self.device)))
        made = c_void_p()
        self._failure = None
        code = self.plugin.table.create_session(byref(params), byref(made), self._error_ref)
        if made.value:
            self._handle = _Handle(self.plugin.table, made.value, (host, host_kept, self.plugin))
        self._interrupted()
        check(code, self._error, self._failure)
        del kept

    def _host(self, threads, memory):
        """The dukd_host, and what it points to. Its functions must not keep the Session alive."""
        me = weakref.ref(self)

        def tap_shape(_ctx, tap, size, out, why):
            session, t = me(), tap.contents
            try:
                network = list(session.networks.values())[t.network]
                if t.from_layer:
                    raise UnsupportedError(FROM_LAYER.format(t.from_layer.decode()))
                layer = t.layer.decode() if t.layer else None
                shape = network.shape(layer, size[:4], session.dtype, session.device)
                for i in range(4):
                    out[i] = shape[i]
                return 0
            except BaseException as e:  # noqa: BLE001 (whatever a user's network raises is told to the plugin; Ctrl-C comes after)
                session._failure = e
                if why:
                    why.contents.message = (str(e).strip().splitlines() or [type(e).__name__])[0].encode()[:255]
                return -1

        def log(_ctx, level, message):
            try:
                _LOG.log(_LEVELS.get(level, logging.INFO), "%s", message.decode("utf-8", "replace"))
            except BaseException as e:  # noqa: BLE001 (a user's handler, or Ctrl-C: the plugin's call goes on)
                if me() is not None:
                    me()._failure = e

        names = (c_char_p * len(self.networks))(*[n.encode() for n in self.networks])
        caps = (abi.CAP_TWO_STEPS | abi.CAP_LAYERS | abi.CAP_DERIVED | abi.CAP_OTHER_GRAD | abi.CAP_MODE_TRAIN |
                abi.CAP_PARAMS)
        host = abi.new(abi.Host, n_networks=len(self.networks), caps=caps, networks=names,
                       tap_shape=abi.TapShape(tap_shape), log=abi.Log(log))
        team = self._team(threads)
        if team is not None:
            host.ctx = ctypes.cast(ctypes.pointer(team), c_void_p)
            host.parallel_for = bridge.address("dukd_torch_parallel_for")
            host.max_threads = bridge.address("dukd_torch_max_threads")
        if memory == "torch":
            host.alloc, host.free = memory_functions.functions()
        return host, (names, host.tap_shape, host.log, host.alloc, host.free, team)

    @staticmethod
    def _team(threads):
        if threads == "plugin":
            return None
        if threads == "torch":
            return bridge.torch_team(torch.get_num_threads())
        if isinstance(threads, int) and threads >= 1:
            return bridge.torch_team(threads)
        raise ArgumentError(f"threads is {threads!r}; 'torch', 'plugin' or a number from 1 there are")

    # ---------------------------------------------------------------- calls

    def _pointer(self):
        handle = self._handle
        if handle is None or not handle.close.alive:
            raise StateError("the session is closed")
        return handle.pointer

    def _call(self, name, *arguments):
        """A function of the table with this session; raises its error. One thread at a time."""
        pointer, function = self._pointer(), self._functions[name]
        if not self._lock.acquire(blocking=False):
            raise StateError(f"{name}: another thread is in this session; use a session for each thread, or a lock")
        try:
            code = function(pointer, *arguments, self._error_ref)
        finally:
            self._lock.release()
        if self._failure is None and code >= 0:
            return code
        self._interrupted()
        cause, self._failure = self._failure, None
        return check(code, self._error, cause)

    def _interrupted(self):
        """Ctrl-C inside a function that the plugin called cannot pass through it: it is raised when the plugin is back."""
        if self._failure is not None and not isinstance(self._failure, Exception):
            failure, self._failure = self._failure, None
            raise failure

    def _require_pass(self, p):
        if self._open is not p:
            raise StateError(f"pass {p.id} is over: a pass is good until the loop asks for the next one")

    def _keep(self, values):
        self._kept.extend(values)

    def _scale(self, submit):
        """Loss scaling of a submit: on CUDA the scaler's own device scalar, so that nothing waits."""
        submit.grad_scale = 1.0
        if self.scaler is None:
            return
        if self._one is None:
            self._one = torch.ones((), dtype=torch.float32, device=self.device)
        scale = self.scaler.scale(self._one)
        if self.device.type == "cuda":
            submit.grad_scale_dev = ctypes.pointer(self._scale_slot.fill(scale, "the scale"))
        else:
            submit.grad_scale = float(scale)

    # ---------------------------------------------------------------- steps

    def first_sample(self, iteration=None, micro_index=None):
        """Global index of this rank's first image: n ranks draw what one rank with all images would."""
        i = self.iteration if iteration is None else iteration
        m = self.micro_index if micro_index is None else micro_index
        n = self.lr_shape[0]
        return ((i - 1) * self.micro_count + m) * n * self.world_size + self.rank * n

    def step(self, lr, hr, iteration=None):
        """The passes of one step (of one micro-batch, where micro_count > 1), to be gone through to the end.

        lr, hr: values in [0, 1], of the session's shape, dtype and device, any strides; they must not change before the
        loop is over. iteration: counts by itself unless given. Each pass wants ``backward`` (or ``apply``, or ``submit``)
        before the next one. Leaving the loop early, or an exception in it, gives the step up: the next call begins
        the same one anew; gradients and weights are then the caller's to restore.
        """
        require_tensor(lr, "lr")
        require_tensor(hr, "hr")
        if iteration is not None:
            if int(iteration) != self.iteration:
                self.iteration, self.micro_index = int(iteration), 0
        return self._passes(lr.detach(), hr.detach())

    def _passes(self, lr, hr):
        if self._open is not None:
            raise StateError("a step of this session is not over: go through its passes to the end, or close its generator")
        if self._own:
            self._own.rebind()
            self._own.watch(self._optimized)
        step = abi.new(abi.Step, iteration=self.iteration, first_sample=self.first_sample(), micro_index=self.micro_index,
                       micro_count=self.micro_count, lr=ctypes.pointer(self._lr.fill(lr, "lr")),
                       hr=ctypes.pointer(self._hr.fill(hr, "hr")), stream=self._stream())
        raw = POINTER(abi.Pass)()
        self._open, done, self._optimized = "begun", False, False
        try:  # from here on: Ctrl-C may come when a call of the plugin is back
            self._call("begin_step", byref(step))
            while self._call("next_pass", byref(raw)) == abi.OK:
                one = raw.contents
                layout = self._layouts.get(one.plan_index)
                if layout is None:
                    layout = self._layouts[one.plan_index] = Layout(one, self.networks, self._with_grad)
                p = self._open = Pass(self, layout, one)
                yield p
                if not p.submitted:
                    raise StateError(f"pass {p.id} was not submitted: call its apply, backward or submit in the loop")
                self._optimized = self._optimized or p.optimize
            self._call("end_step")
            done = True
        finally:
            self._open = None
            self._kept.clear()
            if not done:
                self._cancel()
        self.micro_index += 1
        if self.micro_index == self.micro_count:
            self.micro_index = 0
            self.iteration += 1

    def _cancel(self):
        try:
            if self._call("cancel_step") == abi.WEIGHTS_MOVED:
                _LOG.warning("iteration %d was given up after an optimizer step: the weights have moved", self.iteration)
        except StateError:
            pass  # begun and ended, or inherited by fork

    def _stream(self):
        return torch.cuda.current_stream(self.device).cuda_stream if self.device.type == "cuda" else None

    def _group(self):
        """The process group over which a plugin's own gradients are averaged, as DDP does the student's; None: one rank."""
        if self.world_size == 1 or not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return None
        module = self.networks["student"].module
        return getattr(module, "process_group", None) or torch.distributed.group.WORLD

    # ---------------------------------------------------------------- what is trained

    def parameters(self):
        """The plugin's own parameters (extension "dukd.params/1"), to be given to the optimizer after the networks'. Most
        methods have none: an empty list. ``state_dict`` has their values, the optimizer's its moments of them."""
        return list(self._own.by_name.values())

    def named_parameters(self):
        """[(name, parameter)] of ``parameters``."""
        return list(self._own.by_name.items())

    def averages(self):
        """{name: tensor}: their moving averages, where ``p.apply`` has an AveragedModel, or by ``average``."""
        return dict(self._own.averages)

    def average(self, decay):
        """Updates ``averages`` where a pass says ``ema``, for a loop that averages without an AveragedModel."""
        self._own.average(decay)

    def wrap(self, name, wrapped):
        """Runs a network through another wrapper of the same module: the teacher in DistributedDataParallel, once ``trained``
        says that it learns."""
        network = self.networks[name]
        if unwrap(wrapped) is not network.inner:
            raise ArgumentError(f"wrap: this is no wrapper of the module that is network '{name}'")
        network.module = wrapped

    # ---------------------------------------------------------------- what it tells

    def losses(self):
        """{name: value} of the last step, means over batch and micro-batches; "l_total" is the sum that is minimised.
        On CUDA this waits for the device: ask when a line of a log is due."""
        found = abi.new(abi.Losses)
        self._call("read_losses", byref(found))
        return {found.names[i].decode(): found.values[i] for i in range(found.n_losses)}

    def plan(self):
        """Every pass that a step can have: a list of dicts of ``inputs`` (shapes) and ``taps``, by plan index."""
        found = POINTER(abi.Plan)()
        self._call("get_plan", byref(found))
        passes = []
        for i in range(found.contents.n_passes):
            raw = found.contents.passes[i].contents
            shapes = []
            for k in range(raw.n_inputs):
                t = raw.inputs[k].contents.tensor.contents
                shapes.append(tuple(t.shape[:t.ndim]))
            taps = [Layout._tap(raw.taps[k].contents, k, raw.n_inputs, self.networks) for k in range(raw.n_taps)]
            passes.append({"inputs": shapes, "taps": taps})
        return passes

    # ---------------------------------------------------------------- recorded choices

    def set_draws(self, source):
        """Replaces the plugin's random choices (extension "dukd.draws/1"), to replay a recorded run or look at a chosen
        case. source(draw) gets an abi.Draw and gives a number below ``draw.bound``, or None: the plugin draws. None
        instead of a function: the plugin's own draws again. Between steps."""
        extension = self.plugin.extension(abi.EXT_DRAWS, abi.ExtDraws)
        if extension is None:
            raise UnsupportedError(f"plugin {self.plugin.name} does not have {abi.EXT_DRAWS}")
        me = weakref.ref(self)

        def draw(_ctx, raw, value):
            try:
                chosen = source(raw.contents)
                if chosen is None:
                    return 0
                value[0] = int(chosen)
                return 1
            except BaseException as e:  # noqa: BLE001 (comes out of step)
                me()._failure = e
                return abi.E_ARGUMENT

        kept = abi.DrawSource(draw) if source is not None else abi.DrawSource()
        self._functions["set_source"] = lambda pointer, error: extension.set_source(pointer, kept, None, error)
        self._call("set_source")
        self._draws = kept

    # ---------------------------------------------------------------- resume

    def state_dict(self):
        """What a checkpoint needs of the session, between steps: the iteration, the plugin's state and own parameters."""
        size = c_uint64()
        self._call("get_state", None, byref(size))
        data = (ctypes.c_uint8 * max(1, size.value))()
        self._call("get_state", data, byref(size))
        state = {"format": _STATE_FORMAT, "plugin": self.plugin.name, "iteration": self.iteration,
                 "micro_index": self.micro_index, "seed": self.seed,
                 "state": torch.tensor(bytearray(data)[:size.value], dtype=torch.uint8)}
        if self._own:
            state["parameters"] = self._own.state_dict()
        return state

    def load_state_dict(self, state):
        """Goes on where ``state_dict`` was taken. A state of another configuration is refused with the difference."""
        if state.get("format") != _STATE_FORMAT:
            raise ArgumentError(f"the state's format is {state.get('format')!r}, expected {_STATE_FORMAT}")
        if state["plugin"] != self.plugin.name:
            raise ArgumentError(f"the state is of plugin '{state['plugin']}', this one is '{self.plugin.name}'")
        self._own.check(state.get("parameters"))
        blob = bytes(state["state"].cpu().tolist())
        self._call("set_state", blob, len(blob))
        if self._own:
            self._own.load_state_dict(state["parameters"])
        self.iteration, self.micro_index = int(state["iteration"]), int(state["micro_index"])

    # ---------------------------------------------------------------- end

    def close(self):
        """Destroys the plugin's session; ``with dukd.Session(...)`` does it, and so does dropping the last reference."""
        if self._handle is not None:
            self._handle.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __reduce__(self):
        raise TypeError("a dukd.Session cannot be copied or pickled: make one in each process, and take its state_dict()")

    def __deepcopy__(self, _memo):
        self.__reduce__()


def _four(shape):
    shape = tuple(int(n) for n in shape)
    if len(shape) != 4:
        raise ArgumentError(f"lr_shape is {shape}, expected N, C, h, w")
    return shape


def _count(n, what):
    if not 1 <= n <= 0xFFFFFFFF:
        raise ArgumentError(f"{what} is {n}, expected 1 or more")
    return n


def _ranks(rank, world_size):
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = (torch.distributed.get_rank() if ready else 0) if rank is None else int(rank)
    world_size = (torch.distributed.get_world_size() if ready else 1) if world_size is None else int(world_size)
    if not 0 <= rank < world_size:
        raise ArgumentError(f"rank {rank} of {world_size} there is not")
    return rank, world_size
