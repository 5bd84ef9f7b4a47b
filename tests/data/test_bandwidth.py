"""A recording reaches the frequencies that it has sound at, whatever its sample rate says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.band import lowpass
from audiodiff.audio.io import Audio, read, write
from audiodiff.data import bandwidth
from audiodiff.data.bandwidth import reaches, with_bandwidth
from audiodiff.data.manifest import Clip, Manifest

RATE = 44100


def noise(samples: int = RATE) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(0)) * 0.1


@settings(max_examples=20, deadline=None)
@given(cutoff=st.floats(7000, 20000), level=st.floats(1e-3, 1))
def test_a_filtered_recording_ends_at_its_cutoff(cutoff, level):
    limited = level * lowpass(noise()[None], torch.tensor([cutoff]), RATE)[0]
    assert reaches(limited, RATE, 0.85 * cutoff)
    assert not reaches(limited, RATE, cutoff + 1500)


@pytest.mark.parametrize("samples", [1, 100, 5000])
def test_short_and_silent_clips_are_measured(samples):
    assert not reaches(torch.zeros(samples), RATE, 16000)
    click = torch.zeros(samples)
    click[samples // 2] = 1
    assert reaches(torch.nn.functional.pad(click, (2000, 2000)), RATE, 16000)


def test_nothing_reaches_beyond_half_of_the_sample_rate():
    assert reaches(noise(), RATE, 20000) and not reaches(noise(), RATE, 22100)


def test_files_that_their_sample_rate_rules_out_are_not_read(tmp_path, monkeypatch):
    rates = {"high": RATE, "low": 16000}
    for name, rate in rates.items():
        write(tmp_path / f"{name}.wav", Audio(noise(rate), rate))
    clips = tuple(Clip(f"noise/{name}", f"{name}.wav", 1.0, rate) for name, rate in rates.items())
    opened = []
    monkeypatch.setattr(bandwidth, "read", lambda path: opened.append(path.name) or read(path))
    assert [clip.id for clip in with_bandwidth(Manifest(clips, tmp_path), 16000).clips] == ["noise/high"]
    assert opened == ["high.wav"]
