"""What the numbers show is asked of speech-like signals here, and of recordings where they are prepared."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import read
from audiodiff.audio.mel import PRESETS, MelSpectrogram
from audiodiff.audio.mel.convention import CONVENTIONS, Scaling
from audiodiff.audio.mel.doctor import detect_floor, diagnose, guesses, scaling_name
from audiodiff.audio.mel.texture import filterbank_theory
from audiodiff.errors import UserError

DATA = Path(__file__).parents[3] / "data" / "asterisk-en"
# What leaves no mark, so that conventions that differ in nothing else must tie.
TIED = {"hifigan_22k": {"tacotron2_22k"}, "tacotron2_22k": {"hifigan_22k"}}


def stored(name: str, waveform: torch.Tensor) -> np.ndarray:
    convention = CONVENTIONS[name]
    return convention.scaling.apply(MelSpectrogram(convention.spec).double()(waveform.double())).numpy()


@lru_cache
def colored(sample_rate: int, seed: int, silence: bool = True) -> torch.Tensor:
    """Two seconds of noise with the spectrum, level and syllables of speech, then digital silence."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2 * sample_rate, generator=generator, dtype=torch.float64)
    hertz = torch.fft.rfftfreq(len(noise), 1 / sample_rate)
    gain = (hertz / 100).clamp(0, 1) / (1 + (hertz / 500) ** 2) ** 0.75
    voice = torch.fft.irfft(torch.fft.rfft(noise) * gain, n=len(noise))
    time = torch.arange(len(noise)) / sample_rate
    swell = 0.01 + torch.sin(torch.pi * 3 * time).abs() ** 3
    voice = 0.1 * voice / voice.std() * swell
    return torch.cat([voice, torch.zeros(sample_rate // 4)]) if silence else voice


@lru_cache
def recordings() -> list[Path]:
    if not (DATA / "manifest.jsonl").is_file():
        pytest.skip("data/asterisk-en is not prepared")
    clips = [json.loads(line) for line in (DATA / "manifest.jsonl").read_text().splitlines()[1:]]
    return [DATA / clip["path"] for clip in clips if 2 < clip["seconds"] < 5 and clip["split"] == "test"][:3]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 9),
    bands=st.sampled_from([64, 80, 100]),
    sample_rate=st.sampled_from([16000, 22050, 24000]),
    power=st.sampled_from([1, 2]),
    base=st.sampled_from(["e", "10", "db"]),
    decade=st.integers(-10, -5),
    kind=st.sampled_from([("slaney", "slaney"), ("htk", None)]),
    turned=st.booleans(),
)
def test_random_specs(seed, bands, sample_rate, power, base, decade, kind, turned):
    """With silence in it: layout, scaling, base and floor are found; the power is never found wrong."""
    changes = {"sample_rate": sample_rate, "n_mels": bands, "f_max": sample_rate / 2, "power": power}
    changes |= {"log_base": base, "log_floor": 10.0**decade, "mel_scale": kind[0], "norm": kind[1]}
    spec = replace(PRESETS["speech_16k"], **changes)
    mel = MelSpectrogram(spec).double()(colored(sample_rate, seed)).numpy()
    fields = diagnose(mel.T if turned else mel[None]).fields
    assert (fields["layout"].value == "frames x bands") == turned
    assert fields["n_mels"].value == bands
    assert (fields["scaling"].value, fields["log_base"].value) == ("none", base)
    assert fields["log_base"].state == "found"
    if base != "db":
        assert fields["power"].value == power and fields["power"].state != "unknown"
        assert fields["log_floor"].value == pytest.approx(10.0**decade, rel=0.01)
    else:  # 20 log10 of magnitudes is 10 log10 of powers
        assert fields["power"].state != "found" or fields["power"].value == power


@pytest.mark.parametrize("name", CONVENTIONS)
def test_squeezed_numbers_are_recognized(name):
    convention = CONVENTIONS[name]
    diagnosis = diagnose(stored(name, colored(convention.spec.sample_rate, 0)))
    fields = diagnosis.fields
    best, truth = diagnosis.ranking[0].guess.scaling, convention.scaling
    assert (best.gain, best.low, best.high) == (truth.gain, truth.low, truth.high)
    assert fields["log_base"].value == convention.spec.log_base
    assert fields["power"].value == convention.spec.power
    if best == convention.scaling and best.dynamic_range is None:
        assert fields["log_floor"].value == pytest.approx(convention.spec.log_floor, rel=0.01)


@pytest.mark.slow
def test_recordings_in_every_convention():
    """Of the 51 mels most are named, and no field is found wrong."""
    right = total = 0
    for path in recordings():
        for name, convention in CONVENTIONS.items():
            samples = read(path, convention.spec.sample_rate).samples.reshape(-1)
            diagnosis = diagnose(stored(name, samples))
            total += 1
            best = diagnosis.ranking[0].names
            right += name in best
            if name in best:
                assert set(best) - {name} <= TIED.get(name, set()) | {"vocos_24k", "f5_24k"}
            truth = convention.spec.to_dict() | {"scaling": scaling_name(convention.scaling)}
            for field in ("scaling", "log_base", "power"):
                evidence = diagnosis.fields[field]
                assert evidence.state != "found" or evidence.value == truth[field], (path.name, name, field)
    assert right >= 0.85 * total


def test_conventions_that_leave_the_same_mark_are_tied():
    diagnosis = diagnose(stored("hifigan_22k", colored(22050, 1)))
    together = next(rank for rank in diagnosis.ranking if "hifigan_22k" in rank.names)
    assert set(together.names) == {"hifigan_22k", "tacotron2_22k"}
    assert diagnosis.fields["center"].state == "unknown" or together is not diagnosis.ranking[0]


def test_a_floor_that_is_not_reached_is_not_claimed():
    waveform = colored(24000, 2, silence=False)
    assert detect_floor(stored("vocos_24k", waveform)) is None
    fields = diagnose(stored("vocos_24k", waveform)).fields
    assert fields["log_floor"].state != "found"


def test_theory_of_the_texture_is_that_of_white_noise():
    """The foretold deviation of second differences of log-bands, and their correlation, against noise."""
    for spec in (PRESETS["speech_16k"], replace(PRESETS["vocos_24k"], power=2, log_floor=1e-20)):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(60 * spec.sample_rate, generator=generator, dtype=torch.float64)
        second = np.diff(MelSpectrogram(spec).double()(noise).numpy(), 2, axis=0) / -2
        theory = filterbank_theory(spec)
        wide = theory.centers[1:-1] > 3000  # the logarithm is linear enough where a band holds many bins
        np.testing.assert_allclose(second.std(1)[wide], theory.deviation[wide], rtol=0.12)
        a, b = second[:-1] - second[:-1].mean(1, keepdims=True), second[1:] - second[1:].mean(1, keepdims=True)
        measured = (a * b).mean(1) / (a.std(1) * b.std(1))
        np.testing.assert_allclose(measured[wide[1:]], theory.next[wide[1:]], atol=0.06)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_scalings_are_undone(name):
    convention = CONVENTIONS[name]
    mel = MelSpectrogram(convention.spec).double()(colored(convention.spec.sample_rate, 0, silence=False).double())
    numbers = convention.scaling.apply(mel)
    back = convention.scaling.undo(numbers)
    back = back + (mel.max() if convention.scaling.shift is None else 0)
    candidates = (numbers > numbers.min()) & (numbers < convention.scaling.high)
    torch.testing.assert_close(back[candidates], mel[candidates])


def test_diffwave_as_torchaudio_makes_it():
    """The four lines of its preprocessing, written plainly, are the convention in our table."""
    transforms = pytest.importorskip("torchaudio.transforms")
    arguments = {"win_length": 1024, "hop_length": 256, "n_fft": 1024, "f_min": 20.0, "f_max": 11025.0, "n_mels": 80}
    theirs = transforms.MelSpectrogram(22050, **arguments, power=1.0, normalized=True).double()
    waveform = colored(22050, 3).double()
    expected = ((20 * theirs(waveform).clamp(min=1e-5).log10() - 20 + 100) / 100).clamp(0, 1)
    np.testing.assert_allclose(stored("diffwave_22k", waveform), expected.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (np.zeros(80), "has shape 80"),
        (np.zeros((2, 80, 40)), "has shape 2 x 80 x 40"),
        (np.zeros((80, 0)), "16 frames or more"),
        (np.arange(240.0).reshape(80, 3), "3 frames"),
        (np.zeros((80, 40)), "constant"),
        (np.full((80, 40), np.nan), "NaN"),
    ],
)
def test_invalid_mels_are_refused_in_one_line(array, line):
    with pytest.raises(UserError, match=line) as error:
        diagnose(array)
    assert "\n" not in str(error.value)


def test_numbers_of_an_unknown_kind_are_reported():
    mel = 1000 + 5 * np.random.default_rng(0).standard_normal((80, 60))
    diagnosis = diagnose(mel)
    best = diagnosis.ranking[0] if diagnosis.ranking else None
    assert best is None or "off" in best.reason


def test_every_published_convention_is_among_the_guesses():
    for name, convention in CONVENTIONS.items():
        assert name in {guess.name for guess in guesses(convention.spec.n_mels)}
        assert convention.source
    assert Scaling() in {guess.scaling for guess in guesses(80)}
