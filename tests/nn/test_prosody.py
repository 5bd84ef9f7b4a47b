"""Prosody: the loss of durations has its least at their mean."""

import pytest
import torch

from audiodiff.nn.prosody import ProsodyPredictor


def duration_loss(log_duration: torch.Tensor, durations: torch.Tensor) -> torch.Tensor:
    """Loss (B,) of one predicted log duration (B,) for durations (N,)."""
    predictor, (rows, count) = ProsodyPredictor(4, 1, 4), (len(log_duration), len(durations))
    nothing = torch.zeros(rows, count)
    prediction = (log_duration[:, None].expand(rows, count), nothing, nothing)
    return predictor.loss(prediction, torch.ones(rows, 1, count), durations.expand(rows, count), nothing)[0]


def test_durations_are_predicted_by_their_mean():
    durations = torch.tensor([3.0, 4.0, 5.0, 9.0, 12.0])
    candidates = torch.linspace(2, 20, 1801)
    best = candidates[duration_loss(candidates.log(), durations).argmin()]
    assert float(best) == pytest.approx(float(durations.mean()), abs=0.02)
    assert float(duration_loss(durations[:1].log(), durations[:1])) == pytest.approx(0, abs=1e-6)


def test_a_far_too_short_duration_is_pulled_up_by_a_bounded_gradient():
    log_duration = torch.tensor([-8.0], requires_grad=True)
    duration_loss(log_duration, torch.tensor([100.0])).sum().backward()
    assert -20 < float(log_duration.grad) < -1
