"""Rendering in bulk: the same files whatever the batch, the order and the interruptions."""

import errno
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from audiodiff.audio import io, writing
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.file import save_mel
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.rendering.inputs import RenderInput, find_inputs
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.render import render
from audiodiff.rendering.sidecar import sidecar_path

SPEC = PRESETS["speech_16k"]
LENGTHS = {"a": 900, "sub/b": 3000, "sub/c": 5000, "d": 2600}


@pytest.fixture
def inputs(tmp_path, recording, vocoder):
    root = tmp_path / "in"
    for i, (name, samples) in enumerate(LENGTHS.items()):
        io.write(root / f"{name}.wav", recording(samples, seed=i))
    save_mel(root / "sub" / "m.safetensors", vocoder.mel(recording(4000, seed=9)), SPEC)
    return root


# Every sampler that can do with two network calls and any model.
TWO_CALLS = [name for name, preset in presets.PRESETS.items() if preset.min_nfe <= 2 and name != "ddpm_learned"]


def split(settings: dict) -> dict:
    """Settings by the argument of `render` that takes them."""
    files = {name: settings.pop(name) for name in ("batch_size", "format", "overwrite") if name in settings}
    return {"options": SynthesisOptions(**settings), "files": FileOptions(**files)}


@pytest.fixture
def go(vocoder, inputs, tmp_path):
    """`go(out="out", shuffle=None, inputs=inputs, vocoder=vocoder, **settings)` -> (outcome, reported lines)."""

    def run(out="out", shuffle=None, inputs=inputs, vocoder=vocoder, **settings):
        lines = []

        def report(error):
            lines.append(str(error))

        sources = find_inputs([inputs], tmp_path / out, report)
        if shuffle is not None:
            random.Random(shuffle).shuffle(sources)
        return render(
            vocoder, sources, tmp_path / out, report=report, quiet=True, **split({"steps": 2} | settings)
        ), lines

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def audio(folder: Path) -> dict[str, np.ndarray]:
    return {name: io.read(folder / name).samples.numpy() for name in files(folder) if not name.endswith(".json")}


def equal(one: Path, other: Path) -> bool:
    """Same files; samples within the batch's 1e-4 of peak and one step of 16 bits."""
    left, right = audio(one), audio(other)
    return left.keys() == right.keys() and all(
        left[name].shape == right[name].shape
        and np.abs(left[name] - right[name]).max() <= 1e-4 * np.abs(left[name]).max() + 1.01 / 32768
        for name in left
    )


def counts(outcome) -> tuple[int, int, int]:
    return outcome.written, outcome.skipped, outcome.failed


@pytest.mark.parametrize("sampler", TWO_CALLS)
def test_batch_order_and_interruption_leave_no_trace(go, tmp_path, monkeypatch, sampler):
    assert counts(go("together", sampler=sampler)[0]) == (5, 0, 0)
    go("alone", sampler=sampler, batch_size=1)
    go("shuffled", sampler=sampler, batch_size=2, shuffle=1)
    generate, left = Vocoder.generate, [2]

    def interrupted(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return generate(*arguments, **options)

    monkeypatch.setattr(Vocoder, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go("resumed", sampler=sampler, batch_size=1, shuffle=2)
    monkeypatch.undo()
    done = files(tmp_path / "resumed")
    assert len(done) == 4
    assert counts(go("resumed", sampler=sampler)[0]) == (3, 2, 0)
    assert done.items() <= files(tmp_path / "resumed").items()
    for name in ("alone", "shuffled", "resumed"):
        assert equal(tmp_path / "together", tmp_path / name)


def test_a_clip_is_what_its_vocoder_makes_with_its_own_seed(go, inputs, tmp_path, vocoder):
    go(seed=3, steps=3, consistency=2, sampler="ddim")
    recording = io.read(inputs / "sub" / "b.wav")
    seed = clip_seed(3, "sub/b")
    expected = vocoder.resynthesize(recording, 3, clip_seeds=[seed], sampler="ddim", consistency=2).samples
    made = io.read(tmp_path / "out" / "sub" / "b.wav").samples
    assert len(made) == LENGTHS["sub/b"]
    assert (made - expected.clamp(-1, 1)).abs().max() <= 1e-4 * expected.abs().max() + 1.01 / 32768
    told = json.loads(sidecar_path(tmp_path / "out" / "sub" / "b.wav").read_text())
    assert told["clip_seed"] == seed and told["seed"] == 3
    assert (told["sampler"], told["steps"], told["consistency"]) == ("ddim", 3, 2) and told["setting"] == "default"
    assert told["model_hash"] == vocoder.model_hash and told["mel_spec"] == SPEC.to_dict()
    assert told["seconds"] == LENGTHS["sub/b"] / 16000 and told["samples"] == LENGTHS["sub/b"]
    assert told["real_time_factor"] > 0


def test_lengths_are_the_inputs(go, tmp_path):
    go()
    lengths = {name: len(samples) for name, samples in audio(tmp_path / "out").items()}
    assert lengths == {f"{name}.wav": samples for name, samples in LENGTHS.items()} | {"sub/m.wav": 16 * 256}


def test_what_is_there_is_left_alone(go, tmp_path):
    go()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*")}
    assert counts(go()[0]) == (0, 5, 0)
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*")}
    assert counts(go(overwrite=True)[0]) == (5, 0, 0)


def test_what_is_there_is_not_decoded_again(go, monkeypatch):
    go()
    monkeypatch.setattr(RenderInput, "frames", lambda *_: pytest.fail("the file is opened for its length"))
    assert counts(go()[0]) == (0, 5, 0)


def test_a_clip_whose_length_cannot_be_read_counts_once(go, tmp_path, monkeypatch):
    go()
    for sidecar in (tmp_path / "out").rglob("*.json"):
        metadata = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps(metadata | {"frames": None}))

    def refuse(source, *_):
        raise UserError(source.path, "is damaged")

    monkeypatch.setattr(RenderInput, "frames", refuse)
    assert counts(go()[0]) == (0, 0, 5)


@pytest.mark.parametrize("frames", [None, "many"])
def test_a_sidecar_that_lacks_its_frames_will_do(go, tmp_path, frames):
    go()
    for sidecar in (tmp_path / "out").rglob("*.json"):
        metadata = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps(metadata | {"frames": frames}))
    assert counts(go()[0]) == (0, 5, 0)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"steps": 3}, {"sampler": "ddpm"}, {"consistency": 1}],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_are_refused_unless_overwritten(go, tmp_path, change):
    go()
    before = files(tmp_path / "out")
    with pytest.raises(UserError, match=rf"another {next(iter(change))} .*--overwrite"):
        go(**change)
    assert files(tmp_path / "out") == before
    assert counts(go(overwrite=True, **change)[0]) == (5, 0, 0)
    assert all(before[name] != content for name, content in files(tmp_path / "out").items())
    assert counts(go(**change)[0]) == (0, 5, 0)


def test_the_models_own_settings_by_name_are_the_same_settings(go, vocoder):
    go()
    assert counts(go(sampler=vocoder.model.sampler, consistency=vocoder.model.consistency)[0]) == (0, 5, 0)
    assert counts(go(setting="default")[0]) == (0, 5, 0)


def test_another_model_is_refused_unless_overwritten(go, vocoder):
    go()
    another = Vocoder(vocoder.model, model_hash="another")
    with pytest.raises(UserError, match="another model hash"):
        go(vocoder=another)
    assert counts(go(vocoder=another, overwrite=True)[0]) == (5, 0, 0)


def test_renderings_of_an_older_version_are_skipped(go, tmp_path):
    """Version 1 called the steps nfe."""
    go()
    for path in (tmp_path / "out").rglob("*.json"):
        entries = json.loads(path.read_text())
        path.write_text(json.dumps(entries | {"version": 1, "nfe": entries.pop("steps")}))
    before = files(tmp_path / "out")
    assert "nfe" in json.loads(before["a.wav.json"])
    assert counts(go()[0]) == (0, 5, 0) and files(tmp_path / "out") == before
    with pytest.raises(UserError, match="another steps"):
        go(steps=1)


def test_another_input_and_a_lost_file_are_rendered_again(go, inputs, tmp_path, recording):
    go()
    io.write(inputs / "a.wav", recording(950, seed=8))
    (tmp_path / "out" / "d.wav").unlink()
    sidecar_path(tmp_path / "out" / "sub" / "c.wav").write_text('{"sidecar": "audiodiff render", "version": 1}')
    assert counts(go()[0]) == (3, 2, 0)
    assert len(io.read(tmp_path / "out" / "a.wav").samples) == 950


def test_formats_stand_side_by_side(go, tmp_path):
    go()
    assert counts(go(format="flac")[0]) == (5, 0, 0)
    made = audio(tmp_path / "out")
    assert len(made) == 10
    # libsndfile rounds to 16 bits differently in the two.
    assert all(np.abs(made[f"{name}.wav"] - made[f"{name}.flac"]).max() < 1.01 / 32768 for name in LENGTHS)


@pytest.mark.parametrize("sidecar", [None, "", "[]", '{"title": "mine"}'])
def test_files_of_others_are_not_overwritten(go, tmp_path, recording, sidecar):
    theirs = tmp_path / "out" / "a.wav"
    io.write(theirs, recording(100))
    if sidecar is not None:
        sidecar_path(theirs).write_text(sidecar)
    before = files(tmp_path / "out")
    outcome, lines = go()
    assert counts(outcome) == (4, 0, 1)
    assert len(lines) == 1 and f"{theirs}: exists and is not from" in lines[0] and "--overwrite" in lines[0]
    assert before.items() <= files(tmp_path / "out").items()
    assert counts(go(overwrite=True)[0]) == (5, 0, 0)
    assert len(io.read(theirs).samples) == LENGTHS["a"]


def test_an_input_is_not_overwritten(vocoder, inputs):
    lines = []
    sources = find_inputs([inputs / "a.wav"], inputs, lines.append)
    before = files(inputs)
    arguments = split({"steps": 1, "overwrite": True})
    outcome = render(vocoder, sources, inputs, report=lines.append, quiet=True, **arguments)
    assert counts(outcome) == (0, 0, 1) and "would be overwritten by its own rendering" in str(lines[0])
    assert files(inputs) == before


def test_one_clip_that_cannot_be_rendered_does_not_cost_its_batch(go, inputs, tmp_path):
    save_mel(inputs / "loud.safetensors", torch.full((80, 10), 300.0), SPEC)
    outcome, lines = go()
    assert counts(outcome) == (5, 0, 1)
    assert len(lines) == 1 and lines[0].startswith(str(inputs / "loud.safetensors"))
    assert not list((tmp_path / "out").glob("loud*"))


def test_a_model_that_answers_nan_is_one_line_a_clip(go, tiny, inputs, tmp_path):
    model = tiny()
    with torch.no_grad():
        model.network.unet.conv_out.bias.fill_(torch.nan)
    outcome, lines = go(vocoder=Vocoder(model))
    assert counts(outcome) == (0, 0, 5)
    assert len(lines) == 5 and all("not finite" in line and "\n" not in line for line in lines)
    assert audio(tmp_path / "out") == {}


def fill_disk(monkeypatch, after: int):
    """No space left for the audio after so many files."""
    left = [after]

    class Full(writing.Disk):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            left[0] -= 1

        def write(self, content):
            if left[0] < 0:
                super().write(content[:10])
                self.error = OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    monkeypatch.setattr(writing, "Disk", Full)


def test_a_full_disk_stops_and_keeps_what_is_done(go, tmp_path, monkeypatch):
    fill_disk(monkeypatch, after=2)
    with pytest.raises(UserError, match="No space left on device") as caught:
        go()
    assert "\n" not in str(caught.value) and ".tmp" not in str(caught.value)
    done = files(tmp_path / "out")
    assert len(done) == 4 and not any(Path(name).name.startswith(".") for name in done)
    monkeypatch.undo()
    assert counts(go()[0]) == (3, 2, 0)
    go("fresh")
    assert equal(tmp_path / "out", tmp_path / "fresh")


def test_a_full_disk_keeps_the_rendering_that_was_to_be_replaced(go, tmp_path, monkeypatch):
    go()
    before = audio(tmp_path / "out")
    fill_disk(monkeypatch, after=0)
    with pytest.raises(UserError):
        go(seed=1, overwrite=True)
    monkeypatch.undo()
    after = audio(tmp_path / "out")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert counts(go(seed=1, overwrite=True)[0]) == (5, 0, 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"consistency": -1}, "consistency -1"),
        ({"format": "mp3"}, "mp3.*wav, flac"),
        ({"steps": 0}, "steps 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(UserError, match=words):
        split(settings)


def test_a_folder_that_was_created_for_nothing_is_removed(vocoder, tmp_path):
    render(vocoder, [], tmp_path / "new", SynthesisOptions(), print, quiet=True)
    assert not (tmp_path / "new").exists()


def test_an_output_folder_that_cannot_be(vocoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/below: .*\(Not a directory\)"):
        render(vocoder, [], tmp_path / "file" / "below", SynthesisOptions(), print, quiet=True)


def test_a_read_only_folder_is_one_line_before_the_work(go, tmp_path, monkeypatch):
    go()
    refused = []
    monkeypatch.setattr("os.access", lambda path, mode: refused.append(path) is not None)
    monkeypatch.setattr(Vocoder, "generate", lambda *_: pytest.fail("the work was done first"))
    with pytest.raises(UserError, match=f"{tmp_path / 'out'}: is read-only"):
        go(seed=1, overwrite=True)
    assert refused == [tmp_path / "out"]
    assert counts(go()[0]) == (0, 5, 0)


@pytest.mark.parametrize("options", [{"sampler": "magic"}, {"sampler": "heun", "steps": 1}], ids=str)
def test_a_sampler_that_cannot_be_is_refused_before_any_work(vocoder, tmp_path, options):
    with pytest.raises(UserError, match=options["sampler"]):
        render(vocoder, [], tmp_path / "out", SynthesisOptions(**options), print, quiet=True)
    assert not (tmp_path / "out").exists()
