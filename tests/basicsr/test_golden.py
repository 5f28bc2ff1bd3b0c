"""The golden runs through the registered model types: official_* was computed by the authors' own BasicSR model, paper_* by
plain autograd. `python test_golden.py FILE.safetensors...` replays other files of the same make."""
import math
import pathlib
import sys
import tempfile

import pytest
import torch

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "torch"))
import runs
from support import Golden, absolute, golden_file, relative

from basicsr.models import build_model

FILES = ["official_x2", "official_x3", "official_x2_plain", "paper_x2", "paper_x3", "paper_x2_weights", "paper_x2_count2",
         "paper_x3_hardest", "paper_x2_oblong"]
LOSS, GRADIENT, AFTER1, FINAL, EMA = 1e-5, 2e-4, 2e-6, 5e-6, 5e-7
WEIGHTS, MOVED = 1e-4, 1e-2  # of all weights together, as the norm of the difference


def nested(dotted):
    made = {}
    for key, value in dotted.items():
        *sections, leaf = key.split(".")
        at = made
        for word in sections:
            at = at.setdefault(word, {})
        if isinstance(value, dict):
            at.setdefault(leaf, {}).update(value)
        else:
            at[leaf] = value
    return made


def option_file(g, folder):
    """What an option file of this run says, as BasicSR hands it to a model."""
    c, o = g.config, nested(g.options())
    for which in ("student", "teacher"):
        torch.save({"params": g.weights(which)}, folder / f"{which}.pth")
    lr = g.images(1)[0]
    if lr.shape[2] != lr.shape[3]:
        pytest.skip("SKIP: BasicSR's data sets have square patches alone")
    optimizer = dict(c["optimizer"])
    train = {**o.get("train", {}), "ema_decay": c["ema_decay"], "optim_g": optimizer,
             "scheduler": {"type": "MultiStepLR", **c["scheduler"]}, "total_iter": g.iterations}
    return {"name": g.name, "model_type": o["model_type"], "scale": g.scale, "num_gpu": 0, "manual_seed": 1, "is_train": True,
            "dist": False, "rank": 0, "world_size": 1,
            "datasets": {"train": {"type": "PairedImageDataset", "gt_size": lr.shape[2] * g.scale, "batch_size_per_gpu": g.batch}},
            "network_g": dict(c["student"]), "network_t": dict(c["teacher"]),
            "path": {"pretrain_network_g": str(folder / "student.pth"), "pretrain_network_t": str(folder / "teacher.pth")},
            "train": train, "logger": {}}


def replay(path, folder):
    """Plays a file and compares; the largest differences by name."""
    g, largest = Golden(path), {}
    with runs.quiet_log():
        model = build_model(option_file(g, folder))
    model.session.set_draws(g.draw)

    def close(what, error, tolerance):
        assert error <= tolerance, f"{g.name} {what}: {error:.2e}, allowed are {tolerance:.0e}"
        largest[what] = max(largest.get(what, 0), error)

    def all_close(prefix, got, error, tolerance):
        want = g.weights(prefix)
        assert set(want) == set(got)
        for k in want:
            close(prefix, error(got[k].detach(), want[k]), tolerance)

    student = dict(model.net_g.named_parameters())
    steps, step = [], model.optimizer_g.step

    def count(*args, **kwargs):
        if len(steps) < (2 if g.official else 1):
            name = "grad" if not g.official else "grad.AB" if steps else "grad.A"
            all_close(name, {k: v.grad for k, v in student.items()}, relative, GRADIENT)
        steps.append(1)
        return step(*args, **kwargs)

    model.optimizer_g.step = count
    for i in range(1, g.iterations + 1):
        model.update_learning_rate(i, warmup_iter=-1)
        close("rate", abs(model.get_current_learning_rate()[0] / g.tensors["lr_rate"][i - 1] - 1), 1e-12)
        lr, hr = g.images(i)
        model.feed_data({"lq": lr, "gt": hr})
        model.optimize_parameters(i)
        for name, want in zip(g.loss_names, g.tensors["losses"][i - 1]):
            if math.isnan(want):
                assert name not in model.log_dict
            else:
                close("losses", abs(model.log_dict[name] / float(want) - 1), LOSS)
        if i == 1:
            all_close("after1", student, absolute, AFTER1)
    all_close("final", student, absolute, FINAL)
    all_close("ema", dict(model.net_g_ema.named_parameters()), absolute, EMA)
    of_all, of_moved = runs.far({k: v.detach() for k, v in student.items()}, g.weights("final"), g.weights("student"))
    close("|difference| / |w|", of_all, WEIGHTS)
    close("|difference| / |w - w0|", of_moved, MOVED)
    assert len(steps) == g.iterations * (2 if g.official else 1)
    return largest


@pytest.mark.parametrize("name", FILES)
def test_golden(name, tmp_path):
    largest = replay(golden_file(name), tmp_path)
    assert {"rate", "losses", "after1", "final", "ema"} <= set(largest)  # all was compared; with one thread even bit for bit


if __name__ == "__main__":
    for file in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            print(file, {k: f"{v:.1e}" for k, v in replay(file, pathlib.Path(folder)).items()})
