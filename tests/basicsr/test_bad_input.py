"""What is wrong with an option file, a file or a batch is said in one line, with its place, before anything is trained."""
import os
import pathlib
import re
import subprocess
import sys

import pytest
import runs
import torch
import yaml
from support import fitnets

from dukd import OptionError
from dukd.basicsr import keys, option_file


@pytest.fixture
def data(tmp_path):
    runs.write_images(tmp_path, [(48, 60), (50, 41)], 2)
    return tmp_path


def change(content, path, value):
    *sections, leaf = path.split(".")
    for word in sections:
        content = content.setdefault(word, {})
    if value is DELETE:
        del content[leaf]
    else:
        content[leaf] = value


DELETE = object()
PAPER, DUKD = "DUKDPlugin", "DUKD"

# model type, what is changed in a good file, what the message says (a regular expression)
WRONG = [
    (PAPER, {"train.w_kdd": 1}, r"o.yml:\d+:\d+: unknown option train.w_kdd; is train.w_kd meant\?"),
    (PAPER, {"train.ema_deacy": 1}, r"o.yml:\d+:\d+: train.ema_deacy: unknown option; is train.ema_decay meant\?"),
    (PAPER, {"train.lr": 1}, r"o.yml:\d+:\d+: train.lr: unknown option; is train.optim_g.lr meant\?"),
    (PAPER, {"datasets.train.gtsize": 1}, r"datasets.train.gtsize: unknown option; is datasets.train.gt_size meant\?"),
    (PAPER, {"path.pretrain_network_x": "a"}, r"path.pretrain_network_x: unknown option; is path.pretrain_network_[gt] meant\?"),
    (PAPER, {"nonsense.entirely": 1}, r"o.yml:\d+:\d+: unknown option nonsense.entirely"),
    (PAPER, {"train.perceptual_opt.type": "PerceptualLoss"}, r"train.perceptual_opt.type: model_type DUKDPlugin has no perceptual"),
    (PAPER, {"train.noisy.prob": 0.3}, r"train.noisy.prob does not go together with"),
    (PAPER, {"train.w_kd": "much"}, r"o.yml:\d+:\d+: train.w_kd: found 'much', expected a number"),
    (PAPER, {"train.terms": ["rec", "kdd"]}, r"train.terms: found 'kdd', expected"),
    (PAPER, {"train.augment.hflip": 1.5}, r"train.augment.hflip: found '1.5', expected a number from 0 to 1"),
    (PAPER, {"train.zoom_in": ["a", "b"]}, r"train.zoom_in: found a list"),
    (PAPER, {"train.w_kd": float("nan")}, r"train.w_kd: nan is no finite number"),
    (PAPER, {"model_type": "DUKDD"}, r"o.yml:\d+:\d+: model_type: BasicSR has none called 'DUKDD'; is DUKD meant\?"),
    (PAPER, {"model_type": DELETE}, r"model_type is missing"),
    (PAPER, {"scale": DELETE}, r"scale is missing: how many times larger"),
    (PAPER, {"scale": 3}, r"datasets.train.gt_size: 32 is no multiple of scale 3"),
    (PAPER, {"network_g.upscale": 4}, r"o.yml:\d+:\d+: network_g.upscale: EDSR enlarges 4 times, but scale is 2"),
    (PAPER, {"network_t.upscale": DELETE}, r"network_t.upscale: EDSR enlarges 4 times, but scale is 2"),
    (PAPER, {"network_g.type": "EDSRR"}, r"o.yml:\d+:\d+: network_g.type: BasicSR has none called 'EDSRR'; is EDSR meant\?"),
    (PAPER, {"network_g.type": DELETE}, r"network_g.type is missing"),
    (PAPER, {"network_g.num_feats": 3}, r"o.yml:\d+:\d+: network_g.num_feats: EDSR has no such option; is num_feat meant\?"),
    (PAPER, {"network_t.num_in_ch": DELETE}, r"o.yml:\d+:\d+: network_t.num_in_ch is missing: EDSR needs it"),
    (PAPER, {"network_t": DELETE}, r"network_t is missing: the network of path.pretrain_network_t"),
    (PAPER, {"path.pretrain_network_t": None}, r"path.pretrain_network_t is missing: the teacher's weights"),
    (PAPER, {"network_t": DELETE, "path.pretrain_network_t": None}, r"teacher"),
    (DUKD, {"train.kd_opt": None}, r"train.kd_opt is missing: official mode"),
    (DUKD, {"train.kd_opt.type": "MSELoss"}, r"o.yml:\d+:\d+: train.kd_opt.type: found 'MSELoss', expected L1Loss"),
    (DUKD, {"train.micro_batches": 2}, r"micro"),
    (PAPER, {"train.micro_batches": 3}, r"train.micro_batches: 3 does not divide a batch of 2"),
    (PAPER, {"train.nonfinite": "maybe"}, r"train.nonfinite: found 'maybe', expected stop or skip"),
    (PAPER, {"precision": "f64"}, r"precision: found 'f64', expected f32 or bf16"),
    (PAPER, {"num_gpu": "many"}, r"num_gpu: expected 0, a number of GPUs or auto, found 'many'"),
    (PAPER, {"num_threads": -1}, r"num_threads: expected 0 or more, found -1"),
    (PAPER, {"train.total_iter": "many"}, r"o.yml:\d+:\d+: train.total_iter: expected a number, found 'many'"),
    (PAPER, {"train.total_iter": 0}, r"train.total_iter: expected 1 or more, found 0"),
    (PAPER, {"train.total_iter": 2.5}, r"train.total_iter: expected a whole number, found 2.5"),
    (PAPER, {"train.total_iter": DELETE}, r"o.yml:\d+:\d+: train.total_iter is missing: how many iterations"),
    (PAPER, {"train.optim_g.lr": DELETE}, r"train.optim_g.lr is missing: the learning rate"),
    (PAPER, {"train.optim_g.type": "AdamW"}, r"train.optim_g.type: found 'AdamW', expected Adam or SGD"),
    (PAPER, {"train.scheduler.type": "StepLR"}, r"train.scheduler.type: found 'StepLR'"),
    (PAPER, {"train.scheduler.type": DELETE}, r"train.scheduler.type is missing"),
    (PAPER, {"name": "a/b"}, r"name: 'a/b' cannot be the name of a folder"),
    (PAPER, {"datasets.train": DELETE}, r"datasets.train is missing: the images to train on"),
    (PAPER, {"datasets.train.dataroot_lq": DELETE}, r"datasets.train.dataroot_lq is missing: .*dukd-host prepare"),
    (PAPER, {"datasets.val.dataroot_gt": "/nowhere"}, r"o.yml:\d+:\d+: datasets.val.dataroot_gt: /nowhere is not there"),
    (PAPER, {"datasets.train.batch_size_per_gpu": 3}, r"2 images, taken 1 times by 1 rank\(s\), are fewer than a batch of 3"),
    (PAPER, {"datasets.train.batch_size_per_gpu": DELETE}, r"datasets.train.batch_size_per_gpu is missing"),
    (PAPER, {"datasets": 3}, r"datasets: expected a section"),
    (PAPER, {"train.terms": ["csd"]}, r"features"),
    (PAPER, {"network_f": {"type": "VGG19"}}, r"path.pretrain_network_f is missing: .*vgg19-dcbb9e9d.pth"),
    (PAPER, {"path.pretrain_network_f": "vgg.pth"}, r"network_f is missing: the network of path.pretrain_network_f, {type: VGG19}"),
    (PAPER, {"network_f": {"type": "VGG91"}, "path.random_network_f": True}, r"network_f.type: BasicSR has none called 'VGG91'; is VGG19 meant\?"),
    (PAPER, {"network_f": {"type": "VGG19", "img_rage": 1}, "path.random_network_f": True}, r"network_f.img_rage: VGG19 has no such option; is img_range"),
    (PAPER, {"path.random_network_f": 1}, r"path.random_network_f: found 1, expected false or true", {"network_f": {"type": "VGG19"}}),
    (PAPER, {"train.share_weights": True}, r"o.yml:\d+:\d+: train.share_weights: .*nothing trains the teacher here", {"network_t": runs.edsr(8, 1)}),
    (PAPER, {"train.share_weights": True}, r"train.share_weights: .*the teacher has no body.1.conv1.weight", {"network_g": runs.edsr(6, 2), "network_t": runs.edsr(8, 1)}),
    (PAPER, {"path.init_from_teacher": True}, r"o.yml:\d+:\d+: path.init_from_teacher: .*its conv_first.weight is 9x3x3x3, the teacher's 8x3x3x3",
     {"network_g": runs.edsr(9, 1), "network_t": runs.edsr(8, 1)}),
    (PAPER, {"path.init_from_teacher": True}, r"it is a SwinIR, .*EDSR and RCAN can",
     {"network_g": runs.swinir(8), "network_t": runs.swinir(8), "train.zoom_out": False}),
    (PAPER, {"path.init_from_teacher": True, "path.pretrain_network_g": "g.pth"}, r"path.init_from_teacher: .*take path.pretrain_network_g out"),
    (PAPER, {"path.init_from_teacher": True, "network_t": DELETE, "path.pretrain_network_t": None}, r"there is no network_t"),
    (PAPER, {"train.share_weights": "yes please"}, r"train.share_weights: found 'yes please', expected false or true"),
    (PAPER, {"train.zoom_out": True, "network_g": runs.swinir(8), "datasets.train.gt_size": 24}, r"window|multiple|12"),
]


@pytest.mark.parametrize("model_type, changes, message", [(w[0], {**(w[3] if len(w) > 3 else {}), **w[1]}, w[2]) for w in WRONG], ids=[", ".join(f"{k}={'-' if v is DELETE else v}" for k, v in
                                                                              w[1].items())[:60] for w in WRONG])
def test_wrong_option(model_type, changes, message, data, capsys, monkeypatch):
    content = runs.options(data, model_type, train=runs.OFFICIAL if model_type == DUKD else {"w_rec": 1.0})
    for path, value in changes.items():
        change(content, path, value)
    if "network_t" in changes and changes["network_t"] is not DELETE:
        runs.write_weights(data / "teacher.pth", content["network_t"])
    said = runs.refused(runs.write(data / "o.yml", content), folder=data, capsys=capsys, monkeypatch=monkeypatch)
    assert re.search(message, said), said
    assert not list(data.glob("experiments/*/models/*")), "something was trained"


FILES = {
    "absent": (None, "o.yml: No such file"),
    "binary": (b"\xff\xfe\x00", "is no text in UTF-8"),
    "empty": (b"", "is no option file"),
    "list": (b"- 1\n- 2\n", "is no option file"),
    "indentation": (b"a:\n  b: 1\n c: 2\n", "o.yml:3:2: not valid YAML"),
    "twice": (b"name: a\ntrain:\n  w_kd: 1\n  w_kd: 2\n", 'o.yml:4:3: the key "w_kd" is here a second time; the first is at '),
    "itself": (b"a: &a\n  b: *a\n", "contains itself"),
    "code": (b"name: !!python/object/apply:os.system ['touch owned']\n", "o.yml:1:7: name"),
}


@pytest.mark.parametrize("kind", FILES)
def test_wrong_file(kind, tmp_path, capsys, monkeypatch):
    content, message = FILES[kind]
    if content is not None:
        (tmp_path / "o.yml").write_bytes(content)
    assert message in runs.refused("o.yml", folder=tmp_path, capsys=capsys, monkeypatch=monkeypatch)
    assert not (tmp_path / "owned").exists()


FORCED = {
    "train": 'is not of the form path:key=value',
    "=3": 'is not of the form path:key=value',
    "train::w_kd=3": 'is not of the form path:key=value',
    "name:inside=3": "name has no keys: it is 'run'",
    "train:optim_g:betas:2=3": "train.optim_g.betas is a list of 2: its elements are 0 to 1, not \"2\"",
    "train:w_kd=[1": "not valid YAML",
    "train:w_kd={a: 1}": "train.w_kd: found '{a: 1}'",
}


@pytest.mark.parametrize("argument", FORCED)
def test_wrong_force_yml(argument, data, capsys, monkeypatch):
    said = runs.refused(runs.write(data / "o.yml", runs.options(data)), argument, folder=data, capsys=capsys,
                        monkeypatch=monkeypatch)
    assert said.startswith("--force_yml argument 1") and FORCED[argument] in said, said


# ---------------------------------------------------------------- files of weights

def teacher_files(data):
    torch.save({"params": {"conv_first.weight": torch.zeros(3)}}, data / "other.pth")
    torch.save({"params_g": {}}, data / "keyless.pth")
    torch.save([1, 2], data / "list.pth")
    (data / "text.pth").write_text("no weights")
    (data / "cut.safetensors").write_bytes(b"\x00" * 4)
    (data / "long.safetensors").write_bytes((10 ** 12).to_bytes(8, "little") + b"{}")
    (data / "outside.safetensors").write_bytes((70).to_bytes(8, "little") +
                                               b'{"params.a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'.ljust(70))


@pytest.mark.parametrize("file, message", [
    ("absent.pth", "absent.pth: No such file or directory"),
    ("other.pth", r"other.pth does not fit EDSR: (Missing key|size mismatch|Unexpected key)"),
    ("keyless.pth", "keyless.pth has no 'params', but params_g: set param_key_g or param_key_t"),
    ("list.pth", "list.pth holds a list, expected tensors by name"),
    ("text.pth", "text.pth cannot be read as a file of torch.save"),
    ("cut.safetensors", "cut.safetensors is no safetensors file"),
    ("long.safetensors", "long.safetensors is no safetensors file"),
    ("outside.safetensors", "outside.safetensors is no safetensors file: tensor params.a does not lie in the file"),
])
def test_wrong_weights(file, message, data, capsys, monkeypatch):
    teacher_files(data)
    said = runs.refused(runs.write(data / "o.yml", runs.options(data)), f"path:pretrain_network_t={data / file}", folder=data,
                        capsys=capsys, monkeypatch=monkeypatch)
    assert re.search(message, said), said


# ---------------------------------------------------------------- while training

def test_a_value_that_is_not_finite(data, capsys, monkeypatch):
    """stop: nothing is written. skip: the step is left out, and counted."""
    content = runs.options(data, train={"terms": ["rec"]})
    file = runs.write(data / "o.yml", content)
    fed, iteration = runs.models.DistilledModel.feed_data, iter(range(1, 100))

    def feed(self, batch):
        fed(self, batch)
        if self.is_train and batch["lq"].shape[0] == 2 and next(iteration) == 3:
            self.lq[0, 0, 0, 0] = float("nan")

    monkeypatch.setattr(runs.models.DistilledModel, "feed_data", feed)
    said = runs.refused(file, "logger:save_checkpoint_freq=3", folder=data, capsys=capsys, monkeypatch=monkeypatch)
    assert said.startswith("iteration 3: ") and "is not finite" in said
    assert not list((data / "experiments/run/training_states").iterdir())
    iteration, averaged = iter(range(1, 100)), []
    average = runs.models.DistilledModel._average
    monkeypatch.setattr(runs.models.DistilledModel, "_average", lambda self: averaged.append(1) or average(self))
    trace = runs.train(file, "train:nonfinite=skip", folder=data, monkeypatch=monkeypatch)
    assert trace.model.skipped == 1 and len(averaged) == 5  # as in dukd-host, where nothing has moved nothing is averaged
    assert all(bool(torch.isfinite(v).all()) for v in trace.weights().values())
    assert {int(s["step"]) for s in trace.model.optimizer_g.state.values()} == {5}


def test_a_batch_of_another_size(data, monkeypatch):
    trace = runs.train(runs.write(data / "o.yml", runs.options(data)), folder=data, monkeypatch=monkeypatch)
    model, before = trace.model, trace.weights()
    for shape, what in (((1, 3, 16, 16), "lr"), ((2, 3, 16, 18), "lr"), ((2, 1, 16, 16), "lr")):
        model.feed_data({"lq": torch.zeros(shape), "gt": torch.zeros(2, 3, 32, 32)})
        with pytest.raises(ValueError, match=what):
            model.optimize_parameters(7)
    model.feed_data({"lq": torch.zeros(2, 3, 16, 16, dtype=torch.float64), "gt": torch.zeros(2, 3, 32, 32)})
    with pytest.raises(ValueError, match="float64"):
        model.optimize_parameters(7)
    assert runs.same(before, trace.weights())
    model.feed_data({"lq": torch.zeros(2, 3, 16, 16), "gt": torch.zeros(2, 3, 32, 32)})
    model.optimize_parameters(7)  # and goes on


def test_what_is_trained_beside_student_and_teacher_is_refused(data, capsys, monkeypatch):
    """A plugin that wants gradients for features of an input itself, which no method of libdukd does."""
    sessions = runs.models.Session

    class Trains(sessions):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.trained = {"student", "features"}

    monkeypatch.setattr(runs.models, "Session", Trains)
    content = runs.options(data, network_f={"type": "VGG19"})
    content["path"]["random_network_f"] = True
    said = runs.refused(runs.write(data / "o.yml", content), folder=data, capsys=capsys, monkeypatch=monkeypatch)
    assert "this method trains the features, too; student and teacher are what this host trains" in said


def test_another_plugins_model_type(data, capsys, monkeypatch):
    monkeypatch.setenv("DUKD_LIBRARY", fitnets())
    file = runs.write(data / "o.yml", runs.options(data, "DUKD", train={"terms": ["rec"]}))
    said = runs.refused(file, folder=data, capsys=capsys, monkeypatch=monkeypatch)
    assert "model_type: DUKD is a method of libdukd's; with plugin fitnets it is DUKDPlugin" in said
    said = runs.refused(file, "model_type=DUKDPlugin", "train:w_hnit=1", folder=data, capsys=capsys, monkeypatch=monkeypatch)
    assert "unknown option train.w_hnit; is train.w_hint meant?" in said


# ---------------------------------------------------------------- keys of one host alone

def test_keys_of_dukd_host_alone_are_named(data, capfd, monkeypatch):
    content = runs.options(data, engine="auto")
    content["datasets"]["val"]["lq_border"] = "clamp"
    content["val"]["self_ensemble"] = True
    runs.train(runs.write(data / "o.yml", content), folder=data, monkeypatch=monkeypatch)
    err = capfd.readouterr().err
    for key in ("engine", "datasets.val.lq_border", "val.self_ensemble"):
        assert len(re.findall(rf"o.yml:\d+:\d+: {re.escape(key)} is ignored: ", err)) == 1, err


def test_the_table_in_the_readme_has_every_key():
    text = (pathlib.Path(__file__).parents[2] / "hosts" / "basicsr" / "README.md").read_text()
    own = [k for k in keys.OwnKeys({"datasets": {"train": {"type": "PairedImageDataset"}}}).patterns]
    told = set(re.findall(r"[A-Za-z_*]+(?:\.[A-Za-z_*]+)*", " ".join(re.findall(r"`([^`]*)`", text))))
    words = {w for t in told for w in t.split(".")}
    for key in own:
        leaf = key.replace(".**", "").rpartition(".")[2]
        assert leaf in words, f"README.md does not have {key}"


# ---------------------------------------------------------------- reading option files

def test_values_and_places(tmp_path):
    (tmp_path / "o.yml").write_text("base: &b {x: 1, y: 0x10}\nsection:\n  <<: *b\n  y: !!float 1e-4\n  list: [a, 'b', 2]\n"
                                    "flag: yes\nnothing: ~\n\"quoted\": '5'\n")
    o = option_file.read(tmp_path / "o.yml")
    assert o == {"base": {"x": 1, "y": 16}, "section": {"x": 1, "y": 1e-4, "list": ["a", "b", 2]}, "flag": True, "nothing": None,
                 "quoted": "5"}
    at = {k: v.rpartition("o.yml:")[2] for k, v in o.places.items()}
    assert (at["section.y"], at["section.list"], at["flag"], at["section"]) == ("4:6", "5:9", "6:7", "2:1")


def test_force_yml_as_basicsr_and_beyond(tmp_path):
    (tmp_path / "o.yml").write_text("a: {b: 1, list: [1, 2]}\n")
    o = option_file.read(tmp_path / "o.yml")
    option_file.force(o, ["a:b=-1e-4", "c=none", "d=True", "e=07", "f='none'", "g=[1, None, x]", "h:i:j=x=y", "a:list:1=3",
                          "k={}x4", "l=1.5", "m=~", "n=2001-01-01"])
    assert o == {"a": {"b": -1e-4, "list": [1, 3]}, "c": None, "d": True, "e": 7, "f": "none", "g": [1, None, "x"],
                 "h": {"i": {"j": "x=y"}}, "k": "{}x4", "l": 1.5, "m": None, "n": "2001-01-01"}
    assert o.places["h.i.j"] == "--force_yml argument 7:1:7"


def test_options_reach_the_plugin_as_yaml_resolves_them(tmp_path):
    (tmp_path / "o.yml").write_text("model_type: DUKD\nscale: 2\ntrain:\n  noisy: {}\n  x: [1, on]\n  ema_decay: 1\nval:\n")
    given, notes = keys.for_plugin(option_file.read(tmp_path / "o.yml"), {"train.x", "model_type"})
    assert given == {"model_type": "DUKD", "train.noisy": None, "train.x": [1, True]} and notes == []


def test_exceptions_are_the_packages():
    with pytest.raises(OptionError) as e:
        option_file.read("/nowhere.yml")
    assert str(e.value) == "/nowhere.yml: No such file or directory"


# ---------------------------------------------------------------- the package

def run_python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment})


def test_moved_names_are_provided_in_memory():
    done = run_python("import importlib.util, sys\n"
                      "name = 'torchvision.transforms.functional_tensor'\n"
                      "gone = importlib.util.find_spec(name) is None\n"
                      "import dukd.basicsr, torch\n"
                      "from torchvision.transforms.functional_tensor import rgb_to_grayscale as f\n"
                      "assert f(torch.ones(1, 3, 2, 2)).shape == (1, 1, 2, 2)\n"
                      "assert gone == (getattr(sys.modules[name], '__spec__', None) is None), gone\n"
                      "from basicsr.utils.registry import MODEL_REGISTRY\n"
                      "assert {'DUKD', 'BaseKD', 'FAKD', 'DUKDPlugin'} <= set(MODEL_REGISTRY.keys())")
    assert done.returncode == 0, done.stderr


def test_without_basicsr_or_with_another_version():
    done = run_python("import importlib.util as u\nfind = u.find_spec\n"
                      "u.find_spec = lambda n, *a: None if n == 'basicsr' else find(n, *a)\nimport dukd.basicsr")
    assert "BasicSRError: BasicSR is not installed: pip install basicsr==1.4.2" in done.stderr
    done = run_python("import torchvision.transforms.functional as f, sys, types\n"
                      "m = types.ModuleType('x'); m.rgb_to_grayscale = f.rgb_to_grayscale\n"
                      "sys.modules['torchvision.transforms.functional_tensor'] = m\n"
                      "import basicsr; basicsr.__version__ = '1.3.0'\nimport dukd.basicsr")
    assert "basicsr is version 1.3.0; this package knows 1.4.2" in done.stderr


def test_opencv_without_graphics_libraries():
    done = run_python("import builtins\nfind = builtins.__import__\n"
                      "def without(name, *a, **k):\n"
                      "    if name == 'cv2': raise ImportError('libGL.so.1: cannot open shared object file')\n"
                      "    return find(name, *a, **k)\n"
                      "builtins.__import__ = without\nimport dukd.basicsr")
    assert "BasicSRError: basicsr cannot be imported: libGL.so.1" in done.stderr and "pip install opencv-python-headless" in done.stderr


def test_authors_own_models_beside_ours():
    done = run_python("import torchvision.transforms.functional as f, sys, types\n"
                      "m = types.ModuleType('x'); m.rgb_to_grayscale = f.rgb_to_grayscale\n"
                      "sys.modules['torchvision.transforms.functional_tensor'] = m\n"
                      "from basicsr.utils.registry import MODEL_REGISTRY\n"
                      "@MODEL_REGISTRY.register()\nclass DUKD: pass\nimport dukd.basicsr")
    assert "BasicSR has a model type DUKD already, from __main__: do not import that and dukd.basicsr in one program" in done.stderr


def test_commands(capsys):
    assert runs.main([]) == 2 and "usage: " in capsys.readouterr().err
    assert runs.main(["tarin"]) == 2 and "no command 'tarin'" in capsys.readouterr().err
    assert runs.main(["--help"]) == 0
    with pytest.raises(SystemExit):
        runs.main(["train", "--help"])
    assert "--auto_resume" in capsys.readouterr().out


def test_a_plugin_of_another_draft(data, capsys, monkeypatch):
    """dukd's own check, as a run shows it."""
    from dukd import abi
    monkeypatch.setattr(abi, "ABI_DRAFT", abi.ABI_DRAFT + 1)
    said = runs.refused(runs.write(data / "o.yml", runs.options(data)), folder=data, capsys=capsys, monkeypatch=monkeypatch)
    assert f"was built for draft {abi.ABI_DRAFT - 1} of the ABI, this package for draft {abi.ABI_DRAFT}" in said


def test_yaml_is_the_same_to_both_readers(tmp_path):
    """What PyYAML's own loader makes of the project's files is what this package's reader makes of them."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "yaml"
    files = sorted(folder.glob("*/*.yml"))
    assert len(files) > 20
    for file in files:
        assert option_file.read(file) == yaml.safe_load(file.read_text()), file
