"""DistributedDataParallel on gloo: two ranks are one rank with both batches; a rank that dies ends the others."""
import os
import signal
import socket
import time

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

import dukd
from support import edsr, fitnets, images, relative

OPTIONS = {"paper": {}, "hardest": {"train.zoom_in": "hardest"},
           "official": {"model_type": "DUKD", "train": {"pixel_opt": {"type": "L1Loss", "loss_weight": 5},
                                                        "kd_opt": {"type": "L1Loss"}, "dukd_opt": {"zoom_out": True},
                                                        "noisy": {"prob": 0.3}}},
           "hint": {"train.terms": ["rec", "hint"], "train.w_hint": 1e-4, "train.hint.student_layer": "body.0", "train.hint.teacher_layer": "body.1"}}
STEPS = 4


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def train(options, rank, ranks, wrap, micro=1, die_at=None):
    torch.set_num_threads(1)
    student, teacher = edsr(6, 2, 2, seed=1), edsr(8, 2, 2, seed=2)
    n = 4 // ranks // micro
    session = dukd.Session(options, {"student": wrap(student), "teacher": teacher}, (n, 3, 12, 12), 2, seed=3,
                           micro_count=micro, plugin=fitnets() if "train.terms" in options else None)
    # Adam would not see whether gradients are summed or averaged
    kind, rate = (torch.optim.SGD, 0.05) if session.parameters() else (torch.optim.Adam, 1e-3)
    optimizer = kind([*student.parameters(), *session.parameters()], rate)
    assert (session.rank, session.world_size) == (rank, ranks)
    for i in range(1, STEPS + 1):
        for m in range(micro):
            lr, hr = images(4, 12, 2, seed=i)
            rows = slice(m * 4 // micro + rank * n, m * 4 // micro + rank * n + n)
            for p in session.step(lr[rows], hr[rows]):
                if die_at == (rank, i):
                    os.kill(os.getpid(), signal.SIGKILL)
                p.apply(optimizer)
    return {k: v.detach().clone() for k, v in [*student.state_dict().items(), *session.named_parameters()]}


def worker(rank, ranks, port, options, micro, die_at, out):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    try:
        weights = train(options, rank, ranks, DistributedDataParallel, micro, die_at)
    except RuntimeError as e:  # the other rank is gone
        torch.save({"error": str(e)[:200]}, f"{out}.{rank}")
        os._exit(3)
    torch.save(weights, f"{out}.{rank}")
    dist.barrier()  # gloo's own threads abort a process whose partner leaves first
    dist.destroy_process_group()


def start(options, micro, die_at, out):
    context, port = mp.get_context("spawn"), free_port()
    ranks = [context.Process(target=worker, args=(r, 2, port, options, micro, die_at, str(out))) for r in range(2)]
    for r in ranks:
        r.start()
    return ranks


def wait(ranks, seconds):
    end = time.monotonic() + seconds
    for r in ranks:
        r.join(max(0.1, end - time.monotonic()))
    hung = [r for r in ranks if r.exitcode is None]
    for r in hung:
        r.kill()
    assert not hung, "a rank hangs"
    return [r.exitcode for r in ranks]


def first_values(options):
    """Of the plugin's own parameters."""
    session = dukd.Session(options, {"student": edsr(6, 2, 2), "teacher": edsr(8, 2, 2)}, (1, 3, 12, 12), 2, seed=3, plugin=fitnets())
    return {k: v.detach().clone() for k, v in session.named_parameters()}


@pytest.mark.parametrize("mode,micro", [("paper", 1), ("official", 1), ("hardest", 2), ("hint", 1), ("hint", 2)])
def test_two_ranks_are_one(mode, micro, tmp_path):
    options = OPTIONS[mode]
    assert wait(start(options, micro, None, tmp_path / "w"), 120) == [0, 0]
    two = [torch.load(f"{tmp_path}/w.{r}", weights_only=True) for r in range(2)]
    one = train(options, 0, 1, lambda net: net, micro)
    begin = edsr(6, 2, 2, seed=1).state_dict()
    if mode == "hint":
        begin.update(first_values(options))
    assert set(begin) == set(one)
    for k, v in one.items():
        assert torch.equal(two[0][k], two[1][k]), k
        moved = (v - begin[k]).norm()
        assert moved > 0 and (two[0][k] - v).norm() / moved < 1e-2, k
        assert relative(two[0][k], v) < 1e-4, k


def test_a_rank_that_dies_ends_the_other(tmp_path):
    codes = wait(start(OPTIONS["paper"], 1, (1, 2), tmp_path / "w"), 90)
    assert codes[1] == -signal.SIGKILL and codes[0] == 3, codes
    assert "error" in torch.load(f"{tmp_path}/w.0", weights_only=True)
