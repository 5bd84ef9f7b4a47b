"""What users of other generators complain of: lengths, schedules lost with a checkpoint, prompts that are ignored."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import as_loaded

from audiodiff.diffusion.schedules.adapted import ShiftedLogSNR
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.audio_model import AudioModel
from audiodiff.pipelines.audio_generator import AudioGenerator

KICK = {"labels": ["kick"], "seed": 1, "steps": 4, "seconds": 0.1}


@pytest.fixture(scope="module")
def generators(make_prompted, make_latent_music):
    return {"waveform": AudioGenerator(make_prompted()), "latent": AudioGenerator(make_latent_music(1))}


@pytest.mark.parametrize("kind", ["waveform", "latent"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.floats(0.002, 0.4), guided=st.booleans())
def test_the_length_asked_for_is_the_length_made(generators, kind, seconds, guided):
    """To the sample, shorter and longer than the training clips, guided or not."""
    words = {"prompt": "rain:0.5 | bell:0.5", "guidance_scale": 2.0} if guided and kind == "waveform" else {}
    audio = generators[kind].generate(count=2, seconds=seconds, steps=1, **words)
    assert audio.samples.shape[-1] == round(seconds * 8000)
    assert audio.samples.isfinite().all()


def test_a_shift_of_the_schedule_is_stored_and_used(make_music, tmp_path):
    arguments = make_music(1).arguments()
    clips = {}
    for shift in (-2.0, 0.0, 1.5):
        model = AudioModel(**arguments | {"schedule": ShiftedLogSNR(Cosine(), shift)}).eval()
        model.save_pretrained(tmp_path / str(shift))
        loaded = AudioGenerator.from_pretrained(tmp_path / str(shift))
        assert checkpoint.describe(loaded.model.schedule) == checkpoint.describe(model.schedule)
        assert loaded.model.schedule.level(0.5).log_snr == pytest.approx(Cosine().level(0.5).log_snr + shift)
        clips[shift] = loaded.generate(**KICK).samples
        assert torch.equal(clips[shift], AudioGenerator(as_loaded(model)).generate(**KICK).samples)
    assert not any(torch.allclose(clips[a], clips[b], atol=1e-3) for a, b in ((-2.0, 0.0), (0.0, 1.5)))


def test_another_word_is_another_sound_however_it_is_asked_for(generators):
    """A prompt is never dropped on the way: in batches, in windows, in loops and with guidance."""
    generator = generators["waveform"]
    every = {"count": 3}, {"seconds": 0.5}, {"loop": True}, {"guidance_scale": 3.0}, {"sampler": "dpmpp_2m"}
    for options in ({}, *every):
        words = {"seconds": 0.1, "steps": 2, "seed": 4} | options
        rain, bell = (generator.generate(prompt=prompt, **words).samples for prompt in ("rain", "bell"))
        assert not torch.allclose(rain, bell, atol=1e-3)


def test_a_prompt_beyond_what_is_read_is_one_line(generators):
    with pytest.raises(UserError, match="10001 characters") as error:
        generators["waveform"].generate(prompt="a" * 10_001, seconds=0.1, steps=1)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200
