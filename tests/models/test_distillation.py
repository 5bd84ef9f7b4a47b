"""What a student states, and how it may be sampled."""

import warnings

import pytest

from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.distillation import FIRST_ORDER, METHODS, Distillation


@pytest.fixture
def student(make_music):
    return make_music(1, sampler="consistency", distillation=Distillation("consistency", (4, 1, 2), "consistency"))


def test_its_own_steps_and_sampler_are_silent(student):
    with warnings.catch_warnings(action="error"):
        for steps in (1, 2, 4):
            assert student.sampler_for(steps).nfe == steps
    assert student.default_steps == 4 and student.distillation.steps == (1, 2, 4)


def test_other_steps_and_other_samplers_of_first_order_are_a_warning(student):
    with pytest.warns(UserWarning, match="steps 8: the model is distilled for 1 or 2 or 4"):
        student.sampler_for(8)
    with pytest.warns(UserWarning, match="sampler ddim: the model is distilled for consistency"):
        student.sampler_for(2, "ddim")


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "v_3m", "heun", "recommended"])
def test_samplers_that_combine_estimates_are_refused(student, sampler):
    with pytest.raises(UserError, match=f"sampler .*combines estimates.*choose {student.sampler}") as caught:
        student.sampler_for(4, sampler)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_no_student_takes_any(make_music):
    with warnings.catch_warnings(action="error"):
        assert make_music(1).sampler_for(7, "dpmpp_2m").nfe == 7


def test_it_is_saved_and_loaded(student, tmp_path):
    student.save_pretrained(tmp_path)
    assert AudioModel.from_pretrained(tmp_path).distillation == student.distillation
    assert str(student.distillation) == "consistency, 1 or 2 or 4 steps of consistency"
    assert str(Distillation("progressive", (1,))) == "progressive, 1 step of ddim"


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [(("magic", (1,)), "distillation 'magic'"), (("energy", ()), "steps"), (("energy", (0,)), "steps"),
     (("energy", (20000,)), "steps"), (("energy", (1,), "heun"), "sampler 'heun'")],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(arguments, subject):
    with pytest.raises(UserError, match=subject) as caught:
        Distillation(*arguments)
    assert "\n" not in str(caught.value)


def test_every_method_and_sampler_can_be_stated():
    assert {Distillation(method, (1,), sampler).method for method in METHODS for sampler in FIRST_ORDER} == set(METHODS)
