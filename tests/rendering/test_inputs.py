"""From what a user names to clips, their names, ids and mels."""

import json
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

import librosa
import numpy as np
import pytest
import torch

from audiodiff.audio.io import resample, write
from audiodiff.audio.mel import PRESETS, MelSpectrogram
from audiodiff.audio.mel.file import save_mel, spec_path
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.rendering.inputs import RenderInput, find_inputs

SPEC = PRESETS["speech_16k"]


@pytest.fixture
def tree(tmp_path, recording):
    """Recordings and mels in folders, and things that are neither."""
    root = tmp_path / "in"
    for name in ("b.wav", "a/b.flac", "a/c d.WAV", ".hidden/x.wav", "a/.d.1.tmp.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name, recording(600), "wav" if name.lower().endswith("wav") else None)
    save_mel(root / "a" / "deep" / "m.npy", torch.zeros(80, 3), SPEC)
    save_mel(root / "n.safetensors", torch.zeros(80, 4), SPEC)
    (root / "notes.txt").write_text("not audio")
    return root


def names(sources) -> list[str]:
    return [str(source.name) for source in sources]


def collect(inputs, out):
    """Sources and the lines that were reported."""
    lines = []
    sources = find_inputs(inputs, out, lambda error: lines.append(str(error)))
    assert not any("\n" in line for line in lines)
    return sources, lines


def test_folders_are_searched_to_the_bottom_and_keep_their_folders(tree, tmp_path):
    sources, lines = collect([tree], tmp_path / "out")
    assert names(sources) == ["a/b", "a/c d", "a/deep/m", "b", "n"]
    assert [source.id for source in sources] == names(sources)
    assert lines == []


def test_names_come_from_the_folder_that_was_given(tree, tmp_path):
    sources, _ = collect([tree / "a", tree / "n.safetensors"], tmp_path / "out")
    assert names(sources) == ["b", "c d", "deep/m", "n"]


def test_order_and_repetition_do_not_matter(tree, tmp_path):
    forth, _ = collect([tree / "a", tree / "n.safetensors", tree / "n.safetensors"], tmp_path / "out")
    back, lines = collect([tree / "n.safetensors", tree / "a", f"{tree}/../in/a"], tmp_path / "out")
    assert [(source.id, source.name) for source in forth] == [(source.id, source.name) for source in back]
    assert lines == []


def test_of_clips_with_one_name_none_is_rendered(tree, tmp_path):
    sources, lines = collect([tree, tree / "a" / "b.flac"], tmp_path / "out")
    assert names(sources) == ["a/b", "a/c d", "a/deep/m", "n"]
    assert len(lines) == 1 and "a/b.flac and " in lines[0] and "would both be rendered to b" in lines[0]


def test_what_lies_below_the_output_folder_is_no_input(tree, recording):
    write(tree / "out" / "b.wav", recording(100))
    assert names(collect([tree], tree / "out")[0]) == ["a/b", "a/c d", "a/deep/m", "b", "n"]
    sources, lines = collect([tree], tree)
    assert sources == [] and "choose another --out" in lines[0]


def test_inputs_that_are_none_are_reported_and_the_others_found(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jsonl").write_text("not json\n")
    bad = [tmp_path / "nowhere", tree / "notes.txt", tmp_path / "empty", tmp_path / "broken.jsonl"]
    sources, lines = collect([*bad, tree / "b.wav"], tmp_path / "out")
    assert names(sources) == ["b"]
    assert len(lines) == 4 and all(line.startswith(str(path)) for line, path in zip(lines, bad, strict=True))


def test_a_manifest_gives_ids_and_its_paths_stay_below_the_output(tree, tmp_path):
    clips = (
        Clip("corpus/1", "a/b.flac", 0.1, 16000),
        Clip("corpus/2", "../in/b.wav", 0.1, 16000),
        Clip("corpus/3", str(tree / "a" / "c d.WAV"), 0.1, 16000),
        Clip("corpus/4", "..", 0.1, 16000),
    )
    file = Manifest(clips, tree).save()
    sources, lines = collect([file], tmp_path / "out")
    found = {source.id: source for source in sources}
    assert found["corpus/1"].name == PurePosixPath("a/b")
    assert found["corpus/2"].name == PurePosixPath("in/b")
    assert found["corpus/2"].path.resolve() == tree / "b.wav"
    assert found["corpus/3"].path == tree / "a" / "c d.WAV"
    assert not any(source.name.is_absolute() or ".." in source.name.parts for source in sources)
    assert lines == []
    with pytest.raises(UserError, match="cannot be read"):
        found["corpus/4"].digest()


def test_the_hash_covers_everything_that_decides_the_mel(tree):
    mel = RenderInput(tree / "a" / "deep" / "m.npy", "m", PurePosixPath("m"))
    before = mel.digest()
    assert before == mel.digest() != mel.digest(SPEC)
    beside = spec_path(mel.path)
    beside.write_text(beside.read_text().replace('"f_min": 0.0', '"f_min": 1.0'))
    assert mel.digest() != before
    sound = RenderInput(tree / "b.wav", "b", PurePosixPath("b"))
    before = sound.digest()
    assert sound.digest(SPEC) == before
    shutil.copy(tree / "n.safetensors", sound.path)
    assert sound.digest() != before


def save_bare(path: Path, mel: np.ndarray, spec) -> RenderInput:
    np.save(path, mel.astype(np.float32))
    spec_path(path).write_text(json.dumps(spec.to_dict()))
    return RenderInput(path, path.stem, PurePosixPath(path.stem))


def librosa_mel(samples, spec):
    """As librosa's documentation makes a mel of magnitudes."""
    mel = librosa.feature.melspectrogram(
        y=samples.numpy(),
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        fmin=spec.f_min,
        fmax=spec.f_max,
        power=1.0,
        pad_mode="reflect",
    )
    return np.log(np.maximum(mel, 1e-5))


def hifigan_mel(samples, spec):
    """As HiFi-GAN's data loader: mirrored by (n_fft - hop) / 2, no centring, 1e-9 under the root."""
    pad = (spec.n_fft - spec.hop_length) // 2
    padded = torch.nn.functional.pad(samples[None, None], (pad, pad), mode="reflect")[0, 0]
    window = torch.hann_window(spec.win_length)
    stft = torch.stft(padded, spec.n_fft, spec.hop_length, spec.win_length, window, center=False, return_complex=True)
    magnitude = torch.sqrt(torch.view_as_real(stft).pow(2).sum(-1) + 1e-9)
    bank = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    return torch.log(torch.clamp(torch.from_numpy(bank) @ magnitude, min=1e-5)).numpy()


def tacotron_mel(samples, spec):
    """As Tacotron 2's layers: the transform as a convolution with a windowed Fourier basis, mirrored by n_fft / 2."""
    basis = np.fft.fft(np.eye(spec.n_fft))[: spec.n_fft // 2 + 1]
    basis = np.vstack([basis.real, basis.imag]) * librosa.filters.get_window("hann", spec.win_length)
    padded = torch.nn.functional.pad(samples[None, None], (spec.n_fft // 2,) * 2, mode="reflect")
    spectrum = torch.nn.functional.conv1d(padded, torch.from_numpy(basis[:, None]).float(), stride=spec.hop_length)
    real, imaginary = spectrum[0].chunk(2)
    magnitude = torch.sqrt(real.square() + imaginary.square())
    bank = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    return torch.log(torch.clamp(torch.from_numpy(bank) @ magnitude, min=1e-5)).numpy()


@pytest.mark.parametrize(
    ("make", "preset"),
    [(librosa_mel, "speech_16k"), (hifigan_mel, "hifigan_22k"), (tacotron_mel, "tacotron2_22k")],
    ids=["librosa", "hifigan", "tacotron2"],
)
def test_mels_made_by_others_are_the_vocoders_own(tiny, recording, tmp_path, make, preset):
    vocoder = Vocoder(tiny(spec=preset))
    samples = recording(20 * 256, vocoder.sample_rate).samples
    source = save_bare(tmp_path / "theirs.npy", make(samples, vocoder.spec), vocoder.spec)
    mel, length = source.load(vocoder)
    ours = vocoder.mel(recording(20 * 256, vocoder.sample_rate))
    assert source.frames(vocoder) == mel.shape[-1] == ours.shape[-1] and length == mel.shape[-1] * 256
    assert (mel - ours).abs().max() < 0.02
    theirs, mine = (vocoder.generate(each, 2).samples for each in (mel, ours))
    assert (theirs - mine).abs().max() < 0.02 * mine.abs().max()


def test_another_logarithm_is_converted(vocoder, recording, tmp_path):
    natural = vocoder.mel(recording(4000))
    decibel = replace(SPEC, log_base="db", log_floor=1e-6)
    source = save_bare(tmp_path / "db.npy", (20 / np.log(10)) * natural.numpy(), decibel)
    assert torch.allclose(source.load(vocoder)[0], natural, atol=1e-4)


def test_another_mel_is_refused_by_the_fields_that_differ(vocoder, tmp_path):
    source = save_bare(tmp_path / "taco.npy", np.zeros((80, 5)), PRESETS["tacotron2_22k"])
    with pytest.raises(UserError, match=r"taco\.npy: .*sample_rate: 22050 != 16000.*--convert-mel") as error:
        source.load(vocoder)
    assert "\n" not in str(error.value)


def test_another_mel_is_converted_where_that_is_allowed(vocoder, recording, tmp_path):
    """Mels of HiFi-GAN's convention, as text-to-speech models predict them."""
    theirs = PRESETS["hifigan_22k"]
    audio = recording(12000)
    saved = MelSpectrogram(theirs)(resample(audio.samples, audio.sample_rate, 22050))
    source = save_bare(tmp_path / "matcha.npy", saved.numpy(), theirs)
    mel, length = source.load(vocoder, approximate=True)
    ours = vocoder.mel(audio)
    frames = min(mel.shape[-1], ours.shape[-1])
    assert abs(mel.shape[-1] - ours.shape[-1]) <= 1 and length == mel.shape[-1] * 256
    assert 8.686 * (mel[:, :frames] - ours[:, :frames]).abs().mean() < 2


def test_a_mel_that_cannot_be_sound_is_refused_before_it_is_converted(vocoder, tmp_path):
    source = save_bare(tmp_path / "loud.npy", np.full((80, 5), 1e6), PRESETS["hifigan_22k"])
    with pytest.raises(UserError, match=r"loud\.npy: .*full-scale"):
        source.load(vocoder, approximate=True)
