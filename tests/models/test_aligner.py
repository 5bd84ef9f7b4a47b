"""Chains of units, and what becomes of marks and of pauses that are not made."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.cepstrum import FEATURES
from audiodiff.errors import UserError
from audiodiff.models.aligner import FRAME_SECONDS, SAMPLE_RATE, Aligner, Unit, unit_durations
from audiodiff.nn.gaussian_mixture import GaussianMixtures


def make_aligner(**shares: float) -> Aligner:
    network = GaussianMixtures(9, 1, FEATURES)
    torch.nn.init.normal_(network.mean, generator=torch.Generator().manual_seed(0))
    return Aligner(network, "ab", " ,.", "ˈ", **shares).eval()


def test_runs_of_pauses_are_one_unit():
    units = make_aligner().units("“ˈa, b.".replace("“", ","))
    assert units == [
        Unit(-1, 0, 0, 1),  # silence before, with the first comma
        Unit(0, 3, 3, 3),
        Unit(-1, 4, 4, 5),
        Unit(1, 6, 6, 6),
        Unit(-1, 8, 7, 8),  # silence after, with the period
    ]
    assert [unit.optional for unit in units] == [True, False, True, False, True]


@pytest.mark.parametrize("phonemes", ["", " ", "ˈ", ",.", "axb"])
def test_phonemes_that_cannot_be_aligned_are_one_line(phonemes):
    with pytest.raises(UserError) as caught:
        make_aligner().units(phonemes)
    assert "\n" not in str(caught.value)


def test_boundaries_lie_between_frame_centers():
    units = make_aligner().units("ab")
    path = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 8])  # the silence after has no frame
    durations = unit_durations(path, units, 2, 10 * FRAME_SECONDS)
    assert durations == pytest.approx([2.5 * FRAME_SECONDS, 3 * FRAME_SECONDS, 4.5 * FRAME_SECONDS, 0])


def test_marks_and_pauses_take_their_shares():
    aligner = make_aligner(mark_share=0.25, pause_share=0.1)
    assert aligner._share([0, 0, 1.0, 0, 1.0, 0], "ˈa b") == pytest.approx((0, 0.225, 0.675, 0.2, 0.9, 0))
    assert make_aligner()._share([0, 0, 1.0, 0, 1.0, 0], "ˈa b") == (0, 0, 1.0, 0, 1.0, 0)


@settings(max_examples=40, deadline=None)
@given(st.text("ab ,.ˈ", min_size=1, max_size=12), st.integers(1, 4000), st.floats(0, 1), st.floats(0, 1))
def test_durations_fit_any_phonemes(phonemes, samples, mark_share, pause_share):
    aligner = make_aligner(mark_share=mark_share, pause_share=pause_share)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    try:
        (found,) = aligner.align([noise], [phonemes])
    except UserError:
        assert not set(phonemes) & set("ab")
        return
    if found.durations:
        assert len(found.durations) == len(phonemes) + 2 and min(found.durations) >= -1e-12
        assert sum(found.durations) == pytest.approx(samples / SAMPLE_RATE)
        assert found.score <= 1e-6
    else:
        sounds = sum(symbol in "ab" for symbol in phonemes)
        assert samples // 80 + 1 < 3 * sounds and found.score == -100


@pytest.mark.parametrize("arguments", [{"phonemes": "aa"}, {"phonemes": "abc"}, {"marks": "a"}, {"mark_share": 1.5}])
def test_arguments_that_do_not_fit(arguments):
    with pytest.raises(ValueError, match=r"twice|states|share"):
        Aligner(
            **{"network": GaussianMixtures(9, 1, FEATURES), "phonemes": "ab", "pauses": " ", "marks": ""} | arguments
        )
