"""Students of a voice and of a vocoder beside their teachers, at 1 to 8 steps, each after the same processor time.

`python bench/speech_distillation.py train MODEL METHOD --data data/hibari --runs RUNS --minutes 2` trains a student of
`voice-en` or `speech-16k` for so many minutes of processor time of one thread; `score MODEL` has texts spoken, or mels
made audible, by the teacher and by all students that were trained, and writes `bench/results/distillation_MODEL.md`:

- a voice: word errors (Whisper tiny.en) and DNSMOS of held-out texts, and the difference of DNSMOS from the teacher's
  default steps, clip by clip;
- a vocoder: PESQ and its difference from the teacher's most steps, clip by clip.

Intervals are 95 %, by the bootstrap over clips.
"""

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import distillation
import numpy as np
import torch
from distillation import RESULTS, student

from audiodiff.audio.io import read
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.evaluation import environment
from audiodiff.evaluation.held_out import Settings, choose
from audiodiff.evaluation.report import format_facts
from audiodiff.evaluation.speech_scoring import score_speech
from audiodiff.evaluation.speech_synthesis import choose_texts, recorded, say_clip, spoken_clip
from audiodiff.evaluation.statistics import bootstrap
from audiodiff.files import write_text
from audiodiff.metrics import METRICS
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.vocoder import Vocoder

STEPS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Subject:
    """A teacher and its students.

    Attributes:
        methods: overrides of the training command and the numbers of steps that a run has a student for, by name.
        data: what is prepared for training and scores.
        teacher: numbers of steps that the teacher is scored with.
        note: on the teacher, for the report.
    """

    methods: dict[str, tuple[tuple[str, ...], tuple[int, ...]]]
    data: str
    teacher: Sequence[int]
    note: str


KOKORO = ("af_heart", "am_michael", "bf_emma", "bm_george", "af_bella", "am_fenrir")
SPEAKERS = ("hibari/heart", *(f"kokoro/{name}" for name in KOKORO))
VOICE = ("+recipe=speech_text", "model=acoustic_reference", f"data.speakers=[{','.join(SPEAKERS)}]", "model.guidance=1",
         "data.batch_seconds=20", "optimizer.lr=3e-4", "callbacks.ema.decay=0.99")  # fmt: skip
VOCODER = ("+recipe=speech_mel", "optimizer.lr=3e-4", "data.batch_size=4", "callbacks.ema.decay=0.99")
DECAY = ("sampler.steps=2", "lr_schedule=warmup_cosine", "lr_schedule.warmup_steps=20")
ADAM = ("optimizer.lr=1e-4", "optimizer.betas=[0.0,0.99]")
# Tasks with the settings of the recipes for drums, and the numbers of steps that a run has a student for.
TASKS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "energy distance": (("sampler=ddim", "task=energy_distance", "task.steps=[1,2]"), (1, 2, 4)),
    "consistency": (
        ("sampler=consistency", "task=consistency_distillation", "task.intervals=[4,16]", "task.target_decay=0.9"),
        STEPS,
    ),
    "adversarial": (
        ("sampler=consistency", "task=adversarial", "task.steps=[1,2]", *ADAM),
        STEPS,
    ),
}
SUBJECTS = {
    "voice-en": Subject(
        {
            "progressive": (("+recipe=voice_progressive",), (4, 2, 1)),
            **{name: ((*VOICE, *DECAY, *words), counts) for name, (words, counts) in TASKS.items()},
        },
        "data/hibari",
        STEPS,
        "The teacher has guidance 1.5, its own, which evaluates the network twice a step; its students have none.",
    ),
    "speech-16k": Subject(
        {
            "progressive": (
                (
                    *VOCODER,
                    "sampler=ddim",
                    "task=progressive",
                    "task.teacher_steps=4",
                    "lr_schedule=staged_linear",
                    "sampler.steps=1",
                    "sampler.consistency=16",
                ),
                (2, 1),
            ),
            **{
                name: ((*VOCODER, *DECAY, *words, "sampler.consistency=16"), counts)
                for name, (words, counts) in TASKS.items()
            },
        },
        "data/asterisk-en",
        (1, 2, 4),
        "The teacher is tuned for one to four steps itself, by the spectral energy distance of `speech_few_step`; its "
        "setting `good` has four. All rows have 16 iterations of mel consistency.",
    ),
}
TEXT = """# Students of {model}

`{command}`

{facts}

Each student was trained for {minutes} of processor time of one thread ({costs}). {clips} held-out clips of
{data}. {note} Differences are from the teacher with {best} steps, clip by clip, with their 95 % intervals.

{table}
"""


def speak(
    folder: str | Path, steps: int, manifest: Manifest, options: argparse.Namespace, guidance: float | None = None
) -> dict[str, np.ndarray]:
    """Word errors, words and DNSMOS (clips,) of a voice; guidance None is its own."""
    voice = SpeechSynthesizer.from_pretrained(folder)
    settings = Settings(limit=options.clips, seed=0, steps=steps)
    clips, _ = choose_texts(voice, manifest, settings)
    spoken = [spoken_clip(say_clip(voice, clip, settings, guidance_scale=guidance), "en") for clip in clips]
    return _speech([score_speech(one) for one in spoken])


def _speech(scores: Sequence) -> dict[str, np.ndarray]:
    counts = {"errors": [one.errors.count for one in scores], "words": [len(one.words) for one in scores]}
    return {name: np.array(values) for name, values in (counts | {"score": [one.dnsmos for one in scores]}).items()}


def resynthesize(
    folder: str | Path, steps: int, manifest: Manifest, options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """PESQ (clips,) of a vocoder."""
    vocoder, found = Vocoder.from_pretrained(folder), []
    clips, _ = choose(manifest, limit=options.clips)
    for clip in clips:
        recording = read(manifest.path(clip), vocoder.sample_rate)
        output = vocoder.resynthesize(recording, steps=steps, consistency=16, seed=clip_seed(0, clip.id))
        samples = output.samples[: len(recording.samples)].clamp(-1, 1).numpy()
        found.append(METRICS["pesq"](recording.samples.numpy(), samples, vocoder.sample_rate, None))
    return {"score": np.array(found)}


def score(model: str, options: argparse.Namespace) -> None:
    """Synthesize with teacher and students, score, write the table."""
    subject, manifest = SUBJECTS[model], Manifest.load(options.data)
    measure, is_voice = (speak, True) if model.startswith("voice") else (resynthesize, False)
    warnings.simplefilter("ignore", UserWarning)  # of steps that a model is not for
    rows = {("teacher", steps): measure(model, steps, manifest, options) for steps in subject.teacher}
    if is_voice:  # as many evaluations as its students need
        unguided = {steps: speak(model, steps, manifest, options, guidance=1.0) for steps in subject.teacher}
        rows |= {("teacher, guidance 1", steps): found for steps, found in unguided.items()}
    costs = []
    for method, (_, counts) in subject.methods.items():
        name = _name(method, model)
        trained = [steps for steps in sorted(counts) if student(options, name, steps).is_dir()]
        costs += [distillation.cost_of(options, name, method)] if trained else []
        for steps in trained:
            rows[method, steps] = measure(student(options, name, steps), steps, manifest, options)
            print(method, steps, {key: value.mean() for key, value in rows[method, steps].items()}, flush=True)
    if is_voice:
        voice = SpeechSynthesizer.from_pretrained(model)
        clips, _ = choose_texts(voice, manifest, Settings(limit=options.clips))
        truth = [score_speech(recorded(manifest, clip, voice.sample_rate)) for clip in clips]
        rows = {("recordings", 0): _speech(truth)} | rows
    best = max(subject.teacher)
    lines = [f"| | steps |{' word errors |' if is_voice else ''} {'DNSMOS' if is_voice else 'PESQ'} | difference |"]
    lines.append("|---|--:|" + "--:|" * (3 if is_voice else 2))
    for (method, steps), found in rows.items():
        mean = bootstrap(found["score"])
        cells = [method, str(steps or "–")]
        cells += [f"{100 * found['errors'].sum() / found['words'].sum():.1f} %"] if is_voice else []
        cells.append(f"{mean.mean:.2f}")
        gap = bootstrap(found["score"] - rows["teacher", best]["score"])
        own = method in ("recordings",) or (method, steps) == ("teacher", best)
        cells.append("–" if own else f"{gap.mean:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    minutes = f"{options.minutes:g} minute{'s' * (options.minutes != 1)}"
    text = TEXT.format(
        model=model, command=f"python bench/speech_distillation.py score {model} --data {subject.data} --runs RUNS "
        f"--clips {options.clips} --minutes {options.minutes:g}", facts=format_facts(environment.describe("cpu")),
        minutes=minutes, costs="; ".join(costs), clips=len(rows["teacher", best]["score"]), data=subject.data,
        note=subject.note, best=best, table="\n".join(lines),
    )  # fmt: skip
    write_text(options.out / f"distillation_{model}.md", text)
    print(text)


def _name(method: str, model: str) -> str:
    return f"{method} {model}"


def main() -> None:
    """Train a student, or score all of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("verb", choices=("train", "score"))
    parser.add_argument("model", choices=SUBJECTS)
    parser.add_argument("method", nargs="?", choices=("progressive", *TASKS))
    parser.add_argument("--data", help="prepared data; by default as the recipe says")
    parser.add_argument("--runs", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.data = options.data or SUBJECTS[options.model].data
    torch.set_num_threads(1)
    if options.verb == "score":
        return score(options.model, options)
    words, counts = SUBJECTS[options.model].methods[options.method]
    words = (*words, f"init_from={options.model}", f"data.path={options.data}", "data.workers=0")
    words += ("callbacks.samples.clips=0", *distillation.QUIET)
    distillation.train(_name(options.method, options.model), words, counts, options)


if __name__ == "__main__":
    main()
