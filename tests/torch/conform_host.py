"""A small trainer on hosts/torch for `dukd-conform --host`: plain gradient descent, weights and average to a file.

    conform_host.py --plugin LIB.so --iterations N --out DIR [--micro M] [--start FILE] [--resume] [--drops]
"""
import argparse
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

import dukd
from support import edsr, images

BATCH, SIDE, SCALE, RATE, DECAY = 4, 8, 2, 0.01, 0.5
OPTIONS = {"model_type": "Spy", "train": {"spy": {"text": "two words", "number": 0.25, "flag": True, "list": [1, 2.5, "x"],
                                                  "none": None}}}


class ByMode(torch.nn.Module):
    """A layer that depends on the mode, as dropout does, but gives the same each time."""

    def forward(self, x):
        return x * 0.5 if self.training else x


def network(feat, seed, drops):
    net = edsr(feat, 1, SCALE, seed=seed, res_scale=1)
    net.img_range = 1.0
    if drops:
        net.body.append(ByMode())
    return net


def run(arguments):
    a = argparse.ArgumentParser()
    a.add_argument("--plugin", required=True)
    a.add_argument("--iterations", type=int, required=True)
    a.add_argument("--out", type=pathlib.Path, required=True)
    a.add_argument("--micro", type=int, default=1)
    a.add_argument("--start")
    a.add_argument("--resume", action="store_true")
    a.add_argument("--drops", action="store_true")
    a = a.parse_args(arguments)
    torch.set_num_threads(1)
    student, teacher = network(4, 5, a.drops), network(6, 6, a.drops)
    if a.start:
        student.load_state_dict({k.replace("params.", "", 1): v for k, v in load_file(a.start).items()
                                 if not k.startswith("params_ema.")})
    average = {k: v.detach().clone() for k, v in student.named_parameters()}
    optimizer = torch.optim.SGD(student.parameters(), RATE)
    n = BATCH // a.micro
    session = dukd.Session(OPTIONS, {"student": student, "teacher": teacher}, (n, 3, SIDE, SIDE), SCALE, seed=5,
                           micro_count=a.micro, plugin=a.plugin)
    state = a.out / "state.pth"
    if a.resume:
        saved = torch.load(state, weights_only=True)
        student.load_state_dict(saved["student"])
        average = saved["average"]
        session.load_state_dict(saved["session"])

    def update():
        with torch.no_grad():
            for k, v in student.named_parameters():
                average[k].mul_(DECAY).add_(v, alpha=1 - DECAY)

    while session.iteration <= a.iterations:
        i = session.iteration
        lr, hr = images(BATCH, SIDE, SCALE, seed=i)
        for m in range(a.micro):
            for p in session.step(lr[m * n:(m + 1) * n], hr[m * n:(m + 1) * n]):
                p.apply(optimizer, update)
        losses = session.losses()
        print(f"iteration {i}", *(f"{k} {v:.9g}" for k, v in losses.items()))
        if not all(map(lambda v: v == v and abs(v) != float("inf"), losses.values())):
            raise SystemExit("a loss is not finite")
    torch.save({"student": student.state_dict(), "average": average, "session": session.state_dict()}, state)
    save_file({**{f"params.{k}": v.detach().contiguous() for k, v in student.named_parameters()},
               **{f"params_ema.{k}": v.contiguous() for k, v in average.items()}}, str(a.out / "weights.safetensors"))
    session.close()


def main(arguments):
    try:
        run(arguments)
    except dukd.DukdError as e:
        print(f"conform_host: {e}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
