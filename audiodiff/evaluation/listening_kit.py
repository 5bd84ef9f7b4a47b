"""A listening test as a folder: a page that listeners open in a browser, its audio files, and a key to keep.

In each trial a listener hears A and B, the same clip of two systems, and X, which is one of the two (Munson and Gardner
1950, "Standardizing auditory tests"; ITU-R BS.1116 for level matching and anonymity): which one is X, and which of A
and B is better? A listener who notices no difference is right half of the time.

Nothing in the folder `page` reveals a system. File names are random, all files of a trial have the same length, format
and size, and no two the same bytes: each has its own dither of at most one step of 16 bits. The clips of a trial have
the same level. The order of the trials, which system is A and which one X is come from the seed; they are in `key.json`
beside the page.
"""

import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from audiodiff.audio import io
from audiodiff.audio.loudness import normalize_rms, rms_dbfs
from audiodiff.audio.reading.folder import files_below
from audiodiff.errors import UserError
from audiodiff.files import write_text

KEY, PAGE, FORMAT = "key.json", "page", "audiodiff listening test"
TEMPLATE = Path(__file__).with_name("listening.html")
_PEAK = 0.95
_STEP = 2.0**-15


@dataclass(frozen=True)
class Trial:
    """One comparison.

    Attributes:
        id: random, of the trial in page and answers.
        clip: name of the clip in its systems' folders.
        a, b: names of the systems that are A and B.
        x: "a" or "b"; "" in a test of preference alone.
        files: names of A's, B's and X's files below the page's folder `audio`.
    """

    id: str
    clip: str
    a: str
    b: str
    x: str
    files: tuple[str, ...]


def find_systems(folders: Sequence[str]) -> dict[str, Path]:
    """The systems of `FOLDER` or `NAME=FOLDER` arguments, by name.

    Raises:
        UserError: fewer than two, one that is not a folder, or two of the same name.
    """
    systems: dict[str, Path] = {}
    for item in folders:
        name, named, path = item.partition("=")
        if not named or Path(item).exists():
            name, path = Path(item).resolve().name, item
        if not Path(path).is_dir():
            raise UserError(path, "is not a folder", "give a folder of audio files for each system")
        if name in systems:
            raise UserError(item, f"another system is named {name}", f"name it: OTHER={path}")
        systems[name] = Path(path)
    if len(systems) < 2:
        raise UserError("listening test", f"{len(systems)} systems", "give the folders of at least two")
    return systems


def common_clips(systems: dict[str, Path]) -> dict[str, dict[str, Path]]:
    """The clips that all systems have: name without suffix -> system -> file.

    Raises:
        UserError: there is none, or a system has two files of one name.
    """
    found: dict[str, dict[str, Path]] = {}
    for system, folder in systems.items():
        for path in files_below(folder, io.EXTENSIONS):
            clip = found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), {})
            if system in clip:
                raise UserError(path, f"has the same name as {clip[system].name}", "remove one of them")
            clip[system] = path
    clips = {name: files for name, files in sorted(found.items()) if len(files) == len(systems)}
    if not clips:
        problem = f"have no clip in common ({', '.join(systems)})"
        raise UserError("folders", problem, "give each system's clips the same file names")
    return clips


def plan(clips: Sequence[str], systems: Sequence[str], seed: int, limit: int | None, identify: bool) -> list[Trial]:
    """The trials in random order: each pair of systems on each clip, at most `limit`, spread evenly over the pairs.

    A system is A as often as B, and X as often A as B, as far as their number allows.
    """
    rng = random.Random(seed)
    rounds = []
    for pair in combinations(systems, 2):
        order = rng.sample(list(clips), len(clips))
        offset = rng.randrange(4)
        rounds.append([(pair, clip, (n + offset) % 4) for n, clip in enumerate(order)])
    chosen = [item for turn in zip(*rounds, strict=True) for item in turn][:limit]
    rng.shuffle(chosen)
    trials = []
    for pair, clip, case in chosen:
        a, b = pair if case % 2 else pair[::-1]
        names = tuple(f"{secrets.token_hex(8)}.wav" for _ in range(2 + identify))
        trials.append(Trial(secrets.token_hex(6), clip, a, b, "ab"[case // 2] if identify else "", names))
    return trials


def match(clips: Sequence[Tensor]) -> list[Tensor]:
    """Clips (C, T_i) of one trial with the same length and level, within full scale."""
    length = max(clip.shape[-1] for clip in clips)
    levels = [rms_dbfs(clip.flatten()).item() for clip in clips]
    audible = [level for level in levels if level > -torch.inf]
    clips = [normalize_rms(clip[None], min(audible))[0] if audible else clip for clip in clips]
    loudest = max(clip.abs().max().item() for clip in clips)
    gain = min(1.0, _PEAK / loudest) if loudest else 1.0
    return [torch.nn.functional.pad(gain * clip, (0, length - clip.shape[-1])) for clip in clips]


def write_kit(
    folders: Sequence[str], out: Path, seed: int = 0, limit: int | None = None, identify: bool = True, title: str = ""
) -> list[Trial]:
    """Write the page, its audio and the key.

    Args:
        folders: of the systems, `FOLDER` or `NAME=FOLDER`.
        out: folder, which must not hold a test.
        seed: of the order.
        limit: maximum number of trials; None: every pair of systems on every clip.
        identify: whether there is an X to identify; else only A and B are compared.
        title: of the page; it must not name a system.

    Raises:
        UserError: as `find_systems` and `common_clips`, a limit below 1, a clip that cannot be read, a test that is
            there already, or a folder that cannot be written.
    """
    systems = find_systems(folders)
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit}", "is below 1", "leave it out for all trials")
    if (out / KEY).exists():
        raise UserError(out / KEY, "exists: answers to that test need it", "choose another --out")
    clips = common_clips(systems)
    trials = plan(list(clips), list(systems), seed, limit, identify)
    kit = secrets.token_hex(6)
    audio = out / PAGE / "audio"
    for trial in trials:
        files = clips[trial.clip]
        read = [io.read(files[trial.a], channels=2), io.read(files[trial.b], channels=2)]
        rate = max(clip.sample_rate for clip in read)
        pair = match([io.resample(clip.samples, clip.sample_rate, rate) for clip in read])
        played = [*pair, pair["ab".index(trial.x)]] if trial.x else pair
        for name, samples in zip(trial.files, played, strict=True):
            generator = torch.Generator().manual_seed(secrets.randbits(62))
            dither = _STEP / 2 * (torch.rand(2, *samples.shape, generator=generator) - 0.5).sum(0)
            io.write(audio / name, io.Audio(samples + dither, rate))
    shown = [{"id": trial.id, "files": trial.files} for trial in trials]
    data = json.dumps({"kit": kit, "title": title or "Listening test", "trials": shown}).replace("<", "\\u003c")
    write_text(out / PAGE / "index.html", TEMPLATE.read_text(encoding="utf-8").replace("/*DATA*/null", data))
    key = {"format": FORMAT, "kit": kit, "seed": seed, "systems": {name: str(path) for name, path in systems.items()}}
    write_text(out / KEY, json.dumps(key | {"trials": [asdict(trial) for trial in trials]}, indent=1) + "\n")
    return trials
