"""Trains a small super-resolution network on a folder of images, with a teacher, by a DUKD plugin."""
import argparse
import math
import os
import pathlib
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader

import dukd
from dukd.images import Endless, Pairs, psnr
from dukd.models import build, load_weights
from dukd.options import key_and_value

EXAMPLES = """examples:
  a teacher, trained by itself:
    python -m dukd.train --hr photos --scale 2 --student num_feat=64,num_block=16 --out teacher \\
        --set model_type=SRModel --set train.pixel_opt.type=L1Loss
  a student, with DUKD:
    python -m dukd.train --hr photos --scale 2 --teacher num_feat=64,num_block=16 --teacher-weights teacher/student.pth \\
        --student num_feat=16,num_block=4 --val photos_to_test --out student
  on two processors, GPUs or machines:  torchrun --nproc_per_node 2 -m dukd.train ...
  a network of your own:  --student mypackage.nets:Net,width=32,depth=4   (called with upscale=SCALE, too)
"""


def parse(arguments):
    a = argparse.ArgumentParser("python -m dukd.train", description=__doc__, epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--hr", required=True, help="folder of the high-resolution images to train on")
    a.add_argument("--lr", help="folder of the low-resolution ones, in the same order (default: made of --hr)")
    a.add_argument("--val", help="folder of images to test on; PSNR on Y, border cut by the scale")
    a.add_argument("--scale", type=int, default=4, help="(default %(default)s)")
    a.add_argument("--student", default="num_feat=16,num_block=4", metavar="NET", help="[MODULE:CLASS,]KEY=VALUE,... (default an EDSR: %(default)s)")
    a.add_argument("--teacher", metavar="NET", help="the same; without it the plugin's options must not want one")
    a.add_argument("--student-weights", metavar="FILE", help="begin with these")
    a.add_argument("--teacher-weights", metavar="FILE", help=".pth or .safetensors, as they are or under params_ema or params")
    a.add_argument("--set", action="append", type=key_and_value, default=[], metavar="KEY=VALUE", help="an option of the plugin's: train.zoom_in=hardest")
    a.add_argument("--out", type=pathlib.Path, default=pathlib.Path("results"), help="folder of the run; one that is there is gone on with (default %(default)s)")
    a.add_argument("--iterations", type=int, default=2000, help="(default %(default)s)")
    a.add_argument("--batch", type=int, default=16, help="images an iteration, of each rank (default %(default)s)")
    a.add_argument("--micro", type=int, default=1, help="micro-batches a batch is cut into (default %(default)s)")
    a.add_argument("--patch", type=int, default=48, help="LR side of the patches (default %(default)s)")
    a.add_argument("--rate", type=float, default=1e-4, help="of Adam; halved after half and three quarters of the run (default %(default)s)")
    a.add_argument("--ema", type=float, default=0.999, help="decay of the average of the weights (default %(default)s)")
    a.add_argument("--amp", choices=["bf16", "f16"], help="mixed precision (f16 with a GradScaler)")
    a.add_argument("--compile", action="store_true", help="torch.compile both networks")
    a.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    a.add_argument("--threads", type=int, help="threads of PyTorch and the plugin")
    a.add_argument("--workers", type=int, default=1, help="processes that read images (default %(default)s)")
    a.add_argument("--seed", type=int, default=0, help="(default %(default)s)")
    a.add_argument("--plugin", help="another plugin's library (default: the one in this package)")
    a.add_argument("--log-every", type=int, default=100, metavar="N", help="(default %(default)s)")
    a.add_argument("--save-every", type=int, default=1000, metavar="N", help="(default %(default)s)")
    return a.parse_args(arguments)


def save(path, content):
    torch.save(content, f"{path}.new")  # written aside: a run that is killed leaves the last one whole
    os.replace(f"{path}.new", path)


def train(a):
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device(a.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if ranks > 1:
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    rank = torch.distributed.get_rank() if ranks > 1 else 0
    if a.threads:
        torch.set_num_threads(a.threads)
    if a.batch % a.micro:
        raise SystemExit(f"--micro {a.micro} does not divide --batch {a.batch}")
    student = build(a.student, a.scale, a.seed).to(device)
    if a.student_weights:
        load_weights(student, a.student_weights)
    average = torch.optim.swa_utils.AveragedModel(student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(a.ema))
    # from the first update on, as BasicSR's: AveragedModel would begin with a copy
    average.n_averaged.fill_(1)
    nets = {"student": student}
    if a.teacher:
        nets["teacher"] = build(a.teacher, a.scale, a.seed + 1).to(device).requires_grad_(False)
        if a.teacher_weights:
            load_weights(nets["teacher"], a.teacher_weights)
    if a.compile:
        nets = {k: torch.compile(v) for k, v in nets.items()}
    if ranks > 1:
        nets["student"] = nn.parallel.DistributedDataParallel(nets["student"])
    scaler = torch.amp.GradScaler(device.type, enabled=a.amp == "f16")
    n = a.batch // a.micro
    session = dukd.Session(dict(a.set), nets, (n, 3, a.patch, a.patch), a.scale, a.seed, a.micro, device=device, scaler=scaler,
                           autocast={"bf16": torch.bfloat16, "f16": torch.float16}.get(a.amp), plugin=a.plugin, place="--set")
    optimizer = torch.optim.Adam([*student.parameters(), *session.parameters()], a.rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [a.iterations // 2, a.iterations * 3 // 4], 0.5)
    parts = {"student": student, "average": average, "optimizer": optimizer, "schedule": schedule, "scaler": scaler, "session": session}
    a.out.mkdir(parents=True, exist_ok=True)
    state = a.out / "state.pth"
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        print(f"going on after iteration {session.iteration - 1} of {state}", flush=True)
    data = Pairs(a.hr, a.lr, a.scale, a.patch)
    batches = iter(DataLoader(data, batch_sampler=Endless(len(data), a.batch, a.seed, session.iteration, rank, ranks),
                              num_workers=a.workers, pin_memory=device.type == "cuda"))
    began = done = time.monotonic()
    while session.iteration <= a.iterations:
        i = session.iteration
        lr, hr = (t.to(device, non_blocking=True) for t in next(batches))
        for k in range(0, a.batch, n):
            for p in session.step(lr[k:k + n], hr[k:k + n]):
                p.apply(optimizer, average)
        schedule.step()
        if i % a.log_every == 0 or i == a.iterations:
            losses, done = session.losses(), time.monotonic()
            if not all(map(math.isfinite, losses.values())):
                raise SystemExit(f"iteration {i}: a loss is not finite: {losses}")
            if rank == 0:
                print(f"iteration {i} of {a.iterations}, {done - began:.0f} s:", *(f"{k} {v:.5f}" for k, v in losses.items()), flush=True)
        if rank == 0 and (i % a.save_every == 0 or i == a.iterations):
            save(state, {name: part.state_dict() for name, part in parts.items()})
            save(a.out / "student.pth", {"params": student.state_dict(), "params_ema": average.module.state_dict()})
            if a.val:
                print(f"iteration {i}: PSNR {psnr(average.module, a.val, a.scale, device):.3f} dB (averaged weights)", flush=True)
    if ranks > 1:
        torch.distributed.destroy_process_group()


def main(arguments=None):
    try:
        train(parse(arguments))
    except (dukd.DukdError, FileNotFoundError, ModuleNotFoundError) as e:
        print(f"dukd.train: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
