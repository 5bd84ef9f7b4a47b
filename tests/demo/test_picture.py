"""Pictures show what is in a sound, where it is."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from audiodiff.audio.io import Audio
from audiodiff.demo.picture import SPECTRUM, WAVE, WIDTH, mel_picture, picture


def pixels(url):
    """(height, width) brightness of a picture."""
    head, _, content = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L")).astype(float)


def test_a_tone_is_a_line_at_its_frequency_and_a_band_at_its_time():
    """A tone of 2 kHz in the second half of a second at 8 kHz: halfway up, on the right."""
    t = torch.arange(8000) / 8000
    image = pixels(picture(Audio(0.5 * torch.sin(2 * torch.pi * 2000 * t) * (t >= 0.5), 8000)))
    assert image.shape == (WAVE + SPECTRUM, WIDTH)
    spectrum = image[WAVE:]
    rows = spectrum[:, WIDTH * 3 // 4]
    assert abs(int(rows.argmax()) - SPECTRUM // 2) <= 3
    assert spectrum[:, : WIDTH * 2 // 5].max() < 40 < rows.max()
    wave = image[:WAVE]
    height = (wave > 60).sum(0)
    assert height[WIDTH * 3 // 4] == pytest.approx(WAVE / 2, abs=3) and height[WIDTH // 4] <= 4


@pytest.mark.parametrize("samples", [0, 1, 7, 300, 8000, 500_000])
@pytest.mark.parametrize("channels", [None, 1, 2])
def test_any_length_has_a_picture(samples, channels):
    shape = (samples,) if channels is None else (channels, samples)
    assert pixels(picture(Audio(0.1 * torch.randn(shape), 22050))).shape == (WAVE + SPECTRUM, WIDTH)


def test_low_bands_of_a_mel_are_at_the_bottom():
    mel = torch.zeros(80, 40)
    mel[:8, 20:] = 1
    image = pixels(mel_picture(mel))
    assert image.shape == (SPECTRUM, WIDTH)
    assert image[-5, -5] > 150 > 40 > image[5, -5] and image[-5, 5] < 40
