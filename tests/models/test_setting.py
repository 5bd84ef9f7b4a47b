"""Named settings of a vocoder: their values, their place in a checkpoint, and those of earlier checkpoints."""

import json
import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.samplers.presets import NAMES, PRESETS
from audiodiff.errors import UserError
from audiodiff.models.old_names import update_model
from audiodiff.models.setting import Setting, change_setting, find_setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.pipelines.vocoder import Vocoder

FAST, GOOD = Setting("fast", 1, "ddim", 2), Setting("good", 4, "v_3m", 8)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "two words"}, "setting 'two words': must be letters"),
        ({"name": "-x"}, "setting '-x'"),
        ({"steps": 0}, "steps 0: must be 1 to"),
        ({"steps": 2, "sampler": "v_3m"}, "v_3m needs at least 3"),
        ({"sampler": "magic"}, "sampler 'magic': is unknown"),
        ({"consistency": 1001}, "consistency 1001: must be 0 to 1000"),
    ],
)
def test_bad_values_are_refused_in_one_line(values, words):
    with pytest.raises(UserError, match=words) as error:
        Setting(**values)
    assert "\n" not in str(error.value)


@hypothesis_settings(deadline=None)
@given(
    name=st.text(max_size=50), steps=st.integers(-3, 20), sampler=st.sampled_from(NAMES), count=st.integers(-3, 2000)
)
def test_a_setting_is_built_exactly_if_all_its_values_are_valid(name, steps, sampler, count):
    named = re.fullmatch(r"[A-Za-z][\w-]{0,39}", name) is not None
    valid = named and steps >= PRESETS[sampler].min_nfe and 0 <= count <= 1000
    try:
        assert Setting(name, steps, sampler, count).name == name and valid
    except UserError:
        assert not valid


def test_settings_are_found_by_name_and_the_first_is_the_default():
    assert find_setting([FAST, GOOD], None) is FAST and find_setting([FAST, GOOD], "good") is GOOD
    with pytest.raises(UserError, match=r"setting 'god': .*did you mean good.*choose fast or good"):
        find_setting([FAST, GOOD], "god")
    with pytest.raises(UserError, match="leave it out: the model has one setting, default"):
        find_setting([Setting()], "fast")


def test_a_setting_is_added_changed_or_moved_to_the_front():
    faster = change_setting([FAST, GOOD], "fast", consistency=0)
    assert faster == [Setting("fast", 1, "ddim", 0), GOOD]
    assert change_setting([FAST, GOOD], "best", consistency=64) == [FAST, GOOD, Setting("best", 1, "ddim", 64)]
    assert change_setting([FAST, GOOD], "good", default=True) == [GOOD, FAST]
    unnamed = Setting(steps=6, sampler="ddim")
    assert change_setting([unnamed], "fast", default=True, steps=1) == [Setting("fast", 1, "ddim", 32)]
    assert change_setting([unnamed], "fast", steps=1) == [unnamed, Setting("fast", 1, "ddim", 32)]


def test_settings_survive_a_checkpoint(tiny, tmp_path):
    tiny(settings=[FAST, GOOD]).save_pretrained(tmp_path)
    found = VocoderModel.from_pretrained(tmp_path)
    assert found.settings == (FAST, GOOD)
    assert (found.sampler, found.default_steps, found.consistency) == ("ddim", 1, 2)


@pytest.mark.parametrize(
    ("validated", "sampler", "steps"),
    [
        (None, "dpmpp_2m", 6),
        ([1, 4], "dpmpp_2m", 4),
        ([10, 200], "dpmpp_2m", 10),
        ([4, 8], "dpmpp_2m", 6),
        ([1, 2], "dpmpp_3m", 3),  # as many as this sampler needs
    ],
)
def test_a_checkpoint_without_settings_has_one(tiny, tmp_path, validated, sampler, steps):
    tiny(settings=[GOOD], validated=validated).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model"]["settings"]
    config["model"] |= {"sampler": sampler, "consistency": 7}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert VocoderModel.from_pretrained(tmp_path).settings == (Setting("default", steps, sampler, 7),)
    assert "settings" not in update_model("audio", {"sampler": "ddim"})[1]


def test_a_setting_stands_for_its_values_and_options_override_it(tiny, recording):
    vocoder = Vocoder(tiny(settings=[FAST, GOOD]))
    mel = vocoder.mel(recording(2000))
    make = partial(vocoder.generate, mel, seed=3)
    for setting, values in (
        (None, {"steps": 1, "sampler": "ddim", "consistency": 2}),
        ("good", {"steps": 4, "sampler": "v_3m", "consistency": 8}),
    ):
        assert make(setting=setting).samples.equal(make(**values).samples)
    assert make(5, setting="good").samples.equal(make(5, sampler="v_3m", consistency=8).samples)
    assert not make(setting="good").samples.equal(make().samples)
    complete = vocoder.complete(SynthesisOptions(setting="good", consistency=0))
    assert complete == SynthesisOptions(setting="good", steps=4, sampler="v_3m", consistency=0)
    for call in (make, lambda **options: vocoder.stream([mel], **options)):
        with pytest.raises(UserError, match=r"setting 'best'.*choose fast or good"):
            call(setting="best")


def test_streams_take_a_setting(tiny, recording):
    vocoder = Vocoder(tiny(settings=[FAST, GOOD]))
    mel = vocoder.mel(recording(3000))
    for options in ({}, {"look_ahead": 0.1}):
        named, by_values = (
            [audio.samples for audio in vocoder.stream([mel], **options, **choice)]
            for choice in ({"setting": "good"}, {"steps": 4, "sampler": "v_3m", "consistency": 8})
        )
        assert all(one.equal(other) for one, other in zip(named, by_values, strict=True))


def test_a_setting_samples_on_the_grid_that_is_stored_for_it(tiny):
    times = (1.0, 0.8, 0.5, 0.2, 0.0)
    model = tiny(settings=[FAST, GOOD], grids=[StoredGrid("v_3m", 4, times)])
    assert model.sampler_for(GOOD.steps, GOOD.sampler).grid.tolist() == list(times)
