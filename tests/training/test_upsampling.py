"""Training of upsamplers: what is cut off, what is learned, and what is refused."""

import pytest
import torch

from audiodiff.audio.band import KNOWN, highpass, lowpass
from audiodiff.data.corpora.tones import tone
from audiodiff.errors import UserError
from audiodiff.training.band_limit import BandLimit
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.few_step_upsampling import FewStepUpsamplingTask
from audiodiff.training.tasks.upsampling import UpsamplingTask, check_cutoffs

TASKS = [
    UpsamplingTask(),
    FewStepUpsamplingTask(steps=(2,), mel_weight=1.0),
    FewStepUpsamplingTask(steps=(1,), repulsion=0.0),
]


def clips(count: int = 3, samples: int = 4096) -> torch.Tensor:
    noise = torch.randn(count, samples, generator=torch.Generator().manual_seed(0))
    return torch.stack([tone(k, samples, 16000) for k in range(count)]) + 0.05 * noise


def test_cutoffs_are_common_or_within_bounds_and_nothing_is_left_above():
    waveform = torch.randn(40, 4096, generator=torch.Generator().manual_seed(0))
    limited, cutoff = BandLimit(2000, 7500, 4000, share=0.5, gentle=0.3)(waveform, 16000, BatchRandom(0))
    common = cutoff == 4000
    assert 8 < common.sum() < 32 and cutoff.min() >= 2000 and cutoff.max() <= 7500 and len(cutoff.unique()) > 8
    inner = slice(1500, -1500)  # cutting a crop is a click, which has all frequencies
    above = highpass(limited, (cutoff / KNOWN).clamp(max=7900), 16000)[:, inner]
    assert above.abs().max() < 1e-3
    below = lowpass(waveform - limited, 0.5 * cutoff, 16000)[:, inner]
    assert below.square().mean() < 1e-4 * waveform.square().mean()


def test_no_gentle_slope_leaves_the_band_alone():
    waveform = torch.randn(8, 4096, generator=torch.Generator().manual_seed(0))
    limited, cutoff = BandLimit(gentle=0.0)(waveform, 16000, BatchRandom(0))
    inner = slice(1500, -1500)
    assert lowpass(waveform - limited, 0.8 * cutoff, 16000)[:, inner].abs().max() < 1e-4


@pytest.mark.parametrize("task", TASKS, ids=["denoising", "few steps", "regression"])
def test_a_loss_is_a_function_of_its_arguments_and_reaches_every_weight(task, make_upsampler):
    model = make_upsampler().train()
    first, again = (task.loss(model, {"waveform": clips()}, BatchRandom(3)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = task.loss(model, {"waveform": clips()}, BatchRandom(4))
    assert first["loss"] != other["loss"]
    first["loss"].backward()
    still = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert all("noise_level" in name for name in still)  # behind a layer that is zero at initialization


@pytest.mark.parametrize("task", TASKS, ids=["denoising", "few steps", "regression"])
def test_training_lowers_the_loss(task, make_upsampler):
    model = make_upsampler().train()
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(12):
        loss = task.loss(model, {"waveform": clips()}, BatchRandom(0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0], losses


@pytest.mark.parametrize(
    ("arguments", "name"), [({"lowest": 500}, "lowest"), ({"highest": 8000}, "highest"), ({"common": 9000}, "common")]
)
def test_cutoffs_that_a_model_does_not_take_are_refused(arguments, name, make_upsampler):
    with pytest.raises(UserError, match=rf"task.band_limit.{name}"):
        check_cutoffs(make_upsampler(), BandLimit(**arguments))


def test_the_bounds_are_those_of_the_cutoffs_that_are_drawn():
    assert BandLimit(2000, 7500, 4000).bounds == (2000, 7500)
    assert BandLimit(5000, 7500, 4000, share=0.1).bounds == (4000, 7500)
    assert BandLimit(5000, 7500, 4000, share=0.0).bounds == (5000, 7500)
    assert BandLimit(5000, 7500, 4000, share=1.0).bounds == (4000, 4000)


def test_bounds_that_fall_are_refused():
    with pytest.raises(ValueError, match="7000"):
        BandLimit(7000, 3000)
