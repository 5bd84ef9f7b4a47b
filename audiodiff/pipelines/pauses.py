"""Pauses that a text asks for: `[pause 2]`.

A voice has read no pause of a minute, and what it makes of one is noise. So a pause is synthesized for
`SYNTHESIZED_SECONDS` at most; the rest is silence, in the middle of it.
"""

from collections import defaultdict

import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.text.front_end import Utterance

SYNTHESIZED_SECONDS = 0.5
FADE_SECONDS = 0.005


def pause_seconds(utterance: Utterance) -> dict[int, float]:
    """Seconds of pause by the symbol that they prolong, the boundary before the first symbol being 0."""
    seconds: defaultdict[int, float] = defaultdict(float)
    for pause in utterance.pauses:
        last = pause.position == len(utterance.phonemes)
        seconds[pause.position + last] += pause.seconds
    return seconds


def insert_silence(audio: Audio, durations: Tensor, utterance: Utterance) -> tuple[Audio, Tensor]:
    """Insert what is not synthesized of the pauses, and fade all ends: what remains of noise there would click.

    Args:
        audio: of the utterance, samples (T,).
        durations: (N,) seconds of its symbols and both boundaries.
        utterance: that asks for the pauses.

    Returns:
        Audio and durations with the silence.
    """
    samples, rate = audio.samples, audio.sample_rate
    ends, longer = durations.cumsum(0), durations.clone()
    pieces, start, fade = [], 0, round(FADE_SECONDS * rate)
    for place, seconds in sorted(pause_seconds(utterance).items()):
        silent = round((seconds - SYNTHESIZED_SECONDS) * rate)
        if silent > 0:
            middle = round(float(ends[place] - durations[place] / 2) * rate)
            pieces += [_faded(samples[start:middle], fade), samples.new_zeros(silent)]
            longer[place] += silent / rate
            start = middle
    return Audio(torch.cat([*pieces, _faded(samples[start:], fade)]), rate), longer


def _faded(samples: Tensor, length: int) -> Tensor:
    """Fade both ends in and out."""
    length = min(length, samples.shape[-1] // 2)
    rise = torch.linspace(0, 1, length + 2)[1:-1]
    samples = samples.clone()
    samples[:length] *= rise
    samples[samples.shape[-1] - length :] *= rise.flip(0)
    return samples
