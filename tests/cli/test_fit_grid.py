"""`audiodiff fit-grid` from end to end, and what other verbs say of its grids."""

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.evaluation import grid_fitting
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import Codec
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder

SPEC = PRESETS["speech_16k"]


@pytest.fixture(autouse=True)
def short_reference(monkeypatch):
    monkeypatch.setattr(grid_fitting, "REFERENCE_STEPS", 12)


@pytest.fixture
def model(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(StftFrontend(), 80, 256, channels=[16], blocks=[1], embedding=16)
        torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    made = VocoderModel(
        network, Cosine(), V(), SPEC, MelPrior(SPEC), settings=[Setting(sampler="recommended", consistency=0)]
    )
    made.save_pretrained(tmp_path / "model", training={"steps": 3}, card="# A card\n")
    return tmp_path / "model"


@pytest.fixture
def data(tmp_path):
    root, clips = tmp_path / "data", []
    root.mkdir()
    t = np.arange(8000) / 16000
    for name, split in (("a", "train"), ("b", "validation")):
        soundfile.write(root / f"{name}.wav", 0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t), 16000)
        clips.append(Clip(name, f"{name}.wav", 0.5, 16000, split=split))
    Manifest(tuple(clips), root).save()
    return root


def test_fits_checks_and_stores(command, model, data, tmp_path):
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    fitted = tmp_path / "fitted"
    status, out, err = command("fit-grid", 4, 6, 6, "--model", model, "--data", data, "--out", fitted, "--check", 1)
    assert (status, err) == (0, []) and out[-1] == str(fitted) and len(out) == 3
    assert out[0].startswith("v_3m, 4 steps: error on the spectrum ") and "distance to many steps" in out[0]
    assert out[1].startswith("v_2m_pc, 6 steps: ") and out[1].endswith(("; stored", "; not stored"))
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before
    assert (fitted / "README.md").read_text() == "# A card\n"
    vocoder = Vocoder.from_pretrained(fitted)
    assert vocoder.training == {"steps": 3} and vocoder.model.validated == (4, 6)
    assert len(vocoder.model.grids) == sum(line.endswith("; stored") for line in out)


def test_in_place_without_a_check(command, model, data):
    weights = (model / "model.safetensors").read_bytes()
    words = ["fit-grid", 6, "--model", model, "--data", data, "--sampler", "v_2m_pc", "--check", 0]
    status, out, err = command(*words)
    assert (status, err) == (0, []) and out[0].endswith("; stored") and "distance" not in out[0]
    assert (model / "model.safetensors").read_bytes() == weights
    found = VocoderModel.from_pretrained(model)
    assert found.validated is None and [(grid.sampler, grid.steps) for grid in found.grids] == [("v_2m_pc", 6)]
    told = command("info", model)[1]
    times = " ".join(f"{t:.4g}" for t in found.grids[0].times)
    assert f"grid          v_2m_pc, 6 steps: {times}" in told
    assert "validated     None" in told and not any(line.startswith("grids") for line in told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sampler", "magic"], "sampler 'magic'"),
        (["--sampler", "ddpm"], "sampler ddpm"),
        (["--sampler", "v_4m_pc"], "v_4m_pc needs at least 4"),
        (["--device", "abacus"], "device abacus"),
    ],
)
def test_bad_options_are_one_line(command, model, data, words, said):
    before = (model / "config.json").read_bytes()
    status, out, err = command("fit-grid", 3, "--model", model, "--data", data, "--check", 0, *words)
    assert status == 1 and out == [] and len(err) == 1 and said in err[0]
    assert (model / "config.json").read_bytes() == before


def test_a_model_of_music_keeps_its_grids(command, data, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(StftFrontend(1, n_fft=64, hop_length=16), 0, 1, channels=[16], blocks=[1], embedding=16)
        torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    folder = tmp_path / "music"
    AudioModel(network, Cosine(), V(), 8000, 2000, sampler="dpmpp_2m").save_pretrained(folder, {"steps": 3}, "# Card\n")
    status, out, err = command("fit-grid", 6, 8, "--model", folder, "--data", data, "--clips", 4, "--check", 2)
    assert (status, err) == (0, []) and out[-1] == str(folder)
    assert all("distance to many steps" in line for line in out[:2])
    found = AudioModel.from_pretrained(folder)
    assert found.validated == (6, 8) and len(found.grids) == sum(line.endswith("; stored") for line in out)
    assert (folder / "README.md").read_text() == "# Card\n"


def test_a_codec_has_no_grid(command, data, tmp_path):
    Codec(Autoencoder(4, 16, channels=[12], blocks=[1]), 8000, 1).save_pretrained(tmp_path / "codec")
    status, out, err = command("fit-grid", 6, "--model", tmp_path / "codec", "--data", data)
    assert status == 1 and out == [] and len(err) == 1 and "codec" in err[0]


def test_no_data_is_one_line(command, model, tmp_path):
    status, out, err = command("fit-grid", 6, "--model", model, "--data", tmp_path / "nowhere")
    assert status == 1 and out == [] and len(err) == 1 and "no such manifest" in err[0]


def test_fewer_calls_than_checked_are_one_line_in_render(command, model, data, tmp_path):
    VocoderModel.from_pretrained(model).with_arguments(validated=(4, 6)).save_pretrained(model)
    render = ["render", data / "a.wav", data / "b.wav", "--model", model, "--batch-size", 1]
    status, _, err = command(*render, "--out", tmp_path / "out", "--steps", 2)
    assert status == 0
    assert err == ["warning: steps 2: fewer than the model was validated with (4), quality may be worse"]
    assert command(*render, "--out", tmp_path / "more", "--steps", 4)[2] == []
