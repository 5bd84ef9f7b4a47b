"""`audiodiff prepare`: corpora become FLAC files, a manifest and an audit."""

from pathlib import Path
from typing import Annotated

import typer


def prepare(
    corpora: Annotated[
        list[str],
        typer.Argument(
            help="festvox-ru, asterisk-en, asterisk-es, asterisk-fr, asterisk-it, asterisk-ru, fillets-cs (real "
            "speech, by apt), hibari (synthetic speech), ljspeech:PATH, vctk:PATH, folder:PATH (any speech); "
            "sonic-pi-samples, hydrogen-drumkits, singularity-music, wesnoth-music (music, by apt), scores (chorales, "
            "synthetic), music:PATH (any music)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the manifest; corpora already there stay.")] = Path("data"),
    split_by: Annotated[
        str | None, typer.Option(help="clip, or speaker: whole speakers are held out. Default: as before, else clip.")
    ] = None,
    clips: Annotated[int, typer.Option(help="Number of utterances of the synthetic corpus hibari.")] = 200,
) -> None:
    """Prepare corpora and audit them. What is prepared already is not done again. Status 1 if files are left out."""
    import logging
    import sys

    from tqdm import tqdm

    from audiodiff.data import preparation
    from audiodiff.data.audit import Audit
    from audiodiff.errors import UserError

    left_out: list[UserError] = []
    log, shown = logging.getLogger("audiodiff"), logging.StreamHandler(sys.stdout)
    log.setLevel(logging.INFO)
    log.addHandler(shown)
    try:
        manifest = preparation.prepare(corpora, out, split_by, clips, left_out.append, tqdm)
    finally:
        log.removeHandler(shown)
    print(Audit.load(out))
    for error in left_out:
        print(f"error: {error}", file=sys.stderr)
    also = f", {len(left_out)} left out" if left_out else ""
    print(f"{len(manifest)} clips in {out / 'manifest.jsonl'}{also}")
    if left_out:
        raise typer.Exit(1)
