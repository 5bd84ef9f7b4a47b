"""Zero-shot voices: how similar a voice with a reference clip is to speakers that it was not trained on.

`python bench/zero_shot.py --voice MODEL --data data/asterisk-en` speaks held-out texts of every speaker that the voice
does not know, from the first 10, 30 and 60 seconds of the speaker's training clips, and as each of the voice's own
speakers. Similarity is that of Resemblyzer, whose network the voice has never seen: to the mean embedding of the
speaker's held-out recordings, without the one whose text is spoken. The recordings are the upper limit; an own speaker
who happens to be the most similar is what the reference has to beat.

Writes `bench/results/zero_shot.md`.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from tqdm import tqdm

from audiodiff.audio.io import Audio, read
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import SPLITS, Settings
from audiodiff.evaluation.speech_evaluation import speaker_targets
from audiodiff.evaluation.speech_metrics import SPEECH_METRICS, values, weights
from audiodiff.evaluation.speech_scoring import SpeechScores, SpokenClip, score_speech
from audiodiff.evaluation.speech_synthesis import recorded, say_clip, spoken_clip
from audiodiff.evaluation.statistics import bootstrap
from audiodiff.files import write_text
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer

RESULTS = Path(__file__).parent / "results" / "zero_shot.md"
LENGTHS = (10.0, 30.0, 60.0)
MIN_SECONDS = 1.0  # of a recording
SHOWN = ("speaker", "wer", "dnsmos", "f0_median")


def choose(manifest: Manifest, known: Sequence[str], limit: int | None = None) -> list[Clip]:
    """Held-out clips with a text by speakers other than the known ones; fewer are the first of more.

    Raises:
        UserError: there are none.
    """
    clips = [
        clip
        for clip in manifest.with_splits(*SPLITS).clips
        if clip.text and clip.seconds >= MIN_SECONDS and clip.speaker not in known
    ]
    if not clips:
        raise UserError(manifest.root, "has no held-out clip with a text by another speaker", "choose another corpus")
    return sorted(clips, key=lambda clip: clip_seed(0, clip.id))[:limit]


def reference(manifest: Manifest, speaker: str, seconds: float) -> Audio:
    """The first seconds of a speaker's training clips, in the order of a hash of their ids.

    Raises:
        UserError: there are none.
    """
    clips = [one for one in manifest.with_splits("train").clips if one.speaker == speaker and one.seconds > MIN_SECONDS]
    parts, rate = [], 0
    for clip in sorted(clips, key=lambda clip: clip_seed(1, clip.id)):
        rate = rate or clip.sample_rate
        missing = round(seconds * rate) - sum(map(len, parts))
        if missing <= 0:
            break
        parts.append(read(manifest.path(clip), rate).samples[:missing])
    if not parts:
        raise UserError(manifest.root, f"has no training clip by {speaker}", "choose another corpus")
    return Audio(torch.cat(parts), rate)


def systems(synthesizer: SpeechSynthesizer, manifest: Manifest, lengths: Sequence[float]) -> dict[str, dict]:
    """Options of `say` by the name of the row; those of a reference by speaker."""
    speakers = {clip.speaker for clip in manifest.clips} - set(synthesizer.speakers)
    found: dict[str, dict] = {}
    for seconds in lengths:
        clips = {speaker: {"reference": reference(manifest, speaker, seconds)} for speaker in sorted(speakers)}
        found[f"**reference of {seconds:g} s**"] = clips
    for name in synthesizer.speakers:
        found[f"as {name}"] = {speaker: {"speaker": name} for speaker in speakers}
    return found


def speak(synthesizer: SpeechSynthesizer, clips: Sequence[Clip], options: dict, settings: Settings) -> list[SpokenClip]:
    """The texts of clips, with the options of their speakers."""
    said = (say_clip(synthesizer, clip, settings, **{"speaker": None} | options[clip.speaker]) for clip in clips)
    return [spoken_clip(speech, synthesizer.model.language) for speech in said]


def row(name: str, scores: Sequence[SpeechScores], clips: Sequence[Clip], recordings: Sequence[SpeechScores]) -> str:
    """A line of the table: means, of the similarity with its interval."""
    found, share = values(scores, speaker_targets(clips, recordings)), weights(recordings)
    means = {metric: bootstrap(found[metric], share[metric]) for metric in SHOWN}
    cells = [SPEECH_METRICS[metric].format(mean.mean) for metric, mean in means.items()]
    cells[0] += f" ({means['speaker'].low:.3f} to {means['speaker'].high:.3f})"
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Speak, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", required=True, help="voice that takes a reference clip")
    parser.add_argument("--data", required=True, help="manifest with speakers that the voice does not know")
    parser.add_argument("--seconds", type=float, nargs="+", default=LENGTHS, help="lengths of the reference")
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--steps", type=int, help="denoising steps (default: the model's own)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    synthesizer, manifest = SpeechSynthesizer.from_pretrained(options.voice), Manifest.load(options.data)
    clips = choose(manifest, synthesizer.speakers, options.sentences)
    settings = Settings(steps=options.steps, seed=0)
    recordings = [score_speech(recorded(manifest, clip, synthesizer.sample_rate)) for clip in tqdm(clips, "recordings")]
    rows = [row("recordings", recordings, clips, recordings)]
    for name, chosen in systems(synthesizer, manifest, options.seconds).items():
        spoken = speak(synthesizer, clips, chosen, settings)
        rows.append(row(name, [score_speech(one) for one in tqdm(spoken, name)], clips, recordings))
        print(rows[-1], flush=True)
    speakers = sorted({clip.speaker for clip in clips})
    lines = [
        f"# Zero-shot voices on {Path(options.data).resolve().name}",
        "",
        f"{len(clips)} held-out texts of {', '.join(speakers)}, whom the voice `{synthesizer.model_hash[:12]}` was not "
        f"trained on ({len(synthesizer.speakers)} speakers); {options.steps or synthesizer.model.default_steps} steps.",
        "",
        "| spoken | " + " | ".join(SPEECH_METRICS[name].heading for name in SHOWN) + " |",
        "|---|" + "--:|" * len(SHOWN),
        *rows,
        "",
        *(f"- {name}: {value}" for name, value in environment.describe().items()),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    write_text(options.out, text)


if __name__ == "__main__":
    main()
