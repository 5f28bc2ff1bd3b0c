"""What is wrong gets one clear exception; nothing crashes, nothing hangs, and the session goes on where it can."""
import copy
import logging
import os
import pickle
import shutil
import signal
import subprocess
import threading

import numpy as np
import pytest
import torch

import dukd
from support import edsr, images

LR, HR = images(2, 12, 2)


def nets():
    return {"student": edsr(4, 1, 2, seed=1), "teacher": edsr(4, 1, 2, seed=2)}


def make(options=None, networks=None, **arguments):
    return dukd.Session(options or {}, networks or nets(), arguments.pop("lr_shape", (2, 3, 12, 12)),
                        arguments.pop("scale", 2), **arguments)


def run(session, lr=LR, hr=HR):
    for p in session.step(lr, hr):
        p.backward()


@pytest.mark.parametrize("options,error,words", [
    ({"train.zoom_inn": "random"}, dukd.OptionError, ["zoom_inn", "train.zoom_in", "options of dukd.Session"]),
    ({"train.w_kd": "much"}, dukd.OptionError, ["w_kd", "much"]),
    ({"train.w_kd": -1}, dukd.OptionError, ["w_kd"]),
    ({"train.w_kd": float("nan")}, dukd.OptionError, ["w_kd", "nan"]),
    ({"train.w_kd": object()}, dukd.OptionError, ["w_kd", "object"]),
    ({"train": {"w_kd": 1}, "train.w_kd": 1}, dukd.OptionError, ["twice"]),
    ({"datasets": {"train": {"gt_size": 96}}}, dukd.OptionError, ["datasets.train.gt_size"]),  # dukd-host's own
    ({"num_threads": 2}, dukd.OptionError, ["num_threads"]),
    ({"backend": "cuda"}, dukd.DukdError, ["cuda"]),
])
def test_options(options, error, words):
    with pytest.raises(error) as e:
        make(options)
    for word in words:
        assert word in str(e.value)


def test_places_of_options_are_told():
    with pytest.raises(dukd.OptionError, match="my.yml:12:5"):
        make({"train.w_kdd": 1}, place=lambda key: "my.yml:12:5")


@pytest.mark.parametrize("arguments,words", [
    (dict(networks={"teacher": edsr(4, 1, 2)}), "'student' must be one of them"),
    (dict(networks={"student": 3}), "a torch.nn.Module or a function is needed"),
    (dict(networks={"student": edsr(4, 1, 2)}), "teacher"),
    (dict(networks={"student": edsr(4, 1, 4), "teacher": edsr(4, 1, 2)}), "student"),  # of another scale
    (dict(lr_shape=(3, 12, 12)), "expected N, C, h, w"),
    (dict(lr_shape=(0, 3, 12, 12)), "N"),
    (dict(lr_shape=(2, 4, 12, 12)), "size of tensor a (4)"),  # what the network says of itself
    (dict(scale=0), "scale"),
    (dict(micro_count=0), "micro_count"),
    (dict(dtype=torch.float64), "float64"),
    (dict(device="meta"), "meta"),
    (dict(autocast=torch.float32), "autocast"),
    (dict(threads=0), "threads"),
    (dict(memory="gpu"), "memory"),
    (dict(rank=2, world_size=2), "rank 2 of 2"),
])
def test_sessions(arguments, words):
    with pytest.raises((dukd.ArgumentError, dukd.OptionError, dukd.UnsupportedError)) as e:
        make(**arguments)
    assert words in str(e.value), str(e.value)


@pytest.mark.parametrize("lr,hr,words", [
    (LR.numpy(), HR, "lr is a ndarray"),
    (LR, None, "hr is a NoneType"),
    (LR.double(), HR, "lr is float64"),
    ((LR * 255).to(torch.uint8), HR, "lr is uint8"),
    (LR.half(), HR, "f16"),
    (LR[:1], HR[:1], "lr"),
    (LR, LR, "hr"),
    (LR[0], HR, "lr: ndim is 3"),
    (LR.to("meta"), HR, "meta"),
    (LR.to_sparse(), HR, "sparse"),
])
def test_batches(lr, hr, words):
    session = make()
    with pytest.raises(dukd.ArgumentError, match=words):
        run(session, lr, hr)
    run(session)  # goes on
    assert session.iteration == 2


def test_loops_that_do_not_do_their_part():
    session = make()
    with pytest.raises(dukd.StateError, match="pass 0 was not submitted"):
        for p in session.step(LR, HR):
            pass
    with pytest.raises(dukd.StateError, match="submitted already"):
        for p in session.step(LR, HR):
            p.backward()
            p.backward()
    with pytest.raises(dukd.StateError, match="pass 0 is over"):
        for q in session.step(LR, HR):
            q.backward()
            p.backward()
    with pytest.raises(dukd.ArgumentError, match="2 taps, 1 values"):
        for p in session.step(LR, HR):
            p.backward(p.compute()[:1])
    with pytest.raises(dukd.ArgumentError, match="teacher.*23 x 24, expected"):
        for p in session.step(LR, HR):
            p.backward([v[:, :, 1:] for v in p.compute()])
    open_step = session.step(LR, HR)
    next(open_step)
    with pytest.raises(dukd.StateError, match="not over"):
        run(session)
    open_step.close()
    with pytest.raises(dukd.DukdError):
        make().losses()  # no step yet
    assert session.iteration == 1
    run(session)
    losses = session.losses()
    fresh = make()
    run(fresh)
    assert losses == fresh.losses()  # steps that were given up left nothing behind


def test_a_network_that_raises():
    class Breaks(torch.nn.Module):
        broken = False

        def forward(self, x):
            if self.broken:
                raise ZeroDivisionError("in the middle")
            return torch.nn.functional.interpolate(x, scale_factor=2)

    teacher = Breaks()
    session = make(networks={**nets(), "teacher": teacher})
    teacher.broken = True
    with pytest.raises(ZeroDivisionError):
        run(session)
    teacher.broken = False
    run(session)


def test_two_threads_in_one_session():
    session, seen = make(), []

    def other():
        try:
            run(session)
        except dukd.DukdError as e:
            seen.append(e)

    step = session.step(LR, HR)
    next(step)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join(30)
    assert not thread.is_alive() and isinstance(seen[0], dukd.StateError)
    session._lock.acquire()  # as if a thread were inside a call
    with pytest.raises(dukd.StateError, match="another thread is in this session"):
        session.losses()
    session._lock.release()
    step.close()
    thread = threading.Thread(target=run, args=(session,))  # one after the other is allowed
    thread.start()
    thread.join(30)
    assert session.iteration == 2


def test_sessions_in_parallel_threads():
    results, made = {}, [nets() for _ in range(4)]

    def work(i):
        session = make(networks=made[i], seed=5)
        for _ in range(5):
            run(session)
        results[i] = session.losses()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(results) == 4 and all(r == results[0] for r in results.values())


def test_not_to_be_copied_or_used_after_its_end():
    session = make()
    for copying in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="state_dict"):
            copying(session)
    with session:
        run(session)
    with pytest.raises(dukd.StateError, match="closed"):
        run(session)
    session.close()


def test_fork():
    session = make()
    run(session)
    child = os.fork()
    if child == 0:
        try:
            session.losses()
        except dukd.StateError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    run(session)


# ---------------------------------------------------------------- Ctrl-C

@pytest.fixture
def ctrl_c():
    """A shell lets its background commands ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_while_a_session_is_made(ctrl_c):
    """Networks run inside a call of the plugin then, which an exception cannot pass."""
    class Slow(torch.nn.Module):
        def forward(self, x):
            interrupt()
            return torch.nn.functional.interpolate(x, scale_factor=2)

    with pytest.raises(KeyboardInterrupt):
        make(networks={**nets(), "teacher": Slow()})


@pytest.mark.parametrize("where", ["draw", "log", "loop"])
def test_ctrl_c_in_a_step_gives_it_up(where, ctrl_c):
    session, fresh = make(seed=5), make(seed=5)
    if where == "draw":  # inside begin_step, which has begun then
        session.set_draws(interrupt)
    handler = logging.Handler()
    handler.emit = interrupt
    with pytest.raises(KeyboardInterrupt):
        for p in session.step(LR, HR):
            if where == "log":
                logging.getLogger("dukd").addHandler(handler)
                session._handle.close.peek()[2][2][0].log(None, 2, b"a warning")  # as the plugin would, in the call after this
            p.backward()
            if where == "loop":
                interrupt()
    logging.getLogger("dukd").removeHandler(handler)
    if where == "draw":
        session.set_draws(None)
    assert session.iteration == 1
    run(session)
    run(fresh)
    assert session.losses() == fresh.losses()


class Killed(torch.utils.data.Dataset):
    """The worker that loads image 2 is killed, as by the kernel when memory is short."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return LR[0], HR[0]


def test_a_killed_worker_is_an_exception():
    session = make()
    loader = torch.utils.data.DataLoader(Killed(), 2, num_workers=1)
    with pytest.raises(RuntimeError, match="exited|killed"):
        for lr, hr in loader:
            run(session, lr, hr)
    run(session)


def test_plugins_that_are_none(tmp_path):
    with pytest.raises(dukd.LibraryError, match="no/such"):
        dukd.Plugin("no/such.so")
    with pytest.raises(dukd.LibraryError):
        dukd.Plugin(__file__)
    with pytest.raises(dukd.LibraryError, match="no DUKD plugin"):
        dukd.Plugin(str(__import__("dukd.bridge").bridge.library._name))


def test_a_plugin_of_another_draft(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("SKIP: no C compiler")
    for draft, old in ((1, "the plugin"), (99, "the Python package")):
        source, library = tmp_path / "old.c", tmp_path / f"old{draft}.so"
        source.write_text(f"static const unsigned t[2] = {{8, {draft}}};\n"
                          "const void *dukd_get_plugin_draft(unsigned d) { (void)d; return t; }\n")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
        with pytest.raises(dukd.LibraryError, match=f"draft {draft} .*rebuild {old}"):
            make(plugin=str(library))


def test_numbers_of_numpy_are_options():
    session = make({"train.w_kd": np.float32(0.5), "train.zoom_in_count": np.int64(2), "train.terms": ("rec", "kd", "dukd")})
    run(session)
    assert len(session.losses()) == 5
