"""`audiodiff benchmark` from end to end."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.cli import main
from audiodiff.cli.benchmark import manifests, numbers
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder


@pytest.fixture
def command(monkeypatch, capsys):
    """`command(words...)` -> (status, lines on stdout, text on stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["audiodiff", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out.splitlines(), err

    return run


@pytest.fixture
def model(tmp_path):
    spec = PRESETS["speech_16k"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(StftFrontend(), 80, 256, channels=[16], blocks=[1], embedding=16)
        torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    made = VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), settings=[Setting(consistency=2)])
    made.save_pretrained(tmp_path / "model", card="# A card\n")
    return tmp_path / "model"


@pytest.fixture
def data(tmp_path):
    root, clips = tmp_path / "voices", []
    root.mkdir()
    time = np.arange(9600) / 16000
    for name in ("a", "b"):
        tone = sum(np.sin(2 * np.pi * (130 + 20 * ord(name) % 60) * k * time) / k for k in range(1, 15))
        soundfile.write(root / f"{name}.wav", 0.1 * tone, 16000)
        clips.append(Clip(f"folder/{name}", f"{name}.wav", 0.6, 16000, split="validation"))
    Manifest(tuple(clips), root).save()
    return root


@pytest.mark.slow
def test_writes_table_picture_record_and_card_and_replaces_them(command, model, data):
    digest = Vocoder.from_pretrained(model).model_hash
    words = ["benchmark", "--model", model, "--data", data, "--samplers", "ddim", "--metrics", "mr_stft,pesq"]
    status, out, err = command(*words, "--steps", "1,2")
    assert status == 0, err
    assert out[-1] == str(model / "benchmark.md") and out[0].startswith("voices, ddim, 1 against 2 steps: PESQ-WB ")
    status, out, _ = command(*words, "--steps", "2 3")
    assert status == 0 and len(out) == 3
    card, text = (model / "README.md").read_text(), (model / "benchmark.md").read_text()
    assert card.startswith("# A card\n") and card.count("## Quality and speed") == 1 and text.strip() in card
    assert [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| ddim")][:3] == ["1", "2", "3"]
    assert (model / "benchmark.png").stat().st_size > 10_000
    assert list(json.loads((model / "benchmark.json").read_text())["blocks"][0]["rows"])[-3:] == [
        "ddim/1/2",
        "ddim/2/2",
        "ddim/3/2",
    ]
    assert Vocoder.from_pretrained(model).model_hash == digest


@pytest.mark.slow
def test_elsewhere_the_card_is_left_alone(command, model, data, tmp_path):
    words = ["benchmark", "--model", model, "--data", f"mine={data}", "--samplers", "ddim", "--metrics", "mr_stft"]
    status, out, err = command(*words, "--steps", 1, "--limit", 1, "--out", tmp_path / "out")
    assert status == 0, err
    assert (
        out == [str(tmp_path / "out" / "benchmark.md")]
        and "### mine" in (tmp_path / "out" / "benchmark.md").read_text()
    )
    assert (model / "README.md").read_text() == "# A card\n" and not (model / "benchmark.json").exists()


def test_refuses_in_one_line(command, model, data, tmp_path):
    good = {"--model": model, "--data": data, "--out": tmp_path / "out", "--metrics": "mr_stft"}
    wrong = (
        {"--model": tmp_path},
        {"--data": tmp_path},
        {"--steps": "six"},
        {"--steps": 0},
        {"--limit": 0},
        {"--guidance-scales": 2},
        {"--iterations": "-1"},
        {"--iterations": "some"},
        {"--tuned": "model"},
        {"--tuned": f"mine={model}"},
    )
    for bad in (*wrong, {"--samplers": "nope"}, {"--metrics": "nope"}, {"--split": "nope"}):
        status, _, err = command("benchmark", *(item for pair in (good | bad).items() for item in pair))
        assert status == 1 and err.startswith("error: ") and err.count("\n") == 1, (bad, err)
    assert not (tmp_path / "out" / "benchmark.json").exists()


def test_data_has_its_folders_name_unless_named(data):
    assert list(manifests([str(data)])) == ["voices"] == list(manifests([str(data / "manifest.jsonl")]))
    assert list(manifests([str(data), f"unseen={data}"])) == ["voices", "unseen"]
    with pytest.raises(UserError, match="NAME=PATH"):
        manifests([str(data), str(data)])


def test_manifests_of_one_name_are_one_group(data, tmp_path):
    clips = Manifest.load(data).clips
    for half, clip in zip(("first", "second"), clips, strict=True):
        Manifest((replace(clip, path=f"../voices/{clip.path}"),), tmp_path / half).save()
    (found,) = manifests([f"seen={tmp_path / half}" for half in ("first", "second")]).items()
    assert found[0] == "seen" and [clip.id for clip in found[1].clips] == [clip.id for clip in clips]
    assert all(found[1].path(clip).is_file() for clip in found[1].clips)
    with pytest.raises(UserError, match="is in both"):
        manifests([f"seen={data}", f"seen={data}"])


def test_lists_take_commas_and_blanks():
    assert all(numbers("--steps", text, int) == (6, 200) for text in ("6,200", "6 200", " 6, 200 "))
    assert numbers("--guidance-scales", "1, 2.5", float) == (1.0, 2.5) and numbers("--steps", "", int) == ()
    with pytest.raises(UserError, match="is not a list of integers"):
        numbers("--steps", "1.5", int)
