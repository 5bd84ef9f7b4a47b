"""The runner of an exported vocoder computes what `Vocoder` does, stage by stage and as a whole."""

import json
import subprocess
import sys
import wave

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_model

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.file import save_mel
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.noise import position_noise
from audiodiff.diffusion.objective import X0, Epsilon
from audiodiff.diffusion.schedules.schedule import VarianceExploding
from audiodiff.export import runner
from audiodiff.models.setting import Setting
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.vocoder import Vocoder

MODELS = {
    "plain": {},
    "standard prior": {"prior": "standard", "consistency": 0},
    "bridge": {"prior": "rough", "bridge": 1.0},
    "bridge of envelopes, powers": {"prior": "rough, mel", "bridge": 0.5, "spec": "vocos_24k"},
    "rough mean": {"prior": "rough"},
    "frames without center": {"spec": "hifigan_22k"},
    "noise at every step": {"sampler": "ddpm", "objective": Epsilon()},
    "several estimates": {"sampler": "dpmpp_2m", "objective": X0()},
    "estimates of v": {"sampler": "v_3m"},
    "several states": {"sampler": "heun", "frontend": "strided"},
    "exploding variance": {"schedule": VarianceExploding()},
}


def mel_of(model, frames, seed=0):
    noise = torch.randn(1, frames * model.mel_spec.hop_length, generator=torch.Generator().manual_seed(seed))
    return model.analysis(0.1 * noise)[0, :, :frames]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**63 - 1), samples=st.integers(1, 40000))
def test_noise_is_that_of_the_package(seed, samples):
    assert np.abs(runner.noise(seed, samples) - position_noise(seed, 1, 0, samples)[0].numpy()).max() < 2e-6


@pytest.mark.parametrize("name", MODELS)
def test_whole_runner_equals_the_vocoder(name, exported):
    model = make_model(**MODELS[name])
    folder = exported(model)
    mel = mel_of(model, 9)  # not a whole number of the network's frames
    vocoder = Vocoder.from_pretrained(folder.parent / "model")
    run = runner.Runner(folder, threads=1)
    for steps in (4, 3):
        expected = vocoder.generate(mel, steps, seed=5).samples
        found = run(mel.numpy(), steps, seed=5)
        assert found.dtype == np.float32
        assert np.abs(found - expected.numpy()).max() < 1e-4 * expected.abs().max()
    assert np.abs(run(mel.numpy(), 4, seed=6) - run(mel.numpy(), 4, seed=5)).max() > 1e-2 * expected.abs().max()


def test_named_settings_are_those_of_the_vocoder(exported):
    own = [Setting("fast", 1, "ddim", 2), Setting("good", 3, "v_3m", 5)]
    folder = exported(make_model(settings=own))
    vocoder, run = Vocoder.from_pretrained(folder.parent / "model"), runner.Runner(folder, threads=1)
    mel = mel_of(vocoder.model, 9)
    for options in ({}, {"setting": "good"}, {"setting": "good", "steps": 4}):
        expected = vocoder.generate(mel, seed=5, **options).samples
        assert np.abs(run(mel.numpy(), seed=5, **options) - expected.numpy()).max() < 1e-4 * expected.abs().max()
    assert Vocoder.from_pretrained(folder, backend="onnx").model.settings == tuple(own)
    card = (folder / "README.md").read_text()
    assert "`fast` (1 step of ddim, mel consistency 2), `good` (3 steps of v_3m, mel consistency 5)" in card
    with pytest.raises(runner.InputError, match=r"setting 'best': .*choose fast or good"):
        run(mel.numpy(), setting="best")


@settings(deadline=None, max_examples=10)
@given(frames=st.integers(1, 40), blocks=st.integers(0, 3), seed=st.integers(0, 9))
def test_excitation_is_that_of_the_conditioner(frames, blocks, seed):
    spec = PRESETS["speech_16k"]
    torch.manual_seed(seed)
    conditioner = HarmonicExcitation(PitchNetwork(spec.n_mels, channels=8, blocks=blocks, bins=11), spec)
    mel = torch.randn(1, spec.n_mels, frames)
    arrays = {f"conditioners.excitation.{name}": value.numpy() for name, value in conditioner.state_dict().items()}
    arrays["pitch_centers"] = conditioner.pitch.centers.numpy()
    values = {**spec.to_dict(), "offset": spec.offset}
    found = runner.excitation(mel[0].numpy(), frames * spec.hop_length, values, arrays)
    exact, single = (conditioner.synthesize(x, frames * spec.hop_length)[0, 0].numpy() for x in (mel.double(), mel))
    largest = max(1.0, np.abs(exact).max())
    assert np.abs(found - exact).max() < 1e-5 * largest
    # Of a mel in float32 the pitch is in float32, here with bins a quarter of an octave apart.
    assert np.abs(found - single).max() < 1e-3 * largest


@pytest.fixture
def folder(exported):
    return exported(make_model())


def test_bad_mels_are_refused_in_one_line(folder):
    run = runner.Runner(folder)
    for mel, message in [
        (np.zeros((3, 80)), r"shape 3x80.*expects 80 bands"),
        (np.zeros((80, 0)), "has no frames"),
        (np.full((80, 2), np.nan), "NaN"),
        (np.full((80, 2), 50.0), "values up to 50"),
        (np.array([["a"] * 80]).T, "expects 80 bands x frames of numbers"),
    ]:
        with pytest.raises(runner.InputError, match=message):
            run(mel)
    with pytest.raises(runner.InputError, match=r"steps 99: not exported; choose among 1, 2"):
        run(np.zeros((80, 2)), steps=99)


def test_other_versions_and_mixed_exports_are_refused(folder):
    config = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps(config | {"version": 1}))
    with pytest.raises(runner.InputError, match="version 1 is not supported"):
        runner.Runner(folder)
    (folder / "export.json").write_text(json.dumps(config))
    (folder / "network.onnx").write_bytes(b"another")
    with pytest.raises(runner.InputError, match="of another export"):
        runner.Runner(folder)
    (folder / "export.json").write_text("[]")
    with pytest.raises(runner.InputError, match="is not that of an export"):
        runner.Runner(folder)


def test_command_writes_audio_and_refuses_a_mel_of_another_spec(folder, tmp_path):
    """In a process of its own; the placeholder's graph is evaluated by ONNX Runtime."""

    def run(mel):
        command = [sys.executable, folder / "run.py", mel, tmp_path / "out.wav", "--threads", "1", "--steps", "1"]
        return subprocess.run(command, capture_output=True, text=True)

    model = make_model()
    save_mel(tmp_path / "mel.npy", mel_of(model, 9), model.mel_spec)
    done = run(tmp_path / "mel.npy")
    assert done.returncode == 0, done.stderr
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert (file.getnframes(), file.getframerate(), file.getsampwidth()) == (9 * 256, 16000, 3)
    save_mel(tmp_path / "other.npy", mel_of(model, 9), PRESETS["tacotron2_22k"])
    done = run(tmp_path / "other.npy")
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/other.npy: has another mel spec: sample_rate: 22050 != 16000; " + (
        "compute it with the model's\n"
    )
    (tmp_path / "text.npy").write_text("no array")
    assert "cannot be read as .npy" in run(tmp_path / "text.npy").stderr
