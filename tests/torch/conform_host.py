"""A small trainer on hosts/torch for `dukd-conform --host`: plain gradient descent, weights and average to a file.

    conform_host.py --plugin LIB.so --iterations N --out DIR ...: conform_arguments.py
"""
import sys

import torch
from safetensors.torch import load_file, save_file

import conform_arguments
import dukd
from support import edsr, images

BATCH, SIDE, SCALE, RATE, DECAY = 4, 8, 2, 0.01, 0.5
OPTIONS = {"model_type": "Spy", "train": {"spy": {"text": "two words", "number": 0.25, "flag": True, "list": [1, 2.5, "x"],
                                                  "none": None}}}


def network(feat, seed, drops):
    net = edsr(feat, 1, SCALE, seed=seed, res_scale=1)
    net.img_range = 1.0
    if drops:
        net.body.append(conform_arguments.ByMode())
    return net


def run(arguments):
    a = conform_arguments.parse(arguments)
    torch.set_num_threads(1)
    student, teacher = network(4, 5, a.drops), network(6, 6, a.drops)
    if a.start:
        student.load_state_dict({k.replace("params.", "", 1): v for k, v in load_file(a.start).items()
                                 if not k.startswith("params_ema.")})
    average = {k: v.detach().clone() for k, v in student.named_parameters()}
    n = BATCH // a.micro
    session = dukd.Session(OPTIONS, {"student": student, "teacher": teacher}, (n, 3, SIDE, SIDE), SCALE, seed=5,
                           micro_count=a.micro, memory="torch", plugin=a.plugin)
    optimizer = torch.optim.SGD([*student.parameters(), *session.parameters()], RATE)
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
