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
    """Prepare corpora and audit them. What is prepared already is not done again."""
    from audiodiff.data import corpora as data
    from audiodiff.data.audit import Audit

    manifest = data.prepare(corpora, out, split_by, clips)
    print(Audit.load(out))
    print(f"{len(manifest)} clips in {out / 'manifest.jsonl'}")
