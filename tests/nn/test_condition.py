"""Conditions of several parts, and their copies."""

import pytest
import torch

from audiodiff.nn.condition import Condition, PreparedCondition


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


def test_windows_have_their_stretch_of_what_lies_along_the_signal():
    frames, signal, tokens = torch.rand(2, 3, 10), torch.rand(2, 1, 10), torch.rand(2, 5, 6)
    condition = Condition(frames=frames, signal=signal, tokens=tokens)
    clips, places = torch.tensor([1, 0, 1]), torch.tensor([[0, 1, 2, 3], [6, 7, 8, 9], [8, 9, 0, 1]])
    windows = condition.windows(clips, places, 10)
    assert torch.equal(windows.frames[0], frames[1, :, :4]) and torch.equal(windows.signal[1], signal[0, :, 6:])
    assert torch.equal(windows.frames[2], torch.cat([frames[1, :, 8:], frames[1, :, :2]], -1))
    assert torch.equal(windows.tokens, tokens[clips]) and windows.global_embedding is None
    prepared = PreparedCondition(frames=frames, blocks=(torch.rand(2, 4, 10),))
    assert torch.equal(prepared.windows(clips, places, 10).frames, windows.frames)
    with pytest.raises(ValueError, match=r"cond.frames has 10 frames, the signal 20"):
        condition.windows(clips, places, 20)
