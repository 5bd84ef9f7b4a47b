"""One training step: a pure function of weights, batch, seed, draw and what its source of times has learnt."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Timer

from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.diffusion.timestep_sampling import LossSecondMoment, LowDiscrepancy, Uniform
from audiodiff.diffusion.weighting import VariationalBound
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.training.module import progress
from audiodiff.training.tasks.task import fade_edges, mean_loss


def test_step_is_a_pure_function_of_seed_and_key(make_training, batches):
    module, waveform = make_training(seed=3), batches[0]["waveform"]
    first = module.compute_loss({"waveform": waveform}, "draw 0")
    torch.manual_seed(99)
    again = module.compute_loss({"waveform": waveform}, "draw 0")
    assert torch.equal(first["loss"], again["loss"])
    assert torch.equal(first["t"], again["t"])
    other_key = module.compute_loss({"waveform": waveform}, "draw 2")
    module.seed = 4
    other_seed = module.compute_loss({"waveform": waveform}, "draw 0")
    assert not torch.equal(first["t"], other_key["t"])
    assert not torch.equal(first["t"], other_seed["t"])


def test_untrained_loss_is_that_of_saying_nothing(make_training, batches):
    """A zero network asked for v is wrong by v itself: without the spectral term the loss is the mean of v^2."""
    module = make_training(stft_weight=0.0, gain=(1.0, 1.0))
    waveform = batches[0]["waveform"]
    made = module.compute_loss({"waveform": waveform}, "draw 0")
    generator = torch.Generator().manual_seed(clip_seed(module.seed, "draw 0"))
    torch.rand(2, 1, generator=generator)
    t, _ = LowDiscrepancy().sample(2, generator)
    noise = torch.randn(2, 1, 4096, generator=generator)
    model = module.model
    waveform = fade_edges(waveform, model.mel_spec.hop_length)
    z = model.prior.whiten(waveform, model.analysis(waveform))[:, None]
    alpha, sigma = (f(t)[:, None, None] for f in (model.schedule.alpha, model.schedule.sigma))
    expected = (alpha * noise - sigma * z).square().mean((1, 2))
    torch.testing.assert_close(made["clip_loss"], expected)
    torch.testing.assert_close(made["loss"], expected.mean())


def steep(bins: int = 4, history: int = 1) -> LossSecondMoment:
    """A source that expects most of the last quarter of times."""
    source = LossSecondMoment(bins, history)
    source.update((torch.arange(bins) + 0.5) / bins, torch.tensor([1.0, 1.0, 1.0, 9.0]))
    return source


def test_times_and_their_weights_make_the_step(make_training, batches):
    module, waveform = make_training(stft_weight=0.0, seed=3, gain=(1.0, 1.0)), batches[0]["waveform"]
    for times in (Uniform(), LowDiscrepancy(), steep()):
        module.task.timestep_sampling = times
        made = module.compute_loss({"waveform": waveform}, "draw 0")
        generator = torch.Generator().manual_seed(clip_seed(3, "draw 0"))
        torch.rand(2, 1, generator=generator)
        drawn, weights = times.sample(2, generator)
        assert torch.equal(made["relative_t"], drawn) and torch.equal(made["t"], drawn * module.model.denoiser.t_max)
        torch.testing.assert_close(made["loss"], (weights * made["clip_loss"]).mean())
    assert float(weights.max()) < 0.5  # the last source's times were worth a test


def test_terms_are_weighed_like_the_rest(make_training, batches):
    waveform, times, seen = batches[0]["waveform"], steep(), []

    def term(made, clean, log_snr):
        seen.append((made, clean, log_snr))
        return torch.tensor([1.0, 3.0])

    plain, both = (
        make_training(extra_losses=terms, timestep_sampling=times, gain=(1.0, 1.0)).compute_loss(
            {"waveform": waveform}, "a"
        )
        for terms in ((), (term, term))
    )
    generator = torch.Generator().manual_seed(clip_seed(0, "a"))
    torch.rand(2, 1, generator=generator)
    _, weights = times.sample(2, generator)
    torch.testing.assert_close(both["loss"] - plain["loss"], 2 * (weights * torch.tensor([1.0, 3.0])).mean())
    assert torch.equal(both["clip_loss"], plain["clip_loss"])
    made, clean, log_snr = seen[0]
    assert made.shape == waveform.shape and torch.equal(clean, fade_edges(waveform, 256))
    torch.testing.assert_close(log_snr, make_training().model.schedule.log_snr(both["t"]))


def test_all_losses_are_weighed(make_training, batches):
    """With the same times and half the weights, the loss is half of what it was, whatever it is made of."""

    class Half(LowDiscrepancy):
        def sample(self, batch, generator):
            t, weights = super().sample(batch, generator)
            return t, weights / 2

    terms = [lambda made, clean, log_snr: log_snr]
    whole, half = (
        make_training(stft_weight=1.0, extra_losses=terms, timestep_sampling=times()).compute_loss(batches[0], "a")
        for times in (LowDiscrepancy, Half)
    )
    torch.testing.assert_close(half["loss"], whole["loss"] / 2)
    without = make_training(stft_weight=0.0).compute_loss(batches[0], "a")
    spectral = make_training(stft_weight=2.0).compute_loss(batches[0], "a")
    assert spectral["loss"] > without["loss"] + 0.1


def test_training_teaches_the_times_and_validation_does_not(make_training, batches):
    module = make_training(timestep_sampling=LossSecondMoment(bins=4, history=3))
    module.log = lambda *_, **__: None
    outputs = module.training_step(batches[0], 0)
    learnt = module.task.timestep_sampling.state_dict()
    assert int(learnt["counts"].sum()) == 2
    for t, loss in zip(outputs["relative_t"].tolist(), outputs["clip_loss"].tolist(), strict=True):
        assert float(learnt["losses"][int(4 * t)].max()) == pytest.approx(loss)
    logged = []
    module.task.timestep_sampling = steep()
    module.log = lambda name, value, **_: logged.append(float(value.detach()))
    module.eval()
    module.validation_step(batches[0], 0)
    expected = make_training(gain=(1.0, 1.0)).compute_loss(batches[0], "validation 0")["loss"]
    assert logged == [float(expected.detach())]
    assert int(module.task.timestep_sampling.state_dict()["counts"].sum()) == 4


def test_a_step_that_the_guard_skips_teaches_nothing(make_training, batches):
    guard = SimpleNamespace(inspect=lambda loss, batch: False)
    module = make_training(timestep_sampling=LossSecondMoment(bins=4, history=3), guard=guard)
    assert module.training_step(batches[0], 0) is None
    assert int(module.task.timestep_sampling.state_dict()["counts"].sum()) == 0


def test_what_the_times_have_learnt_is_resumed(make_training, batches):
    module, checkpoint = make_training(timestep_sampling=steep(), seed=3), {}
    module.next_draw = 8
    module.on_save_checkpoint(checkpoint)
    resumed = make_training(timestep_sampling=LossSecondMoment(4, 1), seed=3)
    resumed.on_load_checkpoint(checkpoint)
    assert resumed.next_draw == 8
    step, again = (m.compute_loss(batches[0], "draw 8") for m in (module, resumed))
    assert all(torch.equal(value, again[name]) for name, value in step.items())
    assert isinstance(make_training().task.timestep_sampling, LowDiscrepancy)


def test_progress_is_the_bound_that_is_nearer():
    timer = Timer(duration={"seconds": 100})
    timer.time_elapsed = lambda *_: 30.0
    timer.time_remaining = lambda *_: 70.0
    assert progress(SimpleNamespace(max_steps=10, global_step=2, callbacks=[])) == pytest.approx(0.2)
    assert progress(SimpleNamespace(max_steps=10, global_step=2, callbacks=[timer])) == pytest.approx(0.3)
    assert progress(SimpleNamespace(max_steps=10, global_step=5, callbacks=[timer])) == pytest.approx(0.5)
    assert progress(SimpleNamespace(max_steps=-1, global_step=5, callbacks=[timer])) == pytest.approx(0.3)
    assert progress(SimpleNamespace(max_steps=-1, global_step=5, callbacks=[])) == 0
    assert progress(SimpleNamespace(max_steps=10, global_step=12, callbacks=[])) == 1


def test_a_learned_schedule_is_taught_with_the_network(make_training, batches):
    """Its ends and the network by the mean of the losses, its path by their mean square."""
    module = make_training(stft_weight=0.0, gain=(1.0, 1.0))
    schedule = LearnedSchedule(sigmoids=4)
    model = module.model
    module.model = VocoderModel(model.network, schedule, V(VariationalBound()), model.mel_spec, model.prior)
    optimizer = module.configure_optimizers()
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held >= {id(parameter) for parameter in schedule.parameters()}
    made = module.compute_loss(batches[0], "draw 0")
    path = schedule.path_parameters()
    gradients = torch.autograd.grad(made["loss"], path, retain_graph=True)
    assert float(made["loss"].detach()) == pytest.approx(float(made["clip_loss"].mean()), rel=1e-6)
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)
    losses = made["clip_loss"].double().requires_grad_()
    assert torch.equal(mean_loss(losses.detach(), Cosine()), losses.detach().mean())
    with torch.no_grad():
        assert module.compute_loss(batches[0], "draw 0")["loss"] == made["loss"].detach()
