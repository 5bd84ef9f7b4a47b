"""Sounds with captions, from packs whose names describe them (`packs`, `captions`).

`sounds` is what may be trained on and shipped freely: CC0, CC-BY, MIT, BSD and public domain, file by file.
`sounds:all` adds the share-alike and copyleft ones, under a label of its own; its manifest states each clip's license.

All takes and strokes of one source of a pack are one piece: they are on one side of the split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from audiodiff.data.captions import Caption, caption_of_name, compose
from audiodiff.data.corpora import packs
from audiodiff.data.corpora.corpus import Corpus, Recording, Request
from audiodiff.data.licenses import license_terms
from audiodiff.errors import UserError

NAME = "sounds"
MANNERS = ("", "all")


@dataclass(frozen=True)
class Pack:
    """A pack.

    Attributes:
        open: fetches it and lists its sounds, given a folder for downloads.
        details: of all its captions.
        permissive: whether it has sounds that are not restricted.
    """

    open: Callable[[Path], list[packs.Sound]]
    details: tuple[str, ...] = ()
    permissive: bool = True


PACKS = {
    "sonic-pi": Pack(packs.sonic_pi),
    "kenney": Pack(packs.arcade, ("from a video game",)),
    "endless-sky": Pack(packs.endless_sky, ("from a video game",)),
    "freedoom": Pack(packs.freedoom, ("from a video game",)),
    "hydrogen": Pack(partial(packs.hydrogen, "hydrogen-drumkits")),
    "guitar-strums": Pack(partial(packs.hydrogen, "hydrogen-drumkits-effects")),
    "minetest": Pack(packs.minetest, ("from a video game",)),
    "freedesktop": Pack(packs.freedesktop),
    "opensfx": Pack(packs.opensfx, permissive=False),
    "ufoai": Pack(packs.ufoai, ("from a video game",), permissive=False),
    "flare": Pack(packs.flare, ("from a video game",), permissive=False),
}


def parse_manner(manner: str) -> str:
    """ "" for permissive licenses only, or "all".

    Raises:
        UserError: it is another word.
    """
    if manner not in MANNERS:
        raise UserError(f"{NAME}:{manner}", "is not a choice of sounds", f"write {NAME} or {NAME}:all")
    return manner


def open_corpus(request: Request) -> Corpus:
    """The sounds of all packs as a corpus; those without a caption, and restricted ones, are to be left out."""
    chosen = {name: pack for name, pack in PACKS.items() if pack.permissive or request.manner == "all"}
    found = [
        _recording(name, pack, sound, request.manner == "all")
        for name, pack in chosen.items()
        for sound in pack.open(request.downloads)
    ]
    return Corpus(found, f"packs of named sounds: {', '.join(chosen)}", "see each clip")


def _recording(name: str, pack: Pack, sound: packs.Sound, restricted: bool) -> Recording:
    reason, caption = sound.exclude_reason, Caption()
    if license_terms(sound.license).restricted and not restricted:
        reason = reason or f"its license {sound.license.partition(' (')[0]} is not permissive (see {NAME}:all)"
    try:
        caption = sound_caption(name, sound)
    except UserError as error:
        reason = reason or error.problem
    return Recording(
        f"{name}/{sound.key}",
        sound.read,
        speaker=name,
        exclude_reason=reason,
        piece=f"{name}/{sound.group or sound.name}",
        license=sound.license,
        caption=caption,
    )


def sound_caption(pack: str, sound: packs.Sound) -> Caption:
    """The caption of a sound of a pack.

    Raises:
        UserError: as `caption_of_name`.
    """
    caption = caption_of_name(sound.name, pack)
    nouns, adjectives, details = (caption.of_role(role) for role in ("noun", "adjective", "detail"))
    return compose(nouns, adjectives, [*details, *sound.details, *PACKS[pack].details])
