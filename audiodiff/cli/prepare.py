"""`audiodiff prepare`: convert corpora to FLAC files with a manifest and an audit."""

import math
from pathlib import Path
from typing import Annotated

import typer


def prepare(
    corpora: Annotated[
        list[str],
        typer.Argument(
            help="Speech: festvox-ru, asterisk-en, asterisk-es, asterisk-fr, asterisk-it, asterisk-ru, fillets-cs "
            "(downloaded by apt), hibari, hibari:shifted (every sentence at another pitch), "
            "kokoro:VOICE,VOICE,... (synthetic; kokoro means all 28 voices), ljspeech:PATH, vctk:PATH, folder:PATH "
            "(any recordings). Music: sonic-pi-samples, hydrogen-drumkits, singularity-music, wesnoth-music "
            "(downloaded by apt), scores (synthetic chorales), tunes (synthetic, of known tempo and key), music:PATH "
            "(any recordings). With captions: sounds (named sounds under permissive licenses, downloaded by apt, pip "
            "and npm), sounds:all (share-alike and copyleft ones, too), instruments (synthetic notes, chords and "
            "drums)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output folder; corpora that it holds are kept.")] = Path("data"),
    split_by: Annotated[
        str | None, typer.Option(help="clip, or speaker to hold out whole speakers (default: as before, else clip).")
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(
            help="Utterances of hibari (default: 100), or of each voice of kokoro (default: 1000); clips of "
            "instruments (default: 3000) and tunes (default: 240)."
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(help="Language of the texts of folder:PATH; en-us and en-gb get phonemes.")
    ] = "",
    captions: Annotated[
        bool,
        typer.Option(
            help="Text files beside the recordings of folder:PATH and music:PATH are captions (default: transcripts), "
            "names of files are captions where there are none. A captions.csv there is always read."
        ),
    ] = False,
    shards: Annotated[
        float | None,
        typer.Option(
            help="Also copy all clips into tar archives of so many megabytes in OUT/shards, a data folder to train on "
            "from slow or distant disks (default: no)."
        ),
    ] = None,
) -> None:
    """Download or import corpora, write a manifest, audit the audio. Finished corpora and files are skipped.

    Exits with status 1 if a file had to be skipped because it cannot be read.
    """
    import logging
    import sys
    from dataclasses import replace

    from tqdm import tqdm

    from audiodiff.data import preparation
    from audiodiff.data.audit import Audit
    from audiodiff.data.shards import write_shards
    from audiodiff.errors import UserError

    if shards is not None and not 0 < shards < math.inf:
        raise UserError(f"--shards {shards:g}", "is no size", "give megabytes, such as 256")
    skipped: list[UserError] = []
    log, shown = logging.getLogger("audiodiff"), logging.StreamHandler(sys.stdout)
    log.setLevel(logging.INFO)
    log.addHandler(shown)
    try:
        manifest = preparation.prepare(corpora, out, split_by, clips, language, skipped.append, tqdm, captions)
        if shards is not None:
            sharded = write_shards(manifest, out / "shards", shards)
            replace(Audit.load(out), manifest_hash=sharded.content_hash()).save(sharded.root)
    finally:
        log.removeHandler(shown)
    print(Audit.load(out))
    for error in skipped:
        print(f"error: {error}", file=sys.stderr)
    also = f", {len(skipped)} skipped" if skipped else ""
    print(f"{len(manifest)} clips in {out / 'manifest.jsonl'}{also}")
    if shards is not None:
        print(f"shards in {out / 'shards'}: train with data.path={out / 'shards'}")
    if skipped:
        raise typer.Exit(1)
