"""Two ranks by gloo: they train as one rank with the whole batch; a rank or a reader that dies ends the run with its reason."""
import os
import shutil
import signal
import socket
import time

import pytest
import runs
import torch
from support import fitnets

import dukd


@pytest.fixture
def data(tmp_path):
    runs.write_images(tmp_path, [(48, 60), (50, 41), (64, 33), (40, 40)], 2)
    return tmp_path


def start(count, file, *force, folder, environment=()):
    """`count` ranks as torchrun starts them, without torchrun, which would end the others when one fails: here each has to
    end by itself."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    both = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "", **dict(environment)}
    return [runs.process(file, *force, folder=folder, switches=["--launcher", "pytorch"],
                         environment={**both, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(count)]


def finish(processes, seconds=120):
    """Their outputs. A process that has not ended by then is a hang."""
    deadline, outputs = time.monotonic() + seconds, []
    try:
        for p in processes:
            outputs.append(p.communicate(timeout=max(1, deadline - time.monotonic()))[0])
    finally:
        for p in processes:
            p.kill()
    return outputs


# CSD's L_con is each rank's own ratio: what is left without it trains the teacher, too
CASES = {"paper": ("DUKDPlugin", None), "official": ("DUKD", runs.OFFICIAL),
         "teacher": ("DUKDPlugin", {"terms": ["csd", "kd"], "w_csd": 0}),
         "shared": ("DUKDPlugin", {"terms": ["csd"], "w_csd": 0, "share_weights": True}),
         "hint": ("DUKDPlugin", {"terms": ["rec", "hint"], "w_hint": 3})}


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_as_one(case, data, monkeypatch):
    model_type, section = CASES[case]
    content = runs.options(data, model_type, teacher=runs.edsr(8, 1), train=section)
    if case == "shared":
        start_weights = {k: v[tuple(slice(6 if n == 8 else 24 if n == 32 else n) for n in v.shape)]
                         for k, v in torch.load(data / "teacher.pth", weights_only=True)["params"].items()}
    else:
        content["path"]["pretrain_network_g"] = runs.write_weights(data / "g.pth", content["network_g"], seed=4)
        start_weights = torch.load(data / "g.pth", weights_only=True)["params"]
    if case == "hint":  # a package that is not installed looks for its own library beside the plugin's
        for library in (fitnets(), dukd.bridge.library._name):
            shutil.copy(library, data)
        monkeypatch.setenv("DUKD_LIBRARY", str(data / "fitnets.so"))
    file = runs.write(data / "o.yml", content)
    processes = start(2, file, "name=two", "datasets:train:batch_size_per_gpu=1", "logger:save_checkpoint_freq=6", folder=data)
    one = runs.train(file, "name=one", folder=data, monkeypatch=monkeypatch)
    outputs = finish(processes)
    assert [p.returncode for p in processes] == [0, 0], "\n".join(outputs)
    saved = torch.load(data / "experiments/two/models/net_g_latest.pth", weights_only=True)
    for key, average in (("params", False), ("params_ema", True)):
        of_all, of_moved = runs.far(saved[key], one.weights(average), start_weights)
        assert of_all <= 1e-4 and of_moved <= 1e-2, (of_all, of_moved)
    if case in ("teacher", "shared"):
        saved = torch.load(data / "experiments/two/models/net_t_latest.pth", weights_only=True)
        teacher = torch.load(data / "teacher.pth", weights_only=True)["params"]
        for key, net in (("params", one.model.net_t), ("params_ema", one.model.net_t_ema)):
            of_all, of_moved = runs.far(saved[key], {k: v.detach() for k, v in net.state_dict().items()}, teacher)
            assert of_all <= 1e-4 and of_moved <= 1e-2, (of_all, of_moved)
    if case == "hint":
        state = torch.load(data / "experiments/two/training_states/6.state", weights_only=True)["dukd"]["session"]["parameters"]
        for kind, ours in (("values", dict(one.model.session.named_parameters())), ("averages", one.model.session.averages())):
            of_all, of_moved = runs.far(state[kind], {k: v.detach() for k, v in ours.items()}, one.first)
            assert of_all <= 1e-4 and of_moved <= 1e-2, (kind, of_all, of_moved)
    # the log's losses are means over the ranks
    lines = [line for line in outputs[0].splitlines() if "l_total: " in line]
    got = [float(line.split("l_total: ")[1].split()[0]) for line in lines]
    assert got == pytest.approx([row["l_total"] for row in one.losses], rel=1e-4)  # the log has five digits
    assert not [line for line in outputs[1].splitlines() if "l_total" in line]


def test_ranks_agree_on_a_seed_that_is_drawn(data):
    content = runs.options(data)
    del content["manual_seed"]
    processes = start(2, runs.write(data / "o.yml", content), "datasets:train:batch_size_per_gpu=1", folder=data)
    outputs = finish(processes)
    assert [p.returncode for p in processes] == [0, 0], "\n".join(outputs)


def wait_for(path, processes, text=None, seconds=90):
    deadline = time.monotonic() + seconds
    while not (path.exists() and (text is None or text in path.read_text())):
        assert time.monotonic() < deadline and all(p.poll() is None for p in processes), \
            "\n".join(p.communicate()[0] for p in processes if p.poll() is not None)
        time.sleep(0.05)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_other(victim, data):
    file = runs.write(data / "o.yml", runs.options(data))
    processes = start(2, file, "train:total_iter=1000000", "logger:save_checkpoint_freq=3", "datasets:train:batch_size_per_gpu=1",
                      folder=data)
    wait_for(data / "experiments/run/training_states/3.state", processes)
    os.kill(processes[victim].pid, signal.SIGKILL)
    began = time.monotonic()
    outputs = finish(processes, 60)
    other = 1 - victim
    assert processes[other].returncode == 1, outputs[other]
    assert f"dukd.basicsr: rank {other}, iteration " in outputs[other]
    assert "another rank has ended or cannot be reached" in outputs[other]
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("mode", ["none", "cpu"])
def test_a_killed_reader_ends_the_run(mode, data):
    file = runs.write(data / "o.yml", runs.options(data))
    p = runs.process(file, "train:total_iter=1000000", "datasets:train:num_worker_per_gpu=1", "logger:save_checkpoint_freq=20",
                     "datasets:train:dataset_enlarge_ratio=100000", f"datasets:train:prefetch_mode={mode}", folder=data,
                     environment={"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})
    wait_for(data / "experiments/run/training_states/20.state", [p])
    children = [int(c) for c in open(f"/proc/{p.pid}/task/{p.pid}/children").read().split()]
    threads = [int(c) for t in os.listdir(f"/proc/{p.pid}/task") for c in
               open(f"/proc/{p.pid}/task/{t}/children").read().split()]
    workers = [c for c in {*children, *threads} if b"dukd.basicsr" in open(f"/proc/{c}/cmdline", "rb").read()]
    assert workers
    for w in workers:
        os.kill(w, signal.SIGKILL)
    output, = finish([p], 60)
    assert p.returncode == 1, output
    assert "dukd.basicsr: a process that reads images has ended" in output, output


def test_without_ranks_of_torchrun(data, capsys, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    message = runs.refused(runs.write(data / "o.yml", runs.options(data)), folder=data, capsys=capsys, monkeypatch=monkeypatch,
                           switches=["--launcher", "pytorch"])
    assert "RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set; start the ranks by torchrun" in message
