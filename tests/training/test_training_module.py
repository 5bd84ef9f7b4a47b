"""One training step: even times, and a pure function of weights, batch, seed and draw."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Timer

from audiodiff.diffusion.noise import clip_seed
from audiodiff.training.module import low_discrepancy_times, progress


def times(batch: int, seed: int) -> torch.Tensor:
    return low_discrepancy_times(batch, torch.Generator().manual_seed(seed))


@settings(max_examples=50, deadline=None)
@given(batch=st.integers(1, 64), seed=st.integers(0, 2**31))
def test_times_fall_one_into_each_stratum(batch, seed):
    """Sorted, the times are 1 / B apart: any window of that length, around the circle, holds exactly one."""
    t = times(batch, seed).sort().values
    assert t.shape == (batch,)
    assert t.min() >= 0
    assert t.max() < 1
    gaps = torch.cat([t.diff(), (t[:1] + 1 - t[-1:])])
    torch.testing.assert_close(gaps, torch.full((batch,), 1 / batch), atol=1e-5, rtol=0)
    strata = (t.double() * batch + 1e-4).long()
    assert len(strata.unique()) >= batch - 1  # a time within rounding of a border may stand on either side


def test_times_of_each_clip_are_uniform():
    """Kolmogorov-Smirnov at the 0.1 % level, for the first and the last clip of a batch."""
    draws = torch.stack([times(8, seed) for seed in range(2000)])
    for clip in (0, 7):
        t = draws[:, clip].sort().values
        distance = (t - (torch.arange(2000) + 0.5) / 2000).abs().max()
        assert distance < 1.95 / 2000**0.5


def test_step_is_a_pure_function_of_seed_and_key(make_training, batches):
    module, waveform = make_training(seed=3), batches[0]["waveform"]
    first = module.step(waveform, "draw 0", (0.5, 1.2))
    torch.manual_seed(99)
    again = module.step(waveform, "draw 0", (0.5, 1.2))
    assert torch.equal(first["loss"], again["loss"])
    assert torch.equal(first["t"], again["t"])
    other_key = module.step(waveform, "draw 2", (0.5, 1.2))
    module.seed = 4
    other_seed = module.step(waveform, "draw 0", (0.5, 1.2))
    assert not torch.equal(first["t"], other_key["t"])
    assert not torch.equal(first["t"], other_seed["t"])


def test_untrained_loss_is_that_of_saying_nothing(make_training, batches):
    """A zero network asked for v is wrong by v itself: without the spectral term the loss is the mean of v^2."""
    module = make_training(spectral=0.0)
    waveform = batches[0]["waveform"]
    made = module.step(waveform, "draw 0", (1.0, 1.0))
    generator = torch.Generator().manual_seed(clip_seed(module.seed, "draw 0"))
    torch.rand(2, 1, generator=generator)
    t = low_discrepancy_times(2, generator)
    noise = torch.randn(2, 1, 4096, generator=generator)
    model = module.model
    z = model.prior.whiten(waveform, model.analysis(waveform))[:, None]
    alpha, sigma = (f(t)[:, None, None] for f in (model.schedule.alpha, model.schedule.sigma))
    expected = (alpha * noise - sigma * z).square().mean((1, 2))
    torch.testing.assert_close(made["clip_loss"], expected)
    torch.testing.assert_close(made["loss"], expected.mean())


def test_progress_is_the_bound_that_is_nearer():
    timer = Timer(duration={"seconds": 100})
    timer.time_elapsed = lambda *_: 30.0
    timer.time_remaining = lambda *_: 70.0
    assert progress(SimpleNamespace(max_steps=10, global_step=2, callbacks=[])) == pytest.approx(0.2)
    assert progress(SimpleNamespace(max_steps=10, global_step=2, callbacks=[timer])) == pytest.approx(0.3)
    assert progress(SimpleNamespace(max_steps=10, global_step=5, callbacks=[timer])) == pytest.approx(0.5)
    assert progress(SimpleNamespace(max_steps=-1, global_step=5, callbacks=[timer])) == pytest.approx(0.3)
    assert progress(SimpleNamespace(max_steps=-1, global_step=5, callbacks=[])) == 0
    assert progress(SimpleNamespace(max_steps=10, global_step=12, callbacks=[])) == 1
