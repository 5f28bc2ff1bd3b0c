"""Taps of layers, of taps, of other networks, in both modes, against autograd of the same sum."""
import pytest
import torch
from torch import nn

import dukd
from linear_plugin import linear_plugin
from support import edsr, images, relative

LR, HR = images(2, 8, 2)


class Features(nn.Module):
    """Takes the student's output apart; has a layer that works in place."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(5, 4, 3, 2, 1)

    def forward(self, x):
        return self.second(self.relu(self.first(x)))


def networks(**more):
    nets = {"student": edsr(6, 2, 2, seed=1), "teacher": edsr(6, 2, 2, seed=2), **more}
    return nets


def run(rows, nets, lr=LR, hr=HR, **arguments):
    """One step; the plugin (with what it saw) after it."""
    plugin = linear_plugin(rows)
    session = dukd.Session({}, nets, lr.shape, 2, plugin=plugin, **arguments)
    for p in session.step(lr, hr):
        p.backward()
    return plugin


def gradients(net):
    return {k: v.grad for k, v in net.named_parameters()}


def expect(net, loss, others=()):
    """Compares a network's .grad with autograd's of the loss."""
    got = {k: v.clone() for k, v in gradients(net).items()}
    want = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    for (k, _), w in zip(net.named_parameters(), want):
        if w is None:
            assert got[k] is None or not got[k].abs().max() > 0, k
        else:
            assert relative(got[k], w) < 1e-5, k


def test_layers_and_output_of_one_run():
    nets = networks()
    rows = [dict(layer="body.0", grad=True), dict(layer="conv_after_body", grad=True), dict(grad=True), dict(network=1, layer="body.1")]
    plugin = run(rows, nets)
    s = nets["student"]
    x = s.conv_first((LR - s.mean) * s.img_range)
    first = s.body[0](x)
    skip = s.conv_after_body(s.body[1](first)) + x  # with the long skip: what `res += x` makes of it
    out = s.conv_last(s.upsample(skip)) / s.img_range + s.mean
    for seen, value in zip(plugin.seen, (first, skip, out)):
        assert relative(seen, value.detach()) < 1e-6
    expect(s, sum((plugin.coefficients[i] * v).sum() for i, v in enumerate((first, skip, out))))
    assert all(v.grad is None for v in nets["teacher"].parameters())


def test_derived_taps_bring_their_gradients_on():
    features = Features().requires_grad_(False)
    nets = networks(features=features)
    rows = [dict(grad=True), dict(network=1), dict(network=2, source=("tap", 0), grad=True),
            dict(network=2, source=("tap", 0), layer="relu", grad=True), dict(network=2, source=("tap", 1))]
    plugin = run(rows, nets)
    out = nets["student"](LR)
    middle = torch.relu(features.first(out))
    expect(nets["student"], (plugin.coefficients[0] * out).sum() + (plugin.coefficients[2] * features.second(middle)).sum() +
           (plugin.coefficients[3] * middle).sum())
    assert relative(plugin.seen[4], features(nets["teacher"](LR)).detach()) < 1e-6


def test_a_derived_tap_alone_brings_its_gradient_on():
    features = Features().requires_grad_(False)
    nets = networks(features=features)
    plugin = run([dict(), dict(network=2, source=("tap", 0), grad=True)], nets)
    expect(nets["student"], (plugin.coefficients[1] * features(nets["student"](LR))).sum())


def test_gradients_of_the_teacher():
    nets = networks()
    plugin = run([dict(grad=True), dict(network=1, grad=True)], nets)
    for i, name in enumerate(("student", "teacher")):
        expect(nets[name], (plugin.coefficients[i] * nets[name](LR)).sum())


def test_a_teacher_that_is_to_learn_and_cannot_is_told(caplog):
    rows = [dict(grad=True), dict(network=1, grad=True)]
    assert dukd.Session({}, networks(), LR.shape, 2, plugin=linear_plugin(rows)).trained == {"student", "teacher"}
    assert not caplog.records
    run(rows, networks(teacher=edsr(6, 2, 2).requires_grad_(False)))
    assert [r.message for r in caplog.records if "trains the teacher, too" in r.message]


def test_shared_parameters_add_up():
    student = edsr(6, 2, 2, seed=1)
    teacher = edsr(6, 2, 2, seed=2)
    teacher.conv_last = student.conv_last
    plugin = run([dict(grad=True), dict(network=1, grad=True)], {"student": student, "teacher": teacher})
    loss = sum((plugin.coefficients[i] * net(LR)).sum() for i, net in enumerate((student, teacher)))
    expect(student, loss)
    expect(teacher, sum((plugin.coefficients[i] * net(LR)).sum() for i, net in enumerate((student, teacher))))


@pytest.mark.parametrize("train", [False, True])
def test_modes_are_set_and_restored(train):
    teacher = nn.Sequential(edsr(4, 1, 2), nn.Dropout(0.5), nn.BatchNorm2d(3))
    teacher.eval()
    teacher[2].train()  # a module that its owner has put into the other mode
    nets = networks(teacher=teacher)
    before = teacher[2].num_batches_tracked.clone()
    plugin = run([dict(network=1, train=train), dict(grad=True)], nets)
    red = plugin.seen[0][:, 0].flatten()
    assert (int((red == red.mode().values).sum()) > len(red) // 4) == train  # what Dropout took away has one value
    assert [m.training for m in (teacher, teacher[1], teacher[2])] == [False, False, True]
    assert int(teacher[2].num_batches_tracked - before) == int(train)


def test_kept_values_and_memory_formats():
    nets = networks()
    nets["student"].to(memory_format=torch.channels_last)
    plugin = run([dict(grad=True, keep=True)], nets, LR.to(memory_format=torch.channels_last), HR)
    expect(nets["student"], (plugin.coefficients[0] * nets["student"](LR)).sum())


def test_compiled_networks():
    nets = networks()
    compiled = {k: torch.compile(v, backend="aot_eager") for k, v in nets.items()}
    plugin = run([dict(grad=True), dict(network=1)], compiled)
    expect(nets["student"], (plugin.coefficients[0] * nets["student"](LR)).sum())
    plugin = run([dict(grad=True), dict(layer="body.0", grad=True)], compiled)  # layers: as the network was written
    assert plugin.seen[1].shape == (2, 6, 8, 8)


def test_what_networks_cannot_do_is_refused_with_the_reason():
    nets = networks()
    with pytest.raises(dukd.UnsupportedError, match="has no layer 'conv_after_boby'; did you mean 'conv_after_body'"):
        run([dict(layer="conv_after_boby", grad=True)], nets)
    with pytest.raises(dukd.UnsupportedError, match="is of shape 2x4, expected N x C x H x W|a network cannot"):
        run([dict(grad=True)], networks(student=nn.Flatten()))
    with pytest.raises(dukd.UnsupportedError, match="a tuple"):
        class Two(nn.Module):
            def forward(self, x):
                return x, x
        run([dict(grad=True)], networks(student=Two()))
    with pytest.raises(dukd.UnsupportedError, match="flags 0x1|flags 0x"):
        run([dict(grad=True, flags=0x10)], nets)
    for ask in (True, False):  # also of a plugin that does not ask for shapes
        with pytest.raises(dukd.UnsupportedError, match="starts at layer 'body.0': a PyTorch module runs from its input"):
            dukd.Session({}, nets, LR.shape, 2, plugin=linear_plugin([dict(from_layer="body.0", layer="body.1", grad=True)], ask))
    with pytest.raises(dukd.StateError, match="no parameter"):
        run([dict(grad=True)], {k: v.requires_grad_(False) for k, v in networks().items()})
