"""Sessions of the real plugin: gradients against autograd of the same loss, mixed precision, loss scaling, micro-batches,
resume, and the same steps in dukd-host."""
import io

import pytest
import torch
from torch.nn import functional as F

import dukd
from support import edsr, images, relative

PLAIN = {"train": {"zoom_in": "none", "augment": {"hflip": 0, "vflip": 0, "rot90": 0, "invert": 0}, "w_kd": 0.5}}
OFFICIAL = {"model_type": "DUKD", "train": {"pixel_opt": {"type": "L1Loss"}, "kd_opt": {"type": "L1Loss"},
                                            "dukd_opt": {"zoom_out": True}, "noisy": {"prob": 0.3}}}


def pair(scale=2):
    return edsr(8, 2, scale, seed=1), edsr(12, 2, scale, seed=2)


def loss_in_torch(student, teacher, lr, hr, small):
    """PLAIN's loss, on the plugin's own scaled-down images."""
    with torch.no_grad():
        t, t_small = teacher(lr), teacher(small)
    out = student(lr)
    return F.l1_loss(out, hr) + 0.5 * F.l1_loss(out, t) + F.l1_loss(student(small), t_small)


def one_step(student, teacher, lr, hr, options=PLAIN, **arguments):
    """Gradients of one step, the scaled-down images, the losses."""
    session = dukd.Session(options, {"student": student, "teacher": teacher}, lr.shape, hr.shape[-1] // lr.shape[-1], **arguments)
    small = None
    for p in session.step(lr, hr):
        if p.zero_grad:
            student.zero_grad()
        if p.inputs[0].shape[-1] < lr.shape[-1]:
            small = p.inputs[0].clone()
        p.backward()
    return {k: v.grad.clone() for k, v in student.named_parameters()}, small, session


def compare(student, got, loss, tolerance):
    want = torch.autograd.grad(loss, list(student.parameters()))
    for (k, _), w in zip(student.named_parameters(), want):
        assert relative(got[k].float(), w.float()) < tolerance, k


@pytest.mark.parametrize("layout", ["dense", "channels_last", "slices"])
def test_gradient_is_autograds(layout):
    student, teacher = pair()
    lr, hr = images(3, 12, 2)
    if layout == "channels_last":
        lr, hr = (t.to(memory_format=torch.channels_last) for t in (lr, hr))
        student.to(memory_format=torch.channels_last)
    if layout == "slices":
        lr = torch.cat([lr, lr], 3)[..., ::2].contiguous()[..., :12]
        hr = F.pad(hr, (1, 2, 3, 4))[..., 3:-4, 1:-2]
        assert not hr.is_contiguous()
    got, small, session = one_step(student, teacher, lr, hr)
    loss = loss_in_torch(student, teacher, lr, hr, small)
    compare(student, got, loss, 1e-5)
    assert abs(session.losses()["l_total"] / float(loss.detach()) - 1) < 1e-6


def test_compiled_networks_train_the_same():
    student, teacher = pair()
    lr, hr = images(2, 12, 2)
    got, small, _ = one_step(torch.compile(student, backend="aot_eager"), torch.compile(teacher, backend="aot_eager"), lr, hr)
    compare(student, {k.replace("_orig_mod.", ""): v for k, v in got.items()}, loss_in_torch(student, teacher, lr, hr, small), 1e-5)


@pytest.mark.parametrize("how", ["argument", "around"])
def test_autocast(how):
    student, teacher = pair()
    lr, hr = images(2, 12, 2)
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "around"):
        got, small, _ = one_step(student, teacher, lr, hr, autocast=torch.bfloat16 if how == "argument" else None)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_in_torch(student, teacher, lr, hr, small)
    # signs of differences that bf16 rounds to nothing may differ: the same rounding of the same outputs does not
    compare(student, got, loss, 2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_whole_training_in_16_bits(dtype):
    student, teacher = (net.to(dtype) for net in pair())
    for net in (student, teacher):
        net.img_range = 1.0
    lr, hr = images(2, 12, 2, dtype=dtype)
    got, _, session = one_step(student, teacher, lr, hr, dtype=dtype)
    assert all(torch.isfinite(v).all() for v in got.values()) and session.losses()["l_total"] > 0


def test_scalar_may_be_scaled_outside():
    student, teacher = pair()
    lr, hr = images(2, 12, 2)
    plain, _, session = one_step(student, teacher, lr, hr)
    student.zero_grad()
    session.iteration = 1
    for p in session.step(lr, hr):
        (p.submit() * 3).backward()
    for k, v in student.named_parameters():
        assert relative(v.grad, 3 * plain[k]) < 1e-5


def test_grad_scaler_on_the_cpu():
    runs = []
    for scaled in (False, True):
        student, teacher = pair()
        optimizer = torch.optim.SGD(student.parameters(), 1e-2)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        lr, hr = images(2, 12, 2)
        session = dukd.Session(PLAIN, {"student": student, "teacher": teacher}, lr.shape, 2, scaler=scaler)
        for _ in range(3):
            for p in session.step(lr, hr):
                p.apply(optimizer)
                if scaled and not p.optimize and p.id == 0:
                    large = max(float(v.grad.abs().max()) for v in student.parameters())
        runs.append((student.state_dict(), session.losses(), float(max(v.grad.abs().max() for v in student.parameters()))))
    assert large > 100 * runs[0][2]  # gradients were scaled while they added up
    for k, v in runs[0][0].items():
        assert relative(runs[1][0][k], v) < 1e-6
    assert runs[0][1]["l_total"] == pytest.approx(runs[1][1]["l_total"], rel=1e-5)  # losses are not scaled


def test_a_scaler_skips_a_step_that_is_not_finite_and_goes_on():
    student, teacher = pair()
    optimizer = torch.optim.SGD(student.parameters(), 1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    lr, hr = images(2, 12, 2)
    lr[0, 0, 3, 3] = float("inf")  # not hidden: the gradient is not finite
    session = dukd.Session(PLAIN, {"student": student, "teacher": teacher}, lr.shape, 2, scaler=scaler)
    before = {k: v.clone() for k, v in student.state_dict().items()}
    for p in session.step(lr, hr):
        p.apply(optimizer)
    assert all(torch.equal(before[k], v) for k, v in student.state_dict().items())
    assert scaler.get_scale() < 1024 and session.iteration == 2


def test_official_mode_refuses_loss_scaling_and_micro_batches():
    student, teacher = pair()
    nets = {"student": student, "teacher": teacher}
    with pytest.raises(dukd.DukdError, match="scal"):
        dukd.Session(OFFICIAL, nets, (2, 3, 12, 12), 2, scaler=torch.amp.GradScaler("cpu"))
    with pytest.raises(dukd.DukdError, match="micro"):
        dukd.Session(OFFICIAL, nets, (2, 3, 12, 12), 2, micro_count=2)


def train(options, iterations, n=4, micro=1, start=None, stop=None):
    """A run of Adam; (state, weights, losses). start: a saved state to go on from."""
    student, teacher = pair()
    optimizer = torch.optim.Adam(student.parameters(), 1e-3)
    session = dukd.Session(options, {"student": student, "teacher": teacher}, (n // micro, 3, 12, 12), 2, seed=7, micro_count=micro)
    if start is not None:
        saved = torch.load(io.BytesIO(start), weights_only=True)
        student.load_state_dict(saved["student"])
        optimizer.load_state_dict(saved["optimizer"])
        session.load_state_dict(saved["session"])
    while session.iteration <= iterations:
        lr, hr = images(n, 12, 2, seed=session.iteration)
        for part in range(micro):
            rows = slice(part * n // micro, (part + 1) * n // micro)
            for p in session.step(lr[rows], hr[rows]):
                p.apply(optimizer)
    file = io.BytesIO()
    torch.save({"student": student.state_dict(), "optimizer": optimizer.state_dict(), "session": session.state_dict()}, file)
    return file.getvalue(), student.state_dict(), session.losses()


@pytest.mark.parametrize("options", [{}, OFFICIAL, {"train.zoom_in": "hardest"}], ids=["paper", "official", "hardest"])
def test_resume_is_bit_exact(options):
    _, straight, losses = train(options, 6)
    state, _, _ = train(options, 3)
    _, resumed, again = train(options, 6, start=state)
    assert all(torch.equal(straight[k], resumed[k]) for k in straight) and losses == again


def test_state_of_another_configuration_is_refused():
    state, _, _ = train({}, 1)
    with pytest.raises(dukd.ArgumentError, match="weight of kd"):
        train({"train.w_kd": 0.5}, 2, start=state)


def test_micro_batches_are_one_batch():
    _, whole, losses = train({}, 3)
    _, parts, again = train({}, 3, micro=2)
    for k in whole:
        assert relative(parts[k], whole[k]) < 1e-5
    assert losses["l_total"] == pytest.approx(again["l_total"], rel=1e-5)


def test_views_live_as_long_as_somebody_looks():
    student, teacher = pair()
    lr, hr = images(2, 12, 2)
    _, _, session = one_step(student, teacher, lr, hr)
    for p in session.step(lr, hr):
        view = p.inputs[0][0]
        p.backward()
    session.close  # not called: dropped
    handle = session._handle
    del session, p
    assert handle.close.alive and torch.isfinite(view).all()
    session_owner = view._base if view._base is not None else view
    assert session_owner._dukd_owner is handle
