"""Names that `audiodiff.diffusion` exports, and denoisers that know nothing of the package."""

import subprocess
import sys

import pytest
import torch

import audiodiff.diffusion
from audiodiff.diffusion import (
    PRESETS,
    ClassifierFree,
    Cosine,
    SDEdit,
    StoredGrid,
    VariancePreserving,
    Windowed,
    grids,
    guidance,
    likelihood,
    samplers,
    schedules,
)


class Foreign:
    """The exact denoiser of data of variance 1/4 about the condition, in six lines."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, x_t, t, cond=None):
        level, mean = self.schedule.level(t), 0.0 if cond is None else cond
        gain = level.alpha * 0.25 / (level.alpha**2 * 0.25 + level.sigma**2)
        return mean + gain * (x_t - level.alpha * mean)


@pytest.mark.parametrize("module", [audiodiff.diffusion, schedules, grids, samplers, guidance, likelihood])
def test_public_names_exist(module):
    assert (
        len(set(module.__all__))
        == len(module.__all__)
        == len([name for name in module.__all__ if hasattr(module, name)])
    )
    assert set(vars(module)) >= set(module.__all__)


def test_the_package_has_the_names_of_its_sub_packages():
    names = {name for module in (schedules, grids, samplers, guidance, likelihood) for name in module.__all__}
    assert names - {"NAMES"} <= set(audiodiff.diffusion.__all__)


def test_import_is_cheap():
    code = "import sys, audiodiff.diffusion; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"scipy", "torchaudio", "librosa", "lightning", "torch._dynamo"} & set(modules)


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("ddpm_learned", "consistency")])
def test_a_foreign_denoiser_is_sampled(name):
    x1 = torch.randn(4, 1, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = lambda step: torch.randn(x1.shape, generator=torch.Generator().manual_seed(step + 1))  # noqa: E731
    x0 = samplers.presets.build(name, 20)(Foreign(Cosine()), x1, noise=noise)
    assert x0.std() == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "heun", "dpm_2s", "v_3m_pc", "ddpm"])
def test_a_foreign_denoiser_is_guided_windowed_and_restarted(name):
    x1 = torch.randn(2, 1, 600, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = lambda step: torch.randn(x1.shape, generator=torch.Generator().manual_seed(step + 1))  # noqa: E731
    cond = torch.full((2, 1, 1), 3.0, dtype=torch.float64)
    guided = ClassifierFree(Foreign(Cosine()), 1.5, torch.zeros_like)
    sampler = samplers.presets.build(name, 20)
    assert float(sampler(guided, x1, cond, noise).mean()) == pytest.approx(4.5, rel=0.1)
    assert float(sampler(Windowed(guided, 128), x1, cond, noise).mean()) == pytest.approx(4.5, rel=0.1)
    late = SDEdit(Windowed(guided, 128), 0.5)
    restarted = sampler(late, late.add_noise(torch.full_like(x1, 4.5), x1), cond, noise)
    assert float(restarted.mean()) == pytest.approx(4.5, rel=0.1)


def test_a_foreign_schedule_needs_two_functions():
    class Linear(VariancePreserving):
        def _log_snr(self, t):
            return 20 - 30 * t

        def _t_from_log_snr(self, log_snr):
            return (20 - log_snr) / 30

    x0 = samplers.recommended(20)(Foreign(Linear()), torch.randn(1, 1, 4000, dtype=torch.float64))
    assert x0.std() == pytest.approx(0.5, rel=0.2)


def test_a_stored_grid_fits_a_foreign_denoiser():
    sampler = StoredGrid("ddim", 2, [1.0, 0.5, 0.0]).build()
    assert sampler(Foreign(Cosine()), torch.ones(1, 1, 3)).shape == (1, 1, 3)
