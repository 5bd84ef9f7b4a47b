"""Report of an acoustic model's evaluation: scores, speakers, hard sentences, controls, examples and method."""

import json
from dataclasses import asdict

import numpy as np

from audiodiff.evaluation.figures import sound, spectrogram_pair
from audiodiff.evaluation.record import Row, rows_to_json
from audiodiff.evaluation.report import Cell, Example, Report, Section, Table, plain
from audiodiff.evaluation.speech_controls import MAX_DURATION_ERROR, MAX_PITCH_ERROR
from audiodiff.evaluation.speech_evaluation import RECORDINGS, VOICE, Evaluation, HardSentence
from audiodiff.evaluation.speech_metrics import SPEECH_METRICS
from audiodiff.evaluation.statistics import LEVEL, RESAMPLES, Interval, bootstrap

VERSION = 1
MIN_CLIPS = 50  # fewer give a warning
EXAMPLES = 8
MAX_DURATION_CHANGE = 0.2  # of the phonemes of a hard sentence


def speech_report(evaluation: Evaluation) -> Report:
    """Build the report of an evaluation."""
    clips, model = evaluation.clips, evaluation.model
    warnings = []
    if len(clips) < MIN_CLIPS:
        warnings.append(f"Fewer than {MIN_CLIPS} clips: compare the intervals, not the means.")
    if synthetic := sum(clip.synthetic for clip in clips):
        warnings.append(f"{synthetic} of the clips are synthetic speech: the voices are those of other programs.")
    sections = [_scores(evaluation), _differences(evaluation), _speakers(evaluation)]
    sections += [_hard(evaluation)] if evaluation.hard else []
    sections += [_controls(evaluation)] if evaluation.controls else []
    meanings = {column.label: column.meaning for column in SPEECH_METRICS.values()}
    return Report(
        title="Text to speech evaluation",
        facts=f"{evaluation.environment['date'][:16].replace('T', ' ')} UTC · model "
        f"{model['hash'][:12] or 'without a checkpoint'} · {model['parameters'] / 1e6:.1f} M parameters, vocoder "
        f"{model['vocoder_parameters'] / 1e6:.1f} M · {model['steps']} steps · seed {evaluation.settings.seed}",
        lead=_lead(evaluation),
        warnings=warnings,
        sections=[*sections, _examples(evaluation), Section("Metrics", terms=meanings), _method(evaluation)],
        data=summary(evaluation),
    )


def summary(evaluation: Evaluation) -> dict:
    """All results, for report.json."""
    block = evaluation.block
    return {
        "report": "audiodiff",
        "version": VERSION,
        "environment": evaluation.environment,
        "model": evaluation.model,
        "settings": asdict(evaluation.settings),
        "data": {
            "clips": len(evaluation.clips),
            "skipped": evaluation.skipped,
            "seconds": block.seconds,
            "clip_list_sha256": block.clip_list_sha256,
            "manifest_hash": evaluation.manifest_hash,
        },
        "metrics": {name: column.describe() for name, column in SPEECH_METRICS.items()},
        "rows": rows_to_json(block),
        "speakers": evaluation.speakers,
        "similarity": evaluation.matrix,
        "hard_sentences": [_hard_json(one) for one in evaluation.hard],
        "controls": [asdict(one) | {"passed": one.passed} for one in evaluation.controls],
        "first_audio_seconds": evaluation.first_audio,
        "clips": [
            {"id": clip.id, "text": clip.text}
            | {name: _transcribed(scores[i]) for name, scores in evaluation.scores.items()}
            for i, clip in enumerate(evaluation.clips)
        ],
        "seconds": evaluation.seconds,
    }


def right_speakers(evaluation: Evaluation) -> int:
    """Number of speakers whose synthesized clips are more similar to their recordings than to any other's."""
    return int((evaluation.matrix.argmax(axis=1) == np.arange(len(evaluation.speakers))).sum())


def _transcribed(scores: object) -> dict:
    return {"transcript": scores.transcript, "wer": scores.wer, "errors": asdict(scores.errors)}  # type: ignore[attr-defined]


def _hard_json(one: HardSentence) -> dict:
    found = {"kind": one.kind, "text": one.text, "duration_ratio": one.duration_ratio} | _transcribed(one.scores)
    return found | {"teacher": one.teacher and _transcribed(one.teacher)}


def _lead(evaluation: Evaluation) -> list[str]:
    block, voice = evaluation.block, evaluation.block.rows[VOICE]
    recordings, words = block.rows[RECORDINGS], int(block.weights["wer"].sum())
    means = [
        f"{SPEECH_METRICS[name].label.lower() if name != 'dnsmos' else 'DNSMOS'} {_mean(evaluation, voice, name)}"
        f" (recordings: {_mean(evaluation, recordings, name)})"
        for name in ("wer", "cer", "dnsmos")
        if block.interval(voice, name).clips
    ]
    found = [f"{len(evaluation.clips)} held-out texts ({words} words) were spoken: {', '.join(means)}."]
    if len(evaluation.speakers) > 1:
        right = right_speakers(evaluation)
        found.append(f"{right} of {len(evaluation.speakers)} speakers are most similar to their own recordings.")
    if evaluation.hard:
        good = sum(not _remarks(one) for one in evaluation.hard)
        found.append(f"{good} of {len(evaluation.hard)} hard sentences: no word skipped or repeated, not hurried.")
    speed = voice.times_real_time or float("nan")
    found.append(f"{speed:.1f} times real time; first audio of a long text after {evaluation.first_audio:.2f} s.")
    return found


def _mean(evaluation: Evaluation, row: Row, name: str) -> str:
    return SPEECH_METRICS[name].format(evaluation.block.interval(row, name).mean)


def _score_cell(interval: Interval, name: str, signed: bool = False) -> Cell:
    if not interval.clips:
        return Cell("–")
    mean, low, high = (SPEECH_METRICS[name].format(x, signed) for x in (interval.mean, interval.low, interval.high))
    return Cell(mean, (f"{low} to {high}",), interval)


def _scores(evaluation: Evaluation) -> Section:
    block = evaluation.block
    columns = [("System", ""), *((column.label, column.direction) for column in SPEECH_METRICS.values())]
    rows = {
        row.label: [_score_cell(block.interval(row, name), name) for name in SPEECH_METRICS]
        for row in block.rows.values()
    }
    text = (
        f"Means over clips with their {LEVEL:.0%} confidence intervals; error rates are over all words and characters. "
        "The target of the columns with → is the row of the recordings."
    )
    terms = {row.label: row.note for row in block.rows.values()}
    return Section("Scores", text, Table(columns, rows, [block.rows[VOICE].label]), terms)


def _differences(evaluation: Evaluation) -> Section:
    block, recordings = evaluation.block, evaluation.block.rows[RECORDINGS]
    rows = {
        f"{row.label} − {recordings.label}": [
            _score_cell(block.gain(row, recordings, name), name, signed=True) for name in SPEECH_METRICS
        ]
        for key, row in block.rows.items()
        if key != RECORDINGS
    }
    columns = [("Comparison", ""), *((column.label, column.unit) for column in SPEECH_METRICS.values())]
    text = f"System minus recordings, clip by clip, with the {LEVEL:.0%} confidence interval of the mean."
    return Section("Differences", text, Table(columns, rows))


def _speakers(evaluation: Evaluation) -> Section:
    names = evaluation.speakers
    shown = ("wer", "cer", "dnsmos", "f0_median", "f0_spread", "phoneme_ms")
    voice, truth = (evaluation.block.rows[name].scores for name in (VOICE, RECORDINGS))
    rows = {}
    for i, name in enumerate(names):
        own = np.array([clip.speaker == name for clip in evaluation.clips])
        weights = {metric: evaluation.block.weights[metric][own] for metric in shown}
        cells = [Cell(str(int(own.sum())))]
        for metric in shown:
            ours, theirs = (bootstrap(scores[metric][own], weights[metric]).mean for scores in (voice, truth))
            column = SPEECH_METRICS[metric]
            cells.append(Cell(column.format(ours), (f"recordings {column.format(theirs)}",)))
        best = int(evaluation.matrix[i].argmax())
        similarities = [
            Cell(f"{value:.3f}", kind="good" if j == best == i else "bad" if j == best else "")
            for j, value in enumerate(evaluation.matrix[i])
        ]
        rows[name or "(one speaker)"] = [*cells, *similarities]
    columns = [("Speaker", ""), ("Clips", ""), *((SPEECH_METRICS[name].label, "") for name in shown)]
    columns += [(f"Similarity to {name or 'the recordings'}", "") for name in names]
    text = (
        "Scores of the voice as each speaker, and the mean similarity of these clips to the recordings of every "
        "speaker: the largest of a row should be on the diagonal."
    )
    return Section("Speakers", text, Table(columns, rows))


def _remarks(one: HardSentence) -> list[str]:
    """What is wrong with a hard sentence: words that the teacher does not skip or repeat too, and its pace."""
    teacher = one.teacher.errors if one.teacher else None
    found = []
    for kind in ("skipped", "repeated"):
        words = list(getattr(one.scores.errors, kind))
        for word in getattr(teacher, kind, ()):
            if word in words:
                words.remove(word)
        found += [f"{kind}: {' '.join(words)}"] if words else []
    if abs(one.duration_ratio - 1) > MAX_DURATION_CHANGE:
        found.append("hurried" if one.duration_ratio < 1 else "slow")
    return found


def _hard(evaluation: Evaluation) -> Section:
    rows = {}
    for one in evaluation.hard:
        remarks = _remarks(one)
        text = one.text if len(one.text) <= 100 else f"{one.text[:80]}… ({len(one.scores.words)} words)"
        ratio = f"{one.duration_ratio:.2f}" if np.isfinite(one.duration_ratio) else "–"
        teacher = "–" if one.teacher is None else SPEECH_METRICS["wer"].format(one.teacher.wer)
        said = one.scores.transcript if len(one.scores.transcript) <= 100 else f"{one.scores.transcript[:80]}…"
        verdict = Cell("; ".join(remarks) or "none", kind="bad" if remarks else "good")
        cells = [Cell(one.kind), Cell(SPEECH_METRICS["wer"].format(one.scores.wer)), Cell(teacher), Cell(ratio)]
        rows[text.replace("|", "/")] = [*cells, verdict, Cell(said.replace("|", "/"))]
    columns = [
        ("Text", ""),
        ("Kind", ""),
        ("WER", "%"),
        ("Teacher's WER", "%"),
        ("Phoneme duration", "relative"),
        ("Findings", f"beyond the teacher's; pace off by more than {MAX_DURATION_CHANGE:.0%}"),
        ("Transcript", ""),
    ]
    text = (
        "Spoken as the teacher's speaker, else as the first one. Skipped and repeated words by the alignment of the "
        "transcript with the text: the recognizer makes errors too, and knows few names. The phoneme duration is "
        "relative to the teacher's for the same text; without a teacher, to the mean of the recordings."
    )
    return Section("Hard sentences", text, Table(columns, rows))


def _controls(evaluation: Evaluation) -> Section:
    wer, rows = SPEECH_METRICS["wer"], {}
    for one in evaluation.controls:
        unit, digits = ("×", 2) if one.control == "rate" else (" semitones", 1)
        sign = "" if one.control == "rate" else "+"
        measured = Cell(f"{one.measured:{sign}.{digits}f}{unit}", kind="good" if one.passed else "bad")
        cells = [measured, Cell(wer.format(one.wer)), Cell(wer.format(one.neutral_wer))]
        rows[f"{one.control} {one.value:{sign}g}{unit}"] = cells
    columns = [("Control", ""), ("Measured", ""), ("WER", "%"), ("WER without", "%")]
    text = (
        f"Rates are measured by the duration of the clips (within {MAX_DURATION_ERROR:.0%}: green), pitch by the "
        f"median change of a clip's median F0 (within {MAX_PITCH_ERROR:g} semitones)."
    )
    return Section("Controls", text, Table(columns, rows))


def _examples(evaluation: Evaluation) -> Section:
    clips, rate = evaluation.clips, evaluation.sample_rate
    order = sorted(range(len(clips)), key=lambda i: clips[i].seconds)
    count = min(EXAMPLES, len(order))
    rows, examples = evaluation.block.rows, []
    for i in (order[(2 * k + 1) * len(order) // (2 * count)] for k in range(count)):
        sounds = {rows[name].label: sound(waves[i], rate) for name, waves in evaluation.waveforms.items()}
        pair = [evaluation.waveforms[name][i] for name in (RECORDINGS, VOICE)]
        titles = (rows[RECORDINGS].label, rows[VOICE].label)
        picture = spectrogram_pair(pair[0], pair[1], titles, rate)
        note = f"{clips[i].speaker or clips[i].id} · transcript: {evaluation.scores[VOICE][i].transcript}"
        examples.append(Example(clips[i].text, note, sounds, [rows[VOICE].label], picture))
    return Section("Examples", "Clips evenly spaced from short to long; lossless, not normalized.", examples=examples)


def _method(evaluation: Evaluation) -> Section:
    settings, seconds = evaluation.settings, evaluation.seconds
    terms = {
        "Clips": f"{len(evaluation.clips)} of {' and '.join(settings.splits)}; {evaluation.skipped} others without a "
        "text, of other speakers, or too short",
        "Clip list (SHA-256)": evaluation.block.clip_list_sha256,
        "Manifest": evaluation.manifest_hash,
        "Intervals": f"percentile bootstrap over clips, {RESAMPLES} resamples, {LEVEL:.0%}",
        "Recognizer": "Whisper tiny.en, greedy, English only; texts are normalized as in its paper",
        "Speaker similarity": "of a clip to the mean embedding of its speaker's other recordings (Resemblyzer)",
        "Speed": f"one text at a time, front end, acoustic model and vocoder; {evaluation.environment['threads']} "
        f"threads, {evaluation.environment['device']}",
        "Time": f"synthesis {seconds['synthesis']:.0f} s, scoring {seconds['scoring']:.0f} s",
        "Model": evaluation.model["hash"],
        "Vocoder": evaluation.model["vocoder_hash"],
        "Training": json.dumps(plain(evaluation.model["training"]), ensure_ascii=False),
        **{name.replace("_", " "): str(value) for name, value in evaluation.environment.items()},
    }
    return Section("Method", terms=terms)
