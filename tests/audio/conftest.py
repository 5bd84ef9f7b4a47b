"""Signals that the tests of this room make themselves."""

import contextlib
import math
import sys

import pytest
import torch


def babble(seconds: float, sample_rate: int, seed: int = 0) -> torch.Tensor:
    """Something like speech, (T,): gliding harmonics under moving formants, noise bursts, pauses."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(int(seconds * sample_rate), dtype=torch.float64) / sample_rate
    f0 = 130 + 40 * torch.sin(2 * math.pi * 0.7 * t + seed)
    phase = 2 * math.pi * torch.cumsum(f0, 0) / sample_rate
    voiced = torch.zeros_like(t)
    for harmonic in range(1, int(sample_rate / 2 / 175)):
        frequency = harmonic * f0
        level = 0.01
        for k, (center, width) in enumerate([(500, 90), (1500, 150), (2600, 250)]):
            moving = center * (1 + 0.25 * torch.sin(2 * math.pi * (0.9 + 0.4 * k) * t))
            level = level + torch.exp(-0.5 * ((frequency - moving) / width) ** 2) / (k + 1)
        voiced += level * torch.sin(harmonic * phase)
    hiss = torch.randn(len(t), generator=generator, dtype=torch.float64)
    syllable = torch.sin(math.pi * 1.7 * t).clamp(min=0) ** 0.5
    burst = (torch.sin(math.pi * 1.7 * t) < -0.8).double() * 0.2
    signal = voiced * syllable + hiss * (burst + 0.002)
    return (0.5 * signal / signal.abs().max()).float()


@pytest.fixture(scope="session")
def speech():
    """`babble(seconds, sample_rate, seed)`."""
    return babble


@pytest.fixture(scope="session")
def memory_limit():
    """`with memory_limit(bytes)`: on Linux no more than this may be allocated beyond what the process has."""

    @contextlib.contextmanager
    def limit(more: int):
        if sys.platform != "linux":
            yield
            return
        import resource

        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + more, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    return limit
