"""Restoration of files: bit-identical where samples are known, resumed, one line for what cannot be restored."""

import json

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.io import Audio, read, write
from audiodiff.cli import build as application
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.pipelines.restorer import Restorer
from audiodiff.rendering.inputs import find_inputs
from audiodiff.rendering.options import WriteOptions
from audiodiff.rendering.restoration import restore


@pytest.fixture(scope="module")
def folder(make_restorer, tmp_path_factory):
    path = tmp_path_factory.mktemp("restorer") / "model"
    make_restorer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def restorer(folder):
    return Restorer.from_pretrained(folder)


@pytest.fixture
def inputs(tmp_path, recording):
    for name, rate, channels in (("a", 16000, 1), ("sub/b", 11025, 2)):
        samples = torch.stack([recording(3000, rate, seed).samples for seed in range(channels)])
        write(tmp_path / "in" / f"{name}.wav", Audio(samples.clamp(-0.1, 0.1), rate))
    return tmp_path / "in"


def run(restorer, inputs, out, **options):
    lines: list[str] = []
    sources = find_inputs([inputs], out, lambda error: lines.append(str(error)))
    wanted, files = RestorationOptions(**options), WriteOptions()
    return restore(restorer, sources, out, wanted, lambda error: lines.append(str(error)), files, quiet=True), lines


def test_files_are_those_of_the_pipeline_at_their_own_rate(restorer, inputs, tmp_path):
    outcome, lines = run(restorer, inputs, tmp_path / "out", declip=True, fill=("0.1:0.12",), seed=3)
    assert (outcome.written, outcome.failed, lines) == (2, 0, [])
    original = read(inputs / "sub" / "b.wav", channels=2)
    expected = restorer.restore(original, declip=True, fill=["0.1:0.12"], clip_seeds=[clip_seed(3, "sub/b")]).samples
    written, rate = soundfile.read(tmp_path / "out" / "sub" / "b.wav", always_2d=True, dtype="int16")
    before, _ = soundfile.read(inputs / "sub" / "b.wav", always_2d=True, dtype="int16")
    assert rate == 11025 and written.shape == before.shape
    np.testing.assert_allclose(written.T / 32768, expected.clamp(-1, 1), atol=1 / 32768)
    known = np.abs(before) < 3276
    known[round(0.1 * rate) : round(0.12 * rate)] = False
    assert known.any() and not known.all() and (written[known] == before[known]).all()
    sidecar = json.loads((tmp_path / "out" / "sub" / "b.wav.json").read_text())
    assert (sidecar["sidecar"], sidecar["sample_rate"], sidecar["steps"]) == ("audiodiff restore", 11025, 1)
    assert (sidecar["declip"], sidecar["fill"], sidecar["denoise"]) == (True, ["0.1:0.12"], False)
    outcome, _ = run(restorer, inputs, tmp_path / "out", declip=True, fill=("0.1:0.12",), seed=3)
    assert (outcome.written, outcome.skipped) == (0, 2)
    with pytest.raises(UserError, match="another denoise"):
        run(restorer, inputs, tmp_path / "out", declip=True, fill=("0.1:0.12",), denoise=True, seed=3)


def test_peaks_above_full_scale_attenuate_the_file(restorer, tmp_path):
    tone = 3 * torch.sin(torch.arange(4000) / 30)
    write(tmp_path / "in" / "loud.wav", Audio(tone.clamp(-1, 1 - 2.0**-15), 16000))
    with pytest.warns(
        UserWarning, match=r"loud.wav: restored peaks exceed full scale, the output is [0-9.]+ dB softer"
    ):
        run(restorer, tmp_path / "in", tmp_path / "out", declip=True)
    gain = json.loads((tmp_path / "out" / "loud.wav.json").read_text())["gain"]
    (before, _), (after, _) = (soundfile.read(tmp_path / folder / "loud.wav") for folder in ("in", "out"))
    known = np.abs(before) < 0.999
    assert 0 < gain < 1 and np.abs(after[known] - gain * before[known]).max() <= 0.51 / 32768


def test_what_cannot_be_restored_is_one_line_and_the_others_are(restorer, inputs, tmp_path):
    write(inputs / "fine.wav", Audio(torch.randn(4000) / 9, 16000))
    write(inputs / "silent.wav", Audio(torch.zeros(4000), 8000))
    write(inputs / "short.wav", Audio(torch.ones(20) / 2, 8000))
    soundfile.write(inputs / "broken.wav", np.array([0.1, np.nan, 0.1] * 900, np.float32), 8000, "FLOAT")
    (inputs / "text.wav").write_text("no audio")
    outcome, lines = run(restorer, inputs, tmp_path / "out", declip=True)
    assert outcome.written == 2 and len(lines) == 5
    words = {"fine": "no clipping", "silent": "is silent", "short": "holds 20", "broken": "NaN", "text": "is not"}
    for name, word in words.items():
        (line,) = (line for line in lines if f"{name}." in line)
        assert word in line and "\n" not in line and line.startswith(str(inputs))


def test_the_command(folder, inputs, tmp_path, capsys):
    words = ["restore", str(inputs), "--model", str(folder), "--out", str(tmp_path / "out"), "--device", "cpu"]
    application()([*words, "--denoise", "--fill", "0.1:0.11", "--fill", "0.15:", "--declip"], standalone_mode=False)
    assert "2 restored, 0 skipped" in capsys.readouterr().out
    assert soundfile.info(tmp_path / "out" / "sub" / "b.wav").samplerate == 11025
    with pytest.raises(UserError, match=r"restore: nothing to do; add --declip"):
        application()(words, standalone_mode=False)
