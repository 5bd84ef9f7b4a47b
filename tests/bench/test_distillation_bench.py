"""Scores of students: classes by a linear discriminant, and the plot."""

import distillation
import guidance_distillation
import numpy as np
import pytest
import sound_distillation
import speech_distillation
from hydra.utils import get_class

from audiodiff import config


def test_the_discriminant_is_bayes_rule_of_gaussians_of_one_covariance():
    rng = np.random.default_rng(0)
    shape = np.array([[1.0, 0.9], [0.9, 1.0]])
    means = {"low": (0.0, 0.0), "high": (1.0, -1.0)}  # apart where the covariance is narrow
    points = {name: rng.multivariate_normal(mean, shape, 400) for name, mean in means.items()}
    labels = [name for name, some in points.items() for _ in some]
    found = distillation.Discriminant(np.concatenate(list(points.values())), labels)
    fresh = rng.multivariate_normal(means["low"], shape, 400)
    assert np.mean([name == "low" for name in found(fresh)]) > 0.97


def test_variety_is_the_mean_distance_of_pairs():
    assert distillation.spread(np.array([[0.0], [3.0], [6.0]])) == pytest.approx(4.0)


def test_the_plot_has_a_line_for_each_method(tmp_path):
    results = {("teacher", 1): 9.0, ("teacher", 2): 6.0, ("progressive", 1): 7.0, ("progressive", 2): 5.0}
    distillation.draw(results, 4.0, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_another_student_has_a_name_and_steps():
    assert distillation._beside("progressive, 7 minutes:2=runs/a=b") == ("progressive, 7 minutes", 2, "runs/a=b")


def test_every_method_has_a_recipe():
    assert {recipe for recipe, _ in distillation.METHODS.values()} <= set(config.recipes())


RUNS = {
    f"{subject}, {method}": words
    for subject, methods in {
        **{name: subject.methods for name, subject in speech_distillation.SUBJECTS.items()},
        "sounds": sound_distillation.METHODS,
    }.items()
    for method, (words, _) in methods.items()
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_of_voices_vocoders_and_sounds_have_the_sampler_of_their_task(name):
    cfg = config.compose([*RUNS[name], "folder=runs", "resume=null", "init_from=teacher", "data.workers=0"])
    assert get_class(cfg.task._target_).SAMPLER in (cfg.sampler.name, None)
    assert cfg.task.get("steps", cfg.sampler.steps) and cfg.lr_schedule.warmup_steps == 20


def test_the_student_of_guidance_knows_the_scales_that_it_is_scored_at():
    cfg = config.compose([*guidance_distillation.WORDS, "folder=runs", "resume=null"])
    guidance = cfg.model.conditioners.guidance
    assert all(guidance.lowest <= scale <= guidance.highest for scale in guidance_distillation.SCALES)
