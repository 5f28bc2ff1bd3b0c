"""`python -m dukd.basicsr train` for `dukd-conform --host`: BasicSR's own pipeline on an option file, smallest networks.

    conform_host.py --images DIR --plugin LIB.so --iterations N --out DIR ...: ../torch/conform_arguments.py
"""
import os
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

import dukd.basicsr  # noqa: F401
from dukd.basicsr.__main__ import main as command

from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.archs.edsr_arch import EDSR

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "torch"))
import conform_arguments  # noqa: E402

RATE, DECAY = 0.01, 0.5


@ARCH_REGISTRY.register()
class ConformNet(EDSR):
    def __init__(self, num_feat, upscale, drops=False):
        super().__init__(3, 3, num_feat=num_feat, num_block=1, upscale=upscale, img_range=1.0)
        if drops:
            self.body.append(conform_arguments.ByMode())


def option_file(a, folder):
    """The file, as text: places are part of what is checked."""
    teacher, student = folder / "teacher.pth", folder / "student.pth"
    for path, feat, seed in ((teacher, 6, 6), (student, 4, 5)):
        torch.manual_seed(seed)
        torch.save({"params": ConformNet(feat, 2).state_dict()}, path)
    if a.start:  # {work}/... of another run: params.NAME
        torch.save({"params": {k[len("params."):]: v for k, v in load_file(a.start).items() if k.startswith("params.")}}, student)
    images = f"""    type: PairedImageDataset
    dataroot_gt: {a.images}/HR
    dataroot_lq: {a.images}/LR
    filename_tmpl: '{{}}x2'
    io_backend:
      type: disk
"""
    return f"""name: conform
model_type: DUKDPlugin
scale: 2
num_gpu: 0
num_threads: 1
manual_seed: 5
datasets:
  train:
{images}    gt_size: 16
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 0
    batch_size_per_gpu: 4
network_g: {{type: ConformNet, num_feat: 4, upscale: 2, drops: {str(a.drops).lower()}}}
network_t: {{type: ConformNet, num_feat: 6, upscale: 2, drops: {str(a.drops).lower()}}}
path:
  pretrain_network_g: {student}
  pretrain_network_t: {teacher}
  experiments_root: {a.out}/run
train:
  ema_decay: {DECAY}
  optim_g: {{type: SGD, lr: {RATE}}}
  total_iter: {a.iterations}
  micro_batches: {a.micro}
logger:
  print_freq: 1
  save_checkpoint_freq: {a.iterations}
spy:
  text: two words
  number: 0.25
  flag: true
  list: [1, 2.5, x]
  none: ~
"""


def run(arguments):
    a = conform_arguments.parse(arguments, images="folder with HR and LR")
    os.environ["DUKD_LIBRARY"] = a.plugin
    os.chdir(a.out)
    file = a.out / "spy.yml"
    file.write_text(option_file(a, a.out))
    status = command(["train", "-opt", str(file), *(["--auto_resume"] if a.resume else [])])
    if status:
        return status
    saved = torch.load(a.out / "run/models/net_g_latest.pth", weights_only=True)
    save_file({f"{key}.{k}": v.contiguous() for key in saved for k, v in saved[key].items()}, str(a.out / "weights.safetensors"))
    return 0


def main(arguments):
    status = run(arguments)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
