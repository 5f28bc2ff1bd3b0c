"""A run that was stopped and resumed ends with the weights of one that was not, bit for bit."""
import types

import pytest
import runs
import torch

CASES = {
    "paper": dict(model_type="DUKDPlugin", train={"terms": ["rec", "kd", "dukd"]}),
    "official": dict(model_type="DUKD", train=runs.OFFICIAL),
    "micro-batches": dict(model_type="DUKDPlugin", train={"micro_batches": 2}),
    # DropPath, in student and teacher: both in training mode; layers' random numbers are in no training state
    "swinir": dict(model_type="DUKD", train={**runs.OFFICIAL, "dukd_opt": {"zoom_out": False}}, student=runs.swinir(8),
                   teacher=runs.swinir(12)),
    "bf16": dict(model_type="DUKDPlugin", precision="bf16"),
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
