"""Batches that do not fit in memory are refused before they are begun."""

import re

import pytest
import torch
from tiny_models import make_model

from audiodiff.audio.io import write
from audiodiff.errors import UserError
from audiodiff.pipelines import memory
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.rendering.inputs import find_inputs
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.render import render

CPU = torch.device("cpu")


@pytest.fixture
def leave(monkeypatch):
    """`leave(network, clips, samples)`: as much memory is free as so many clips take."""

    def set_free(network, clips, samples):
        monkeypatch.setattr(memory, "free", lambda device: clips * memory.needed(network, samples))

    return set_free


def test_a_batch_is_refused_with_what_it_takes_what_there_is_and_what_fits(leave, vocoder):
    mels = [torch.full((80, 40), -5.0)] * 3
    leave(vocoder.model.network, 3, 40 * 256)
    assert len(vocoder.generate(mels, 1)) == 3
    leave(vocoder.model.network, 2, 40 * 256)
    with pytest.raises(UserError, match=r"a batch of 3 clips of 1 s: takes at least 0.0 GB.*--batch-size 2"):
        vocoder.generate(mels, 1)
    leave(vocoder.model.network, 0, 40 * 256)
    with pytest.raises(UserError, match=r"a batch of 1 clip of 1 s: .*use shorter clips"):
        vocoder.generate(mels[0], 1)


def test_generators_refuse_as_well(leave, make_music):
    generator = AudioGenerator(make_music().eval())
    leave(generator.model.network, 2, 1600)
    assert generator.generate(count=2, steps=1).samples.shape[0] == 2
    with pytest.raises(memory.DoesNotFit, match="--batch-size 2"):
        generator.generate(count=3, steps=1)


def test_rendering_goes_on_clip_by_clip_and_names_the_clip_that_does_not_fit(leave, vocoder, recording, tmp_path):
    for name, samples in (("a", 4096), ("b", 4096), ("long", 40960)):
        write(tmp_path / "in" / f"{name}.wav", recording(samples))
    leave(vocoder.model.network, 2, 4096)
    errors = []
    inputs = find_inputs([tmp_path / "in"], tmp_path / "out", errors.append)
    files, options = FileOptions(batch_size=3), SynthesisOptions(steps=1)
    with pytest.warns(UserWarning, match="a batch of 3 clips.*rendering it clip by clip"):
        outcome = render(vocoder, inputs, tmp_path / "out", options, errors.append, files, quiet=True)
    assert (outcome.written, outcome.failed) == (2, 1)
    assert str(errors[0]).startswith(f"{tmp_path / 'in/long.wav'}: takes at least") and "shorter" in str(errors[0])


def test_the_estimate_grows_with_the_length(vocoder):
    short, long = (memory.needed(vocoder.model.network, samples) for samples in (16000, 160000))
    assert 9 < long / short < 10.5
    assert memory.needed(make_model("strided").network, 16000) > 16000 * 4


def test_what_is_free_is_the_less_of_machine_and_container(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert memory.free(CPU) is None and memory.free(torch.device("meta")) is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    500 kB\n")
    assert memory.free(CPU) == 512000
    for name, text in (
        ("memory.max", "max\n"),
        ("memory.current", "300000\n"),
        ("memory.stat", "active_file 20000\ninactive_file 30000\n"),
    ):
        (tmp_path / name).write_text(text)
    assert memory.free(CPU) == 512000
    (tmp_path / "memory.max").write_text("400000\n")
    assert memory.free(CPU) == 150000
    (tmp_path / "meminfo").write_text("nothing")
    (tmp_path / "memory.max").write_text("nothing")
    assert memory.free(CPU) is None


def test_memory_of_this_machine_is_found():
    found = memory.free(CPU)
    assert found is None or found > 2**20
    assert re.match(r"a batch of 1000000 clips of 60 s: takes at least [\d.]+ GB of memory, ", refuse(found))


def refuse(found):
    if found is None:
        pytest.skip("unknown here")
    with pytest.raises(UserError) as refused:
        memory.check(make_model().network, 10**6, 60 * 16000, 16000, CPU)
    return str(refused.value)
