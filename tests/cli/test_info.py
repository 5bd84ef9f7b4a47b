import hashlib
import sys

import pytest
import torch

from audiodiff.audio import io
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.audio.watermark import embed
from audiodiff.cli import main
from audiodiff.data.licenses import license_names, license_terms
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.diffusion.weighting import MinSNR
from audiodiff.models import checkpoint
from audiodiff.models.training_record import data_licenses
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.rendering.sidecar import describe


@pytest.fixture
def model():
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(), spec.n_mels, spec.hop_length, channels=[16], blocks=[1], embedding=16)
    return VocoderModel(network, Cosine(), V(MinSNR(3.0)), spec, MelPrior(spec))


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "model", training={"steps": 1234, "data": "hash of the list"})
    return tmp_path / "model"


@pytest.fixture
def info(monkeypatch, capsys):
    def run(folder):
        monkeypatch.setattr(sys, "argv", ["audiodiff", "info", str(folder)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_says_how_an_audio_file_was_made(info, tmp_path):
    path, plain = tmp_path / "a.flac", tmp_path / "b.flac"
    metadata = describe("audiodiff say", {"text": "two\nlines \x1b[31m", "seed": 3, "edited": [[0, 1]]})
    io.write(path, io.Audio(torch.zeros(2, 800), 16000), metadata=metadata)
    io.write(plain, io.Audio(torch.zeros(800), 16000))
    status, out, err = info(path)
    facts = dict(line.split("  ", 1) for line in out.splitlines())
    facts = {name: value.strip() for name, value in facts.items()}
    assert (status, err) == (0, "") and "\x1b" not in out
    assert facts["audio"] == "0.050 s, 16000 Hz, channels: 2" and facts["command"] == "audiodiff say"
    assert (facts["text"], facts["seed"], facts["edited"]) == ("two lines  [31m", "3", "[[0, 1]]")
    assert "none in its metadata" in info(plain)[1] and "watermark     not found (p-value 1)" in info(plain)[1]
    (tmp_path / "c.wav").write_text("no audio")
    assert info(tmp_path / "c.wav")[0] == 1
    status, _, err = info(tmp_path / "missing.wav")
    assert status == 1 and "no such file" in err and "model" not in err


def test_finds_a_watermark(info, tmp_path):
    noise = 0.1 * torch.randn(2, 4 * 16000, generator=torch.Generator().manual_seed(0))
    audio = io.Audio(embed(noise, 16000), 16000)
    io.write(tmp_path / "a.ogg", audio, metadata=describe("", {"watermark": True, "seed": 1}))
    facts = dict(line.split("  ", 1) for line in info(tmp_path / "a.ogg")[1].splitlines())
    assert facts["watermark"].strip().startswith("found (p-value ") and "its metadata state one" in facts["watermark"]


def test_names_the_shipped_model_of_an_audio_file(info, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "shipped", lambda: ["a-voice"])
    monkeypatch.setattr(checkpoint, "locate", lambda name: folder)
    digest = checkpoint.load(folder).digest
    io.write(tmp_path / "a.wav", io.Audio(torch.zeros(800), 16000), metadata=describe("", {"model_hash": digest}))
    assert f"{digest} (a-voice)" in info(tmp_path / "a.wav")[1]


def test_says_what_the_folder_is(info, folder, model):
    status, out, err = info(folder)
    assert (status, err) == (0, "")
    facts = dict(line.split("  ", 1) for line in out.splitlines())
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["type"] == "vocoder"
    assert int(facts["parameters"].replace(",", "")) == sum(p.numel() for p in model.parameters())
    contents = (folder / "config.json").read_bytes() + (folder / "model.safetensors").read_bytes()
    assert facts["hash"] == hashlib.sha256(contents).hexdigest()
    assert facts["schedule"] == "cosine()"
    assert facts["objective"] == "v(weighting=min_snr(gamma=3.0))"
    assert "n_mels=80" in facts["mel_spec"] and "frontend=stft(" in facts["network"]
    assert facts["setting"] == "default: 6 steps of recommended, mel consistency 32 (default)"
    assert "steps = 1234" in out and "data = hash of the list" in out


def spoil_nothing_there(folder):
    for file in folder.iterdir():
        file.unlink()


def spoil_truncated(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def spoil_pickle(folder):
    torch.save({"weight": torch.zeros(3)}, folder / "model.safetensors")


def spoil_config(folder):
    (folder / "config.json").write_text("[]")


def spoil_width(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"embedding": 16', '"embedding": 32'))


@pytest.mark.parametrize(
    "spoil", [spoil_nothing_there, spoil_truncated, spoil_pickle, spoil_config, spoil_width], ids=lambda f: f.__name__
)
def test_a_bad_folder_is_one_line(info, folder, spoil):
    spoil(folder)
    status, out, err = info(folder)
    assert status == 1 and out == ""
    assert err.startswith(f"error: {folder}") and err.count("\n") == 1


def test_a_missing_folder_is_one_line(info, tmp_path):
    status, out, err = info(tmp_path / "nowhere")
    assert status == 1 and out == ""
    assert err.startswith(f"error: {tmp_path / 'nowhere'}: no such model folder") and err.count("\n") == 1


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_says_what_the_licenses_of_the_training_audio_ask_for(info, name):
    lines = info(name)[1].splitlines()
    (licenses,) = (line for line in lines if line.startswith("licenses "))
    (terms,) = (line for line in lines if line.startswith("terms "))
    statements = data_licenses(checkpoint.load(name).training, (checkpoint.locate(name) / "README.md").read_text())
    assert statements and all(license in licenses for license in license_names(*statements))
    assert terms.endswith(str(license_terms(*statements)))
    assert ("copyleft (GPL)" in terms) == ("GPL-2" in licenses)


def test_a_model_without_a_record_of_licenses_says_nothing_of_them(info, folder):
    assert not any(line.startswith(("licenses", "terms")) for line in info(folder)[1].splitlines())
