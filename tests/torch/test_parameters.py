"""A plugin with parameters of its own (tests/fitnets: FitNets' hint with a learned projection): gradients against autograd, what
optimizers and scalers do with them, averages, ranks, resuming, and what is refused."""
import io
import logging

import pytest
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import dukd
from support import edsr, fitnets, images, relative

HINT = {"train": {"terms": ["rec", "hint"], "w_rec": 0.5, "w_hint": 2, "hint": {"student_layer": "body.0",
                                                                               "teacher_layer": "conv_after_body"}}}
LR, HR = images(4, 12, 2)


def nets():
    return {"student": edsr(6, 1, 2, seed=1), "teacher": edsr(8, 1, 2, seed=2).requires_grad_(False)}


def make(networks=None, options=HINT, n=4, **arguments):
    return dukd.Session(options, networks or nets(), (n, 3, 12, 12), 2, seed=5, plugin=fitnets(), **arguments)


def layer(net, path, x):
    """(output, a layer's output)."""
    found = []
    hook = net.get_submodule(path).register_forward_hook(lambda _m, _i, out: found.append(out))
    try:
        return net(x), found[0]
    finally:
        hook.remove()


def loss_in_torch(networks, own, lr=LR, hr=HR):
    out, hint = layer(networks["student"], "body.0", lr)
    with torch.no_grad():
        target = layer(networks["teacher"], "conv_after_body", lr)[1]
    made = F.conv2d(hint, own["projection.weight"], own["projection.bias"])
    return 0.5 * F.l1_loss(out, hr) + 2 * F.mse_loss(made, target)


def grads(session):
    return {k: v.grad.clone() for k, v in session.named_parameters()}


def test_gradients_are_autograds():
    networks = nets()
    session = make(networks)
    own = dict(session.named_parameters())
    assert {k: tuple(v.shape) for k, v in own.items()} == {"projection.weight": (8, 6, 1, 1), "projection.bias": (8,)}
    assert session.parameters() == list(own.values()) and all(v.is_leaf and v.requires_grad for v in own.values())
    for p in session.step(LR, HR):
        assert p.zero_grad
        p.backward()
    got, students = grads(session), [v.grad.clone() for v in networks["student"].parameters()]
    free = {k: v.detach().clone().requires_grad_() for k, v in own.items()}
    loss = loss_in_torch(networks, free)
    want = torch.autograd.grad(loss, [*free.values(), *networks["student"].parameters()])
    for g, w in zip([*got.values(), *students], want):
        assert relative(g, w) < 1e-5
    assert session.losses()["l_total"] == pytest.approx(float(loss.detach()), rel=1e-5)


def test_the_first_values_are_the_seeds_and_most_methods_have_none():
    a, b = make(), make()
    assert all(torch.equal(x, y) and x.abs().max() > 0 for x, y in zip(a.parameters(), b.parameters()))
    assert make(options={"train.terms": ["rec"]}).parameters() == []
    assert dukd.Session({}, nets(), (4, 3, 12, 12), 2).parameters() == []


@pytest.mark.parametrize("how", ["set_to_none", "in place", "replaced", "student's alone", "absent"])
def test_whatever_an_optimizer_does_with_gradients(how):
    networks = nets()
    session = make(networks)
    optimizer = torch.optim.SGD([*networks["student"].parameters(), *session.parameters()], 0.0)
    for _ in range(2):  # the second time there are gradients
        for p in session.step(LR, HR):
            if how == "set_to_none":
                optimizer.zero_grad(set_to_none=True)
            elif how == "in place":
                optimizer.zero_grad(set_to_none=False)
            elif how == "replaced":
                for v in session.parameters():
                    v.grad = torch.ones_like(v)  # the pass clears it
            elif how == "student's alone":
                networks["student"].zero_grad()
            p.backward()
            optimizer.step()
    fresh = make()
    for p in fresh.step(LR, HR):
        p.backward()
    for k, g in grads(fresh).items():
        assert torch.equal(grads(session)[k], g), k


def test_gradients_that_are_there_are_added_to():
    """A pass without zero_grad: what .grad holds at that moment counts, wherever its memory is."""
    session = make(micro_count=2, n=2)
    for m in range(2):
        for p in session.step(LR[2 * m:2 * m + 2], HR[2 * m:2 * m + 2]):
            assert p.zero_grad == (m == 0)
            if m == 1:
                first = grads(session)
                for v in session.parameters():
                    v.grad = v.grad * 3  # another tensor
            p.backward()
    plain = make(micro_count=2, n=2)
    for m in range(2):
        for p in plain.step(LR[2 * m:2 * m + 2], HR[2 * m:2 * m + 2]):
            p.backward()
    for k, g in grads(session).items():
        assert relative(g - 2 * first[k], grads(plain)[k]) < 1e-5
    whole = make()
    for p in whole.step(LR, HR):
        p.backward()
    for k, g in grads(whole).items():
        assert relative(grads(plain)[k], g) < 1e-5


def test_values_whose_memory_moves_are_followed():
    networks = nets()
    session = make(networks)
    for v in session.parameters():
        v.data = v.data.clone() * 2
    for p in session.step(LR, HR):
        p.backward()
    free = {k: v.detach().clone().requires_grad_() for k, v in session.named_parameters()}
    want = torch.autograd.grad(loss_in_torch(networks, free), list(free.values()))
    for g, w in zip(grads(session).values(), want):
        assert relative(g, w) < 1e-5
    session.parameters()[0].data = session.parameters()[0].data.double()
    with pytest.raises(dukd.ArgumentError, match="projection.weight has become float64"):
        next(session.step(LR, HR))


def test_a_scalar_that_is_scaled_scales_them_too_and_without_backward_there_is_nothing():
    session = make()
    for p in session.step(LR, HR):
        p.backward()
    plain = grads(session)
    for p in session.step(LR, HR, iteration=1):
        loss = p.submit()
        assert all(not g.any() for g in grads(session).values())
        (loss * 3).backward()
    for k, g in grads(session).items():
        assert relative(g, 3 * plain[k]) < 1e-6
    for p in session.step(LR, HR, iteration=1):
        p.submit()
    assert all(not g.any() for g in grads(session).values())


def train(iterations, start=None, scaled=False, ema="model"):
    """A run of Adam; (saved state, values, averages, losses)."""
    networks = nets()
    student = networks["student"]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
    session = make(networks, scaler=scaler)
    optimizer = torch.optim.Adam([*student.parameters(), *session.parameters()], 1e-3)
    average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    average.n_averaged.fill_(1)
    parts = {"student": student, "average": average, "optimizer": optimizer, "session": session}
    if start is not None:
        saved = torch.load(io.BytesIO(start), weights_only=True)
        for k, part in parts.items():
            part.load_state_dict(saved[k])
    while session.iteration <= iterations:
        for p in session.step(*images(4, 12, 2, seed=session.iteration)):
            p.apply(optimizer, average if ema == "model" else lambda: session.average(0.5))
    file = io.BytesIO()
    torch.save({k: part.state_dict() for k, part in parts.items()}, file)
    values = {k: v.detach().clone() for k, v in session.named_parameters()}
    values.update({"student." + k: v.clone() for k, v in student.state_dict().items()})
    return file.getvalue(), values, session.averages(), session.losses()


def test_resume_is_bit_exact():
    _, straight, averages, losses = train(6)
    state, half, _, _ = train(3)
    _, resumed, again, same = train(6, start=state)
    assert all(torch.equal(straight[k], resumed[k]) and not torch.equal(half[k], resumed[k]) for k in straight)
    assert all(torch.equal(averages[k], again[k]) and not torch.equal(averages[k], straight[k]) for k in averages)
    assert losses == same


def test_averages():
    """By an AveragedModel's rule, or by a decay: the same numbers; from the first values on."""
    first = dict(make().named_parameters())
    _, one, averages, _ = train(1)
    _, _, by_decay, _ = train(1, ema="decay")
    for k, v in averages.items():
        assert torch.allclose(v, 0.5 * first[k] + 0.5 * one[k]) and not torch.equal(v, one[k])
        assert torch.allclose(v, by_decay[k], rtol=1e-6)


@pytest.mark.parametrize("rule", [{}, {"avg_fn": lambda a, v, n: 0.25 * a + 0.75 * v}])
def test_averages_by_other_rules(rule):
    networks = nets()
    session = make(networks)
    optimizer = torch.optim.SGD([*networks["student"].parameters(), *session.parameters()], 0.1)
    average, seen = AveragedModel(networks["student"], **rule), []
    for _ in range(3):
        for p in session.step(LR, HR):
            p.apply(optimizer, average)
        seen.append(session.parameters()[0].detach().clone())
    want = seen[0]
    for n, v in enumerate(seen[1:], 1):
        want = 0.25 * want + 0.75 * v if rule else want + (v - want) / (n + 1)
    assert torch.allclose(session.averages()["projection.weight"], want, rtol=1e-5)


def test_grad_scaler_unscales_them():
    _, plain, _, losses = train(3)
    _, scaled, _, same = train(3, scaled=True)
    for k in plain:
        assert relative(scaled[k], plain[k]) < 1e-5, k
    assert losses["l_total"] == pytest.approx(same["l_total"], rel=1e-5)


def test_states_that_do_not_fit():
    state = torch.load(io.BytesIO(train(1)[0]), weights_only=True)["session"]
    session = make(options={"train.terms": ["rec"]})
    with pytest.raises(dukd.ArgumentError, match="other parameters: projection.weight 8x6x1x1, projection.bias 8; here: none"):
        session.load_state_dict(state)
    session = make()
    before = [v.detach().clone() for v in session.parameters()]
    del state["parameters"]
    with pytest.raises(dukd.ArgumentError, match="other parameters: none; here: projection.weight"):
        session.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(before, session.parameters())) and session.iteration == 1


def test_an_optimizer_without_them(caplog):
    networks = nets()
    session = make(networks)
    optimizer = torch.optim.SGD(networks["student"].parameters(), 0.1)
    with pytest.raises(dukd.ArgumentError, match=r"parameters of its own \(projection.weight, projection.bias\)"):
        for p in session.step(LR, HR):
            p.apply(optimizer)
    with caplog.at_level(logging.WARNING, "dukd"):  # a loop by hand is only warned
        for _ in range(3):
            for p in session.step(LR, HR):
                p.backward()
                optimizer.step()
    assert len([r for r in caplog.records if "have not moved" in r.message]) == 1
    caplog.clear()
    session = make(networks)
    optimizer = torch.optim.SGD([*networks["student"].parameters(), *session.parameters()], 0.1)
    for _ in range(3):
        for p in session.step(LR, HR):
            p.apply(optimizer)
    assert not caplog.records


def test_wrap_and_trained():
    networks = nets()
    session = make(networks)
    assert session.trained == {"student"}
    wrapped = torch.nn.DataParallel(networks["teacher"])
    session.wrap("teacher", wrapped)
    assert session.networks["teacher"].module is wrapped
    with pytest.raises(dukd.ArgumentError, match="no wrapper"):
        session.wrap("teacher", networks["student"])
