"""Noise as a pure function of (seed, channel, absolute position).

The noise of a clip is one endless standard normal sequence per channel. It is drawn in blocks on the CPU, each block
from a generator seeded with a hash of (seed, channel, block), so that any stretch of it can be had without what lies
before: the same numbers for any batch, order, chunking or device.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

BLOCK = 16384


def stable_hash(*parts: object) -> int:
    """A number in [0, 2^63) that is the same in every process and on every machine."""
    # A file name that is not UTF-8 reaches Python with its bytes as surrogates.
    text = "/".join(map(str, parts)).encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def clip_seed(seed: int, clip_id: str) -> int:
    """The seed of one clip among many rendered under one seed: independent of their order and number."""
    return stable_hash("clip", seed, clip_id)


def position_noise(seed: int, channels: int, start: int, stop: int) -> Tensor:
    """Standard normal noise at the positions [start, stop): (channels, stop - start) float32 on the CPU.

    Raises:
        ValueError: not 0 <= start <= stop.
    """
    if not 0 <= start <= stop:
        raise ValueError(f"noise needs 0 <= start <= stop, got start {start} and stop {stop}")
    first = start // BLOCK
    blocks = range(first, -(-stop // BLOCK))
    if not blocks:
        return torch.empty(channels, stop - start)
    rows = [torch.cat([_block(seed, channel, block) for block in blocks]) for channel in range(channels)]
    return torch.stack(rows)[:, start - first * BLOCK : stop - first * BLOCK] if rows else torch.empty(0, stop - start)


def _block(seed: int, channel: int, block: int) -> Tensor:
    generator = torch.Generator().manual_seed(stable_hash("noise", seed, channel, block))
    return torch.randn(BLOCK, generator=generator)


def batch_noise(
    seeds: Sequence[int], channels: int, samples: int, start: int = 0, device: torch.device | str | None = None
) -> Tensor:
    """The noise of several clips at the positions [start, start + samples): (B, channels, samples) float32."""
    return torch.stack([position_noise(seed, channels, start, start + samples) for seed in seeds]).to(device)


def step_noise(
    seeds: Sequence[int], channels: int, samples: int, start: int = 0, device: torch.device | str | None = None
) -> Callable[[int], Tensor]:
    """The `noise` of a stochastic sampler: step -> (B, channels, samples), independent of x1 and of other steps."""

    def noise(step: int) -> Tensor:
        return batch_noise([stable_hash("step", seed, step) for seed in seeds], channels, samples, start, device)

    return noise
