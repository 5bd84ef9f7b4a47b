"""Audio files of noise, for corpora that tests lay out."""

import numpy as np
import soundfile


def sound(path, seconds=0.6, rate=16000, seed=0, level=0.1, channels=1, **options):
    """Write noise to `path`, folders included; returns the mean of its channels (T,)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = level * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels)).clip(-3, 3)
    soundfile.write(path, data, rate, **options)
    return data.mean(1)
