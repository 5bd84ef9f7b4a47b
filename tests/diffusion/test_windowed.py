"""Windows: the whole where the denoiser is local, agreement where they meet, loops without an end."""

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from audiodiff.diffusion.editing import Inpainting
from audiodiff.diffusion.guidance.gradient import EmbeddingGuidance
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.diffusion.windowed import Windowed
from audiodiff.nn.condition import Condition


class Pointwise:
    """E[x0 | x_t] of white data: every frame by itself, so any windows must give the same as the whole."""

    schedule, t_max = Cosine(), 1.0

    def __init__(self):
        self.largest = 0

    def __call__(self, x_t, t, cond=None):
        self.largest = max(self.largest, len(x_t))
        scale = 1.0 if cond is None else cond.reshape(-1, 1, 1)
        time = t if not isinstance(t, torch.Tensor) or not t.ndim else t.reshape(-1, 1, 1)
        return x_t * scale * (1 + time)


class Neighbors(Pointwise):
    """Each frame with its neighbors, and zeros beyond the ends of what it is given."""

    def __call__(self, x_t, t, cond=None):
        padded = torch.nn.functional.pad(x_t, (1, 1))
        return (padded[..., :-2] + x_t + padded[..., 2:]) / 3


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 90),
    window=st.integers(1, 40),
    overlap=st.floats(0, 0.9),
    loop=st.booleans(),
    at_once=st.integers(1, 9),
)
def test_windows_of_a_pointwise_denoiser_are_the_whole(batch, frames, window, overlap, loop, at_once):
    inner, x = Pointwise(), torch.randn(batch, 2, frames)
    scales = torch.arange(1.0, batch + 1)
    windowed = Windowed(inner, window, overlap, loop, at_once)
    expected = x * scales[:, None, None] * 1.5
    torch.testing.assert_close(windowed(x, 0.5, scales), expected, rtol=1e-4, atol=1e-5)
    assert inner.largest <= max(at_once, batch)
    t = torch.linspace(0.1, 0.9, batch)
    torch.testing.assert_close(windowed(x, t), x * (1 + t[:, None, None]), rtol=1e-4, atol=1e-5)
    starts = windowed.starts(frames)
    covered = torch.zeros(frames)
    for start in starts:
        covered[
            (start + torch.arange(window)) % frames if loop else torch.arange(start, min(start + window, frames))
        ] = 1
    assert covered.all() and (loop or starts[-1] + window <= max(frames, window))


class Scaled(Pointwise):
    """Every frame by that of the condition."""

    def __call__(self, x_t, t, cond=None):
        return x_t * cond.frames[:, :1]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 90), st.integers(1, 40), st.floats(0, 0.9), st.booleans())
def test_frames_of_a_condition_go_on_from_window_to_window(batch, frames, window, overlap, loop):
    x, condition = torch.randn(batch, 2, frames), Condition(frames=torch.randn(batch, 3, frames))
    windowed = Windowed(Scaled(), window, overlap, loop, 3)
    torch.testing.assert_close(windowed(x, 0.5, condition), Scaled()(x, 0.5, condition), rtol=1e-4, atol=1e-5)


def test_a_clip_does_not_depend_on_its_batch():
    windowed, x = Windowed(Neighbors(), 16, 0.25, at_once=3), torch.randn(3, 1, 70)
    together = windowed(x, 0.5)
    for clip, alone in zip(together, x, strict=True):
        torch.testing.assert_close(windowed(alone[None], 0.5)[0], clip)


def test_a_loop_has_no_beginning():
    """Turned by a whole hop, the output is turned as well; the last frame knows the first."""
    windowed = Windowed(Neighbors(), 16, 0.5, loop=True)
    x = torch.randn(1, 1, 64)
    torch.testing.assert_close(windowed(x.roll(8, -1), 0.5), windowed(x, 0.5).roll(8, -1))
    changed = x.clone()
    changed[..., 0] += 1
    assert not torch.equal(windowed(changed, 0.5)[..., -1], windowed(x, 0.5)[..., -1])
    whole = (x.roll(1, -1) + x + x.roll(-1, -1)) / 3
    inside = (windowed(x, 0.5) - whole).abs().mean() / whole.abs().mean()
    assert inside < 0.1


def test_seams_are_where_windows_fade():
    """Windows that overlap differ from the whole only by what they do not see, at their ends; without overlap more."""
    x = torch.randn(1, 1, 400)
    whole = Neighbors()(x, 0.5)
    errors = [float((Windowed(Neighbors(), 40, overlap)(x, 0.5) - whole).abs().max()) for overlap in (0.0, 0.5)]
    assert errors[1] < 0.02 < errors[0]


def test_samples_of_windows_have_the_distribution_of_the_whole():
    """Correlated Gaussian data: the covariance of neighbors across seams is that of neighbors elsewhere."""
    window, frames = 32, 120
    lags = (torch.arange(window)[:, None] - torch.arange(window)).abs()
    covariance = 0.8 ** lags.double()

    class Rows(Pointwise):
        inner = GaussianOracle(torch.zeros(window), covariance, Cosine())

        def __call__(self, x_t, t, cond=None):
            return self.inner(x_t, t)

    windowed = Windowed(Rows(), window, 0.5, at_once=100_000)
    noise = torch.randn(1500, 1, frames, generator=torch.Generator().manual_seed(0))
    result = presets.build("dpmpp_2m", 16)(windowed, noise)[:, 0]
    neighbors = (result[:, 1:] * result[:, :-1]).mean(0)
    assert abs(float(neighbors.mean()) - 0.8) < 0.05
    assert float((neighbors - neighbors.mean()).abs().max()) < 0.15  # statistical, 1500 clips, and no seam in it


@pytest.mark.parametrize("options", [{"window": 0}, {"at_once": 0}, {"overlap": 1.0}, {"overlap": -0.1}])
def test_no_windows(options):
    with pytest.raises(ValueError, match="windows need"):
        Windowed(Pointwise(), **{"window": 8} | options)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that live at once, in `peak`."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.seen = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage() not in self.seen:
                storage = leaf.untyped_storage()
                self.seen.add(storage)
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._free, storage.nbytes())
        return found

    def _free(self, size):
        self.live -= size


class Wide(Pointwise):
    """Computes much more of a frame than there is of it."""

    def __init__(self, channels=256):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.first = torch.randn(channels, 1, 1, generator=generator)
        self.last = torch.randn(1, channels, 1, generator=generator) / channels

    def __call__(self, x_t, t, cond=None):
        hidden = torch.nn.functional.conv1d(x_t, self.first.to(x_t))
        for _ in range(4):
            hidden = hidden.tanh()
        return torch.nn.functional.conv1d(hidden, self.last.to(x_t))


def _guided(kind, denoiser, frames):
    if kind == "inpainting":
        generator = torch.Generator().manual_seed(4)
        return Inpainting(denoiser, torch.randn(1, 1, frames, generator=generator), torch.arange(frames) < 20)
    return EmbeddingGuidance(denoiser, lambda x0, cond: -x0.square().sum((1, 2)), 0.1)


@pytest.mark.parametrize("kind", ["inpainting", "embedding"])
def test_memory_of_a_gradient_does_not_grow_with_the_windows(kind):
    def peak(frames):
        guided = _guided(kind, Windowed(Wide(), 32, at_once=2), frames)
        x_t = torch.randn(1, 1, frames, generator=torch.Generator().manual_seed(5))
        with torch.no_grad(), LiveBytes() as memory:
            guided(x_t, 0.5)
        return memory.peak

    few, many = peak(100), peak(1600)
    assert few > 10 * 100 * 4 * 32  # what is computed was counted
    assert many < 1.5 * few


@pytest.mark.parametrize("kind", ["inpainting", "embedding"])
def test_a_gradient_is_the_same_however_many_windows_go_at_once(kind):
    frames = 300
    x_t = torch.randn(2, 1, frames, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    outputs = [_guided(kind, Windowed(Wide(), 32, at_once=n), frames)(x_t, 0.5) for n in (3, 1000)]
    assert torch.allclose(*outputs, rtol=0, atol=1e-12)


def test_a_guided_answer_through_many_windows_is_differentiable_once_more():
    x_t = torch.randn(1, 1, 100, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    slopes = []
    for at_once in (1, 1000):
        x = x_t.clone().requires_grad_()
        guided = _guided("embedding", Windowed(Wide(16), 32, at_once=at_once), 100)
        slopes += torch.autograd.grad(guided(x, 0.5).square().sum(), x)
    assert torch.allclose(*slopes, rtol=1e-10, atol=1e-12)
