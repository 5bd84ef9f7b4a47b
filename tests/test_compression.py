"""Compression of a tiny model from the command line: pruned, fine-tuned, exported, compared, resumed, refused."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import exported_models
import pytest
import soundfile
import torch
from tiny_models import make_acoustic, make_model, sound

from audiodiff import Vocoder, compression, train
from audiodiff.cli import main
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.export import graph
from audiodiff.models import card, checkpoint, onnx_export

RATE = 16000


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root, clips = tmp_path_factory.mktemp("data"), []
    for i, split in enumerate(("train", "train", "validation", "test")):
        soundfile.write(root / f"{i}.flac", sound(RATE, seed=i).samples.numpy(), RATE)
        clips.append(Clip(f"c/{i}", f"{i}.flac", 1.0, RATE, split=split, license="CC0-1.0"))
    Manifest(tuple(clips), root).save()
    return root


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """`command(model, "--prune", 0.5, ...)` -> (status, stdout, last line of stderr), in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compression, "CROPS", 2)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["audiodiff", "compress", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        output, errors = capsys.readouterr()
        return ended.value.code, output, (errors.splitlines() or [""])[-1]

    return run


@pytest.fixture
def no_exporter(monkeypatch):
    """A placeholder in place of the graph, which takes half a minute to export."""
    monkeypatch.setattr(graph, "export_graph", exported_models.placeholder)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.slow
def test_pruned_and_quantized_in_a_table_and_in_the_cards(command, no_exporter, model_folder, data, tmp_path):
    out = tmp_path / "small"
    options = ("--prune", 0.5, "--quantize", "float16", "--data", data, "--out", out, "--minutes", 0, "--steps", 2)
    status, output, _ = command(model_folder, *options)
    assert status == 0
    before, after = (checkpoint.load(folder) for folder in (model_folder, out / "model"))
    assert after.arguments["network"].inner_channels == [8, 8]
    trained_on = Manifest.load(data).with_splits("train").content_hash()
    record = {"hash": before.digest, "fraction": 0.5, "manifest_hash": trained_on}
    assert after.training == before.training | {"pruned": record}
    vocoder = Vocoder.from_pretrained(out / "model")
    audio = vocoder.generate(torch.full((80, 5), -4.0), steps=2)
    streamed = torch.cat([piece.samples for piece in vocoder.stream(iter([torch.full((80, 5), -4.0)]), 2)])
    assert audio.samples.isfinite().all() and torch.allclose(audio.samples, streamed, atol=1e-5)
    assert onnx_export.read(out / "onnx").config["checkpoint"]["hash"] == after.digest
    header, *table = rows(output)
    assert header[:5] == ["model", "MB", "steps", "PESQ-WB", "STOI"]
    assert [row[0] for row in table] == [
        model_folder.name,
        "pruned by 50%, 0 min of fine-tuning",
        "pruned by 50%, 0 min of fine-tuning, float16 (ONNX)",
    ]
    sizes = [float(row[1]) for row in table]
    assert sizes[1] < sizes[0]
    assert all(re.fullmatch(r"\d\.\d\d \([+−]\d\.\d\d; .*\)", row[3]) and float(row[5]) > 0 for row in table[1:])
    for name in ("model", "onnx"):
        assert rows(card.get(card.COMPRESSION, (out / name / "README.md").read_text())) == rows(output)
    error = command(model_folder, "--prune", 0.3, "--data", data, "--out", out)[2]
    assert error.startswith(f"error: {out}: holds another compression") and "choose another --out" in error


def test_an_export_alone_leaves_the_model_as_it_is(command, no_exporter, model_folder, data, tmp_path):
    status, output, error = command(model_folder, "--quantize", "float32", "--data", data, "--out", tmp_path / "small")
    assert (status, error) == (0, "")
    assert not (tmp_path / "small/model").exists()
    assert [row[0] for row in rows(output)[1:]] == [model_folder.name, f"{model_folder.name}, float32 (ONNX)"]


@pytest.mark.slow
def test_fine_tuning_is_stopped_by_ctrl_c_and_goes_on(command, monkeypatch, model_folder, data, tmp_path):
    out = tmp_path / "small"
    options = (model_folder, "--prune", 0.5, "--data", data, "--out", out, "--minutes", 0.1, "--steps", 1)

    def interrupted(*_):
        raise SystemExit(1)

    with monkeypatch.context() as patch:
        patch.setattr(train, "run", interrupted)
        assert command(*options)[0] == 130
    assert Vocoder.from_pretrained(out / "model").model.network.inner_channels == [8, 8]
    status, output, _ = command(*options)
    found = checkpoint.load(out / "model")
    label = f"{found.training['minutes']:.2g} min of fine-tuning"
    assert status == 0 and label in output
    assert found.training["started_from"]["pruned"]["fraction"] == 0.5 and found.training["minutes"] >= 0.1
    assert found.arguments["network"].inner_channels == [8, 8]
    with monkeypatch.context() as patch:  # nothing is left to train
        patch.setattr(train, "run", interrupted)
        assert command(*options)[0] == 0
        status, output, _ = command(*options, "--minutes", 0)
    assert status == 0 and label in output


@pytest.mark.parametrize(
    ("options", "subject", "fix"),
    [
        ((), "compress", "--prune 0.3 or --quantize int8"),
        (("--prune", 1.0), "--prune 1", "between 0 and 1"),
        (("--prune", -0.1), "--prune -0.1", "between 0 and 1"),
        (("--prune", "nan"), "--prune nan", "between 0 and 1"),
        (("--prune", 0.01), "--prune 0.01", "larger share"),
        (("--prune", 0.5, "--minutes", -1), "--minutes -1", "0 (no fine-tuning)"),
        (("--quantize", "int4"), "dtype 'int4'", "int8"),
        (("--prune", 0.5, "--data", "nowhere"), "nowhere", "prepare"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(command, model_folder, data, tmp_path, options, subject, fix):
    given = options if "--data" in options else (*options, "--data", data)
    status, _, error = command(model_folder, *given, "--out", tmp_path / "small")
    assert status == 1 and error.startswith(f"error: {subject}") and fix in error
    assert not (tmp_path / "small").exists()


def test_models_that_are_not_compressed_are_refused(command, data, tmp_path):
    make_acoustic().save_pretrained(tmp_path / "voice")
    status, _, error = command(tmp_path / "voice", "--prune", 0.5, "--data", data, "--out", tmp_path / "small")
    assert status == 1 and "type acoustic" in error and "vocoder or audio" in error


def test_a_network_without_blocks_is_refused(command, data, tmp_path):
    model = make_model()
    arguments = checkpoint.describe(model.network) | {"blocks": [0, 0]}
    model.with_arguments(network=checkpoint.build(arguments)).save_pretrained(tmp_path / "bare")
    status, _, error = command(tmp_path / "bare", "--prune", 0.5, "--data", data, "--out", tmp_path / "small")
    assert status == 1 and "no blocks" in error and "leave out --prune" in error


def test_other_folders_are_not_written_to(command, model_folder, data, tmp_path):
    for name in ("config.json", "checkpoints/step=1.ckpt"):
        Path(tmp_path / "taken" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "taken" / name).write_text("{}")
        status, _, error = command(model_folder, "--prune", 0.5, "--data", data, "--out", tmp_path / "taken")
        assert status == 1 and "choose a new folder" in error
        (tmp_path / "taken" / name).unlink()


def test_other_data_is_another_compression_and_minutes_are_of_the_record(
    command, monkeypatch, model_folder, data, tmp_path
):
    """A result that was trained for four minutes is not called one of ten, nor that of other data."""
    labels = []
    monkeypatch.setattr(
        compression.compression, "compare", lambda versions, *_: labels.append(versions[-1].label) or ""
    )
    options = (model_folder, "--prune", 0.5, "--out", tmp_path / "small")
    assert command(*options, "--data", data, "--minutes", 0)[0] == 0
    found, pruned = (checkpoint.load(tmp_path / "small" / name) for name in ("model", "pruned"))
    training = {"minutes": 4.0, "started_from": found.training | {"hash": pruned.digest}}
    checkpoint.save(tmp_path / "small/model", replace(found, training=training), "")
    assert command(*options, "--data", data, "--minutes", 0)[0] == 0
    assert command(*options, "--data", data, "--minutes", 3)[0] == 0
    assert labels == [f"pruned by 50%, {minutes} min of fine-tuning" for minutes in (0, 4, 4)]
    manifest = Manifest.load(data)
    replace(manifest, clips=manifest.clips[1:]).save(tmp_path / "other.jsonl")
    status, _, error = command(*options, "--data", tmp_path / "other.jsonl", "--minutes", 0)
    assert status == 1 and "holds another compression" in error


def test_a_model_in_the_folder_is_not_overwritten(command, tiny, model_folder, data, tmp_path):
    other = tmp_path / "run/model"
    tiny("strided").save_pretrained(other, {"steps": 3})
    before = {file: file.read_bytes() for file in other.iterdir()}
    status, _, error = command(model_folder, "--prune", 0.5, "--minutes", 0, "--data", data, "--out", tmp_path / "run")
    assert status == 1 and "choose a new folder" in error
    assert {file: file.read_bytes() for file in other.iterdir()} == before


def test_minutes_are_checked_before_anything_is_read():
    wanted = compression.Compression(0.5, None, ["nowhere"], minutes=float("nan"))
    with pytest.raises(ValueError, match="--minutes nan"):
        compression.compress("nowhere", "out", wanted)
