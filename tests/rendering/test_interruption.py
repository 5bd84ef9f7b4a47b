"""A run that was stopped anywhere, and given again, writes the bytes of one that was not."""

import pytest

from audiodiff.audio import io
from audiodiff.errors import UserError
from audiodiff.files import folder_lock
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig, SynthesisOptions
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.rendering import generation, jobs, render, sidecar
from audiodiff.rendering.inputs import find_inputs
from audiodiff.rendering.options import FileOptions

CLIPS = 9
OPTIONS = SynthesisOptions(steps=2, consistency=1)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory, tiny, recording):
    """`go(out, **settings)` renders clips of different lengths."""
    vocoder, inputs = Vocoder(tiny()), tmp_path_factory.mktemp("inputs")
    for i in range(CLIPS):
        io.write(inputs / f"{i}.wav", recording(1500 + 700 * i, seed=i))

    def go(out, **settings):
        files = FileOptions(**{"batch_size": 4} | settings)
        outcome = render.render(vocoder, find_inputs([inputs], out, fail), out, OPTIONS, fail, files, quiet=True)
        return outcome.written, outcome.skipped

    go.inputs = inputs
    return go


@pytest.fixture(scope="module")
def generate(make_music):
    """`go(out, **settings)` generates clips."""
    generator = AudioGenerator(make_music())

    def go(out, **settings):
        files = FileOptions(**{"batch_size": 4} | settings)
        outcome = generation.generate(generator, out, GenerationConfig(steps=2), CLIPS, files, quiet=True)
        return outcome.written, outcome.skipped

    return go


@pytest.fixture(params=["renderer", "generate"])
def go(request):
    return request.getfixturevalue(request.param)


def fail(error):
    raise error


def audio(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


def stop_after(monkeypatch, clips: int) -> None:
    """Stop the run when so many clips are stored."""
    store, left = sidecar.write_with_sidecar, [clips]

    def stopping(*arguments):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        store(*arguments)

    monkeypatch.setattr(sidecar, "write_with_sidecar", stopping)


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory):
    """What an uninterrupted run writes."""
    done = {}

    def run(go) -> dict[str, bytes]:
        if go not in done:
            folder = tmp_path_factory.mktemp("whole")
            assert go(folder) == (CLIPS, 0)
            done[go] = audio(folder)
        return done[go]

    return run


@pytest.mark.parametrize("stored", [1, 3, 6])
def test_a_kill_inside_a_batch_leaves_no_trace(go, whole, tmp_path, monkeypatch, stored):
    stop_after(monkeypatch, stored)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path)
    monkeypatch.undo()
    assert len(audio(tmp_path)) == stored
    assert go(tmp_path) == (CLIPS - stored, stored)
    assert audio(tmp_path) == whole(go)


def test_lost_files_come_back_as_they_were(go, whole, tmp_path):
    go(tmp_path)
    for name in list(whole(go))[::4]:
        (tmp_path / name).unlink()
    assert go(tmp_path) == (3, CLIPS - 3)
    assert audio(tmp_path) == whole(go)


def test_finished_batches_are_not_sampled_again(generate, renderer, tmp_path, monkeypatch):
    sampled = []
    for owner, name in ((Vocoder, "generate"), (AudioGenerator, "chunks")):
        method = getattr(owner, name)
        seen = lambda *a, method=method, **k: sampled.append(len(k.get("clip_seeds") or a[2])) or method(*a, **k)  # noqa: E731
        monkeypatch.setattr(owner, name, seen)
    for go, folder in ((renderer, tmp_path / "render"), (generate, tmp_path / "generate")):
        go(folder)
        assert sampled == [4, 4, 1]
        sampled.clear()
        sorted(folder.glob("*.wav"))[1].unlink()
        assert go(folder) == (1, CLIPS - 1)
        assert sampled == [4]  # its batch, whole, and none besides
        sampled.clear()
        assert go(folder) == (0, CLIPS) and sampled == []


def test_an_unreadable_clip_is_left_out_of_its_batch_every_time(renderer, tmp_path, monkeypatch, recording, tiny):
    inputs, lines = tmp_path / "in", []
    for i in range(5):
        io.write(inputs / f"{i}.wav", recording(1500 + 700 * i, seed=i))
    spoiled = bytearray((inputs / "3.wav").read_bytes())
    (inputs / "3.wav").write_bytes(bytes(spoiled[:12]))
    vocoder = Vocoder(tiny())

    def run(out):
        found, files = find_inputs([inputs], out, fail), FileOptions(batch_size=4)
        return render.render(vocoder, found, out, OPTIONS, lines.append, files, quiet=True)

    assert run(tmp_path / "whole").failed == 1
    stop_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts")
    monkeypatch.undo()
    assert run(tmp_path / "parts").failed == 1
    assert audio(tmp_path / "parts") == audio(tmp_path / "whole") and len(audio(tmp_path / "whole")) == 4
    assert len(lines) == 3 and all(line.subject == str(inputs / "3.wav") for line in lines)


def test_batches_are_cut_from_the_whole_list():
    class Clip:
        def __init__(self, number, missing):
            self.number, self.missing = number, missing

    clips = [Clip(i, i in (0, 1, 8)) for i in range(10)]
    found = jobs.unfinished_batches(clips, 4)
    assert [[clip.number for clip in batch] for batch in found] == [[0, 1, 2, 3], [8, 9]]


def test_a_folder_that_another_process_writes_to_is_left_alone(go, tmp_path):
    with folder_lock(tmp_path), pytest.raises(UserError, match=r"is in use by process \d+ on "):
        go(tmp_path)
    assert not list(tmp_path.iterdir())
    assert go(tmp_path) == (CLIPS, 0)
