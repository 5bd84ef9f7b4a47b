"""`audiodiff doctor mel`: guess the mel spec of a file, and convert it to another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from audiodiff.audio.mel import MelSpec
    from audiodiff.audio.mel.convention import Convention
    from audiodiff.audio.mel.doctor import Diagnosis, Rank

SHOWN = 5
WORTH_SHOWING = 0.001
# A guess of at least this probability is taken, if the array looks like speech (mean squared deviation).
SURE, UNLIKE_SPEECH = 0.9, 3.0


def mel(
    file: Annotated[
        Path, typer.Argument(help="Saved mel: .npy, .npz, .pt, .pth or .safetensors, with or without a spec.")
    ],
    source: Annotated[
        str | None, typer.Option("--from", help="Mel spec of the file, such as tacotron2_22k (default: guessed).")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Mel spec to convert to, such as speech_16k.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output file: .npy (with its .melspec.json) or .safetensors.")
    ] = None,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate", help="Also convert between different windows or hop lengths (interpolates; lossy)."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Guess which mel spec an array was computed with, and optionally convert it to another."""
    from audiodiff.audio.mel.array import read_array
    from audiodiff.audio.mel.doctor import convention, diagnose
    from audiodiff.errors import UserError

    given = None if source is None else convention(source)
    check_conversion(file, to, out, overwrite)
    array, stated = read_array(file)
    try:
        diagnosis = diagnose(array)
        typer.echo("\n".join(format_report(file, diagnosis)))
        known = resolve_convention(diagnosis, given, stated)
        if to is not None:
            typer.echo("\n".join(convert(diagnosis, known, to, out, approximate)))
    except UserError as error:
        if error.subject == "mel":
            raise UserError(file, error.problem, error.fix) from error
        raise


def check_conversion(file: Path, to: str | None, out: Path | None, overwrite: bool) -> None:
    """Check the options of a conversion, before anything is read.

    Raises:
        UserError: `--to` without `--out` or the reverse, an unknown or rescaled target, an existing file.
    """
    from audiodiff.audio.mel.convention import Scaling
    from audiodiff.audio.mel.doctor import convention
    from audiodiff.audio.mel.file import EXTENSIONS, spec_path
    from audiodiff.errors import UserError

    if to is None and out is None:
        return
    if to is None or out is None:
        raise UserError("doctor mel", "--to and --out are needed together", "type: --to SPEC --out FILE")
    if convention(to).scaling != Scaling():
        problem = "rescales its values, which a .melspec.json cannot express"
        raise UserError(f"mel spec {to!r}", problem, "choose another --to")
    if out.suffix not in EXTENSIONS:
        raise UserError(out, "unknown mel format", f"use {' or '.join(EXTENSIONS)}")
    touched = [out] + ([spec_path(out)] if out.suffix == ".npy" else [])
    if file.resolve() in [path.resolve() for path in touched]:
        raise UserError(out, "is the input file", "choose another --out")
    if not overwrite and (there := [path for path in touched if path.exists()]):
        raise UserError(there[0], "exists", "choose another --out or add --overwrite")


def format_report(file: Path, diagnosis: "Diagnosis") -> list[str]:
    """Lines about each field, then about the specs that fit."""
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
        lines.append("the values do not look like speech under any spec: all but the range is uncertain")
    for rank in diagnosis.ranking[:SHOWN]:
        if rank.probability >= WORTH_SHOWING:
            tie = " (indistinguishable)" if len(rank.names) > 1 else ""
            lines.append(f"{rank.probability:6.1%}  {title(rank)}{tie}: {rank.reason}")
    return lines


def title(rank: "Rank") -> str:
    """The names of tied conventions, or the parameters of an unpublished guess."""
    spec = rank.guess.spec
    if rank.names[0]:
        return " = ".join(rank.names)
    parameters = f"{spec.sample_rate} Hz, window {spec.win_length}, hop {spec.hop_length}, to {spec.f_max:g} Hz"
    return f"unpublished: {parameters}, {spec.mel_scale}, norm {spec.norm}, power {spec.power}, base {spec.log_base}"


def resolve_convention(
    diagnosis: "Diagnosis", given: "Convention | None", stated: "MelSpec | None"
) -> "Convention | None":
    """The convention that the user names, else that of the file, else the one that is guessed with certainty.

    Raises:
        UserError: user and file disagree, or the array has another number of bands.
    """
    from audiodiff.audio.mel.convention import CONVENTIONS, Convention
    from audiodiff.errors import UserError

    if given and stated and (differences := stated.differences(given.spec)):
        raise UserError("mel", f"its file states another spec than --from: {'; '.join(differences)}", "remove --from")
    known = given or (Convention("its .melspec.json", stated) if stated else None)
    if known:
        bands = diagnosis.stored.shape[0]
        if known.spec.n_mels != bands:
            raise UserError("mel", f"has {bands} bands, {known.name} has {known.spec.n_mels}")
        return known
    best = diagnosis.ranking[0] if diagnosis.ranking else None
    speech = best is not None and best.distance < UNLIKE_SPEECH
    if speech and best.probability >= SURE and len(best.names) == 1 and best.names[0]:
        return CONVENTIONS[best.names[0]]
    return None


def convert(diagnosis: "Diagnosis", known: "Convention | None", to: str, out: Path, approximate: bool) -> list[str]:
    """Convert and write the mel; lines about the result.

    Raises:
        UserError: its spec is ambiguous, or the conversion is not possible.
    """
    import torch

    from audiodiff.audio.mel.conversion import convert_mel, round_trip
    from audiodiff.audio.mel.doctor import convention
    from audiodiff.audio.mel.file import save_mel
    from audiodiff.errors import UserError

    if known is None:
        names = [name for rank in diagnosis.ranking[:SHOWN] for name in rank.names if name]
        few = f": {', '.join(names)}" if names else ""
        raise UserError("mel", "its mel spec is ambiguous", f"add --from NAME{few}")
    target = convention(to).spec
    log_mel = known.scaling.undo(torch.from_numpy(diagnosis.stored))
    result = convert_mel(log_mel, known.spec, target, approximate)
    save_mel(out, result.mel, target)
    lines = ["", f"{known.name} -> {to}, {result.kind}: {out}"]
    if known.scaling.shift is None:
        lines.append("note: levels were relative to the loudest cell; the absolute level is unknown")
    lines += [f"note: {note}" for note in result.notes]
    mean, worst = round_trip(log_mel, known.spec, target)
    lines.append(f"converted back it differs by {mean:.3g} dB on average, {worst:.3g} dB in the worst 5 % of cells")
    return lines
