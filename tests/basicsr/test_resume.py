"""A run that was stopped and resumed ends with the weights of one that was not, bit for bit."""
import types

import pytest
import runs
import torch
from support import fitnets

CSD = {"terms": ["csd"], "csd": {"layers": ["features.1", "features.6"], "layer_weights": [0.5, 1], "negatives": 2}}
RANDOM = {"network_f": {"type": "VGG19"}, "teacher": runs.edsr(8, 1)}
CASES = {
    "paper": dict(model_type="DUKDPlugin", train={"terms": ["rec", "kd", "dukd"]}),
    "official": dict(model_type="DUKD", train=runs.OFFICIAL),
    "micro-batches": dict(model_type="DUKDPlugin", train={"micro_batches": 2}),
    # DropPath, in student and teacher: both in training mode; layers' random numbers are in no training state
    "swinir": dict(model_type="DUKD", train={**runs.OFFICIAL, "dukd_opt": {"zoom_out": False}}, student=runs.swinir(8),
                   teacher=runs.swinir(12)),
    "bf16": dict(model_type="DUKDPlugin", precision="bf16"),
    "fakd": dict(model_type="DUKDPlugin", train={"terms": ["dukd", "fakd"], "fakd": {"layers": ["conv_first", "conv_after_body"]}}),
    "csd": dict(model_type="DUKDPlugin", train=CSD, **RANDOM),
    "shared": dict(model_type="DUKDPlugin", train={**CSD, "share_weights": True}, **RANDOM),
    # a plugin with parameters of its own
    "hint": dict(model_type="DUKDPlugin", train={"terms": ["rec", "hint"]}),
}


@pytest.fixture
def data(tmp_path):
    runs.write_images(tmp_path, [(48, 60), (50, 41), (64, 33), (40, 40), (45, 61)], 2)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_resumed_run_equals_uninterrupted_one(case, data, monkeypatch):
    content = runs.options(data, **CASES[case])
    if case == "swinir":  # by default a block is dropped in a tenth of the cases: too rare for six iterations
        content["network_g"]["drop_path_rate"] = content["network_t"]["drop_path_rate"] = 0.5
    if case in ("csd", "shared"):
        content["path"]["random_network_f"] = True
    if case == "hint":
        monkeypatch.setenv("DUKD_LIBRARY", fitnets())
    file = runs.write(data / "o.yml", content)
    whole = runs.train(file, "name=whole", folder=data, monkeypatch=monkeypatch)
    # 5 images in batches of 2: two iterations an epoch; iteration 3 is in the middle of the second
    first = runs.train(file, "name=parts", "train:total_iter=3", "logger:save_checkpoint_freq=3", folder=data,
                       monkeypatch=monkeypatch)
    second = runs.train(file, "name=parts", folder=data, switches=["--auto_resume"], monkeypatch=monkeypatch)
    assert len(first.losses) == len(second.losses) == 3
    assert first.losses + second.losses == whole.losses
    assert first.rates + second.rates == whole.rates
    assert runs.same(second.weights(), whole.weights())
    assert runs.same(second.weights(average=True), whole.weights(average=True))
    assert not runs.same(first.weights(), whole.weights())
    learns = case in ("csd", "shared")
    assert (data / "experiments/whole/models/net_t_latest.pth").exists() == learns
    assert [t.model.teacher_learns for t in (whole, first, second)] == [learns] * 3
    if learns:
        for net in ("net_t", "net_t_ema"):
            a, b, c = (getattr(t.model, net).state_dict() for t in (whole, second, first))
            assert runs.same(a, b) and not runs.same(a, c)
        saved = torch.load(data / "experiments/parts/models/net_t_3.pth", weights_only=True)
        assert set(saved) == {"params", "params_ema"} and runs.same(saved["params"], first.model.net_t.state_dict())
    if case == "shared":
        for part, of in ((whole.weights(), whole.model.net_t), (whole.weights(True), whole.model.net_t_ema)):
            assert all(torch.equal(v, dict(of.named_parameters())[k][tuple(slice(n) for n in v.shape)]) for k, v in part.items()
                       if k != "mean")
    if case == "hint":
        rows = [(t.model.session.named_parameters(), t.model.session.averages()) for t in (whole, second, first)]
        assert len(rows[0][0]) == 2
        for i, (name, value) in enumerate(rows[0][0]):
            assert torch.equal(value, rows[1][0][i][1]) and not torch.equal(value, rows[2][0][i][1])
            assert torch.equal(rows[0][1][name], rows[1][1][name]) and not torch.equal(rows[0][1][name], value)


def test_a_teacher_that_learns_need_not_be_resumed(data, monkeypatch):
    """ignore_resume_networks is BasicSR's: such a network is the option file's again."""
    content = runs.options(data, train=CSD, **RANDOM)
    content["path"]["random_network_f"] = True
    file = runs.write(data / "o.yml", content)
    runs.train(file, "train:total_iter=2", "logger:save_checkpoint_freq=2", folder=data, monkeypatch=monkeypatch)
    seen, init = [], runs.models.DistilledModel._init_trained

    def look(self):
        seen.append({k: v.clone() for k, v in self.net_t.state_dict().items()})
        init(self)

    monkeypatch.setattr(runs.models.DistilledModel, "_init_trained", look)
    for force in ([], ["path:ignore_resume_networks=network_t"]):
        runs.train(file, *force, "train:total_iter=3", folder=data, switches=["--auto_resume"], monkeypatch=monkeypatch)
    teacher = torch.load(data / "teacher.pth", weights_only=True)["params"]
    learnt = torch.load(data / "experiments/run/models/net_t_2.pth", weights_only=True)["params"]
    assert runs.same(seen[0], learnt) and runs.same(seen[1], teacher) and not runs.same(learnt, teacher)


def test_workers_do_not_change_the_images(data, monkeypatch):
    file = runs.write(data / "o.yml", runs.options(data))
    alone = runs.train(file, folder=data, monkeypatch=monkeypatch)
    with_two = runs.train(file, "datasets:train:num_worker_per_gpu=2", folder=data, monkeypatch=monkeypatch)
    ahead = runs.train(file, "datasets:train:prefetch_mode=cpu", folder=data, monkeypatch=monkeypatch)
    assert alone.losses == with_two.losses == ahead.losses
    assert len({row["l_total"] for row in alone.losses}) == len(alone.losses)  # epochs differ in their crops


def test_resuming_goes_on_by_the_states_seed_and_keeps_the_teachers_key(data, monkeypatch, capsys):
    content = runs.options(data)
    del content["manual_seed"]
    teacher = torch.load(data / "teacher.pth")
    other = {k: v + 0.01 for k, v in teacher["params"].items()}
    torch.save({"params": other, "params_ema": teacher["params"]}, data / "teacher.pth")
    content["path"]["param_key_t"] = "params_ema"
    file = runs.write(data / "o.yml", content)
    first = runs.train(file, "train:total_iter=2", "logger:save_checkpoint_freq=2", folder=data, monkeypatch=monkeypatch)
    monkeypatch.setattr("dukd.basicsr.run.random", types.SimpleNamespace(randint=lambda *_: pytest.fail("a seed was drawn")))
    second = runs.train(file, folder=data, switches=["--auto_resume"], monkeypatch=monkeypatch)
    assert second.model.opt["manual_seed"] == first.model.opt["manual_seed"]
    # BasicSR's check_resume would take "params" of net_t_2.pth
    assert runs.same(second.model.net_t.state_dict(), teacher["params"])


def test_best_result_is_that_of_the_whole_run(data, monkeypatch):
    file = runs.write(data / "o.yml", runs.options(data))
    force = ["val:val_freq=2", "logger:save_checkpoint_freq=3"]  # a state is written before the validation of its iteration
    first = runs.train(file, *force, "train:total_iter=3", folder=data, monkeypatch=monkeypatch)
    best = first.model.best_metric_results["p"]["psnr"]
    state = torch.load(data / "experiments/run/training_states/3.state", weights_only=True)
    assert state["dukd"]["best"]["p"]["psnr"]["iter"] == 2
    second = runs.train(file, *force, "train:optim_g:lr=0", folder=data, switches=["--auto_resume"], monkeypatch=monkeypatch)
    assert second.model.best_metric_results["p"]["psnr"]["val"] >= best["val"]


def test_states_that_do_not_fit(data, monkeypatch, capsys):
    file = runs.write(data / "o.yml", runs.options(data))
    runs.train(file, "train:total_iter=2", "logger:save_checkpoint_freq=1", folder=data, monkeypatch=monkeypatch)
    states = data / "experiments/run/training_states"
    again = dict(folder=data, switches=["--auto_resume"], capsys=capsys, monkeypatch=monkeypatch)
    assert '"weight of kd = 1", this session has "weight of kd = 2"' in runs.refused(file, "train:w_kd=2", **again)
    assert '"seed = 3", this session has "seed = 4"' in runs.refused(file, "manual_seed=4", **again)
    whole = (states / "2.state").read_bytes()
    (states / "2.state").write_bytes(whole[:len(whole) // 2])
    message = runs.refused(file, **again)
    assert "2.state cannot be read as a training state" in message
    (states / "2.state").unlink()
    assert len(runs.train(file, folder=data, switches=["--auto_resume"], monkeypatch=monkeypatch).losses) == 5
    assert runs.refused(file, "path:resume_state=/nowhere/1.state", folder=data, capsys=capsys, monkeypatch=monkeypatch) == \
        "--force_yml argument 1:1:19: path.resume_state: /nowhere/1.state is not there"
    torch.save({"params": {}}, data / "other.state")
    assert "is no training state" in runs.refused(file, f"path:resume_state={data}/other.state", folder=data, capsys=capsys,
                                                  monkeypatch=monkeypatch)


def test_a_state_that_cannot_be_written_ends_the_run(data, monkeypatch, capsys):
    file = runs.write(data / "o.yml", runs.options(data))
    save = torch.save

    def full(thing, path, *args, **kwargs):
        if str(path).endswith(".part"):
            raise OSError(28, "No space left on device")
        save(thing, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    message = runs.refused(file, "logger:save_checkpoint_freq=1", folder=data, capsys=capsys, monkeypatch=monkeypatch)
    assert "1.state: the training state cannot be written" in message and "No space left" in message
    assert not list((data / "experiments/run/training_states").glob("*.state"))
