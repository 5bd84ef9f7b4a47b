import pytest
import torch

from audiodiff.nn.classifier import ClassifierNetwork
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend


def build(frontend, classes=3):
    torch.manual_seed(0)
    network = ClassifierNetwork(frontend, classes, [8, 12, 16], [1, 2, 1], 16)
    torch.nn.init.normal_(network.conv_out.weight)
    for name, parameter in network.named_parameters():
        if "modulation" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


FRONTENDS = {"stft": lambda: StftFrontend(1, 64, 16), "latents": lambda: IdentityFrontend(4)}


@pytest.fixture(params=FRONTENDS)
def network(request):
    return build(FRONTENDS[request.param]())


def signals(network, clips, samples):
    return torch.randn(clips, network.frontend.channels, samples, generator=torch.Generator().manual_seed(1))


def test_a_new_network_has_no_opinion():
    network = ClassifierNetwork(StftFrontend(1, 64, 16), 3, [8], [1], 16)
    logits = network(torch.randn(2, 1, 100), torch.zeros(2))
    assert logits.shape == (2, 3) and torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("samples", [1, 17, 64, 333])
def test_a_clip_alone_is_that_of_a_batch(network, samples):
    x, log_snr = signals(network, 3, samples), torch.tensor([-5.0, 0.0, 5.0])
    whole = network(x, log_snr)
    alone = torch.cat([network(x[n : n + 1], log_snr[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(whole, alone, rtol=0, atol=1e-5)


def test_a_clip_alone_is_that_of_a_padded_batch(network):
    x, valid = signals(network, 2, 200), torch.tensor([200, 96])
    whole = network(x, torch.zeros(2), valid)
    torch.testing.assert_close(whole[1:], network(x[1:, :, :96], torch.zeros(1)), rtol=0, atol=1e-5)


def test_it_depends_on_the_noise_level(network):
    x = signals(network, 1, 128)
    assert not torch.allclose(network(x, torch.tensor([-5.0])), network(x, torch.tensor([5.0])))


def test_the_phase_of_a_spectrum_does_not_matter():
    network = build(StftFrontend(1, 64, 16))
    x = signals(network, 1, 320)
    torch.testing.assert_close(network(x, torch.zeros(1)), network(-x, torch.zeros(1)))


def test_gradients_reach_the_signal_and_may_be_differentiated_again(network):
    x = signals(network, 1, 128).requires_grad_()
    (slope,) = torch.autograd.grad(network(x, torch.zeros(1))[0, 0], x, create_graph=True)
    (again,) = torch.autograd.grad(slope.square().sum(), x)
    assert slope.any() and again.any() and again.isfinite().all()
    silence = torch.zeros_like(x).requires_grad_()
    assert torch.autograd.grad(network(silence, torch.zeros(1)).sum(), silence)[0].isfinite().all()


@pytest.mark.parametrize(("channels", "blocks"), [([], []), ([8], [1, 1])])
def test_levels_that_do_not_fit(channels, blocks):
    with pytest.raises(ValueError, match="same levels"):
        ClassifierNetwork(IdentityFrontend(2), 2, channels, blocks)
