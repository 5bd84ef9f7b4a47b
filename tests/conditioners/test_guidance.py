"""The guidance scale as a condition."""

import math

import pytest
import torch

from audiodiff.conditioners.guidance import Guidance, guidance_condition
from audiodiff.conditioners.labels import Labels
from audiodiff.conditioners.scalars import Scalars
from audiodiff.diffusion.guidance import ClassifierFree
from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.examples import AudioExamples
from audiodiff.training.module import TrainingModule
from audiodiff.training.tasks.guidance import GuidanceTask
from audiodiff.training.tasks.progressive import ProgressiveTask


def guided(make_music, **options) -> AudioModel:
    """A tiny conditional model with an untrained guidance scale."""
    return make_music(1, **options).with_arguments(
        conditioners=[*make_music(1, **options).conditioners, Guidance(1.0, 4.0, 16)]
    )


def module(model: AudioModel, task) -> TrainingModule:
    training = TrainingModule(model, task, None, None, 0)
    task.examples = AudioExamples()
    task.examples.check = lambda model, data: None
    task.prepare(model, None)
    return training.train()


BATCH = {
    "waveform": torch.randn(3, 1, 1600, generator=torch.Generator().manual_seed(1)),
    "labels": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
}


def test_it_begins_as_its_teacher(make_music):
    model = guided(make_music)
    raw = {"labels": BATCH["labels"]}
    plain = model.embed_condition(raw).global_embedding
    scaled = model.embed_condition(raw | {"guidance": torch.tensor([[1.0], [2.5], [4.0]])}).global_embedding
    assert torch.equal(plain, scaled) and not model.conditioners[-1].trained


def test_scales_are_drawn_from_the_range_and_requested_ones_checked():
    guidance = Guidance(0.5, 3.0, 8)
    drawn = guidance.draw(500, BatchRandom(0))
    assert 0.5 <= float(drawn.min()) < 0.6 and 2.9 < float(drawn.max()) <= 3.0
    assert guidance.parse({}) == 1 and guidance.parse({"guidance_scale": 2}) == 2
    with pytest.raises(UserError, match=r"guidance_scale 3.5: this model is not distilled for it; use 0.5 to 3"):
        guidance.parse({"guidance_scale": 3.5})


def test_what_guidance_steers_away_from_keeps_what_users_do_not_request():
    scalars = Scalars(("seconds", "tempo"), 8)
    kept = scalars.unrequested(torch.tensor([[2.0, 120.0], [1.0, 90.0]]))
    assert kept[:, 0].tolist() == [2.0, 1.0] and kept[:, 1].isnan().all()
    assert not Labels(("a", "b"), 8).unrequested(torch.eye(2)).any()


def test_the_target_is_the_guided_estimate_of_the_teacher(make_music):
    """The exact student of every clip's own scale has no loss: the teacher itself at scale 1, guided elsewhere."""
    model = guided(make_music)
    task = GuidanceTask("teacher", condition_dropout=0.0)
    training = module(model, task)
    student = model.denoiser.forward
    teacher = task.teacher.model

    def exact(x_t, t, cond):
        example = task.example(model, BATCH, training._random("draw 0", 1))
        rows = [
            ClassifierFree(teacher.denoiser, float(scale), row(example.unconditional, k))(
                x_t[k : k + 1], t[k : k + 1], row(example.unguided, k)
            )
            for k, scale in enumerate(example.guidance)
        ]
        return torch.cat(rows)

    def row(condition, k):
        return type(condition)(**{name: one[k : k + 1] for name, one in condition.tensors().items()})

    before = training.compute_loss(BATCH, "draw 0")["loss"].item()
    model.denoiser.forward = exact
    assert training.compute_loss(BATCH, "draw 0")["loss"].item() < 1e-10 < before
    model.denoiser.forward = student


def test_a_linear_student_equals_the_guided_teacher(make_music):
    """Of a teacher that adds a label's vector to x0, u + w (c - u) adds w times the vector: learned for every w."""
    model = guided(make_music)
    task = GuidanceTask("teacher", condition_dropout=0.0, gain=(1.0, 1.0))
    training = module(model, task)
    vector = torch.randn(1, 1, 1600, generator=torch.Generator().manual_seed(2))
    plain = task.teacher.model.conditioners[0](BATCH).global_embedding

    def teacher(x_t, t, cond):
        present = (cond.global_embedding - plain).abs().sum(1) < 1e-5
        return 0.5 * x_t + present[:, None, None] * vector

    task.teacher.model.denoiser.forward = teacher
    factor = torch.zeros(2, requires_grad=True)
    scales = {}
    original = task.example

    def example(*arguments):
        found = original(*arguments)
        scales["w"] = found.guidance
        return found

    task.example = example
    model.denoiser.forward = lambda x_t, t, cond: (
        0.5 * x_t + (factor[0] + factor[1] * scales["w"])[:, None, None] * vector
    )
    optimizer = torch.optim.LBFGS([factor], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = training.compute_loss(BATCH, "draw 0")["loss"]
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(closure)
    assert torch.allclose(factor.detach(), torch.tensor([0.0, 1.0]), atol=1e-3)


def test_a_teacher_that_knows_it_and_a_student_without_it_are_refused(make_music):
    with pytest.raises(UserError, match="has no condition for the guidance scale"):
        module(make_music(1), GuidanceTask("teacher"))
    model = guided(make_music)
    with pytest.raises(UserError, match="the teacher does not know it"):
        module(model, ProgressiveTask("teacher", 4, 1))
    torch.nn.init.normal_(guidance_condition(model.conditioners).embed.project.weight)
    with pytest.raises(UserError, match="is distilled already"):
        module(model, GuidanceTask("teacher"))
    module(model, ProgressiveTask("teacher", 4, 1))


def test_sampling_takes_one_evaluation_a_step_and_the_scale_matters(make_music):
    model = guided(make_music).eval()
    torch.nn.init.normal_(guidance_condition(model.conditioners).embed.project.weight)
    generator, seen = AudioGenerator(model), []
    model.network.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))

    def clip(**options):
        return generator.generate(labels=["kick"], steps=2, sampler="ddim", seed=1, **options).samples

    one, three = clip(), clip(guidance_scale=3)
    assert seen == [1, 1, 1, 1] and not torch.allclose(one, three)
    assert torch.equal(clip(guidance_scale=1), one)


@pytest.mark.parametrize(
    ("options", "subject"),
    [({"guidance_scale": 9}, "guidance_scale 9"), ({"guidance_rescale": 0.5}, "guidance_rescale"),
     ({"guidance_interval": "-1:2"}, "guidance_interval")],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_in_one_line(make_music, options, subject):
    generator = AudioGenerator(guided(make_music).eval())
    with pytest.raises(UserError, match=subject) as caught:
        generator.generate(labels=["kick"], steps=2, **{"guidance_scale": 2} | options)
    assert "\n" not in str(caught.value)


def test_what_is_stored_beside_the_scale_is_not_refused(make_music):
    """Rescaling and an interval are the teacher's, which the student has learned; its sidecar can be used again."""
    model = guided(make_music).eval()
    torch.nn.init.normal_(guidance_condition(model.conditioners).embed.project.weight)
    options = {"labels": ["kick"], "steps": 2, "sampler": "ddim", "seed": 1}
    expected = AudioGenerator(model).generate(**options, guidance_scale=3)
    stored = AudioGenerator(model.with_arguments(guidance=GuidanceSetting(3.0, 0.7, -4.0, 4.0)))
    assert torch.equal(stored.generate(**options).samples, expected.samples)
    record = stored.settings(GenerationConfig(steps=2, conditions={"labels": ("kick",)}))
    given = {name: record[name] for name in ("guidance_scale", "guidance_rescale", "guidance_interval")}
    assert torch.equal(stored.generate(**options, **given).samples, expected.samples)


def test_it_is_saved_and_loaded(make_music, tmp_path):
    model = guided(make_music)
    torch.nn.init.normal_(guidance_condition(model.conditioners).embed.project.weight)
    model.save_pretrained(tmp_path)
    found = guidance_condition(AudioModel.from_pretrained(tmp_path).conditioners)
    assert (found.lowest, found.highest) == (1.0, 4.0) and found.trained
    assert math.isnan(found.null)
