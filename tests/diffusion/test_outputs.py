"""What networks and denoisers return: the shape of the state in real numbers, or an error of one line."""

import pytest
import torch

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.editing import Inpainting, SDEdit
from audiodiff.diffusion.guidance.extrapolation import Autoguidance, ClassifierFree
from audiodiff.diffusion.guidance.gradient import ClassifierGuidance
from audiodiff.diffusion.likelihood.bound import bound_grid, variational_bound
from audiodiff.diffusion.likelihood.flow import log_likelihood
from audiodiff.diffusion.noise import step_noise
from audiodiff.diffusion.objective import X0, V
from audiodiff.diffusion.samplers.adaptive import Adaptive
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.samplers.langevin import PredictorCorrector
from audiodiff.diffusion.samplers.presets import NAMES, build
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.diffusion.windowed import Windowed

X = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(1))
WRONG = pytest.mark.parametrize(
    "output, message",
    [
        (lambda x: x[:, 0], r"\(2, 1, 6\), got \(2, 6\)"),
        (lambda x: x.mean((1, 2), keepdim=True), r"got \(2, 1, 1\)"),
        (lambda x: x.mean(), r"got \(\)"),
        (lambda x: torch.cat([x, x], 1), r"got \(2, 2, 6\)"),
        (lambda x: torch.complex(x, x), "got torch.complex64"),
        (lambda x: x.long(), "got torch.int64"),
        (lambda x: 0.0, "got float"),
        (lambda x: (x, None), "got tuple"),
    ],
)


class Foreign:
    """Somebody else's denoiser: nothing but a call and a schedule."""

    schedule = Cosine()

    def __init__(self, output=lambda x: 0.5 * x):
        self.output = output

    def __call__(self, x_t, t, cond=None):
        return self.output(x_t)


def _wrapped(denoiser):
    """What guides, edits or lengthens, around a denoiser."""
    mask = torch.arange(6) < 3
    return {
        "classifier_free": ClassifierFree(denoiser, 2.0, torch.zeros(2)),
        "autoguidance": Autoguidance(denoiser, denoiser, 2.0),
        "classifier": ClassifierGuidance(denoiser, lambda x, t, cond: -x.square().sum((1, 2))),
        "inpainting": Inpainting(denoiser, X, mask, 0.0),
        "fitted_inpainting": Inpainting(denoiser, X, mask),
        "restarted": SDEdit(denoiser, 0.5),
        "windowed": Windowed(denoiser, 4),
    }


@WRONG
@pytest.mark.parametrize("objective", [V, X0])
def test_a_network_that_returns_anything_else_is_refused(objective, output, message):
    denoiser = Denoiser(lambda x, log_snr, cond: output(x), Cosine(), objective())
    for t in (0.5, torch.tensor([0.2, 0.7])):
        with pytest.raises(ValueError, match=f"the network must return .*{message}"):
            denoiser(X, t)
        with pytest.raises(ValueError, match=message):
            denoiser.loss(X, torch.randn_like(X), t)


def test_a_network_without_its_variance_is_refused():
    denoiser = Denoiser(lambda x, log_snr, cond: x, Cosine(), LearnedVariance(V()))
    with pytest.raises(ValueError, match=r"\(2, 2, 6\), got \(2, 1, 6\)"):
        denoiser(X, 0.5)


@WRONG
@pytest.mark.parametrize("sampler", [DDIM(2), PredictorCorrector(DDIM(2)), Adaptive()], ids=["table", "pc", "adaptive"])
def test_samplers_refuse_what_a_denoiser_returns_wrong(sampler, output, message):
    with pytest.raises(ValueError, match=f"the denoiser must return .*{message}"):
        sampler(Foreign(output), X, noise=step_noise([1, 2], 1, 6))


@pytest.mark.parametrize("name", list(_wrapped(Foreign())))
def test_wrappers_refuse_what_would_be_broadcast(name):
    """Added to the state, an output of (B, 1, 1) would be broadcast without notice."""
    with pytest.raises(ValueError, match=r"got \(\d, 1, 1\)"):
        _wrapped(Foreign(lambda x: x.mean((1, 2), keepdim=True)))[name](X, 0.4, torch.ones(2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_state_keeps_its_dtype(dtype):
    seen = []
    DDIM(3)(Foreign(lambda x: (0.5 * x).to(dtype)), X, callback=lambda n, nfe, x, x0: seen.append((x.dtype, x0.dtype)))
    assert seen == [(torch.float32, torch.float32)] * 3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ddpm_learned"])
def test_a_foreign_denoiser_needs_a_call_and_a_schedule(name):
    assert build(name, 6)(Foreign(), X, noise=step_noise([1, 2], 1, 6)).shape == X.shape


def test_wrappers_take_a_foreign_denoiser():
    for wrapper in _wrapped(Foreign()).values():
        assert build("heun", 4)(wrapper, X, torch.ones(2)).shape == X.shape
    assert Adaptive()(Foreign(), X).shape == X.shape


def test_densities_take_a_foreign_denoiser():
    x0 = X.double()
    assert log_likelihood(Foreign(), x0).shape == (2,)
    noise = step_noise([1, 2], 1, 6)
    assert variational_bound(Foreign(), x0, bound_grid(Foreign(), 8), noise).shape == (2, 9)


def test_the_check_compiles_without_a_break():
    denoiser = Denoiser(lambda x, log_snr, cond: 0.5 * x, Cosine(), V())
    compiled = torch.compile(lambda x: denoiser(x, 0.4), backend="eager", fullgraph=True)
    assert torch.allclose(compiled(X), denoiser(X, 0.4))
