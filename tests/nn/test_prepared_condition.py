"""What a network derives from its condition once is what it derives at every step, to the bit."""

import pytest
import torch
from torch import nn

from audiodiff.diffusion import Cosine
from audiodiff.diffusion.bridge import Bridge
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.editing import SDEdit
from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.objective import X0
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.nn.condition import Condition, PreparedCondition
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend
from audiodiff.nn.network import Network

HOP, BANDS, TOKENS = 16, 5, 6
NETWORKS = {
    "one level, folded": {"channels": (8,), "blocks": (2,), "fold": 2},
    "three levels": {"channels": (8, 12, 8), "blocks": (1, 2, 1)},
    "depthwise": {"channels": (8, 12), "blocks": (1, 1), "block": "convnext"},
    "tokens": {"channels": (8, 12), "blocks": (1, 1), "token_channels": TOKENS, "attention_levels": 2},
}


def build(**options) -> Network:
    torch.manual_seed(0)
    network = Network(StftFrontend(1, 64, HOP, signals=1), BANDS, HOP, embedding=8, **options).eval()
    for parameter in network.parameters():  # its output is zero at initialization
        nn.init.normal_(parameter, std=0.3)
    return network.requires_grad_(False)


def inputs(network: Network, clips: int = 2, samples: int = 37 * HOP) -> tuple[torch.Tensor, Condition]:
    generator = torch.Generator().manual_seed(clips)
    random = {"generator": generator}
    tokens = torch.randn(clips, 4, TOKENS, **random) if network.token_channels else None
    condition = Condition(
        torch.randn(clips, BANDS, samples // HOP, **random),
        samples=torch.tensor([samples, samples - 5 * HOP])[:clips],
        signal=torch.randn(clips, 1, samples, **random),
        tokens=tokens,
        token_mask=None if tokens is None else torch.arange(4) < torch.tensor([[4], [2]])[:clips],
        global_embedding=torch.randn(clips, 8, **random),
    )
    return torch.randn(clips, 1, samples, **random), condition


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
@torch.no_grad()
def test_equal_bit_for_bit(options):
    network = build(**options)
    x, condition = inputs(network)
    prepared = network.prepare(condition, x)
    assert len(prepared.blocks) == sum(len(level) for level in network.unet.levels())
    for log_snr in (-3.0, 2.0):
        level = torch.full((2,), log_snr)
        assert torch.equal(network(x, level, prepared), network(x, level, condition))


def counted(network: Network) -> list[nn.Module]:
    """Grows by each projection of the condition that is computed."""
    calls: list[nn.Module] = []
    for block in (block for level in network.unet.levels() for block in level):
        block.condition.register_forward_hook(lambda module, *_: calls.append(module))
    return calls


@pytest.mark.parametrize("bridge", [False, True])
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
@torch.no_grad()
def test_a_sampler_projects_the_condition_once(options, bridge):
    network = build(**options)
    denoiser = Denoiser(Bridge(network) if bridge else network, Cosine(), X0())
    x, condition = inputs(network)
    sampler, calls = Multistep(4, 2), counted(network)
    expected = sampler(Unprepared(denoiser), x, condition)
    assert len(calls) == 4 * sum(len(level) for level in network.unet.levels())
    calls.clear()
    assert torch.equal(sampler(denoiser, x, condition), expected)
    assert len(calls) == sum(len(level) for level in network.unet.levels())
    calls.clear()
    with torch.enable_grad():
        sampler(denoiser, x, condition)
    assert len(calls) == 4 * sum(len(level) for level in network.unet.levels())


class Unprepared:
    """A denoiser that prepares nothing."""

    def __init__(self, denoiser):
        self.denoiser, self.schedule, self.t_max = denoiser, denoiser.schedule, denoiser.t_max

    def __call__(self, x_t, t, cond=None):
        return self.denoiser(x_t, t, cond)


@pytest.mark.parametrize("rescale", [0.0, 0.5])
@pytest.mark.parametrize("clips", [1, 2])
@torch.no_grad()
def test_guidance_projects_both_conditions_once(clips, rescale):
    network = build(**NETWORKS["tokens"])
    x, condition = inputs(network, clips)

    def guided(denoiser):
        def null(given):
            return Condition(
                given.frames * 0,
                given.samples,
                given.signal,
                given.tokens * 0,
                given.token_mask,
                given.global_embedding,
            )

        return SDEdit(ClassifierFree(denoiser, 2.0, null, rescale, interval=(-8.0, 3.0)), 0.9)

    denoiser, sampler = Denoiser(network, Cosine(), X0()), Multistep(4, 1)
    expected = sampler(Unprepared(guided(denoiser)), x, condition)
    calls = counted(network)
    assert torch.equal(sampler(guided(denoiser), x, condition), expected)
    assert len(calls) == 2 * sum(len(level) for level in network.unet.levels())


@torch.no_grad()
def test_repeated_or_moved_it_is_a_plain_condition():
    network = build(**NETWORKS["tokens"])
    x, condition = inputs(network)
    prepared = network.prepare(condition, x)
    for made, expected in ((prepared.repeated(2), condition.repeated(2)), (prepared.to("cpu"), condition)):
        assert not isinstance(made, PreparedCondition)
        assert made.tensors().keys() == expected.tensors().keys()
        assert all(torch.equal(value, expected.tensors()[name]) for name, value in made.tensors().items())


def test_a_condition_that_does_not_fit_is_refused():
    network = build(**NETWORKS["three levels"])
    x, _ = inputs(network)
    with pytest.raises(ValueError, match="conditioning channels"):
        network.prepare(Condition(torch.zeros(2, BANDS + 1, 37)), x)


@torch.no_grad()
def test_without_a_condition_there_is_nothing_to_project():
    network = Network(IdentityFrontend(2), channels=(4, 4), blocks=(1, 1), embedding=8)
    x = torch.randn(1, 2, 9)
    prepared = network.prepare(None, x)
    assert prepared.blocks == prepared.attention == ()
    assert torch.equal(network(x, torch.zeros(1), prepared), network(x, torch.zeros(1)))
