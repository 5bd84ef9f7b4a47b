"""The configuration of a run that goes on training a checkpoint."""

import pytest
from tiny_models import make_acoustic, make_model

from audiodiff import fine_tuning, schema
from audiodiff.audio.mel import PRESETS
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.nn.pitch import PitchNetwork


def describe(model):
    return {name: checkpoint.describe(getattr(model, name)) for name in model.ARGUMENTS}


def check(model, folder="model"):
    composed = fine_tuning.configuration(model, folder, ["here", "there"], "run", 1.5)
    schema.check(composed)
    assert describe(schema.build(composed, "model")) == describe(model)
    assert list(composed.data.path) == ["here", "there"]
    assert composed.trainer.max_time == {"seconds": 90}
    return composed


def test_a_vocoder_is_tuned_as_it_was_trained_last():
    spec = PRESETS["speech_16k"]
    excitation = HarmonicExcitation(PitchNetwork(spec.n_mels, channels=8, blocks=1), spec)
    model = make_model(conditioners=[excitation], grids=[StoredGrid("ddim", 2, [0.9, 0.4, 0.0])])
    composed = check(model)
    assert composed.task._target_.endswith("VocoderTask") and composed.data.sample_rate == 16000
    assert check(model.with_arguments(validated=(1, 4))).task._target_.endswith("FewStepTask")
    assert check(model.with_arguments(validated=(4, 8))).task._target_.endswith("VocoderTask")  # by a fit of grids


def test_a_generator_has_the_labels_and_lengths_of_its_model(make_music, make_latent_music):
    composed = check(make_music(scalars=("tempo",)))
    data = composed.data
    assert (data.crop_samples, data.channels, list(data.labels), list(data.scalars)) == (
        1600,
        2,
        ["kick", "snare"],
        ["tempo"],
    )
    assert check(make_latent_music()).data.codec == "model"


def test_other_types_are_refused():
    with pytest.raises(UserError, match="type acoustic; choose a model of type vocoder or audio"):
        fine_tuning.configuration(make_acoustic(), "voice", ["here"], "run", 1)
