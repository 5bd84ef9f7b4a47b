"""Conditions of several parts, and their copies."""

import pytest
import torch

from audiodiff.nn.condition import Condition


def test_merged_parts_lie_side_by_side():
    frames, tokens, embedding = torch.rand(2, 3, 4), torch.rand(2, 5, 6), torch.rand(2, 8)
    mask = torch.rand(2, 5) > 0.5
    merged = Condition.merge(
        [
            Condition(frames=frames, tokens=tokens, global_embedding=embedding),
            Condition(samples=torch.tensor([7, 9])),
            Condition(frames=2 * frames, tokens=2 * tokens, token_mask=mask, global_embedding=2 * embedding),
        ]
    )
    assert torch.equal(merged.frames, torch.cat([frames, 2 * frames], 1))
    assert torch.equal(merged.tokens, torch.cat([tokens, 2 * tokens], 1))
    assert torch.equal(merged.token_mask, torch.cat([torch.ones_like(mask), mask], 1))
    assert torch.equal(merged.global_embedding, embedding + 2 * embedding)
    assert merged.samples.tolist() == [7, 9] and merged.signal is None


def test_merged_with_nothing_is_the_same():
    assert Condition.merge([]) == Condition()
    tokens = torch.rand(1, 2, 3)
    merged = Condition.merge([Condition(), Condition(tokens=tokens)])
    assert torch.equal(merged.tokens, tokens) and merged.token_mask is None
    with pytest.raises(ValueError, match="samples"):
        Condition.merge([Condition(samples=torch.tensor([1]))] * 2)


def test_every_tensor_is_repeated_and_moved():
    tensors = {name: torch.ones(2, 1, 3) for name in vars(Condition())}
    condition = Condition(**tensors)
    assert all(tensor.shape[0] == 6 for tensor in condition.repeated(3).tensors().values())
    assert {tensor.device.type for tensor in condition.to("meta").tensors().values()} == {"meta"}
