import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.export.real_stft import RealStft
from audiodiff.nn.frontends.frontend import StftFrontend


@settings(deadline=None, max_examples=25)
@given(
    hop=st.integers(1, 24),
    overlap=st.integers(4, 6),
    channels=st.integers(1, 2),
    signals=st.integers(0, 2),
    additive=st.booleans(),
    hops=st.integers(1, 9),
)
def test_equals_the_complex_front_end(hop, overlap, channels, signals, additive, hops):
    """Also for lengths that are odd, prime or not a product of similar factors."""
    frontend = StftFrontend(channels, overlap * hop, hop, signals, additive)
    real, random = RealStft(frontend), torch.Generator().manual_seed(hop)
    x = torch.randn(2, channels + signals, hops * hop, generator=random)
    features, spectrum = frontend.encode(x)
    found, found_spectrum = real.encode(x)
    assert torch.allclose(found, features, atol=1e-5)
    output = torch.randn(2, frontend.out_features, features.shape[-1], generator=random)
    decoded = frontend.decode(output, spectrum, hops * hop)
    assert torch.allclose(
        real.decode(output, found_spectrum, hops * hop), decoded, atol=1e-5 * (1 + decoded.abs().max())
    )
