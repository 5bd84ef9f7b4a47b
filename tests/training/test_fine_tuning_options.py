"""Partial fine-tuning, rates, unfreezing, the pull to the start, replay, and what is forgotten."""

import json
from types import SimpleNamespace

import pytest
import torch

from audiodiff.errors import UserError
from audiodiff.training.forgetting import Forgetting
from audiodiff.training.replay import parse_replay
from audiodiff.training.tuning import Tuning


def step(training, batches, number=0, done=0.0):
    """One optimizer step of a module as Lightning makes it; the gradients and the change of each weight."""
    before = {name: one.detach().clone() for name, one in training.model.named_parameters()}
    optimizer = training.optimizer_ if hasattr(training, "optimizer_") else training.configure_optimizers()
    training.optimizer_ = optimizer
    optimizer.zero_grad()
    training.compute_loss(batches[number], f"draw {number}")["loss"].backward()
    training.tuning.remember(training.trainable_parameters())
    training.tuning.change_gradients(training.trainable_parameters(), optimizer.param_groups, done)
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"]
    optimizer.step()
    return {name: float((one.detach() - before[name]).abs().max()) for name, one in training.model.named_parameters()}


@pytest.fixture
def tuned(make_training):
    def make(**options):
        training = make_training()
        again = type(training)(
            training.model, training.task, training.optimizer, training.lr_schedule, tuning=Tuning(**options)
        )
        again.trainer = training.trainer
        torch.nn.init.normal_(again.model.network.unet.conv_out.weight, std=0.1)  # else nothing else has a gradient
        return again

    return make


def test_only_the_groups_that_are_named_are_trained(tuned, batches):
    changes = step(tuned(trainable=["output", "norms"]), batches)
    moved = {name for name, change in changes.items() if change}
    assert moved and all("conv_out" in name or "modulation" in name for name in moved)


def test_rates_are_factors_of_the_learning_rate(tuned, batches):
    """The first step of Adam moves each weight by its learning rate."""
    changes = step(tuned(rates={"output": 0.1, "input": 0.0}), batches)
    unet = "denoiser.network.unet."
    assert changes[f"{unet}conv_out.weight"] == pytest.approx(1e-3, rel=0.05)
    assert changes[f"{unet}bottom.0.dilated.weight"] == pytest.approx(1e-2, rel=0.05)
    assert changes[f"{unet}conv_in.weight"] == 0


def test_a_group_is_frozen_until_its_share_of_the_run(tuned, batches):
    training, name = tuned(unfreeze={"output": 0.5}), "denoiser.network.unet.conv_out.weight"
    assert step(training, batches, done=0.49)[name] == 0
    assert step(training, batches, 1, done=0.5)[name] > 0


def test_the_pull_adds_the_gradient_of_its_penalty(tuned, batches):
    training = tuned(pull=3.0)
    weight = training.model.network.unet.conv_out.weight
    training.tuning.remember(training.trainable_parameters())
    start = weight.detach().clone()
    with torch.no_grad():
        weight += 0.5
    training.compute_loss(batches[0], "draw 0")["loss"].backward()
    before = weight.grad.clone()
    training.tuning.change_gradients(training.trainable_parameters(), [], 0.0)
    assert torch.allclose(weight.grad - before, 3.0 * (weight - start))
    state = training.tuning.state_dict()
    again = Tuning(pull=3.0)
    again.load_state_dict(state)
    again.remember(training.trainable_parameters())
    assert all(torch.equal(one, other) for one, other in zip(again.start, state["start"], strict=True))


@pytest.mark.parametrize(
    ("options", "match"),
    [({"trainable": ["brain"]}, "trainable.*'brain' names no layer"), ({"rates": {"brain": 1.0}}, "rates.*'brain'")],
)
def test_groups_that_do_not_exist_are_one_line(options, match, tuned, batches):
    with pytest.raises(UserError, match=match) as error:
        step(tuned(**options), batches)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="trains nothing"):
        Tuning(trainable=[])


@pytest.mark.parametrize("text", ["base", "base:", ":0.3", "base:nan", "base:1", "base:-0.1", "", "base:x"])
def test_a_replay_without_a_share_is_one_line(text):
    with pytest.raises(UserError, match=r"write base:0\.3"):
        parse_replay(text)
    assert parse_replay("a:b:0.25") == ("a:b", 0.25)


def test_a_run_that_forgets_too_much_ends(tmp_path):
    losses = iter([1.0, 1.04, 1.2])
    callback = Forgetting(str(tmp_path), tolerance=0.05)
    callback._loss = lambda trainer, module: next(losses)
    module = SimpleNamespace(log=lambda *_, **__: None, forgetting={})
    data = SimpleNamespace(base_batch=dict)
    trainer = SimpleNamespace(
        datamodule=data, sanity_checking=False, is_global_zero=True, global_step=3, should_stop=False
    )
    callback.on_train_start(trainer, module)
    callback.on_validation_epoch_end(trainer, module)
    assert not trainer.should_stop and module.forgetting == {"before": 1.0, "after": 1.04, "exceeded": False}
    resumed = Forgetting(str(tmp_path), tolerance=0.05)
    resumed.load_state_dict(callback.state_dict())
    resumed._loss = callback._loss
    resumed.on_train_start(trainer, module)
    resumed.on_validation_epoch_end(trainer, module)
    assert trainer.should_stop and module.forgetting["exceeded"]
    assert json.loads((tmp_path / "forgetting.json").read_text())["after"] == 1.2
