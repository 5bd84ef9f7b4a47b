"""Synthetic speech by hibari-tts, a text-to-speech model whose weights come inside its wheel.

It needs Python packages only. The clips are marked as synthetic.
"""

import hashlib
from functools import cache, partial
from importlib import metadata, resources

import torch

from audiodiff.audio.io import Audio
from audiodiff.data.corpora.corpus import Corpus, Recording, Request
from audiodiff.errors import UserError
from audiodiff.extras import install_command

VOICE = "heart"
SPEEDS = (0.9, 1.1)


def open_corpus(request: Request) -> Corpus:
    """`request.clips` utterances as a corpus."""
    release = package()
    license = f"{release.metadata['License'] or release.metadata['License-Expression']} (the model's; synthetic speech)"
    found = recordings(request.clips)
    return Corpus(found, f"synthetic: hibari-tts {release.version}", license, synthetic=True)


def sentences() -> list[str]:
    """The lines of sentences.txt."""
    return (resources.files("audiodiff.data.corpora") / "sentences.txt").read_text(encoding="utf-8").splitlines()


def package() -> metadata.Distribution:
    """The installed distribution.

    Raises:
        UserError: it is not installed.
    """
    try:
        return metadata.distribution("hibari-tts")
    except metadata.PackageNotFoundError as error:
        raise UserError("hibari", "needs the package hibari-tts", install_command("hibari")) from error


def texts(clips: int) -> list[str]:
    """`clips` different texts: every sentence once, then pairs of each sentence with the next, the one after that, ...

    Raises:
        UserError: `clips` is out of range.
    """
    lines = sentences()
    if not 1 <= clips <= len(lines) ** 2:
        raise UserError("--clips", f"is {clips}", f"choose 1 to {len(lines) ** 2}")
    found = []
    for clip in range(clips):
        distance, first = divmod(clip, len(lines))
        found.append(lines[first] if distance == 0 else f"{lines[first]} {lines[(first + distance) % len(lines)]}")
    return found


def recordings(clips: int) -> list[Recording]:
    """`clips` utterances; speaking rate (within `SPEEDS`) and seed are derived from a hash of the text."""
    release = package().version
    found = []
    for number, text in enumerate(texts(clips)):
        digest = hashlib.sha256(f"{release}/{VOICE}/{text}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        speed = SPEEDS[0] + (SPEEDS[1] - SPEEDS[0]) * digest[4] / 255
        key = f"{number:05d}-{digest[:4].hex()}"
        found.append(Recording(key, partial(_speak, text, speed, seed), text, f"synthetic-{VOICE}"))
    return found


@cache
def _voice():
    from hibari import Hibari

    return Hibari(VOICE)


def _speak(text: str, speed: float, seed: int) -> Audio:
    from hibari import SAMPLE_RATE

    return Audio(torch.from_numpy(_voice()(text, speed=speed, seed=seed)), SAMPLE_RATE)
