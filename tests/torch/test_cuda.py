"""Sessions on a GPU against the same ones on the processor: inputs, gradients, losses of trainings, mixed precision with loss scaling, the
caching allocator, streams of the caller's. Skipped where PyTorch or the plugin cannot use a GPU. Bounds are guesses until one has been at hand."""
import gc

import pytest
import torch

import dukd
from support import edsr, images, relative

if not torch.cuda.is_available():
    pytest.skip(f"SKIP: PyTorch {torch.__version__} finds no CUDA device", allow_module_level=True)
for backend in dukd.Plugin().backends:
    if backend.name == "cuda" and not backend.usable:
        pytest.skip(f"SKIP: the plugin cannot use CUDA: {backend.detail}", allow_module_level=True)

GPU = "cuda"
OFFICIAL = {"model_type": "DUKD", "train": {"pixel_opt": {"type": "L1Loss"}, "kd_opt": {"type": "L1Loss"},
                                            "dukd_opt": {"zoom_out": True}, "noisy": {"prob": 0.3}}}
MODES = pytest.mark.parametrize("options", [{}, OFFICIAL, {"train.zoom_in": "hardest"}, {"train.w_kd": 0.5, "train.zoom_in": "grid"}],
                                ids=["paper", "official", "hardest", "grid"])


@pytest.fixture(autouse=True)
def exact_products():
    """f32 is f32, and the same from run to run."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


class Run:
    """A training of a small network on a device, from the same weights and with the same draws everywhere."""

    def __init__(self, device, options, **arguments):
        self.device = device
        self.student, self.teacher = (edsr(f, 2, 2, seed=s).to(device) for f, s in ((8, 1), (12, 2)))
        self.optimizer = torch.optim.SGD(self.student.parameters(), 1e-2)
        self.session = dukd.Session(options, {"student": self.student, "teacher": self.teacher}, (3, 3, 12, 12), 2, seed=7, **arguments)
        self.inputs, self.losses = [], []

    def step(self):
        lr, hr = (t.to(self.device) for t in images(3, 12, 2, seed=self.session.iteration))
        for p in self.session.step(lr, hr):
            self.inputs.append(p.inputs[0].float().cpu())
            p.apply(self.optimizer)
        self.losses.append(self.session.losses())
        return {k: v.grad.float().cpu() for k, v in self.student.named_parameters()}


def same_losses(got, want, bound):
    for a, b in zip(got, want):
        assert a.keys() == b.keys()
        for k in b:
            assert a[k] == pytest.approx(b[k], rel=bound, abs=bound * 1e-2), k


@MODES
def test_a_step_is_the_processors(options):
    gpu, host = Run(GPU, options), Run("cpu", options)
    got, want = gpu.step(), host.step()
    assert len(gpu.inputs) == len(host.inputs) > 1
    for a, b in zip(gpu.inputs, host.inputs):
        assert a.shape == b.shape and relative(a, b) < 1e-6  # the same crops and turns of the same images
    for k in want:  # a difference of about 0 may have another sign on the other device: a thousandth of a gradient's sum
        assert relative(got[k], want[k]) < 5e-3, k
    same_losses(gpu.losses, host.losses, 1e-5)


@MODES
def test_a_training_has_the_processors_losses(options):
    gpu, host = Run(GPU, options), Run("cpu", options)
    for _ in range(10):
        gpu.step()
        host.step()
    same_losses(gpu.losses, host.losses, 1e-3)
    assert gpu.losses[-1]["l_total"] != gpu.losses[0]["l_total"]


def test_channels_last_and_a_stream_of_the_callers():
    want = Run(GPU, {}).step()
    other = Run(GPU, {})
    other.student.to(memory_format=torch.channels_last)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        got = other.step()
    torch.cuda.synchronize()
    for k in want:
        assert relative(got[k], want[k]) < 5e-3, k


def test_bf16_is_near_f32():
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("SKIP: bf16 needs compute capability 8.0")
    half, full = Run(GPU, {}, autocast=torch.bfloat16), Run(GPU, {})
    for _ in range(3):
        half.step()
        full.step()
    same_losses(half.losses, full.losses, 5e-2)


def test_a_grad_scaler_scales_gradients_alone():
    full = Run(GPU, {})
    scaler = torch.amp.GradScaler(GPU, init_scale=1024.0)
    scaled = Run(GPU, {}, autocast=torch.float16, scaler=scaler)
    for _ in range(3):
        full.step()
        scaled.step()
    same_losses(scaled.losses, full.losses, 2e-2)
    before = {k: v.clone() for k, v in scaled.student.state_dict().items()}
    lr, hr = (t.to(GPU) for t in images(3, 12, 2))
    lr[0, 0, 3, 3] = float("inf")
    for p in scaled.session.step(lr, hr):
        p.apply(scaled.optimizer)
    assert all(torch.equal(before[k], v) for k, v in scaled.student.state_dict().items()) and scaler.get_scale() < 1024


def test_memory_is_the_caching_allocators_and_is_given_back():
    run = Run(GPU, {})
    run.step()
    run.optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    gc.collect()
    with_session = torch.cuda.memory_allocated()
    run.session.close()
    gc.collect()
    assert torch.cuda.memory_allocated() < with_session
    assert Run(GPU, {}, memory="plugin").step().keys() == dict(run.student.named_parameters()).keys()
