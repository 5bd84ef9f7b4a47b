"""The shipped model of music does what its card says."""

import pytest
import torch
from torch import Tensor

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.io import Audio
from audiodiff.audio.loudness import normalize_rms
from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.evaluation import grid_fitting
from audiodiff.metrics.tempo import estimate, octave_error
from audiodiff.models.checkpoint import locate
from audiodiff.pipelines.audio_generator import AudioGenerator

# Of the recordings that it was trained on, at -20 dB: measured on 300 stretches of three seconds.
RECORDINGS = (-5.3, -9.2, -13.2, -17.0, -19.4, -22.4, -27.4, -31.4, -36.3, -40.6, -42.8, -46.1)


@pytest.fixture(scope="module")
def music() -> AudioGenerator:
    return AudioGenerator.from_pretrained("music")


@pytest.fixture(scope="module")
def clips(music) -> Tensor:
    return music.generate(count=6).samples


@pytest.fixture(scope="module")
def untrained() -> Tensor:
    """What the same network makes untrained, in the latents of the trained codec."""
    return AudioGenerator.untrained("music").generate(count=6).samples


@pytest.fixture(scope="module")
def noise(clips) -> Tensor:
    """White noise."""
    return 0.1 * torch.randn(clips.shape, generator=torch.Generator().manual_seed(0))


def color(clips: Tensor) -> float:
    """Mean distance, in dB, of the average spectrum from the recordings'."""
    found = AverageSpectrum.from_signals(normalize_rms(clips, -20), 22050, len(RECORDINGS)).decibels
    return sum(abs(a - b) for a, b in zip(found, RECORDINGS, strict=True)) / len(RECORDINGS)


def flatness(clips: Tensor) -> float:
    """Geometric over arithmetic mean of the power from 43 Hz to 4.3 kHz, in the median: noise 0.5, recordings 0.01."""
    spectra = torch.stft(clips.mean(1), 4096, 1024, window=torch.hann_window(4096), return_complex=True)
    power = spectra.abs().square()[:, 8:800].clamp(min=1e-12)
    return float((power.log().mean(1).exp() / power.mean(1)).median())


def persistence(clips: Tensor) -> float:
    """How much of a moment's spectrum is left 190 ms later: the correlation of its levels, in the median over clips."""
    spectra = torch.stft(clips.mean(1), 4096, 1024, window=torch.hann_window(4096), return_complex=True)
    levels = spectra.abs().square()[:, 8:800].clamp(min=1e-12).log()
    levels = levels - levels.mean(-1, keepdim=True)
    products = levels[..., :-4] * levels[..., 4:]
    return float((products.mean((1, 2)) / levels.square().mean((1, 2))).median())


def test_it_has_the_recordings_color(clips, untrained, noise):
    """The codec alone sees to that: any latents have it."""
    assert max(color(clips), color(untrained)) < 5 < 9 < color(noise)


def test_there_are_tones(clips, untrained, noise):
    """The codec alone sees to that, too."""
    assert max(flatness(clips), flatness(untrained)) < 0.06 < 0.3 < flatness(noise)


def test_tones_last_where_the_network_is_trained(clips, untrained):
    """0.28, and 0.00 of the network at initialization."""
    assert persistence(clips) > 0.2 > 0.1 > abs(persistence(untrained))


@pytest.mark.parametrize(("name", "nearer"), [("music", 0.75), ("drums", 0.85)])
def test_ten_calls_are_near_to_many(name, nearer):
    """On the grid that the model keeps, by the sound of the same seeds; the sampler's own grid is further off."""
    generator = AudioGenerator.from_pretrained(name)
    plain = AudioGenerator(generator.model.with_arguments(grids=[]))
    making = grid_fitting.sample_seeds(8)
    sampler = generator.model.sampler
    limit = making(plain, "recommended", 50)
    kept, own = (
        sum(float(multi_resolution_stft(x[None], y[None])) for x, y in zip(making(by, sampler, 10), limit, strict=True))
        for by in (generator, plain)
    )
    assert kept < nearer * own, (kept, own)


def test_levels_and_length(music, clips):
    assert clips.shape == (6, 2, music.model.samples) and music.sample_rate == 22050
    torch.testing.assert_close(clips.abs().amax((1, 2)), torch.full((6,), 0.9))
    assert clips.mean(-1).abs().max() < 1e-4


def test_a_batch_is_its_singles_at_any_length(music):
    together = music.generate(clip_seeds=[1, 2], seconds=14.0, steps=2).samples
    assert together.shape == (2, 2, 14 * 22050)
    alone = music.generate(clip_seeds=[2], seconds=14.0, steps=2).samples[0]
    torch.testing.assert_close(alone, together[1], rtol=0, atol=1e-3)


def test_the_tempo_that_is_asked_for_is_the_tempo_that_is_measured(music):
    tempi = (75.0, 90.0, 105.0, 120.0, 135.0, 150.0)
    found = []
    for seed, wanted in enumerate(tempi):
        for conditions in ({"tempo": wanted}, {}):
            clip = music.generate(clip_seeds=[seed], **conditions).samples[0]
            found.append(octave_error(estimate(clip.numpy(), music.sample_rate), wanted) == 1)
    assert sum(found[::2]) >= 5 and sum(found[1::2]) <= 2


@pytest.mark.parametrize("name", ["drums", "music"])
def test_it_is_small(name):
    folder = locate(name)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8 * 2**20
    assert "## Known limitations" in (folder / "README.md").read_text()


@pytest.mark.parametrize("steps", [10, 20])
def test_a_clip_goes_on_at_its_level(music, clips, steps):
    """Latents are much alike from frame to frame: what pulls the rest towards the known ones must not run away."""
    given = Audio(clips[0, :, : 6 * 22050], 22050)
    whole = music.generate(seed=3, continue_from=given, seconds=4.0, steps=steps).samples
    assert whole.shape == (2, 10 * 22050)
    before, after = (part.square().mean().sqrt() for part in (given.samples[:, -3 * 22050 :], whole[:, 6 * 22050 :]))
    assert 0.3 < after / before < 3
