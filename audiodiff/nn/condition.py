"""What a network is conditioned on, in the few forms that it reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """Conditioning tensors of a batch.

    Args:
        frames: (B, M, F) on a slower clock, such as a normalized mel. Clips shorter than the longest of the batch hold
            their last frame.
        signal: (B, S, T) on the clock of the input itself, such as an excitation.
        tokens: (B, N, D) for cross-attention, such as an encoded text. A network sees no order in them: position codes
            are part of the tokens.
        token_mask: (B, N) bool, True where a token is valid. None: all are. A row without a valid token is
            unconditional.
        global_embedding: (B, E) added to the embedding of the noise level, such as a class label's. Zeros are
            unconditional.
        samples: (B,) int64, valid samples of each clip; what lies beyond is masked. None: all are valid.
    """

    frames: Tensor | None = None
    samples: Tensor | None = None
    signal: Tensor | None = None
    tokens: Tensor | None = None
    token_mask: Tensor | None = None
    global_embedding: Tensor | None = None

    @classmethod
    def merge(cls, conditions: Sequence["Condition"]) -> "Condition":
        """One condition of several: frames and signals side by side, tokens one after the other, embeddings added.

        Raises:
            ValueError: two of them have `samples`.
        """

        def present(tensors: Iterable[Tensor | None]) -> list[Tensor]:
            return [tensor for tensor in tensors if tensor is not None]

        frames = present(condition.frames for condition in conditions)
        signal = present(condition.signal for condition in conditions)
        tokens = present(condition.tokens for condition in conditions)
        masks = present(condition.valid_tokens() for condition in conditions)
        embeddings = present(condition.global_embedding for condition in conditions)
        samples = present(condition.samples for condition in conditions)
        if len(samples) > 1:
            raise ValueError(f"{len(samples)} conditions have samples: give the valid lengths once")
        return cls(
            frames=torch.cat(frames, dim=1) if frames else None,
            signal=torch.cat(signal, dim=1) if signal else None,
            tokens=torch.cat(tokens, dim=1) if tokens else None,
            token_mask=torch.cat(masks, dim=1) if any(c.token_mask is not None for c in conditions) else None,
            global_embedding=sum(embeddings[1:], embeddings[0]) if embeddings else None,
            samples=samples[0] if samples else None,
        )

    def valid_tokens(self) -> Tensor | None:
        """The token mask (B, N), all True where none is given; None without tokens."""
        if self.tokens is None or self.token_mask is not None:
            return self.token_mask
        return torch.ones(self.tokens.shape[:2], dtype=torch.bool, device=self.tokens.device)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are present, by field name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def repeated(self, times: int) -> "Condition":
        """The batch repeated `times` times, one after the other."""
        return replace(self, **{name: torch.cat([tensor] * times) for name, tensor in self.tensors().items()})

    def to(self, device: torch.device | str) -> "Condition":
        """The same condition on another device."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def windows(self, clips: Tensor, places: Tensor, length: int) -> "Condition":
        """The condition of windows of signals: their stretches of frames and signal, the rest as that of their clips.

        Args:
            clips: (N,) the clip of each window.
            places: (N, W) its positions in the clip.
            length: T of the signals.

        Raises:
            ValueError: frames on another clock than the signals.
        """
        chosen = {name: tensor.index_select(0, clips) for name, tensor in self.tensors().items()}
        for name in ("frames", "signal"):
            if name in chosen:
                if (found := chosen[name].shape[-1]) != length:
                    raise ValueError(f"cond.{name} has {found} frames, the signal {length}: windows need one clock")
                chosen[name] = chosen[name].gather(-1, places[:, None].expand(-1, chosen[name].shape[1], -1))
        return replace(self, **chosen)


@dataclass(frozen=True)
class PreparedCondition(Condition):
    """A condition with what a network derives from it alone, once and not at every step (`Network.prepare`).

    Args:
        blocks: (B, C, F) for each block: what it adds of the frames.
        attention: (B, N + 1, 2 C) for each cross-attention: its keys and values.
    """

    blocks: tuple[Tensor, ...] = ()
    attention: tuple[Tensor, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the condition itself that are present, by field name."""
        return {name: value for name, value in super().tensors().items() if isinstance(value, Tensor)}

    def repeated(self, times: int) -> Condition:
        """The condition itself, repeated."""
        return Condition(**self.tensors()).repeated(times)

    def to(self, device: torch.device | str) -> Condition:
        """The condition itself on another device."""
        return Condition(**self.tensors()).to(device)

    def windows(self, clips: Tensor, places: Tensor, length: int) -> Condition:
        """The condition itself, of windows."""
        return Condition(**self.tensors()).windows(clips, places, length)
