"""The comparison of compressed models."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import sound

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.evaluation import compression
from audiodiff.evaluation.compression import Version
from audiodiff.evaluation.held_out import Settings

RATE = 16000


@pytest.fixture
def data(tmp_path):
    soundfile.write(tmp_path / "0.flac", sound(RATE).samples.numpy(), RATE)
    clip = Clip("c/0", "0.flac", 1.0, RATE, split="test", license="CC0-1.0")
    return Manifest((clip,), tmp_path)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield torch.get_num_threads
    torch.set_num_threads(before)


def test_all_of_the_table_is_measured_on_one_thread(monkeypatch, model_folder, data, threads):
    counts = []

    def synthesize(vocoders, held_out, steps):
        counts.append(threads())
        shape = len(vocoders), len(held_out.inputs)
        return np.ones(shape), {name: np.ones(shape) for name in compression.SCORED}

    monkeypatch.setattr(compression, "_synthesize", synthesize)
    table = compression.compare([Version("a", model_folder)], data, Settings(steps=2))
    assert "| a |" in table and counts == [1] and threads() == 2
