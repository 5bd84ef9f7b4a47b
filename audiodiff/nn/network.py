"""A network is a front end around a U-Net, with the condition brought to the front end's clock."""

import math

import torch
from torch import Tensor, nn

from audiodiff.nn.condition import Condition
from audiodiff.nn.frontend import Frontend
from audiodiff.nn.unet1d import UNet1d, length_mask, pad_frames


class Network(nn.Module):
    """`network(x, log_snr, cond)`: (B, C, T) to (B, answers x C, T), any T; zero at initialisation.

    Args:
        frontend: samples to frames and back.
        condition: channels M of the conditioning frames; 0 for none.
        condition_hop: samples between conditioning frames; frame k is centred at sample k x condition_hop.
        channels, blocks, dilation_cycle, embedding, attention: of the U-Net.
        answers: signals that it predicts, each of the input's channels: 2 for a mean and its variance.
        labels: kinds of clips that it can be told apart; one more stands for none of them. 0: it is told no kind.
    """

    def __init__(
        self,
        frontend: Frontend,
        condition: int = 0,
        condition_hop: int = 1,
        channels: list[int] = (256, 384),
        blocks: list[int] = (3, 3),
        dilation_cycle: int = 3,
        embedding: int = 128,
        attention: bool = False,
        answers: int = 1,
        labels: int = 0,
    ):
        super().__init__()
        if answers < 1:
            raise ValueError(f"a network answers at least one signal, got answers = {answers}")
        self.frontend, self.condition, self.condition_hop = frontend, condition, condition_hop
        self.channels, self.blocks, self.dilation_cycle = list(channels), list(blocks), dilation_cycle
        self.embedding, self.attention, self.answers, self.labels = embedding, attention, answers, labels
        self.label = nn.Embedding(labels + 1, embedding) if labels else None
        self.unet = UNet1d(
            frontend.in_features,
            answers * frontend.out_features,
            condition,
            channels,
            blocks,
            dilation_cycle,
            embedding,
            attention,
        )

    @property
    def reach(self) -> int | None:
        """Samples to each side beyond which nothing of the input or the condition matters; None: everything matters.

        A sample is made from frames around it, each of them told by frames around that, each of these made from samples
        and read between two conditioning frames.
        """
        front, unet = self.frontend, self.unet.reach
        told = max(front.reach, self.condition_hop if self.condition else 0)
        return None if unet is None else front.reach + unet * front.stride + told

    @property
    def grid(self) -> int:
        """Samples that it may be shifted by: a stretch of a signal that begins at a multiple has the same frames."""
        return math.lcm(self.frontend.stride * self.unet.stride, self.condition_hop)

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        """Predict from the noisy signal.

        Args:
            x: (B, C, T) noisy signal.
            log_snr: (B,) noise levels, finite.
            cond: conditioning frames (B, M, F), which hold their last frame beyond their end, as many signals
                (B, S, T) as the front end asks for, and valid samples.

        Raises:
            ValueError: the condition's batch, channels or presence does not fit.
        """
        cond = cond or Condition()
        self._check(x, cond)
        batch, _, samples = x.shape
        if cond.signal is not None:
            x = torch.cat([x, cond.signal.to(x.dtype)], dim=1)
        if cond.samples is not None:
            x = x * length_mask(cond.samples, samples, x.dtype)
        features, state = self.frontend.encode(x)
        frames = features.shape[-1]
        padded = frames + -frames % self.unet.stride
        mask = None
        if cond.samples is not None or padded != frames:
            valid = torch.full((batch,), frames, device=x.device)
            valid = valid if cond.samples is None else self.frontend.frames(cond.samples)
            mask = length_mask(valid, padded, features.dtype)
        condition = None if cond.frames is None else self._align(cond.frames, padded).to(features.dtype)
        clip = None if self.label is None else self.label(cond.label).to(features.dtype)
        output = self.unet(pad_frames(features, padded), log_snr, condition, mask, clip)[..., :frames]
        parts = output.chunk(self.answers, dim=1)
        decoded = torch.cat([self.frontend.decode(part, state, samples) for part in parts], dim=1)
        return decoded if cond.samples is None else decoded * length_mask(cond.samples, samples, decoded.dtype)

    def _align(self, condition: Tensor, frames: int) -> Tensor:
        """(B, M, F) to (B, M, frames): read at the centres of the front end's frames, by linear interpolation."""
        centres = self.frontend.offset + self.frontend.stride * torch.arange(frames, device=condition.device)
        position = (centres / self.condition_hop).clamp(0, condition.shape[-1] - 1)
        low = position.floor().long()
        high = (low + 1).clamp(max=condition.shape[-1] - 1)
        fraction = (position - low).to(condition.dtype)
        return torch.lerp(condition[..., low], condition[..., high], fraction)

    def _check(self, x: Tensor, cond: Condition) -> None:
        given = 0 if cond.frames is None else cond.frames.shape[1]
        if given != self.condition:
            raise ValueError(f"the network takes {self.condition} conditioning channels, got {given}")
        signals = 0 if cond.signal is None else cond.signal.shape[1]
        if signals != self.frontend.signals:
            raise ValueError(f"the network takes {self.frontend.signals} conditioning signals, got {signals}")
        if (cond.label is None) != (self.labels == 0):
            raise ValueError(f"the network tells {self.labels} labels apart, got {cond.label}")
        told = (("frames", cond.frames), ("samples", cond.samples), ("signal", cond.signal), ("label", cond.label))
        for name, value in told:
            if value is not None and value.shape[0] != x.shape[0]:
                raise ValueError(f"cond.{name} has a batch of {value.shape[0]}, the input of {x.shape[0]}")
