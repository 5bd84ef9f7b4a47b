"""The U-Net over frames."""

import pytest
import torch

from audiodiff.nn.frontends.frontend import pad_frames
from audiodiff.nn.unet1d import UNet1d, length_mask


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_frames_must_be_a_multiple_of_the_stride(levels):
    unet = UNet1d(3, 5, channels=[8] * levels, blocks=[1] * levels, embedding=8)
    assert unet.stride == 2 ** (levels - 1)
    result = unet(torch.randn(2, 3, 3 * unet.stride), torch.zeros(2))
    assert result.shape == (2, 5, 3 * unet.stride)
    assert not result.any()


def test_levels_must_agree():
    with pytest.raises(ValueError, match=r"channels=\[8, 8\] and blocks=\[1\] .*each level"):
        UNet1d(3, 3, channels=[8, 8], blocks=[1])
    with pytest.raises(ValueError, match="each level"):
        UNet1d(3, 3, channels=[], blocks=[])
    with pytest.raises(ValueError, match="block=dense is not one of residual, convnext"):
        UNet1d(3, 3, block="dense")


def test_condition_must_come_when_announced_and_only_then():
    frames, level = torch.randn(1, 3, 4), torch.zeros(1)
    with pytest.raises(ValueError, match="takes 2 conditioning channels"):
        UNet1d(3, 3, condition=2, channels=[8], blocks=[1])(frames, level)
    with pytest.raises(ValueError, match="takes 0 conditioning channels, got 2"):
        UNet1d(3, 3, channels=[8], blocks=[1])(frames, level, torch.zeros(1, 2, 4))


def test_dilations_cycle():
    unet = UNet1d(3, 3, channels=[8], blocks=[5], dilation_cycle=3)
    assert [block.dilated.dilation[0] for block in unet.bottom] == [1, 2, 4, 1, 2]


def test_condition_is_injected_at_every_resolution():
    torch.manual_seed(0)
    unet = UNet1d(3, 3, condition=2, channels=[8, 8, 8], blocks=[1, 1, 1], embedding=8)
    torch.nn.init.normal_(unet.conv_out.weight)
    frames, level, condition = torch.randn(1, 3, 8), torch.zeros(1), torch.randn(1, 2, 8, requires_grad=True)
    unet(frames, level, condition).square().sum().backward()
    injected = [block for levels in (*unet.down, unet.bottom, *unet.up) for block in levels]
    assert len(injected) == 5
    assert all(block.condition.weight.grad.any() for block in injected)
    assert condition.grad.any()


def test_masks_and_padding():
    assert length_mask(torch.tensor([0, 2, 3]), 3, torch.float32)[:, 0].tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert pad_frames(torch.ones(1, 1, 2), 4).tolist() == [[[1, 1, 0, 0]]]
