"""Adapters on the command line: every verb that samples takes them, sidecars record them, `merge` makes a model."""

import json

import pytest
import torch
from adapter_models import random_adapter

from audiodiff.audio.io import Audio, read, write
from audiodiff.models.checkpoint import load

FEW = ("--steps", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def folders(make_prompted, tmp_path_factory):
    """A generator, and two adapters of it."""
    root, model = tmp_path_factory.mktemp("adapters"), make_prompted()
    model.save_pretrained(root / "base", {"licenses": ["CC0-1.0"]})
    for number, name in enumerate(("drum", "bell")):
        random_adapter(model, seed=number).save(root / name)
    return root


def sidecar(path):
    return json.loads((path.parent / f"{path.name}.json").read_text())


def test_generate_applies_adapters_and_records_them(command, folders, tmp_path):
    def run(name, *words):
        options = ("--model", folders / "base", "--seconds", "0.1", *FEW, "--out", tmp_path / name)
        assert command("generate", *options, *words)[0] == 0
        return read(tmp_path / name / "0000.wav").samples, sidecar(tmp_path / name / "0000.wav")

    plain, record = run("plain")
    assert record["adapters"] is None
    zero, _ = run("zero", "--adapter", f"{folders / 'drum'}:0")
    assert torch.equal(zero, plain)
    both, record = run("both", "--adapter", f"{folders / 'drum'}:0.8", "--adapter", folders / "bell")
    assert [one["scale"] for one in record["adapters"]] == [0.8, 1.0] and not torch.equal(both, plain)
    words = ("--adapter", f"{folders / 'drum'}:0.8", "--adapter", folders / "bell")
    assert command("merge", folders / "base", *words, "--out", tmp_path / "merged")[0] == 0
    assert load(tmp_path / "merged").training["licenses"] == ["CC0-1.0"]
    options = ("--model", tmp_path / "merged", "--seconds", "0.1", *FEW, "--out", tmp_path / "again")
    assert command("generate", *options)[0] == 0
    assert torch.equal(read(tmp_path / "again" / "0000.wav").samples, both)
    status, _, (line,) = command("merge", folders / "base", *words, "--out", tmp_path / "merged")
    assert status == 1 and "holds a model already" in line


def test_another_scale_is_another_file(command, folders, tmp_path):
    options = ("--model", folders / "base", "--seconds", "0.1", *FEW, "--out", tmp_path / "clips")
    assert command("generate", *options, "--adapter", f"{folders / 'drum'}:0.8")[0] == 0
    status, _, (line,) = command("generate", *options, "--adapter", f"{folders / 'drum'}:0.7")
    assert status == 1 and "another adapters" in line


def test_edit_render_and_say_take_adapters(command, folders, model_folder, voice_folder, tmp_path):
    from audiodiff.models.acoustic_model import AcousticModel
    from audiodiff.models.vocoder_model import VocoderModel

    clip = tmp_path / "clip.wav"
    write(clip, Audio(0.1 * torch.randn(1, 1600, generator=torch.Generator().manual_seed(0)), 8000))
    drum = ("--adapter", folders / "drum")
    edit = ("edit", clip, "--model", folders / "base", "--region", "0.05:0.1", *FEW)
    assert (
        command(*edit, "--out", tmp_path / "plain.wav")[0]
        == command(*edit, *drum, "--out", tmp_path / "own.wav")[0]
        == 0
    )
    assert not torch.equal(read(tmp_path / "plain.wav").samples, read(tmp_path / "own.wav").samples)
    assert sidecar(tmp_path / "own.wav")["adapters"][0]["scale"] == 1.0
    random_adapter(VocoderModel.from_pretrained(model_folder)).save(tmp_path / "vocoder")
    random_adapter(AcousticModel.from_pretrained(voice_folder)).save(tmp_path / "voice")
    render = ("render", clip, "--model", model_folder, *FEW, "--adapter", tmp_path / "vocoder")
    assert command(*render, "--out", tmp_path / "rendered")[0] == 0
    assert sidecar(tmp_path / "rendered" / "clip.wav")["adapters"][0]["hash"]
    say = ("say", "hello", "--voice", voice_folder, "--vocoder", model_folder, *FEW)
    assert command(*say, "--out", tmp_path / "a.wav")[0] == 0
    assert command(*say, "--adapter", tmp_path / "voice", "--out", tmp_path / "b.wav")[0] == 0
    one, other = (read(tmp_path / f"{name}.wav").samples for name in "ab")
    assert one.shape != other.shape or not torch.equal(one, other)


@pytest.mark.parametrize("verb", ["generate", "render"])
def test_an_adapter_of_another_model_is_one_line(command, folders, model_folder, verb, tmp_path):
    from audiodiff.models.vocoder_model import VocoderModel

    random_adapter(VocoderModel.from_pretrained(model_folder)).save(tmp_path / "vocoder")
    if verb == "render":
        write(tmp_path / "clip.wav", Audio(torch.zeros(1, 1600), 8000))
        words = ("render", tmp_path / "clip.wav", "--model", model_folder, "--adapter", folders / "drum")
    else:
        words = ("generate", "--model", folders / "base", "--adapter", tmp_path / "vocoder")
    status, _, lines = command(*words, *FEW, "--out", tmp_path / "out")
    assert status == 1 and len(lines) == 1 and "is for a model of type" in lines[0]
