"""A condition that is one module and an entry in the registry: data, training, checkpoint, errors, command line."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audiodiff import config, train
from audiodiff.audio import io
from audiodiff.cli import build as application
from audiodiff.conditioners.conditioner import Crop, without_weights
from audiodiff.conditioners.reference import Reference
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_generator import AudioGenerator

TONE = io.Audio(0.2 * (torch.arange(8000) / 5).sin(), 8000)
NOISE = io.Audio(0.1 * torch.randn(3, generator=torch.Generator().manual_seed(0)).repeat(2000), 22050)


def test_embeddings_are_of_the_spectrum_and_not_of_the_level():
    reference = Reference(seconds=0.5, embedding=16)
    clips = (TONE, io.Audio(2 * TONE.samples, 8000), NOISE, None)
    batch = {"reference": reference.collate([reference.parse({"reference": clip}) for clip in clips])}
    tone, louder, noise, none = reference(batch).global_embedding
    torch.testing.assert_close(tone, louder, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(tone, noise, atol=1e-2) and not none.any()
    dropped = reference.drop(batch["reference"], torch.ones(4) > 0, 0.0, SimpleNamespace(uniform=torch.rand))
    assert not reference({"reference": dropped}).global_embedding.any()


def test_clips_that_are_refused():
    for clip in (io.Audio(torch.zeros(800), 8000), io.Audio(torch.ones(2, 2, 9), 8000), "clip.wav"):
        with pytest.raises(UserError, match=r"^reference: "):
            Reference().parse({"reference": clip})


def test_windows_cover_a_clip_of_any_length():
    reference = Reference(seconds=0.5)
    short = io.Audio(TONE.samples[:2000], 8000)
    assert torch.equal(reference.windows(short), reference.parse({"reference": short})[None])
    ramp = io.Audio(torch.linspace(1, 2, 16000 * 2 + 1600), 16000)  # 2.1 s: five windows that overlap a little
    first, *_, last = windows = reference.windows(ramp)
    assert windows.shape == (5, 8000)
    assert first[-1] / first[0] == pytest.approx(1 + 8000 / 33600, rel=1e-3)
    assert last[-1] / last[0] == pytest.approx(2 / (2 - 8000 / 33600), rel=1e-3)
    assert len(reference.windows(io.Audio(torch.ones(100 * 8000), 8000))) == 10


def test_silent_windows_are_left_out():
    reference, silence = Reference(seconds=0.5), torch.zeros(8000)
    windows = reference.windows(io.Audio(torch.cat([silence, TONE.samples, silence]), 8000))
    assert len(windows) == 2 and windows.isfinite().all()
    for clip in (io.Audio(silence, 8000), io.Audio(torch.ones(2, 2, 9), 8000), "clip.wav"):
        with pytest.raises(UserError, match=r"^reference: "):
            reference.windows(clip)


def test_training_references_are_other_crops_of_the_recording():
    recording = torch.cat([torch.full((16000,), 0.1), torch.full((16000,), -0.1)])
    (reference,) = without_weights([Reference(seconds=0.25)])

    def reference_of(seed):
        random = np.random.default_rng(seed)
        return reference.from_crop(
            Crop(None, 0, 9, 32000, 16000, lambda start, samples: recording[start:][:samples], random)
        )

    signs = {float(reference_of(seed)[0].sign()) for seed in range(12)}
    assert signs == {1.0, -1.0} and reference_of(0).shape == (4000,)
    assert torch.equal(reference_of(3), reference_of(3))


def test_it_is_trained_saved_and_requested(tmp_path):
    words = ["+recipe=drums", "debug=smoke", "network.channels=[8]", "network.blocks=[1]", "callbacks.samples.clips=1"]
    words += ["+model.conditioners.reference._target_=audiodiff.conditioners.reference.Reference"]
    words += ["+model.conditioners.reference.seconds=0.25", f'folder="{tmp_path}"', "task.spectrum_crops=4"]
    assert math.isfinite(train.run(config.compose(words), tmp_path))
    generator = AudioGenerator.from_pretrained(tmp_path / "model")
    assert list(generator.model.condition_options()) == ["labels", "reference"]
    for parameter in generator.model.network.parameters():  # two steps leave next to nothing of what is zero at first
        torch.nn.init.normal_(parameter, std=0.05)
    options = {"steps": 2, "seconds": 0.1, "guidance_scale": 2.0}
    one, other = (generator.generate(**options, reference=clip).samples for clip in (TONE, NOISE))
    assert one.isfinite().all() and not torch.equal(one, other)
    with pytest.raises(UserError, match=r"tempo 120.*reference"):
        generator.generate(tempo=120)
    io.write(tmp_path / "tone.wav", TONE)
    words = ["generate", "--model", tmp_path / "model", "--out", tmp_path / "out", "--steps", "2", "--seconds", "0.1"]
    application()([*map(str, words), "--reference", str(tmp_path / "tone.wav")], standalone_mode=False)
    sidecar = json.loads((tmp_path / "out" / "0000.wav.json").read_text())
    assert len(sidecar["reference"]) == 64 and sidecar["tempo"] is None
