"""Runs under real BasicSR: the authors' kind of file on photographs, dukd-host's files, networks with windows, switches."""
import math
import pathlib
import re
import subprocess

import cv2
import pytest
import runs
import torch
import yaml
from support import SHARED, SOURCE, program

from basicsr.archs import build_network


def photographs(folder, count, scale=4):
    """Links to BSDS200's first photographs in folder/HR, and their LR files by dukd-host prepare in folder/out/LR_bicubic/X4."""
    found = sorted((SHARED / "data/BSDS200/HR").glob("*.png"))[:count]
    if len(found) < count:
        pytest.skip(f"SKIP: {SHARED}/data/BSDS200/HR has not {count} photographs (DUKD_SHARED)")
    (folder / "HR").mkdir()
    for path in found:
        (folder / "HR" / path.name).symlink_to(path)
    subprocess.run([program("dukd-host"), "prepare", "HR", "out", "--scale", str(scale)], cwd=folder, check=True,
                   capture_output=True)
    return folder / "HR", folder / f"out/LR_bicubic/X{scale}"


# The authors' EDSR x4 file has these keys, in these sections, with these values (their repository has no licence, so its text
# is not here); paths are what they are there, to be replaced by --force_yml.
AUTHORS = """
name: DUKD_EDSR_x4c256b32_c64b32
model_type: DUKD
scale: 4
num_gpu: 1  # there is none where tests run
manual_seed: 10
datasets:
  train: &set
    name: DIV2K
    type: PairedImageDataset
    dataroot_gt: /cache/SR/DIV2K/DIV2K_train_HR
    dataroot_lq: /cache/SR/DIV2K/DIV2K_train_LR_bicubic/X4
    filename_tmpl: '{}x4'
    io_backend:
      type: disk
    gt_size: 192
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 6
    batch_size_per_gpu: 16
    dataset_enlarge_ratio: 100
    prefetch_mode: ~
  val: &val
    name: Set5
    type: PairedImageDataset
    dataroot_gt: /cache/SR/test/Set5/HR
    dataroot_lq: /cache/SR/test/Set5/LR_bicubic/X4
    filename_tmpl: '{}x4'
    io_backend:
      type: disk
  val_1: *val
  val_2: *val
  val_3: *val
  val_4: *val
network_g:
  type: EDSR
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 64
  num_block: 32
  upscale: 4
  res_scale: 0.1
  img_range: 255.
  rgb_mean: [0.4488, 0.4371, 0.4040]
network_t:
  type: EDSR
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 256
  num_block: 32
  upscale: 4
  res_scale: 0.1
  img_range: 255.
  rgb_mean: [0.4488, 0.4371, 0.4040]
path:
  pretrain_network_g: pretrained_models/EDSR/DUKD_EDSR_x2c256b32_c64b32.pth
  pretrain_network_t: pretrained_models/EDSR/EDSR_Lx4_f256b32_DIV2K_official-76ee1c8f.pth
  strict_load_g: false
  resume_state: ~
train:
  noisy:
    prob: 0.3
  dukd_opt:
    n_gt_sub: [1]
    zoom_out: true
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: MultiStepLR
    milestones: [100000, 200000]
    gamma: 0.1
  total_iter: 250000
  warmup_iter: -1
  pixel_opt:
    type: L1Loss
    loss_weight: 5.0
    reduction: mean
  kd_opt:
    type: L1Loss
    loss_weight: 1.0
    reduction: mean
val:
  val_freq: !!float 5e3
  save_img: false
  self_ensemble: true
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 4
      test_y_channel: true
    ssim:
      type: calculate_ssim
      crop_border: 4
      test_y_channel: true
logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~
dist_params:
  backend: nccl
  port: 29500
"""


def test_authors_file_on_photographs(tmp_path, monkeypatch, capfd):
    """Their keys and networks under real BasicSR; the student starts from a x2 one, as theirs does."""
    hr, lr = photographs(tmp_path, 4)
    (tmp_path / "theirs.yml").write_text(AUTHORS)
    content = yaml.safe_load(AUTHORS)
    teacher = runs.write_weights(tmp_path / "t.pth", content["network_t"])
    student = runs.write_weights(tmp_path / "g.pth", {**content["network_g"], "upscale": 2})
    where = [f"datasets:{s}:dataroot_{k}={v}" for s in ("train", "val") for k, v in (("gt", hr), ("lq", lr))]
    trace = runs.train(tmp_path / "theirs.yml", *where, *[f"datasets:val_{i}=none" for i in range(1, 5)],
                       f"path:pretrain_network_g={student}", f"path:pretrain_network_t={teacher}", "train:total_iter=3",
                       # two processors and not sixteen patches: a minute, not an hour
                       "datasets:train:batch_size_per_gpu=1", "datasets:train:gt_size=64", "datasets:train:num_worker_per_gpu=1",
                       folder=tmp_path, monkeypatch=monkeypatch)
    out = capfd.readouterr()
    assert out.err.count("num_gpu is 1, but PyTorch finds no GPU here: this run is on the CPU") == 1 or torch.cuda.is_available()
    assert "val.self_ensemble is ignored" in out.err
    assert [set(row) for row in trace.losses] == [{"l_pix", "l_kd", "l_zoom_in", "l_zoom_out_pix", "l_zoom_out_kd", "l_total"}] * 3
    assert all(math.isfinite(v) for row in trace.losses for v in row.values())
    assert trace.losses[2]["l_total"] < trace.losses[0]["l_total"]
    steps = {int(s["step"]) for s in trace.model.optimizer_g.state.values()}
    assert steps == {6}  # two optimizer steps an iteration
    assert not any(p.requires_grad for p in trace.model.net_t.parameters())
    saved = torch.load(tmp_path / "experiments/DUKD_EDSR_x4c256b32_c64b32/models/net_g_latest.pth", weights_only=True)
    assert set(saved) == {"params", "params_ema"}
    assert re.search(r"# psnr: \d+\.\d+", out.err)  # validated on the photographs, whose sides are no multiples of 4
    assert list((tmp_path / "tb_logger").rglob("events*"))


@pytest.mark.parametrize("model_type, section, names", [
    ("BaseKD", {k: runs.OFFICIAL[k] for k in ("pixel_opt", "kd_opt")}, {"l_pix", "l_kd", "l_total"}),
    ("DUKD", {**runs.OFFICIAL, "dukd_opt": {"n_gt_sub": [2], "zoom_out": False}}, {"l_pix", "l_kd", "l_zoom_in", "l_total"}),
    ("DUKD", {"mode": "paper"}, {"l_rec", "l_kd", "l_zoom_in", "l_zoom_out", "l_total"}),
    ("FAKD", {**{k: runs.OFFICIAL[k] for k in ("pixel_opt", "kd_opt")}, "feature_opt": {"type": "L1Loss", "loss_weight": 10.0},
              "feature_distillation": {"type": "SA", "positions": ["conv_first", 0, "conv_after_body"]}},
     {"l_pix", "l_kd", "l_feature", "l_total"}),
    ("DUKDPlugin", {"terms": ["rec"]}, {"l_rec", "l_total"}),
    ("DUKDPlugin", {"zoom_in": "hardest", "w_dukd": 0.5}, {"l_rec", "l_kd", "l_zoom_in", "l_zoom_out", "l_total"}),
])
def test_model_types(model_type, section, names, tmp_path, monkeypatch):
    runs.write_images(tmp_path, [(48, 60), (50, 41)], 2)
    content = runs.options(tmp_path, model_type, train=section)
    if section == {"terms": ["rec"]}:  # training from scratch needs no teacher
        del content["network_t"], content["path"]["pretrain_network_t"]
    trace = runs.train(runs.write(tmp_path / "o.yml", content), folder=tmp_path, monkeypatch=monkeypatch)
    assert [set(row) for row in trace.losses] == [names] * 6
    assert type(trace.model).__name__ == model_type


def test_rates_and_average_are_basicsrs(tmp_path, monkeypatch):
    """Warm-up, milestones and EMA against BasicSR's own SRModel on the same data: response KD by nothing is plain L1."""
    runs.write_images(tmp_path, [(48, 60), (50, 41)], 2)
    section = {"pixel_opt": runs.OFFICIAL["pixel_opt"], "warmup_iter": 3}
    content = runs.options(tmp_path, "BaseKD", train=section)
    del content["network_t"], content["path"]["pretrain_network_t"]
    content["path"]["pretrain_network_g"] = runs.write_weights(tmp_path / "g.pth", content["network_g"], seed=4)
    file = runs.write(tmp_path / "o.yml", content)
    ours = runs.train(file, folder=tmp_path, monkeypatch=monkeypatch)
    from basicsr.models.sr_model import SRModel
    rates, original = [], SRModel.optimize_parameters

    def optimize(self, iteration):
        original(self, iteration)
        rates.append(self.get_current_learning_rate()[0])

    monkeypatch.setattr(SRModel, "optimize_parameters", optimize)
    assert runs.main(["train", "-opt", file, "--force_yml", "model_type=SRModel", "name=theirs"]) == 0
    assert rates == ours.rates and len(set(rates)) == 3
    theirs = torch.load(tmp_path / "experiments/theirs/models/net_g_latest.pth", weights_only=True)
    start = torch.load(tmp_path / "g.pth", weights_only=True)["params"]
    for key, average in (("params", False), ("params_ema", True)):
        of_all, of_moved = runs.far(ours.weights(average), theirs[key], start)
        assert of_all < 1e-6 and of_moved < 1e-4


def test_nothing_of_basicsr_stays_replaced(tmp_path, monkeypatch):
    import basicsr.train
    from basicsr.models.sr_model import SRModel
    before = basicsr.train.parse_options, basicsr.train.build_dataset, SRModel.test
    runs.write_images(tmp_path, [(48, 60), (50, 41)], 2)
    runs.train(runs.write(tmp_path / "o.yml", runs.options(tmp_path)), folder=tmp_path, monkeypatch=monkeypatch)
    assert (basicsr.train.parse_options, basicsr.train.build_dataset, SRModel.test) == before


# ---------------------------------------------------------------- windows

@pytest.mark.parametrize("size", [(16, 24), (17, 29), (33, 8), (5, 3), (1, 1)])
def test_swinir_on_any_size(size):
    """Continued by reflection and cropped; where the image is large enough, as torch's own padding does."""
    h, w = size
    with runs.quiet_log():
        net = build_network(runs.swinir(8)).eval()

    class Model:
        opt, lq, net_g_ema = {"network_g": runs.swinir(8)}, torch.rand(1, 3, h, w), net

        def get_bare_model(self, net):
            return net

    model = Model()
    runs.models.padded_test(model)
    assert model.output.shape == (1, 3, 2 * h, 2 * w)
    down, right = -h % 8, -w % 8
    if down < h and right < w:
        with torch.no_grad():
            want = net(torch.nn.functional.pad(model.lq, (0, right, 0, down), "reflect"))[..., :2 * h, :2 * w]
        assert torch.equal(model.output, want)


@pytest.mark.parametrize("model_type", ["DUKD", "SRModel", "SwinIRModel"])
def test_swinir_is_validated_on_odd_sizes(model_type, tmp_path, monkeypatch, capfd):
    runs.write_images(tmp_path, [(50, 63), (41, 46)], 2)
    section = {**runs.OFFICIAL, "dukd_opt": {}} if model_type == "DUKD" else {"pixel_opt": runs.OFFICIAL["pixel_opt"]}
    content = runs.options(tmp_path, model_type, student=runs.swinir(8), teacher=runs.swinir(12), train=section)
    monkeypatch.chdir(tmp_path)
    assert runs.main(["train", "-opt", runs.write(tmp_path / "o.yml", content), "--force_yml", "train:total_iter=1",
                      "val:val_freq=1"]) == 0
    assert capfd.readouterr().err.count("# psnr: ") == 2


# ---------------------------------------------------------------- the other commands and switches

def test_test_command(tmp_path, monkeypatch, capfd):
    """`test` on a training file: the sets of datasets.val, no teacher; images where val.save_img asks for them."""
    runs.write_images(tmp_path, [(50, 63), (41, 46)], 2)
    content = runs.options(tmp_path)
    content["path"].update(pretrain_network_g=runs.write_weights(tmp_path / "g.pth", content["network_g"]),
                           pretrain_network_t="/nowhere.pth")
    monkeypatch.chdir(tmp_path)
    file = runs.write(tmp_path / "o.yml", content)
    assert runs.main(["test", "-opt", file, "--force_yml", "val:save_img=true"]) == 0
    assert re.search(r"# psnr: \d+\.\d+", capfd.readouterr().err)
    saved = sorted(p.name for p in (tmp_path / "results/run/visualization/p").iterdir())
    assert saved == ["p0x2_run.png", "p1x2_run.png"]
    assert cv2.imread(str(tmp_path / "results/run/visualization/p/p0x2_run.png")).shape == (50, 62, 3)


def test_debug_switch(tmp_path, monkeypatch):
    runs.write_images(tmp_path, [(48, 60), (50, 41)], 2)
    file = runs.write(tmp_path / "o.yml", runs.options(tmp_path))
    trace = runs.train(file, "train:total_iter=8", folder=tmp_path, switches=["--debug"], monkeypatch=monkeypatch)
    assert trace.model.opt["name"] == "debug_run"
    assert (tmp_path / "experiments/debug_run/training_states/8.state").exists()


def test_folders_of_the_option_file(tmp_path, monkeypatch):
    runs.write_images(tmp_path, [(48, 60), (50, 41)], 2)
    content = runs.options(tmp_path)
    content["path"].update(experiments_root=str(tmp_path / "here"), results_root=str(tmp_path / "there"))
    runs.train(runs.write(tmp_path / "o.yml", content), folder=tmp_path, monkeypatch=monkeypatch)
    assert (tmp_path / "here/models/net_g_latest.pth").exists()
    assert not (tmp_path / "there").exists() and not (tmp_path / "experiments").exists()


def test_student_that_starts_from_dukd_hosts_file(tmp_path, monkeypatch):
    """safetensors, params and params_ema: what dukd-host train writes."""
    from safetensors.torch import save_file
    runs.write_images(tmp_path, [(48, 60), (50, 41)], 2)
    content = runs.options(tmp_path)
    runs.write_weights(tmp_path / "g.pth", content["network_g"], seed=8)
    params = torch.load(tmp_path / "g.pth", weights_only=True)["params"]
    save_file({**{f"params.{k}": v for k, v in params.items()}, **{f"params_ema.{k}": v + 1 for k, v in params.items()}},
              str(tmp_path / "g.safetensors"), metadata={"network_g": "{}"})
    content["path"]["pretrain_network_g"] = str(tmp_path / "g.safetensors")
    content["train"]["optim_g"]["lr"] = 0.0
    trace = runs.train(runs.write(tmp_path / "o.yml", content), "train:ema_decay=0.999", "train:total_iter=1", folder=tmp_path,
                       monkeypatch=monkeypatch)
    assert runs.same(trace.weights(), params)
    assert (trace.weights(average=True)["conv_first.bias"] - params["conv_first.bias"]).min() > 0.9


@pytest.mark.parametrize("file", sorted((SOURCE / "yaml/demo").glob("*.yml")), ids=lambda p: p.stem)
def test_dukd_hosts_files_run_here(file, tmp_path, monkeypatch):
    """The demo's own files, with the demo's kind of paths."""
    runs.write_images(tmp_path, [(70, 64), (66, 81)] * 4, 2)
    content = yaml.safe_load(file.read_text())
    force = [f"datasets:{s}:dataroot_{k}={tmp_path}/{v}" for s in ("train", "val") for k, v in (("gt", "HR"), ("lq", "LR"))]
    if content.get("network_t"):
        runs.write_weights(tmp_path / "t.pth", content["network_t"])
        force.append(f"path:pretrain_network_t={tmp_path}/t.pth")
    monkeypatch.chdir(tmp_path)
    assert runs.main(["train", "-opt", str(file), "--force_yml", *force, "train:total_iter=2", "num_threads=1"]) == 0
    assert (tmp_path / f"experiments/{content['name']}/models/net_g_latest.pth").exists()
    assert pathlib.Path(tmp_path / "tb_logger" / content["name"]).exists()


@pytest.mark.parametrize("file", ["fakd", "csd"])
def test_the_papers_other_methods_run_here(file, tmp_path, monkeypatch):
    """Table 4's files of FAKD and CSD as they are: the teacher of one stays, that of the other learns with its part."""
    runs.write_images(tmp_path, [(140, 136), (132, 140)], 4)
    path = SOURCE / f"yaml/table4/{file}.yml"
    content = yaml.safe_load(path.read_text())
    force = [f"datasets:{s}:dataroot_{k}={tmp_path}/{v}" for s in ("train", "val") for k, v in (("gt", "HR"), ("lq", "LR"))]
    force += [f"datasets:val_{i}=~" for i in (1, 2, 3)] + [f"path:pretrain_network_t={runs.write_weights(tmp_path / 't.pth', content['network_t'])}"]
    if file == "csd":
        torch.save(runs.build_network({"type": "VGG19"}).state_dict(), tmp_path / "vgg.pth")
        force.append(f"path:pretrain_network_f={tmp_path}/vgg.pth")
    trace = runs.train(path, *force, "datasets:train:gt_size=64", "datasets:train:batch_size_per_gpu=2", "datasets:train:num_worker_per_gpu=0",
                       "datasets:train:dataset_enlarge_ratio=2", "train:total_iter=2", "num_threads=1", "logger:use_tb_logger=false",
                       folder=tmp_path, monkeypatch=monkeypatch)
    names = {"fakd": {"l_rec", "l_kd", "l_fakd", "l_total"}, "csd": {"l_rec", "l_csd", "l_csd_teacher", "l_total"}}
    assert [set(row) for row in trace.losses] == [names[file]] * 2
    assert trace.model.teacher_learns == (file == "csd")


def test_a_student_starts_from_its_teacher(tmp_path, monkeypatch):
    """path.init_from_teacher: the first channels, and from there on by itself."""
    runs.write_images(tmp_path, [(48, 60), (50, 41)], 2)
    content = runs.options(tmp_path, teacher=runs.edsr(8, 1), train={"terms": ["rec"]})
    content["path"]["init_from_teacher"] = True
    content["train"]["optim_g"]["lr"] = 0.0
    file = runs.write(tmp_path / "o.yml", content)
    trace = runs.train(file, "train:total_iter=1", "logger:save_checkpoint_freq=1", folder=tmp_path, monkeypatch=monkeypatch)
    teacher = torch.load(tmp_path / "teacher.pth", weights_only=True)["params"]
    part = {k: teacher[k][tuple(slice(n) for n in v.shape)] for k, v in trace.weights().items()}
    assert runs.same(trace.weights(), part)
    assert all(torch.allclose(v, part[k], rtol=1e-6) for k, v in trace.weights(average=True).items())
    trace = runs.train(file, "train:optim_g:lr=0.01", "name=far", folder=tmp_path, monkeypatch=monkeypatch)
    assert not torch.equal(trace.weights()["conv_first.weight"], teacher["conv_first.weight"][:6]) and not trace.model.teacher_learns
