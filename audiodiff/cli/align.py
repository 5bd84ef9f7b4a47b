"""`audiodiff align`: find when each phoneme of a data set is spoken."""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

MODEL_FOLDER = "aligner"
_SAVE_EVERY = 200  # clips
_SHOWN = 10  # findings


def align(
    data: Annotated[Path, typer.Argument(help="Folder that holds manifest.jsonl, with texts or phonemes.")],
    model: Annotated[
        Path | None, typer.Option(help="Aligner to use (default: DATA/aligner, which is trained first if missing).")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train DATA/aligner anew, from --model if given, and align all clips again.")
    ] = False,
    language: Annotated[
        str, typer.Option(help="Language of texts without phonemes whose language the manifest does not state.")
    ] = "en-us",
) -> None:
    """Align texts with their audio: write the duration and pitch of every phoneme into the manifest.

    The aligner is trained on the recordings themselves, without labels, in some minutes. Durations that the data states
    are kept. Clips whose text does not fit their audio are listed. Rerun the same command to resume.
    """
    from tqdm import tqdm

    from audiodiff.data.audit import poorly_aligned
    from audiodiff.data.manifest import Manifest
    from audiodiff.errors import UserError
    from audiodiff.files import folder_lock
    from audiodiff.models.aligner import Aligner
    from audiodiff.pipelines import alignment

    failed: dict[str, UserError] = {}

    def report(clip, error: UserError) -> None:
        failed[clip.id] = error

    root = Manifest.load(data).root
    own = root / MODEL_FOLDER
    with folder_lock(root):
        manifest = alignment.add_phonemes(Manifest.load(data), _phonemize, language, report)
        if not any(clip.phonemes for clip in manifest.clips):
            raise UserError(data, "has no clip with a text", "prepare a corpus that has texts")
        if train or (model is None and not (own / "config.json").is_file()):
            manifest = alignment.without_alignment(manifest)
            aligner = _train(manifest, model, own)
        else:
            aligner = Aligner.from_pretrained(model or own)
        manifest.save(data)
        clips = {clip.id: clip for clip in manifest.clips}
        pending = [clip for clip in manifest.clips if alignment.is_pending(clip)]
        aligned = alignment.align_clips(manifest, pending, aligner, report)
        for number, clip in enumerate(tqdm(aligned, "align", len(pending), unit="clip"), 1):
            clips[clip.id] = clip
            if number % _SAVE_EVERY == 0 or number == len(pending):
                replace(manifest, clips=tuple(clips.values())).save(data)
        manifest = replace(manifest, clips=tuple(clips.values()))
        manifest.save(data)
    _print_summary(manifest, poorly_aligned(manifest.clips), failed)


def _phonemize(text: str, language: str) -> str:
    """Phonemes of a text, by the front end of its language."""
    return _front_end(language).phonemize(text).phonemes


@cache
def _front_end(language: str):
    from audiodiff.text.front_end import front_end

    return front_end(language)


def _train(manifest, model: Path | None, folder: Path):
    """Train an aligner on the clips of a manifest, from another one if `model` is given, and save it in `folder`."""
    from tqdm import tqdm

    from audiodiff.models.aligner import Aligner
    from audiodiff.training import alignment

    clips = alignment.choose_clips(manifest)
    utterances = [alignment.load_utterance(manifest, clip) for clip in tqdm(clips, "read", unit="clip")]
    aligner = alignment.train(utterances, None if model is None else Aligner.from_pretrained(model), tqdm)
    licenses = sorted({clip.license for clip in clips if clip.license})
    record = {"manifest": manifest.content_hash(), "clips": len(clips), "licenses": licenses}
    aligner.save_pretrained(folder, record, f"# Aligner\n\nTrained by `audiodiff align` on {len(clips)} clips.\n")
    return aligner


def _print_summary(manifest, poorly_aligned, failed) -> None:
    """Counts, the clips whose text does not fit, and those that could not be aligned."""
    stated = sum(bool(clip.durations) and not clip.alignment_score for clip in manifest.clips)
    aligned = sum(bool(clip.alignment_score) for clip in manifest.clips)
    print(f"{aligned} clips aligned, {stated} with stated durations, {len(manifest.clips) - aligned - stated} without")
    print(f"{len(poorly_aligned)} of them have a text that does not fit the audio")
    for name, problem in poorly_aligned[:_SHOWN]:
        print(f"  {name}: {problem}")
    for error in list(failed.values())[:_SHOWN]:
        print(f"error: {error}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} clips could not be aligned", file=sys.stderr)
        raise typer.Exit(1)
