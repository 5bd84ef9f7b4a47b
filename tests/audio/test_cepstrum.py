import torch

from audiodiff.audio.cepstrum import FEATURES, ORDER, SPEC, cepstra


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


def test_each_number_is_standardized_over_the_clip():
    features = cepstra(noise(8000))
    assert features.shape == (1, 101, FEATURES)
    torch.testing.assert_close(features.mean(1), torch.zeros(1, FEATURES), rtol=0, atol=1e-4)
    torch.testing.assert_close(features.std(1, correction=0), torch.ones(1, FEATURES), rtol=0, atol=1e-3)


def test_the_level_does_not_matter():
    x = noise(8000)
    torch.testing.assert_close(cepstra(x), cepstra(3 * x), rtol=0, atol=0.05)


def test_a_frame_is_centered_at_its_hop():
    x = torch.cat([0.5 * noise(4000), noise(4000, 1)], dim=1)
    level = cepstra(x)[0, :, 0]
    louder = int((level > 0).nonzero()[0])
    assert abs((louder - 0.5) * SPEC.hop_length - 4000) <= SPEC.hop_length
    assert abs(int(cepstra(x)[0, :, ORDER].argmax()) * SPEC.hop_length - 4000) <= SPEC.hop_length


def test_digital_silence_is_finite():
    assert cepstra(torch.zeros(1, 2000)).isfinite().all()
