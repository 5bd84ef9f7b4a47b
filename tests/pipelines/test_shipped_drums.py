"""The shipped model of drums does what its card says."""

import pytest
import torch

from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.seeds import clip_seeds


@pytest.fixture(scope="module")
def drums() -> AudioGenerator:
    return AudioGenerator.from_pretrained("drums")


def centroid(clips: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Hz, of the power spectra of clips (B, C, T)."""
    power = torch.fft.rfft(clips).abs().square().mean(1)
    hertz = torch.fft.rfftfreq(clips.shape[-1], 1 / sample_rate)
    return (power * hertz).sum(-1) / power.sum(-1)


def test_labels_mean_what_they_say(drums):
    kicks, hats = (
        drums.generate(count=8, steps=10, labels=[label], guidance_scale=2.0).samples for label in ("kick", "hat")
    )
    assert centroid(kicks, drums.sample_rate).median() < 300 < 3000 < centroid(hats, drums.sample_rate).median()


def test_strokes_begin_at_once_and_decay(drums):
    clips = drums.generate(seed=1, count=8, steps=10).samples
    assert clips.shape == (8, 1, 22050)
    quarters = clips.square().mean(1).unflatten(-1, (-1, 22050 // 10)).mean(-1)
    assert (quarters[:, :3].sum(1) > 0.8 * quarters.sum(1)).float().mean() > 0.7


def test_levels(drums):
    clips = drums.generate(seed=2, count=4, steps=10).samples
    torch.testing.assert_close(clips.abs().amax((1, 2)), torch.full((4,), 0.9))
    assert clips.mean(-1).abs().max() < 1e-5


def test_a_batch_is_its_singles(drums):
    seeds = clip_seeds(1, 64)
    together = torch.cat([drums.generate(clip_seeds=seeds[k : k + 32], steps=2).samples for k in (0, 32)])
    for number in (0, 31, 63):
        alone = drums.generate(clip_seeds=[seeds[number]], steps=2).samples[0]
        torch.testing.assert_close(alone, together[number], rtol=0, atol=1e-4)
    assert drums.model.default_steps == 10 and drums.model.validated == (10, 200)
