"""Settings that are loaded back: the same clip, bit for bit, and one line for what cannot be."""

import json
import shutil
import wave
from pathlib import Path

import pytest
import soundfile
import torch
from adapter_models import random_adapter
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio import io
from audiodiff.audio.mel.file import save_mel
from audiodiff.audio.metadata import read_metadata
from audiodiff.cli.options import command_options
from audiodiff.errors import UserError
from audiodiff.pipelines.edit_options import EditConfig
from audiodiff.pipelines.options import GenerationConfig, SpeechOptions
from audiodiff.rendering.batch_place import BatchPlace
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.settings import ACCEPTED, SavedSettings, read_settings


@pytest.fixture(scope="module")
def prompted(make_prompted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompted") / "model"
    make_prompted(scalars=("tempo",), labels=("kick", "snare")).save_pretrained(folder)
    return folder


@pytest.fixture
def ok(command, tmp_path, monkeypatch):
    """`ok(*words)`: run a command that ends well in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        status, out, errors = command(*words, "--device", "cpu")
        assert status == 0, errors
        return out, errors

    return run


def samples(path):
    return soundfile.read(path, dtype="float64", always_2d=True)[0]


def check_same(path, other):
    assert (samples(path) == samples(other)).all() and samples(path).any()
    assert read_metadata(path) == read_metadata(other)


SOURCES = ["out/0001.wav", "out/0001.wav.json"]


@pytest.mark.parametrize("source", ["out/0003.flac", "out/0003.flac.json"])
def test_a_generated_clip(ok, prompted, source):
    """Each of five clips of two batches, with its prompt, guidance, tempo, level, bits and loudness."""
    words = ["--prompt", "rain:0.7 | thunder:0.3 @0.05-", "--negative", "noise", "--guidance", 3, "--tempo", 97.3]
    words += ["--guidance-interval=-5.1234567:9", "--peak-level", 0, "--seconds", 0.11, "--steps", 2, "--seed", 7]
    words += ["--bit-depth", "24", "--dither", "--loudness", -31.5, "--sample-rate", 11025, "--watermark"]
    ok("generate", "--model", prompted, *words, "--count", 5, "--batch-size", 4, "--format", "flac", "--out", "out")
    model = [] if source.endswith("json") else ["--model", prompted]
    for verb in ("generate", "render"):
        ok(verb, "--settings", source, *model, "--out", verb)
        assert (samples(f"{verb}/0000.flac") == samples("out/0003.flac")).all()
    assert read_metadata("generate/0000.flac") == read_metadata("out/0003.flac")
    assert (samples("out/0003.flac") != samples("out/0002.flac")).any()


def test_options_beside_the_settings_win(ok, prompted):
    ok(
        "generate",
        "--model",
        prompted,
        "--prompt",
        "rain",
        "--seconds",
        0.1,
        "--steps",
        2,
        "--out",
        "out",
        "--count",
        2,
    )
    saved = ["generate", "--settings", "out/0001.wav.json"]
    ok(*saved, "--prompt", "thunder", "--out", "thunder")
    own = ["generate", "--model", prompted, "--seconds", 0.1, "--steps", 2, "--count", 2]
    ok(*own, "--prompt", "thunder", "--out", "expected")
    assert (samples("thunder/0000.wav") == samples("expected/0001.wav")).all()
    ok(*saved, "--seed", 5, "--count", 2, "--out", "seed")
    ok(*own, "--prompt", "rain", "--seed", 5, "--out", "five")
    for name in ("0000.wav", "0001.wav"):
        check_same(f"seed/{name}", f"five/{name}")


def test_a_clip_that_was_varied(ok, command, prompted, recording, tmp_path):
    io.write(tmp_path / "rain.wav", recording(4000, 8000))
    words = ["--steps", 2, "--init-audio", "rain.wav", "--noise-level", 0.4, "--out", "out"]
    ok("generate", "--model", prompted, *words)
    status, _, (line,) = command("generate", "--settings", "out/0000.wav.json", "--out", "again")
    assert status == 1 and line.endswith(
        "was made with --init-audio, an audio file that it does not hold; add --init-audio FILE"
    )
    ok("generate", "--settings", "out/0000.wav.json", "--init-audio", "rain.wav", "--out", "again")
    check_same("again/0000.wav", "out/0000.wav")


def test_a_clip_of_adapters_and_a_guide(ok, command, make_music, guide_folders, tmp_path):
    """Found where the sidecar says they were, as long as they are what they were."""
    model = make_music(1)
    model.save_pretrained("model")
    for seed, name in enumerate(("warm", "dry")):
        random_adapter(model, seed=seed).save(tmp_path / name)
    words = ["--adapter", "warm:0.3", "--adapter", "dry:-0.7@-5:3", "--label", "kick", "--steps", 2]
    words += ["--classifier", guide_folders["classifier"], "--classifier-weight", 1.5]
    ok("generate", "--model", "model", *words, "--out", "out")
    ok("generate", "--settings", "out/0000.wav.json", "--out", "again")
    check_same("again/0000.wav", "out/0000.wav")
    random_adapter(model, seed=7).save(tmp_path / "dry")
    status, _, (line,) = command("generate", "--settings", "out/0000.wav.json", "--out", "other")
    assert status == 1 and "(adapter of hash" in line and line.endswith("; add --adapter DIR")
    ok("generate", "--settings", "out/0000.wav.json", "--adapter", "warm:0.3", "--out", "other")
    assert (samples("other/0000.wav") != samples("out/0000.wav")).any()


@pytest.mark.parametrize("source", ["first.wav", "out/0002.wav.json", "out/0002.wav"])
def test_a_spoken_text(ok, command, voice_folder, source, tmp_path):
    (tmp_path / "words.txt").write_text("a\nThe file is ready.\n")
    words = ["--speaker", "bob", "--rate", 1.3, "--pitch", 2, "--steps", 2, "--seed", 3]
    ok("say", "The file is ready.", "--voice", voice_folder, *words, "--out", "first.wav", "--watermark")
    ok("render", "words.txt", "--model", voice_folder, *words, "--out", "out")
    model = [] if source.endswith("json") else ["--voice", voice_folder]
    ok("say", "--settings", source, *model, "--out", "again.wav")
    expected = source.removesuffix(".json")
    assert (samples("again.wav") == samples(expected)).all()
    ok("render", "--settings", source, *(["--model", voice_folder] if model else []), "--out", "rendered")
    assert (samples("rendered/0001.wav") == samples(expected)).all()
    ok("say", "A word.", "--settings", source, *model, "--out", "other.wav")
    assert len(samples("other.wav")) != len(samples("again.wav"))
    if not model:
        (tmp_path / "out" / "0002.wav.json").write_text(
            json.dumps({"text": "a", "phonemes": True, "command": "audiodiff say"})
        )
        status, _, (line,) = command("render", "--settings", source, "--model", voice_folder, "--out", "none")
        assert status == 1 and "spoken from phonemes; use `audiodiff say --settings`" in line


@pytest.mark.parametrize("source", ["out/b.wav", "out/b.wav.json", "out/m.wav"])
def test_a_rendered_recording_and_a_mel(ok, model_folder, vocoder, recording, source, tmp_path):
    """One of a batch of clips of other lengths, in the noise of its name."""
    for seed, name in enumerate("abc"):
        io.write(tmp_path / "in" / f"{name}.wav", recording(2000 + 700 * seed, seed=seed))
    save_mel(tmp_path / "in" / "m.npy", vocoder.mel(recording(3000, seed=9)), vocoder.spec)
    ok("render", "in", "--model", model_folder, "--steps", 2, "--seed", 5, "--consistency", 3, "--out", "out")
    assert read_metadata("out/b.wav")["batch"][1:] == [4, 14]
    model, name = ["--model", model_folder], "m" if "m" in source else "b"
    again = [] if source.endswith("json") else [f"in/{name}.{'npy' if name == 'm' else 'wav'}", *model]
    ok("render", "--settings", source, *again, "--out", "again")
    check_same(f"again/{name}.wav", f"out/{name}.wav")
    shutil.copy("in/b.wav", "other-name.wav")
    if name == "b":
        ok("render", "other-name.wav", "--settings", source, *model, "--out", "again")
        check_same("again/other-name.wav", "out/b.wav")


@pytest.mark.parametrize("source", ["out-0002.wav", "out-0002.wav.json"])
def test_an_edit(ok, prompted, recording, source, tmp_path):
    io.write(tmp_path / "in.wav", recording(8000, 8000))
    words = [
        "--region",
        "0.2:0.5",
        "--prompt",
        "rain",
        "--noise-level",
        0.6,
        "--steps",
        2,
        "--morph-seed",
        4,
        "--morph",
        0.5,
    ]
    ok("edit", "in.wav", "--model", prompted, *words, "--variations", 3, "--out", "out.wav")
    model = [] if source.endswith("json") else ["in.wav", "--model", prompted]
    ok("edit", "--settings", source, *model, "--out", "again.wav")
    check_same("again.wav", "out-0002.wav")
    assert (samples("again.wav") != samples("out-0001.wav")).any()


@pytest.mark.parametrize("kind", ["upsample", "restore"])
def test_an_upsampled_and_a_restored_recording(ok, make_upsampler, make_restorer, recording, kind, tmp_path):
    make = make_upsampler if kind == "upsample" else make_restorer
    make().save_pretrained(tmp_path / "model")
    io.write(tmp_path / "in" / "a.wav", io.Audio(recording(2500, 8000).samples.clamp(-0.1, 0.1), 8000))
    own = ["--declip"] if kind == "restore" else ["--cutoff", 3000]
    ok(kind, "in", "--model", "model", "--steps", 1, "--seed", 4, *own, "--out", "out")
    ok(kind, "--settings", "out/a.wav.json", "--out", "again")
    check_same("again/a.wav", "out/a.wav")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nothing", "is no JSON"),
        ("[]", "holds no settings"),
        ("{}", "has no settings of `audiodiff generate`"),
        ('{"command": "audiodiff edit", "steps": 2}', "has settings of `audiodiff edit`; use them with that command"),
        ('{"step": 2}', "'step': unknown; did you mean steps?"),
        ('{"steps": "two"}', "steps 'two': expected an integer"),
        ('{"steps": 0}', "steps 0: out of range"),
        ('{"steps": 2, "model": "no-such-model"}', "model 'no-such-model': is not there; name one with --model"),
        (
            '{"sidecar": "audiodiff generate", "steps": 2, "model_hash": "0123"}',
            "not there (model of hash 0123); add --model",
        ),
        ('{"command": "audiodiff generate", "steps": 2, "classifier": 5}', "add --classifier DIR"),
        ('{"command": "audiodiff generate", "steps": 2, "adapters": [{"hash": "1"}]}', "add --adapter DIR"),
        ('{"command": "audiodiff generate", "steps": 2, "adapters": 7}', "is no adapter"),
        ('{"command": "audiodiff generate", "steps": 2, "clip_seed": 1, "batch": [2, 1]}', "is no place in a batch"),
    ],
)
def test_settings_that_cannot_be_loaded_are_one_line(command, prompted, content, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.json").write_text(content)
    model = [] if "model" in content else ["--model", prompted]
    status, _, errors = command("generate", "--settings", "settings.json", *model, "--out", "out")
    assert status == 1 and len(errors) == 1 and errors[0].startswith("error: settings.json") and words in errors[0]
    assert not (tmp_path / "out").exists()


def test_files_without_settings_and_models_of_another_type(command, ok, prompted, voice_folder, tmp_path):
    with wave.open(str(tmp_path / "plain.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(400))
    ok("say", "a", "--voice", voice_folder, "--steps", 1, "--out", "spoken.wav")
    for source, words in {
        "plain.wav": "plain.wav: has no settings in its metadata",
        "none.wav": "none.wav: no such file",
        "spoken.wav": "spoken.wav: has settings of `audiodiff say`",
    }.items():
        status, _, errors = command("generate", "--settings", source, "--model", prompted, "--out", "out")
        assert status == 1 and len(errors) == 1 and words in errors[0]
    _, errors = ok("say", "--settings", "spoken.wav", "--voice", voice_folder, "--out", "again.wav")
    assert not errors and (samples("again.wav") == samples("spoken.wav")).all()


def test_another_model_is_a_warning(ok, prompted, make_prompted, tmp_path):
    ok("generate", "--model", prompted, "--seconds", 0.1, "--steps", 2, "--out", "out")
    model = make_prompted(scalars=("tempo",), labels=("kick", "snare"))
    with torch.no_grad():
        next(model.network.parameters()).add_(0.1)
    model.save_pretrained(tmp_path / "other")
    _, (line,) = ok("generate", "--settings", "out/0000.wav", "--model", "other", "--out", "again")
    assert line.startswith("warning: out/0000.wav: was made with another model")


def test_what_is_not_about_the_sound_is_not_loaded(tmp_path, command, prompted, monkeypatch):
    """A file of anybody neither replaces files, nor names them, nor says where to compute or what to download."""
    monkeypatch.chdir(tmp_path)
    entries = {
        "command": "audiodiff generate",
        "steps": 1,
        "seconds": 0.1,
        "overwrite": True,
        "name": "x",
        "workers": 9,
    }
    entries |= {"executor": "ray", "address": "ray://host:1", "folders": {"00": "someone/model"}, "batch_memory": 1e-9}
    (tmp_path / "s.json").write_text(json.dumps(entries))
    words = ["generate", "--settings", "s.json", "--model", prompted, "--out", "out"]
    for skipped in ("0 skipped", "1 skipped"):
        status, out, _ = command(*words)
        assert status == 0 and skipped in out[0] and (tmp_path / "out" / "0000.wav").is_file()
    (tmp_path / "s.json").write_text(json.dumps(entries | {"model_hash": "00"}))
    assert command(*words[:3], "--out", "out")[0] == 1
    assert SavedSettings(tmp_path / "s.json", read_settings(tmp_path / "s.json")).find("00") is None


@pytest.mark.parametrize(
    "found", [1, [1], [0, 0], [-1, 2], [1, 1], [0, 2, -1], [0.0, 2], [0, 10**9], [0, 2, 3, 4], "ab"]
)
def test_a_place_that_is_none(found):
    with pytest.raises(UserError, match="is no place in a batch"):
        BatchPlace.read({"batch": found}, "file")


def test_a_place_of_mels():
    mels = BatchPlace(1, 3, 7).mels(mel := torch.arange(6.0).reshape(2, 3))
    assert [one.shape[-1] for one in mels] == [7, 3, 7] and mels[1] is mel
    assert mels[0][:, 3:6].equal(mel) and BatchPlace(0, 2, 1).mels(mel)[1].equal(mel)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
OPTIONS = {
    name: declared
    for config in (GenerationConfig, SpeechOptions, EditConfig, FileOptions)
    for name, declared in command_options(config).items()
}
KEYS = [*OPTIONS, "command", "model", "model_hash", "vocoder_hash", "lexicon", "text", "folders", "input", "input_hash"]
KEYS += ["clip_seed", "morph_clip_seed", "batch", "count", "precision", "phonemes", "output_rate"]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8), st.sampled_from(list(ACCEPTED)))
def test_any_json_is_settings_or_one_line(entries, verb):
    saved = SavedSettings(Path("a.wav.json"), entries)
    asked = [lambda: saved.check(verb, OPTIONS), lambda: saved.batch, lambda: saved.text, saved.model]
    asked += [lambda name=name, declared=declared: saved.value(name, declared) for name, declared in OPTIONS.items()]
    asked += [lambda name=name: saved.plain(name) for name in ("count", "variations", "precision", "phonemes", "model")]
    for ask in [*asked, lambda: (saved.clip_seed, saved.morph_clip_seed, saved.inputs)]:
        try:
            ask()
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("clip_seed", [-5, 10**30])
def test_any_number_is_a_seed_of_noise(ok, prompted, clip_seed, tmp_path):
    entries = {"command": "audiodiff generate", "steps": 1, "seconds": 0.1, "clip_seed": clip_seed}
    (tmp_path / "s.json").write_text(json.dumps(entries))
    ok("generate", "--settings", "s.json", "--model", prompted, "--out", "out")
    assert read_metadata("out/0000.wav")["clip_seed"] == clip_seed
