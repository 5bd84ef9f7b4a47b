import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.captions import compose
from audiodiff.data.captions.character import character_of, measure

RATE = 44100
GENERATOR = torch.Generator().manual_seed(0)


def tone(frequency: float, seconds: float, decay: float = 0.0) -> torch.Tensor:
    """A sine of so many Hz whose amplitude falls by a factor of e in `decay` seconds (0: not at all)."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.sin(2 * torch.pi * frequency * time) * (torch.exp(-time / decay) if decay else 1)


def noise(seconds: float) -> torch.Tensor:
    return torch.randn(round(seconds * RATE), generator=GENERATOR)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (tone(440, 0.1), ("short",)),
        (tone(440, 1), ()),
        (tone(440, 3), ("long",)),
        (tone(440, 3, decay=0.25), ("with a long tail",)),  # 20 dB after 0.58 s, 40 dB after 1.15 s
        (tone(60, 1), ("deep",)),
        (tone(200, 1), ("muffled",)),
        (tone(5000, 1), ("bright",)),
        (noise(1), ("bright", "noisy")),
        (torch.zeros(RATE), ()),
        (torch.zeros(0), ()),
    ],
)
def test_the_character_of_signals_that_are_known(samples, words):
    assert character_of(samples, RATE) == words
    assert character_of(samples.expand(2, -1), RATE) == words


def test_measurements_have_closed_forms():
    found = measure(tone(1000, 2, decay=0.2).double(), RATE)
    assert found.sustain == pytest.approx(0.2 * 2.303, abs=0.02)  # e^-x is -20 dB at x = ln 10
    assert found.decay == pytest.approx(0.2 * 4.605, abs=0.02)
    assert found.median == pytest.approx(1000, abs=25) and found.rolloff == pytest.approx(1000, abs=60)
    assert found.flatness < 0.01
    white = measure(noise(2).double(), RATE)
    assert white.median == pytest.approx(RATE / 4, rel=0.02) and white.rolloff == pytest.approx(
        0.85 * RATE / 2, rel=0.02
    )
    assert white.flatness == pytest.approx(0.561, abs=0.02)  # exp(-Euler's constant) of exponential power


def test_what_a_caption_says_is_neither_repeated_nor_contradicted():
    hit = tone(5000, 0.1)
    assert character_of(hit, RATE) == ("short", "bright")
    assert character_of(hit, RATE, ["long"]) == ("bright",)
    assert character_of(hit, RATE, ["low", "woodblock"]) == ("short",)
    assert character_of(hit, RATE, ["short bright hit"]) == ()


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=300),
    st.sampled_from([8000, 44100, 192000]),
)
def test_any_samples_have_a_character_that_a_caption_may_draw(samples, rate):
    words = character_of(torch.tensor(samples), rate)
    caption = compose(["door"]).with_character(words)
    caption.validate()
    assert caption.text == "door" and set(" ".join(words).split()) <= caption.words()
    assert caption.with_character(()) == compose(["door"])
