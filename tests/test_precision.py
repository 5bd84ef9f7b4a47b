"""No float64 reaches a device without it, and float64 is what is computed: on a stand-in for an Apple GPU."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from audiodiff import precision
from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.excitation import accumulate_phase
from audiodiff.audio.mel import PRESETS
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.likelihood.bound import bound_grid, variational_bound
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.samplers.adaptive import Adaptive
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.samplers.presets import build
from audiodiff.diffusion.schedules.schedule import Cosine, LinearBeta, VarianceExploding
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.diffusion.weighting import SigmoidWeighting
from audiodiff.diffusion.windowed import Windowed
from audiodiff.nn.pitch import PitchNetwork

# Nothing can be on an Apple GPU in a build of torch without it.
APPLE = torch.device("meta")
X = torch.randn(3, 1, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def without_float64(monkeypatch):
    assert "mps" in precision.WITHOUT_FLOAT64
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", {APPLE.type})


class AppleTensor(torch.Tensor):
    """A tensor that says it is on an Apple GPU; its numbers are in `held`, on the CPU."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=APPLE
        )

    def __init__(self, held):
        self.held = held

    def tolist(self):
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Moves(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """torch.tensor(numbers, device=...), which is dispatched to nobody."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == APPLE:
            return _wrapped(func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)


@contextmanager
def apple():
    """Tensors may be made on and moved to an Apple GPU."""
    with _Moves(), _Literals():
        yield


def _run(func, args, kwargs):
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [leaf for leaf in leaves if isinstance(leaf, AppleTensor)]
    copies = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    if ours and not copies and any(leaf.ndim and not isinstance(leaf, AppleTensor) for leaf in leaves):
        raise RuntimeError(f"{func}: tensors on two devices")
    device = kwargs.get("device")
    there = bool(ours) if device is None else device.type == APPLE.type
    if device is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    found = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if func._schema.is_mutable and isinstance(args[0], AppleTensor):
        return args[0]
    return tree_map(_wrapped, found) if there else found


def _held(value):
    return value.held if isinstance(value, AppleTensor) else value


def _wrapped(value):
    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype in (torch.float64, torch.complex128):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
    return AppleTensor(value)


def on_apple(value):
    """Tensors, and the tensors of modules, on the device."""
    if isinstance(value, nn.Module):
        for module in value.modules():
            for store in (module._parameters, module._buffers):
                for name, tensor in store.items():
                    if tensor is not None:
                        moved = AppleTensor(tensor.detach())
                        store[name] = nn.Parameter(moved, False) if store is module._parameters else moved
        return value
    return AppleTensor(value) if isinstance(value, torch.Tensor) else value


def both(function, *args):
    """The answers on the CPU, and on the device; there brought back."""
    expected = function(*args)
    with apple():
        found = function(*map(on_apple, args))
        return expected, tree_map(_held, found)


def _denoiser(objective, schedule):
    network = lambda x, log_snr, cond: torch.cat([0.3 * x] * objective.outputs, 1)  # noqa: E731
    return Denoiser(network, schedule, objective)


def test_the_stand_in_refuses_float64():
    with apple():
        for move in (
            lambda: on_apple(X).double(),
            lambda: X.double().to(APPLE),
            lambda: torch.zeros(3, dtype=torch.float64, device=APPLE),
        ):
            with pytest.raises(TypeError, match="float64"):
                move()
        with pytest.raises(RuntimeError, match="two devices"):
            on_apple(X) + X
        assert on_apple(X).to("cpu").sum() == X.sum() and X.to(APPLE).device == APPLE


@pytest.mark.parametrize("schedule", [Cosine(), LinearBeta(), VarianceExploding()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("objective", [V(), Epsilon(), X0(SigmoidWeighting()), LearnedVariance(V())])
def test_denoiser(objective, schedule):
    denoiser = _denoiser(objective, schedule)
    t = torch.tensor([0.2, 0.5, 0.9])
    for expected, found in (both(denoiser, X, t), both(denoiser, X, 0.5)):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(2))
    expected, found = both(denoiser.loss, X, noise, t)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sampler", [DDIM(4), build("heun", 5), build("recommended", 8), Adaptive()])
def test_samplers(sampler):
    expected, found = both(lambda x: sampler(_denoiser(V(), Cosine()), x), X)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_wrappers_at_times_of_their_own():
    t = torch.tensor([0.2, 0.5, 0.9])
    denoiser = _denoiser(V(), Cosine())

    def guided(x, t, cond, none):
        return ClassifierFree(Windowed(denoiser, 8), 2.0, none, interval=(-1.0, 1.0))(x, t, cond)

    expected, found = both(guided, X, t, torch.ones(3), torch.zeros(3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_bound():
    denoiser = _denoiser(V(), Cosine())
    grid = bound_grid(denoiser, 4)
    expected, found = both(lambda x: variational_bound(denoiser, x, grid, lambda n: torch.ones_like(x)), X)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_schedule_answers_in_the_dtype_and_on_the_device_of_the_time():
    with apple():
        t = on_apple(torch.tensor([0.1, 0.6]))
        assert Cosine().log_snr(t).device == APPLE and Cosine().log_snr(t).dtype == torch.float32
        assert Cosine().log_snr(t, torch.float64).device.type == "cpu"


def test_running_phase():
    f0 = torch.linspace(80, 300, 4000).repeat(2, 1)
    expected, found = both(lambda f0, before: accumulate_phase(f0, 16000, before), f0, torch.ones(2, 1))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_average_spectrum():
    spectrum = AverageSpectrum([0.0, -20.0, -60.0], 16000)
    for filtered in (spectrum.whiten, spectrum.color):
        expected, found = both(filtered, X)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_harmonic_source(monkeypatch):
    spec = next(iter(PRESETS.values()))
    torch.manual_seed(0)
    source = HarmonicExcitation(PitchNetwork(spec.n_mels), spec).eval()
    mel = torch.randn(2, spec.n_mels, 12)

    def stretches(source, mel, frames):
        first, phase = source.stretch(mel, 0, 700, frames=frames)
        return torch.cat([first, source.stretch(mel, 700, 1400, phase, frames)[0]], -1)

    expected, found = both(stretches, source, mel, torch.tensor([12, 9]))
    assert found.dtype == torch.float32
    # On a CPU the network computes in float32.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)
    tracks = source._tracks
    monkeypatch.setattr(source, "_tracks", lambda mel, frames, first: tracks(mel.double(), frames, first))
    exact = stretches(source, mel, torch.tensor([12, 9]))
    torch.testing.assert_close(found, exact, rtol=0, atol=0)
