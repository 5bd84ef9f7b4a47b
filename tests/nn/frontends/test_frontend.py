"""Front ends: spectra that come back exactly, levels, clocks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend, StridedFrontend


def masks(frontend: StftFrontend, frames: int, on: int = 0, value: complex = 1) -> torch.Tensor:
    """The U-Net's output that multiplies one of the spectra (0: the channels' own) by `value` and adds nothing."""
    parts = torch.zeros(1 + frontend.signals + frontend.additive, frontend.channels * frontend.bins, 2, frames)
    parts[on, :, 0], parts[on, :, 1] = complex(value).real, complex(value).imag
    return parts.reshape(1, -1, frames)


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 700),
    channels=st.integers(1, 2),
    signals=st.integers(0, 2),
    additive=st.booleans(),
    overlap=st.sampled_from([4, 8]),
)
def test_mask_of_one_reconstructs_perfectly(samples, channels, signals, additive, overlap):
    frontend = StftFrontend(channels, 128, 128 // overlap, signals, additive)
    x = torch.randn(1, channels + signals, samples, generator=torch.Generator().manual_seed(samples))
    features, spectrum = frontend.encode(x)
    assert features.shape == (1, frontend.in_features, frontend.frames(samples))
    for on in range(1 + signals):
        output = masks(frontend, features.shape[-1], on)
        assert output.shape[1] == frontend.out_features
        wanted = x[:, :channels] if on == 0 else x[:, channels + on - 1, None].expand(-1, channels, -1)
        torch.testing.assert_close(frontend.decode(output, spectrum, samples), wanted, atol=1e-5, rtol=1e-5)


def test_default_spectra_reconstruct_and_scale():
    frontend = StftFrontend()
    x = torch.randn(2, 1, 16001, generator=torch.Generator().manual_seed(0))
    _, spectrum = frontend.encode(x)
    output = masks(frontend, spectrum.shape[-1], value=-0.5).expand(2, -1, -1)
    torch.testing.assert_close(frontend.decode(output, spectrum, 16001), -0.5 * x, atol=1e-5, rtol=1e-5)


def test_additive_part_alone_reconstructs():
    """The additive spectrum takes the place of the signal's own: the order of features out is (bins, re/im)."""
    frontend = StftFrontend(n_fft=64, hop_length=16)
    x = torch.randn(1, 1, 333, generator=torch.Generator().manual_seed(0))
    _, spectrum = frontend.encode(x)
    parts = torch.zeros(1, 2, frontend.bins, 2, spectrum.shape[-1])
    parts[:, 1] = torch.view_as_real(spectrum[:, 0]).transpose(-1, -2)
    result = frontend.decode(parts.flatten(1, 3), torch.zeros_like(spectrum), 333)
    torch.testing.assert_close(result, x, atol=1e-5, rtol=1e-5)


def test_white_noise_has_bins_of_unit_variance():
    frontend = StftFrontend(n_fft=256, hop_length=64)
    x = torch.randn(1, 1, 64 * 4000, generator=torch.Generator().manual_seed(0))
    _, spectrum = frontend.encode(x)
    power = spectrum[0, 0, :, 4:-4].abs().square().mean(1)
    # Neighboring frames share three quarters of their samples: 1500 independent frames, so 2.6 % of deviation.
    assert (power - 1).abs().max() < 0.13
    assert abs(power.mean() - 1) < 0.01


@pytest.mark.parametrize("build", [StftFrontend, lambda: StftFrontend(additive=False), StridedFrontend])
def test_zero_output_decodes_to_zero(build):
    frontend = build()
    features, state = frontend.encode(torch.randn(1, 1, 1000))
    zero = torch.zeros(1, frontend.out_features, features.shape[-1])
    assert not frontend.decode(zero, state, 1000).any()


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(1, 3000))
def test_number_of_frames_is_as_announced_for_numbers_and_tensors(samples):
    for frontend in (StftFrontend(n_fft=64, hop_length=16), StridedFrontend(features=4, stride=8), IdentityFrontend(1)):
        features, _ = frontend.encode(torch.zeros(1, 1, samples))
        assert features.shape[1:] == (frontend.in_features, frontend.frames(samples))
        assert frontend.frames(torch.tensor([samples])).tolist() == [features.shape[-1]]


@pytest.mark.parametrize("at", [0, 1, 500, 777, 999])
def test_stft_frames_lie_where_they_say(at):
    """The frame with the most of a click is the one whose center is nearest to it."""
    frontend = StftFrontend(n_fft=64, hop_length=16)
    click = torch.zeros(1, 1, 1000)
    click[..., at] = 1
    _, spectrum = frontend.encode(click)
    loudest = int(spectrum[0, 0].abs().square().sum(0).argmax())
    assert abs(frontend.offset + loudest * frontend.stride - at) <= frontend.stride / 2


def test_strided_frames_lie_where_they_say():
    frontend = StridedFrontend(features=8, stride=4)
    click = torch.zeros(1, 1, 100)
    click[..., 40] = 1
    features, _ = frontend.encode(click)
    touched = features[0].abs().sum(0).nonzero().flatten()
    assert (touched * frontend.stride).float().mean() == pytest.approx(40, abs=frontend.stride / 2)


def test_identity_hands_through():
    x = torch.randn(2, 7, 13)
    frontend = IdentityFrontend(7)
    features, state = frontend.encode(x)
    assert torch.equal(features, x)
    assert torch.equal(frontend.decode(2 * x, state, 13), 2 * x)
    assert (IdentityFrontend(3, signals=4).in_features, IdentityFrontend(3, signals=4).out_features) == (7, 3)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 300), (1024, 512)])
def test_window_that_does_not_overlap_add_is_refused(n_fft, hop_length):
    with pytest.raises(ValueError, match=f"n_fft={n_fft} must be a multiple of hop_length={hop_length}"):
        StftFrontend(1, n_fft, hop_length)


def test_spectra_are_float32_under_reduced_precision():
    """The features and the output follow the network's precision; the spectrum that masks multiply does not."""
    frontend = StftFrontend(n_fft=64, hop_length=16)
    x = torch.randn(1, 1, 200).to(torch.bfloat16)
    features, spectrum = frontend.encode(x)
    assert features.dtype == torch.bfloat16
    assert spectrum.dtype == torch.complex64
    result = frontend.decode(masks(frontend, features.shape[-1]).to(torch.bfloat16), spectrum, 200)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result, x, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("more", [1, 3])
@pytest.mark.parametrize(
    "frontend",
    [StftFrontend(n_fft=64, hop_length=16, signals=1), StridedFrontend(features=4, stride=8, signals=1)],
    ids=lambda frontend: type(frontend).__name__,
)
def test_frames_beyond_the_end_are_zeros_and_do_not_matter(frontend, more):
    torch.manual_seed(0)
    x = torch.randn(2, 2, 333)
    features, state = frontend.encode(x)
    count = features.shape[-1]
    longer, longer_state = frontend.encode(x, count + more)
    assert longer.shape[-1] == count + more and not longer[..., count:].any()
    torch.testing.assert_close(longer[..., :count], features, rtol=0, atol=0)
    output = torch.randn(2, frontend.out_features, count + more)
    expected = frontend.decode(output[..., :count], state, 333)
    torch.testing.assert_close(frontend.decode(output, longer_state, 333), expected, rtol=0, atol=1e-6)
