"""Shipped models: found by name, stored in half precision, published with a card that can be believed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from audiodiff import Vocoder, train
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import X0
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.errors import UserError
from audiodiff.export import publish as publishing
from audiodiff.models import card as curve_card
from audiodiff.models import checkpoint, model_folders

GRID = StoredGrid("ddim", 2, [0.9, 0.4, 0.0])


@pytest.fixture
def ships(tmp_path, monkeypatch, model_folder):
    """A package with one shipped model, `tiny`, and a working folder without any."""
    shelf, here = tmp_path / "package/pretrained", tmp_path / "here"
    found = checkpoint.load(model_folder)
    checkpoint.save(shelf / "tiny", replace(found, stored=checkpoint.HALF), "# tiny\n")
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(model_folders, "SHIPPED", shelf)
    return shelf


def test_a_shipped_model_is_found_by_its_name(ships, command):
    vocoder = Vocoder.from_pretrained("tiny")
    assert vocoder.model_hash == checkpoint.load(ships / "tiny").digest
    assert vocoder.generate(torch.full((80, 4), -5.0), steps=2).samples.shape == (4 * 256,)
    assert Vocoder.untrained("tiny").spec == vocoder.spec
    status, out, err = command("info", "tiny")
    assert (status, err) == (0, "")
    assert f"folder        {ships / 'tiny'}" in out and "weights in float16" in out and vocoder.model_hash in out


def test_a_folder_of_that_name_comes_first(ships, tiny):
    tiny("strided").save_pretrained("tiny")
    assert Vocoder.from_pretrained("tiny").model_hash == checkpoint.load(Path.cwd() / "tiny").digest
    assert checkpoint.locate("tiny") == Path("tiny")


@pytest.mark.parametrize("words", [("info", "tinny"), ("render", "x.wav", "--model", "tinny", "--out", "y")], ids=str)
def test_an_unknown_name_is_one_line_that_says_which_there_are(ships, command, words):
    status, out, err = command(*words)
    assert (status, out) == (1, "")
    assert err.startswith("error: tinny: no such model folder; ") and err.count("\n") == 1
    assert "a shipped model (tiny)" in err


def test_a_name_does_not_lead_out_of_the_package(ships, tiny):
    tiny().save_pretrained(ships / "../elsewhere")
    for name in ("../elsewhere", "", "tiny/../tiny"):
        with pytest.raises(UserError):
            checkpoint.load(name)


def test_a_shipped_model_is_not_written_to(ships, command):
    status, out, err = command("fit-grid", 4, "--model", "tiny", "--data", "nowhere")
    assert (status, out) == (1, "") and err.startswith("error: tiny: ") and "--out" in err
    status, out, err = command("benchmark", "--model", "tiny", "--data", "nowhere")
    assert (status, out) == (1, "") and err.startswith("error: tiny: ") and "--out" in err


def test_half_precision_rounds_the_weights_and_nothing_else(tiny, tmp_path):
    model = tiny(schedule=LearnedSchedule(sigmoids=4))
    weights = model.network.state_dict() | model.part_weights()
    held = checkpoint.Checkpoint("vocoder", {}, weights, {"steps": 3}, stored=checkpoint.HALF)
    checkpoint.save(tmp_path, held, "# card\n")
    found = checkpoint.load(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["weights"] == found.stored == "float16"
    assert found.training == {"steps": 3}
    for name, weight in weights.items():
        assert found.weights[name].dtype == weight.dtype
        if weight.dtype == torch.float32:
            assert torch.equal(found.weights[name], weight.half().float())
        else:
            assert torch.equal(found.weights[name], weight)
    single = sum(weight.nbytes for weight in weights.values() if weight.dtype == torch.float32)
    size = (tmp_path / "model.safetensors").stat().st_size
    assert single / 2 < size < 0.7 * single


@pytest.mark.parametrize("value", [65536.0, float("inf"), float("nan")])
def test_what_half_precision_does_not_hold_is_refused_before_anything_is_written(tmp_path, value):
    held = checkpoint.Checkpoint("vocoder", {}, {"a": torch.ones(2), "b": torch.tensor([1.0, value])}, stored="float16")
    with pytest.raises(UserError, match=r"weight b: .*half precision"):
        checkpoint.save(tmp_path / "model", held, "")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("said", ["float32", "int8", None, []], ids=str)
def test_a_config_that_says_something_else_of_its_weights(ships, said):
    file = ships / "tiny/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"weights": said}))
    with pytest.raises(UserError, match=r"config.json: declares .* weights, but they are 'float16'"):
        checkpoint.load("tiny")


@pytest.fixture
def data(tmp_path):
    """A manifest of two corpora; nothing is read of its clips."""
    root = tmp_path / "data"
    clips = (
        Clip("a/1", "a/1.flac", 7200.0, 16000, speaker="a/x", license="CC-BY-3.0 (2010, Maxim)", source="Debian a 1.0"),
        Clip("a/2", "a/2.flac", 3600.0, 16000, speaker="a/y", license="CC-BY-3.0 (2010, Maxim)", source="Debian a 1.0"),
        Clip("b/1", "b/1.flac", 1800.0, 16000, speaker="b", split="test", license="GPL-2", source="Debian b 2|3"),
    )
    (root / "a").mkdir(parents=True)
    (root / "a/corpus.json").write_text(json.dumps({"attribution": "Recorded by: Maxim\nTopal"}))
    manifest = Manifest(clips, root)
    manifest.save()
    return manifest


def record(manifest, steps=1000, **others):
    return {
        "steps": steps, "audio_hours": 12.34, "minutes": 90.0, "device": "cpu", "data": "data/mine",
        "manifest_hash": manifest.with_splits("train").content_hash(), "version": "0.1.0",
    } | others  # fmt: skip


@pytest.fixture
def trained(tiny, tmp_path, data):
    """A run's model that was trained in two stages."""
    first = record(data, hardware="one small machine", minutes=30.0)
    tiny(grids=[GRID]).save_pretrained(tmp_path / "run/model", record(data, 2000, started_from=first), "# the run's\n")
    return tmp_path / "run/model"


def publish(command, trained, data, out, *options, notes="Buzzes on whispers."):
    (out.parent / "notes.md").write_text(notes)
    words = ("publish", trained, "--data", data.root, "--notes", out.parent / "notes.md", "--out", out, *options)
    return command(*words)


def test_publishing_halves_the_weights_and_writes_the_card_from_the_record(command, trained, data, tmp_path):
    out = tmp_path / "shelf-16k"
    status, said, err = publish(command, trained, data, out)
    assert (status, err) == (0, "") and said.startswith(f"{out}: 0.")
    before, after = checkpoint.load(trained), checkpoint.load(out)
    assert after.stored == "float16" and after.training == before.training
    assert checkpoint.describe(list(after.arguments["grids"])) == checkpoint.describe([GRID])
    assert all(torch.equal(weight, before.weights[name].half().float()) for name, weight in after.weights.items())
    card = (out / "README.md").read_text()
    assert 'Vocoder.from_pretrained("shelf-16k")' in card and "Buzzes on whispers." in card
    hashed = data.with_splits("train").content_hash()
    assert f"| 1 | 1,000 | 12.3 | 30 min | – | one small machine | data/mine ({hashed}) | 0.1.0 |" in card
    assert f"| 2 | 2,000 | 12.3 | 1.5 h | – | cpu | data/mine ({hashed}) | 0.1.0 |" in card
    assert "| a | Debian a 1.0 | CC-BY-3.0 (2010, Maxim) | 3.00 | 3.00 | 2 | Recorded by: Maxim Topal |" in card
    assert "| b | Debian b 2/3 | GPL-2 | 0.50 | 0.00 | 1 |  |" in card
    assert curve_card.marks(curve_card.BENCHMARK)[0] not in card


def test_a_codec_was_trained_before_its_model(command, tiny, data, tmp_path):
    """In stages of its own, on data that must be given as well."""
    codec = record(data, 30, started_from=record(data, 20))
    tiny().save_pretrained(tmp_path / "run", record(data, 50, codec=codec, started_from=record(data, 40, codec=codec)))
    assert publish(command, tmp_path / "run", data, tmp_path / "shelf")[0] == 0
    card = (tmp_path / "shelf/README.md").read_text()
    found = [line.split("|")[1:3] for line in card.splitlines() if "data/mine" in line]
    assert found == [[" 1, codec ", " 20 "], [" 2, codec ", " 30 "], [" 3 ", " 40 "], [" 4 ", " 50 "]]
    tiny().save_pretrained(tmp_path / "other", record(data, codec=codec | {"manifest_hash": "another"}))
    status, _, err = publish(command, tmp_path / "other", data, tmp_path / "shelf2")
    assert status == 1 and "manifest another" in err


def test_the_curve_goes_along_and_says_of_what_it_is(command, trained, data, tmp_path):
    curve_card.put("PESQ 4.0", trained / "README.md")
    (trained / "benchmark.png").write_bytes(b"a picture")
    out = tmp_path / "shelf"
    assert publish(command, trained, data, out)[0] == 0
    card = (out / "README.md").read_text()
    block = curve_card.get(curve_card.BENCHMARK, card)
    assert "PESQ 4.0" in block and checkpoint.load(trained).digest[:12] in block
    assert (out / "benchmark.png").read_bytes() == b"a picture"
    assert "the run's" not in card


def test_a_full_disk_is_one_line_and_nothing_is_published(command, trained, data, tmp_path, limit_files):
    out = tmp_path / "shelf-16k"
    out.mkdir()
    with limit_files(20_000):  # the card and the config fit
        status, said, err = publish(command, trained, data, out)
    assert (status, said) == (1, "") and err.count("\n") == 1 and "cannot be written (File too large)" in err
    assert list(out.iterdir()) == []


def test_a_published_model_is_replaced_on_purpose_only(command, trained, data, tmp_path):
    out = tmp_path / "shelf"
    assert publish(command, trained, data, out)[0] == 0
    status, _, err = publish(command, trained, data, out)
    assert status == 1 and err.startswith(f"error: {out}: ") and "--overwrite" in err
    assert publish(command, trained, data, out, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [("MAX_PARAMETERS", 1000, "parameters, more than 1,000"), ("MAX_BYTES", 2**14, "MiB, more than")],
)
def test_what_is_too_large_is_refused(command, trained, data, tmp_path, monkeypatch, limit, value, words):
    monkeypatch.setattr(publishing, limit, value)
    status, _, err = publish(command, trained, data, tmp_path / "shelf")
    assert status == 1 and words in err and not (tmp_path / "shelf").exists()


def test_a_stage_on_other_data_is_refused(command, tiny, data, tmp_path):
    first = record(data) | {"manifest_hash": "another", "data": "data/theirs"}
    tiny().save_pretrained(tmp_path / "run", record(data, started_from=first))
    status, _, err = publish(command, tmp_path / "run", data, tmp_path / "shelf")
    assert status == 1 and "data/theirs" in err and "another" in err and "--data" in err


def test_several_corpora_are_named_by_their_folders(command, tiny, data, tmp_path):
    """A run that joined them; the author's own paths are not published."""
    other = Manifest((Clip("c/1", "c/1.flac", 60.0, 16000, license="CC0-1.0", source="Debian c 1"),), tmp_path / "more")
    other.root.mkdir()
    other.save()
    joined = record(Manifest.join([data, other])) | {"data": f"{data.root}, {other.root}"}
    tiny().save_pretrained(tmp_path / "run", joined)
    words = ["--data", other.root]
    assert publish(command, tmp_path / "run", data, tmp_path / "shelf", *words)[0] == 0
    card, config = ((tmp_path / "shelf" / name).read_text() for name in ("README.md", "config.json"))
    assert f"data/data, data/more ({joined['manifest_hash']})" in card and "| c | Debian c 1 |" in card
    assert str(tmp_path) not in card + config
    status, _, err = publish(command, tmp_path / "run", data, tmp_path / "half")
    assert status == 1 and "is missing" in err


def one_clip(folder, name, seconds=60.0):
    manifest = Manifest((Clip(name, f"{name}.flac", seconds, 16000, license="CC0-1.0", source="Debian c 1"),), folder)
    folder.mkdir(parents=True)
    manifest.save()
    return manifest


def test_stages_on_two_versions_of_a_corpus(command, tiny, data, tmp_path):
    """They have the same clips and the same folder's name, so they cannot be joined."""
    then, now = (one_clip(tmp_path / when / "data/mine", "c/1", 60.0 + i) for i, when in enumerate(("then", "now")))
    joined = record(Manifest.join([data, now])) | {"data": f"{data.root}, {now.root}"}
    words = ["--data", then.root, "--data", now.root]
    for number, last in enumerate((record(now), joined)):
        tiny().save_pretrained(tmp_path / f"run{number}", last | {"started_from": record(then)})
        assert publish(command, tmp_path / f"run{number}", data, tmp_path / f"shelf{number}", *words)[::2] == (0, "")
    tiny().save_pretrained(tmp_path / "other", joined | {"manifest_hash": "another"})
    status, _, err = publish(command, tmp_path / "other", data, tmp_path / "half", *words)
    assert status == 1 and "manifest another is missing" in err


def test_manifest_files_are_named_by_their_folders(command, tiny, data, tmp_path):
    other = one_clip(tmp_path / "more", "c/1")
    files = [manifest.root / "manifest.jsonl" for manifest in (data, other)]
    joined = record(Manifest.join([data, other])) | {"data": ", ".join(map(str, files))}
    tiny().save_pretrained(tmp_path / "run", joined)
    assert publish(command, tmp_path / "run", data, tmp_path / "shelf", "--data", files[1])[::2] == (0, "")
    assert "data/data, data/more" in (tmp_path / "shelf/README.md").read_text()


def test_without_notes_or_a_record_nothing_is_published(command, trained, tiny, data, tmp_path):
    status, _, err = publish(command, trained, data, tmp_path / "shelf", notes=" \n")
    assert status == 1 and "known limitations" in err
    tiny().save_pretrained(tmp_path / "bare")
    status, _, err = publish(command, tmp_path / "bare", data, tmp_path / "shelf")
    assert status == 1 and "no training record" in err


def test_training_starts_from_every_part_of_a_shipped_model(ships, tiny):
    schedule = LearnedSchedule(sigmoids=4)
    with torch.no_grad():
        schedule.ends[0] = 3.0
    source = tiny(schedule=schedule, grids=[GRID])
    weights = source.network.state_dict() | source.part_weights()
    arguments = {name: getattr(source, name) for name in source.ARGUMENTS}
    held = checkpoint.Checkpoint(source.TYPE, arguments, weights, {"steps": 9}, stored=checkpoint.HALF)
    checkpoint.save(ships / "all", held, "")
    model = tiny(schedule=LearnedSchedule(sigmoids=4))
    torch.nn.init.zeros_(model.network.unet.conv_out.weight)
    told = train.start(model, "all")
    assert told == {"steps": 9, "hash": checkpoint.load("all").digest}
    assert all(torch.equal(weight, weights[name].half().float()) for name, weight in model.network.state_dict().items())
    assert model.schedule.level(0.0).log_snr == pytest.approx(3.0)
    assert checkpoint.describe(list(model.grids)) == checkpoint.describe([GRID])


def test_parts_that_differ_around_the_same_weights_are_named(ships, tiny):
    with pytest.warns(UserWarning, match="tiny was trained with another objective, prior than this run"):
        train.start(tiny(objective=X0(), prior="standard"), "tiny")


@pytest.mark.parametrize("other", [{"frontend": "strided"}, {"schedule": LearnedSchedule(sigmoids=4)}], ids=str)
def test_training_does_not_start_from_another_model(ships, tiny, other):
    with pytest.raises(UserError, match=r"tiny: does not fit this configuration \(.*`audiodiff info tiny`") as caught:
        train.start(tiny(**other), "tiny")
    assert "\n" not in str(caught.value)


def test_data_of_a_shipped_model_is_quoted_from_its_card(ships, command, tiny, data, tmp_path):
    """Its manifest need not exist any more; that of another model has to."""
    shipped = record(data, manifest_hash="f00d", data="data/old")
    folder = ships / "base"
    rows = "| old | MIT | 3.00 |\n| a | CC0-1.0 | 1.00 |\n| notes (SYNTHETIC) | MIT | 2.00 |\n"
    table = f"| corpus | license | hours |\n| --- | --- | --- |\n{rows}"
    tiny().save_pretrained(folder, shipped, f"# base\n\n{table}")
    tiny().save_pretrained(tmp_path / "run", record(data, started_from=shipped), "# the run's\n")
    status, _, err = publish(command, tmp_path / "run", data, tmp_path / "shelf")
    assert (status, err) == (0, "")
    card = (tmp_path / "shelf/README.md").read_text()
    assert "| old | MIT | 3.00 |" in card and card.index("| old |") > card.index("## Data")
    assert "| a | CC0-1.0 | 1.00 |" in card and "| a | Debian a 1.0 |" in card  # another license of the same corpus
    assert "notes: these clips are rendered by programs" in card
    other = record(data, started_from=shipped | {"manifest_hash": "beef"})
    tiny().save_pretrained(tmp_path / "other", other, "# the run's\n")
    status, _, err = publish(command, tmp_path / "other", data, tmp_path / "more")
    assert status == 1 and "manifest beef is missing" in err
