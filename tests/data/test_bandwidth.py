"""A recording reaches the frequencies that it has sound at, whatever its sample rate says."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.band import lowpass
from audiodiff.audio.io import Audio, read, write
from audiodiff.data import bandwidth
from audiodiff.data.bandwidth import reaches, with_bandwidth
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError

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
    assert [clip.id for clip in with_bandwidth([Manifest(clips, tmp_path)], 16000)[0].clips] == ["noise/high"]
    assert opened == ["high.wav"]


def test_a_recording_is_read_once_and_again_only_if_it_changes(tmp_path, monkeypatch):
    """By content and frequency; a damaged record is measured anew, and a folder without write access is none."""
    for name in ("one", "two"):
        write(tmp_path / f"{name}.wav", Audio(noise(), RATE))
    clips = tuple(Clip(f"noise/{name}", f"{name}.wav", 1.0, RATE, content=name) for name in ("one", "two"))
    manifest, opened = Manifest(clips, tmp_path), []
    monkeypatch.setattr(bandwidth, "read", lambda path: opened.append(path.name) or read(path))

    def files(frequency: float, manifest: Manifest = manifest) -> list[str]:
        opened.clear()
        assert len(with_bandwidth([manifest], frequency)[0]) == 2
        return list(opened)

    assert files(16000) == ["one.wav", "two.wav"] and files(16000) == []
    assert files(12000) == ["one.wav", "two.wav"] and files(12000) == [] and files(16000) == []
    changed = Manifest((clips[0], replace(clips[1], content="three")), tmp_path)
    assert files(16000, changed) == ["two.wav"] and files(16000) == []
    for damage in ("[", "[]", '{"16000": 1}'):
        (tmp_path / bandwidth.NAME).write_text(damage)
        assert files(16000) == ["one.wav", "two.wav"]
    monkeypatch.setattr(bandwidth, "write_text", refuse)
    assert files(9000) == ["one.wav", "two.wav"] and files(9000) == ["one.wav", "two.wav"]


def refuse(path, text):
    raise UserError(path, "cannot be written", "choose another")


def test_a_clip_without_a_hash_is_read_each_time(tmp_path, monkeypatch):
    write(tmp_path / "one.wav", Audio(noise(), RATE))
    manifest, opened = Manifest((Clip("noise/one", "one.wav", 1.0, RATE),), tmp_path), []
    monkeypatch.setattr(bandwidth, "read", lambda path: opened.append(path.name) or read(path))
    for _ in range(2):
        with_bandwidth([manifest], 16000)
    assert len(opened) == 2


def test_of_several_folders_one_with_such_recordings_is_enough(tmp_path):
    """Each has its own record; none of them with such a recording is an error."""
    for name, rate in (("high", RATE), ("low", 16000)):
        write(tmp_path / name / "one.wav", Audio(noise(rate), rate))
    parts = [
        Manifest((Clip(f"{name}/one", "one.wav", 1.0, rate, content=name),), tmp_path / name)
        for name, rate in (("high", RATE), ("low", 16000))
    ]
    assert [len(one) for one in with_bandwidth(parts, 16000)] == [1, 0]
    assert all((tmp_path / name / bandwidth.NAME).is_file() for name in ("high", "low"))
    with pytest.raises(UserError, match=r"data.min_bandwidth 16000: no training clip reaches it, of 1 clips"):
        with_bandwidth(parts[1:], 16000)
