"""`audiodiff doctor mel`: what kind of mel is this file, and can it become another kind?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from audiodiff.audio.mel import MelSpec
    from audiodiff.audio.mel.convention import Convention
    from audiodiff.audio.mel.doctor import Diagnosis, Rank

SHOWN = 5
WORTH_SHOWING = 0.001
# A likelier guess than this is taken for what the file is, if it looks like speech (mean squared deviation).
SURE, UNLIKE_SPEECH = 0.9, 3.0


def mel(
    file: Annotated[Path, typer.Argument(help="A mel: .npy, .npz, .pt, .pth or .safetensors, with or without a spec.")],
    source: Annotated[
        str | None, typer.Option("--from", help="What the mel is, where its numbers leave it open: tacotron2_22k, ...")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Convert to this spec, such as speech_16k.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to, .npy (with its .melspec.json) or .safetensors.")] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Allow another window or clock: interpolate frequencies and frames.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
) -> None:
    """Name the spec that a mel was probably made with, from its numbers alone, and convert it to another."""
    from audiodiff.audio.mel.array import read_array
    from audiodiff.audio.mel.doctor import convention, diagnose
    from audiodiff.errors import UserError

    given = None if source is None else convention(source)
    checked(file, to, out, overwrite)
    array, stated = read_array(file)
    try:
        diagnosis = diagnose(array)
        typer.echo("\n".join(report(file, diagnosis)))
        known = named(diagnosis, given, stated)
        if to is not None:
            typer.echo("\n".join(converted(diagnosis, known, to, out, approximate)))
    except UserError as error:
        if error.subject == "mel":
            raise UserError(file, error.problem, error.fix) from error
        raise


def checked(file: Path, to: str | None, out: Path | None, overwrite: bool) -> None:
    """Refuse before anything is read what could not be written.

    Raises:
        UserError: `--to` without `--out` or the reverse, an unknown or squeezed target, a file that is there already.
    """
    from audiodiff.audio.mel.convention import Scaling
    from audiodiff.audio.mel.doctor import convention
    from audiodiff.audio.mel.file import EXTENSIONS, spec_path
    from audiodiff.errors import UserError

    if to is None and out is None:
        return
    if to is None or out is None:
        raise UserError("doctor mel", "--to and --out belong together", "give both to convert")
    if convention(to).scaling != Scaling():
        raise UserError(
            f"mel spec {to!r}", "squeezes its numbers, which a .melspec.json cannot say", "convert to another"
        )
    if out.suffix not in EXTENSIONS:
        raise UserError(out, "mels are not written in this format", f"use {' or '.join(EXTENSIONS)}")
    touched = [out] + ([spec_path(out)] if out.suffix == ".npy" else [])
    if file.resolve() in [path.resolve() for path in touched]:
        raise UserError(out, "is the input", "choose another name")
    if not overwrite and (there := [path for path in touched if path.exists()]):
        raise UserError(there[0], "is there already", "choose another name or give --overwrite")


def report(file: Path, diagnosis: "Diagnosis") -> list[str]:
    """What is known of each field, then the specs that fit."""
    bands, frames = diagnosis.stored.shape
    lines = [
        f"{file}: {bands} bands, {frames} frames, from {diagnosis.stored.min():.4g} to {diagnosis.stored.max():.4g}"
    ]
    for name, (state, value, reason) in diagnosis.fields.items():
        shown = "?" if value is None and name != "norm" else str(value)
        lines.append(f"{state:14}  {name:12}  {shown:16}  {reason}")
    lines.append("")
    if not diagnosis.ranking:
        lines.append("no known spec fits")
    elif diagnosis.ranking[0].distance >= UNLIKE_SPEECH:
        lines.append("under no spec do these numbers look like speech: all but the range is guesswork")
    for rank in diagnosis.ranking[:SHOWN]:
        if rank.belief >= WORTH_SHOWING:
            tie = " (cannot be told apart)" if len(rank.names) > 1 else ""
            lines.append(f"{rank.belief:6.1%}  {titled(rank)}{tie}: {rank.reason}")
    return lines


def titled(rank: "Rank") -> str:
    """The names of tied conventions, or what an unpublished guess consists of."""
    spec = rank.guess.spec
    if rank.names[0]:
        return " = ".join(rank.names)
    clock = f"{spec.sample_rate} Hz, window {spec.win_length}, hop {spec.hop_length}, to {spec.f_max:g} Hz"
    return f"unpublished: {clock}, {spec.mel_scale}, norm {spec.norm}, power {spec.power}, base {spec.log_base}"


def named(diagnosis: "Diagnosis", given: "Convention | None", stated: "MelSpec | None") -> "Convention | None":
    """What the caller says that the mel is, else what its file says, else what its numbers leave no doubt of.

    Raises:
        UserError: caller and file disagree, or what they say is not true of the numbers' bands.
    """
    from audiodiff.audio.mel.convention import CONVENTIONS, Convention
    from audiodiff.errors import UserError

    if given and stated and (differences := stated.differences(given.spec)):
        raise UserError("mel", f"says itself that it is of another spec than --from: {'; '.join(differences)}")
    known = given or (Convention("its .melspec.json", stated) if stated else None)
    if known:
        bands = diagnosis.stored.shape[0]
        if known.spec.n_mels != bands:
            raise UserError("mel", f"has {bands} bands, {known.name} has {known.spec.n_mels}")
        return known
    best = diagnosis.ranking[0] if diagnosis.ranking else None
    speech = best is not None and best.distance < UNLIKE_SPEECH
    if speech and best.belief >= SURE and len(best.names) == 1 and best.names[0]:
        return CONVENTIONS[best.names[0]]
    return None


def converted(diagnosis: "Diagnosis", known: "Convention | None", to: str, out: Path, approximate: bool) -> list[str]:
    """Convert, write, and say how well it went.

    Raises:
        UserError: it is not known what the mel is, or the conversion is not possible.
    """
    import torch

    from audiodiff.audio.mel.conversion import convert_mel, round_trip
    from audiodiff.audio.mel.doctor import convention
    from audiodiff.audio.mel.file import save_mel
    from audiodiff.errors import UserError

    if known is None:
        names = [name for rank in diagnosis.ranking[:SHOWN] for name in rank.names if name]
        few = f": {', '.join(names)}" if names else ""
        raise UserError("mel", "its numbers do not say for certain what it is", f"name it with --from{few}")
    target = convention(to).spec
    log_mel = known.scaling.undo(torch.from_numpy(diagnosis.stored))
    result = convert_mel(log_mel, known.spec, target, approximate)
    save_mel(out, result.mel, target)
    lines = ["", f"{known.name} -> {to}, {result.kind}: {out}"]
    if known.scaling.shift is None:
        lines.append("note: its level was taken relative to its loudest cell; the true level is not known")
    lines += [f"note: {note}" for note in result.notes]
    mean, worst = round_trip(log_mel, known.spec, target)
    lines.append(
        f"there and back again it differs by {mean:.3g} dB on average, {worst:.3g} dB in the worst 5 % of cells"
    )
    return lines
