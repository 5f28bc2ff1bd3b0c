"""Recorded runs are replayed: official_* by the authors' own code, paper_* by plain autograd. Tolerances are those of the
golden README. `python test_golden.py FILE.safetensors...` replays other files of the same make."""
import math
import sys

import pytest
import torch

import dukd
from support import Golden, absolute, golden_file, relative

FILES = ["official_x2", "official_x3", "official_x2_plain", "paper_x2", "paper_x3", "paper_x2_weights", "paper_x2_count2",
         "paper_x3_hardest", "paper_x2_oblong"]
LOSS, GRADIENT, AFTER1, FINAL, EMA = 1e-5, 2e-4, 2e-6, 5e-6, 5e-7


def replay(path):
    """Plays a file and compares; returns the largest differences by name, for the curious."""
    g = Golden(path)
    student, teacher = g.net("student"), g.net("teacher")
    o, s = g.config["optimizer"], g.config["scheduler"]
    optimizer = torch.optim.Adam(student.parameters(), o["lr"], betas=tuple(o["betas"]), eps=o["eps"], foreach=False)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, s["milestones"], s["gamma"])
    decay = g.config["ema_decay"]
    average = {k: v.clone() for k, v in student.named_parameters()}
    largest = {}

    def close(what, error, tolerance):
        assert error <= tolerance, f"{g.name} {what}: {error:.2e}, allowed are {tolerance:.0e}"
        largest[what] = max(largest.get(what, 0), error)

    def weights_close(prefix, got, error, tolerance):
        want = g.weights(prefix)
        assert set(want) == set(got)
        for k in want:
            close(prefix, error(got[k].detach(), want[k]), tolerance)

    def update():
        with torch.no_grad():
            for k, v in student.named_parameters():
                average[k].mul_(decay).add_(v, alpha=1 - decay)

    lr, _ = g.images(1)
    session = dukd.Session(g.options(), {"student": student, "teacher": teacher}, lr.shape, g.scale)
    session.set_draws(g.draw)
    steps = 0
    for i in range(1, g.iterations + 1):
        close("rate", abs(optimizer.param_groups[0]["lr"] / g.tensors["lr_rate"][i - 1] - 1), 1e-12)
        for p in session.step(*g.images(i)):
            if p.zero_grad:
                optimizer.zero_grad(set_to_none=False)
            if i == 1 and "zoom_out.1" in g.tensors and p.inputs[0].shape == g.tensors["zoom_out.1"].shape and \
                    p.origin(0)["kind"] == dukd.abi.ORIGIN_LR_DOWN:
                close("zoom_out.1", absolute(p.inputs[0], torch.from_numpy(g.tensors["zoom_out.1"])), 5e-7)
            p.backward()
            if p.optimize:
                if i == 1:
                    name = "grad" if not g.official else "grad.A" if steps == 0 else "grad.AB"
                    weights_close(name, {k: v.grad for k, v in student.named_parameters()}, relative, GRADIENT)
                optimizer.step()
                steps += 1
            if p.ema:
                update()
        schedule.step()
        losses = session.losses()
        for name, want in zip(g.loss_names, g.tensors["losses"][i - 1]):
            if math.isnan(want):
                assert name not in losses
            else:
                close("losses", abs(losses[name] / float(want) - 1), LOSS)
        if i == 1:
            weights_close("after1", dict(student.named_parameters()), absolute, AFTER1)
    weights_close("final", dict(student.named_parameters()), absolute, FINAL)
    weights_close("ema", average, absolute, EMA)
    assert steps == g.iterations * (2 if g.official else 1)
    return largest


@pytest.mark.parametrize("name", FILES)
def test_golden(name):
    largest = replay(golden_file(name))
    assert {"losses", "after1", "final", "ema"} <= set(largest)  # compared; with one thread they may be bit-equal


if __name__ == "__main__":
    for file in sys.argv[1:]:
        print(file, {k: f"{v:.1e}" for k, v in replay(file).items()})
