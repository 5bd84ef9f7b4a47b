"""Edits of real recordings: do regions answer their label, do borders click, does the rest stay?

`python bench/editing.py --strokes data/sounds-all --music data/music --recordings data/sounds-all --embedding MODEL`
prints five tables:

- labels: takes of four recorded drum strokes of other kinds, half a second each, in which the third is replaced by a
  kick, snare or hi-hat; the share that a classifier of spectra finds to be of that kind, for several contexts
  (`--context`), with a guidance scale of 3;
- pauses: the same strokes after a pause with a noise floor of two steps of 16 bits; the level of a labeled region in
  the pause, relative to the strokes, and its peak;
- gaps: of 0.3 s in excerpts of held-out music, before and after they are filled; the largest step between neighboring
  samples at a border, relative to the largest one of the excerpt, and the level of the 5 ms next to the borders
  relative to that of the sound around the gap;
- borders: of regenerated regions and extensions of the same excerpts; the rank of the largest spectral flux within
  23 ms of a border among all frames of the excerpt (1: above all), beside a hard cut and a typical stretch as long;
- prompts: held-out recordings in which 0.4 to 1.2 s is regenerated for one of eight prompts; the share of regions that
  are closest to their own prompt by an audio-text embedding, and the similarity, before and after.

Of all edits it checks that the samples elsewhere are those of the recording. The classifier is a logistic regression on
the strokes of the training split; the edited strokes are the held-out ones and a seventh of the others.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from audiodiff import AudioEditor, AudioTextEmbedder
from audiodiff.audio.io import Audio, read
from audiodiff.data.manifest import Manifest
from audiodiff.evaluation import environment
from audiodiff.evaluation.report import format_facts

CLASSES = ("kick", "snare", "hat")
SECOND = 22_050  # samples at the rate of the strokes
HALF = SECOND // 2
PROMPTS = (
    *("kick drum", "snare", "hi-hat", "door closing"),
    *("guitar chord", "explosion from a video game", "laser from a video game", "bell"),
)
BANDS, FRAMES = 32, (0, 4, 10, 25, 87)  # of the classifier's features
Stroke = tuple[Tensor, int, bool]  # (SECOND,), class, held out


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(format_facts(environment.describe("cpu")))
    if arguments.strokes:
        strokes = load_strokes(arguments.strokes)
        classify = train_classifier(strokes)
        edited = [stroke for stroke in strokes if stroke[2]] + [stroke for stroke in strokes if not stroke[2]][::7]
        editor = AudioEditor.from_pretrained(arguments.drums)
        labels(editor, classify, edited, arguments.takes, arguments.context)
        pauses(editor, edited, arguments.takes)
    if arguments.music:
        excerpts = load_excerpts(arguments.music, arguments.excerpts)
        editor = AudioEditor.from_pretrained(arguments.generator)
        gaps(editor, excerpts)
        borders(editor, excerpts)
    if arguments.recordings:
        embedder = AudioTextEmbedder.from_pretrained(arguments.embedding)
        prompts(AudioEditor.from_pretrained(arguments.prompted), embedder, load_recordings(arguments.recordings))


def load_recordings(folder: str, count: int = 24) -> list[Audio]:
    """The first held-out recordings of 1.5 to 6 s."""
    manifest = Manifest.load(folder)
    chosen = [clip for clip in manifest.clips if clip.split != "train" and 1.5 < clip.seconds < 6][:count]
    return [read(manifest.path(clip), channels=2) for clip in chosen]


def load_strokes(folder: str) -> list[Stroke]:
    """All kicks, snares and hi-hats of prepared data with captions, from their onset."""
    manifest, strokes = Manifest.load(folder), []
    for clip in manifest.clips:
        words = set(clip.caption.replace("-", " ").split())
        kinds = [number for number, name in enumerate(CLASSES) if name in words]
        if not kinds or words & {"loop", "rimshot"}:
            continue
        signal = read(manifest.path(clip), sample_rate=SECOND, channels=1).samples.reshape(-1)
        if signal.any():
            onset = int((signal.abs() > 0.05 * signal.abs().max()).nonzero()[0])
            signal = signal[max(onset - 40, 0) :][:SECOND]
            padded = torch.nn.functional.pad(signal, (0, SECOND - len(signal)))
            strokes.append((padded, kinds[0], clip.split != "train"))
    return strokes


def features(signal: Tensor) -> Tensor:
    """Log power of bands in four stretches of a stroke (T,), relative to its energy."""
    power = torch.stft(signal, 1024, 256, window=torch.hann_window(1024), return_complex=True).abs().square()
    hertz, ends = torch.linspace(0, SECOND / 2, 513), torch.logspace(1.6, 4.04, BANDS + 1)
    bands = ((hertz >= ends[:-1, None]) & (hertz < ends[1:, None])).float()
    shares = bands @ power / power.sum().clamp(min=1e-9)
    stretches = [shares[:, start:stop].sum(1) for start, stop in pairwise(FRAMES)]
    return (torch.cat(stretches) + 1e-5).log()


def train_classifier(strokes: Sequence[Stroke]) -> Callable[[Tensor], int]:
    """Logistic regression; prints its accuracy on the held-out strokes."""
    rows = torch.stack([features(signal) for signal, _, held_out in strokes if not held_out])
    kinds = torch.tensor([kind for _, kind, held_out in strokes if not held_out])
    mean, deviation = rows.mean(0), rows.std(0) + 1e-3
    weights = torch.zeros(rows.shape[1] + 1, len(CLASSES), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100)

    def scores(row: Tensor) -> Tensor:
        return (row - mean) / deviation @ weights[:-1] + weights[-1]

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(scores(rows), kinds) + 3e-3 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)

    def classify(signal: Tensor) -> int:
        return int(scores(features(signal)).argmax())

    right = [classify(signal) == kind for signal, kind, held_out in strokes if held_out]
    print(f"classifier: {len(rows)} strokes, {len(right)} held out, accuracy {statistics.mean(right):.2f}")
    return classify


def labels(
    editor: AudioEditor, classify: Callable[[Tensor], int], strokes: Sequence[Stroke], takes: int, contexts: list[float]
) -> None:
    """Share of regions that answer their label, by context."""
    print("\n| context | " + " | ".join(CLASSES) + " |\n|---|" + "--:|" * len(CLASSES))
    for context in [*contexts, None]:
        row = []
        for kind, name in enumerate(CLASSES):
            pool, hits = [signal for signal, other, _ in strokes if other != kind], []
            for number in range(takes):
                take = torch.cat([pool[(5 * number + place) % len(pool)][:HALF] for place in range(4)])
                edited = edit(editor, Audio(take, SECOND), (SECOND, SECOND + HALF), name, context, number)
                hits.append(classify(torch.nn.functional.pad(edited, (0, HALF))) == kind)
            row.append(statistics.mean(hits))
        title = "training length" if context is None else f"{context:g} s"
        print(f"| {title} | " + " | ".join(f"{value:.2f}" for value in row) + " |", flush=True)


def edit(
    editor: AudioEditor, audio: Audio, part: tuple[int, int], label: str, context: float | None, seed: int
) -> Tensor:
    """The edited part of a take (T,); None as context is the training length."""
    seconds = editor.model.samples / editor.sample_rate if context is None else context
    region = (part[0] / audio.sample_rate, part[1] / audio.sample_rate)
    options = {"labels": [label], "guidance_scale": 3.0, "context": seconds, "seed": seed}
    edited = editor.edit(audio, regions=[region], **options).samples
    check_rest(audio.samples, edited, *part)
    return edited[part[0] : part[1]]


def pauses(editor: AudioEditor, strokes: Sequence[Stroke], takes: int) -> None:
    """Levels of labeled regions in a pause with a noise floor."""
    floor = 2 / 32768 * torch.randn(SECOND + 2 * HALF, generator=torch.Generator().manual_seed(0))
    levels, peaks = [], []
    for number in range(takes):
        take = floor.clone()
        for place in (0, SECOND + HALF):
            take[place : place + HALF] += strokes[(7 * number + place) % len(strokes)][0][:HALF]
        part = (HALF + 2000, HALF + 2000 + 9000)
        edited = edit(editor, Audio(take, SECOND), part, "snare", 0.0, number)
        levels.append(float(20 * (edited.square().mean() / take[:HALF].square().mean()).sqrt().log10()))
        peaks.append(float(edited.abs().max()))
    print(f"\npauses: region against strokes, median {statistics.median(levels):.1f} dB, lowest {min(levels):.1f} dB, ")
    print(f"peaks {min(peaks):.3f} to {max(peaks):.3f}", flush=True)


def load_excerpts(folder: str, count: int) -> list[Audio]:
    """Stereo excerpts of 12 s of held-out pieces, up to three of each."""
    manifest = Manifest.load(folder).with_splits("validation", "test")
    excerpts = []
    for clip in manifest.clips:
        for start in (5, 45, 85):
            if clip.seconds >= start + 12 and len(excerpts) < count:
                rate = clip.sample_rate
                audio = read(manifest.path(clip), start=start * rate, samples=12 * rate, channels=2)
                if audio.samples.any(0).float().mean() > 0.99:
                    excerpts.append(audio)
    return excerpts


def gaps(editor: AudioEditor, excerpts: Sequence[Audio]) -> None:
    """Steps and levels at the borders of gaps, before and after they are filled."""
    print("\n| gaps | step at the border | level next to the border, dB |\n|---|--:|--:|")
    rows: dict[str, list[tuple[float, float]]] = {"with gaps": [], "filled": []}
    for audio in excerpts:
        rate = audio.sample_rate
        start, stop = 5 * rate, 5 * rate + 3 * rate // 10
        cut = audio.samples.clone()
        cut[:, start:stop] = 0
        filled = editor.edit(Audio(cut, rate), fill_gaps=True).samples
        near = round(0.02 * rate)
        check_rest(cut, filled, start - near, stop + near)
        most = audio.samples.diff().abs().max()
        around = torch.cat([cut[:, start - rate : start], cut[:, stop : stop + rate]], 1).square().mean().sqrt()
        for name, signal in (("with gaps", cut), ("filled", filled)):
            step = max(float((signal[:, at] - signal[:, at - 1]).abs().max() / most) for at in (start, stop))
            inside = torch.cat([signal[:, start : start + rate // 200], signal[:, stop - rate // 200 : stop]], 1)
            level = float(20 * (inside.square().mean().sqrt() / around).clamp(min=1e-5).log10())
            rows[name].append((step, level))
    for name, pairs in rows.items():
        steps, levels = zip(*pairs, strict=True)
        print(f"| {name} | {statistics.median(steps):.2f} | {statistics.median(levels):.1f} |", flush=True)


def borders(editor: AudioEditor, excerpts: Sequence[Audio]) -> None:
    """Ranks of the spectral flux at borders."""
    ranks: dict[str, list[float]] = {}
    for number, audio in enumerate(excerpts):
        rate, mono = audio.sample_rate, audio.samples.mean(0)
        usual = flux(mono)
        region = editor.edit(audio, regions=["5:7"], seed=number).samples
        check_rest(audio.samples, region, 5 * rate, 7 * rate)
        left = editor.edit(audio, extend_left=2.0, seed=number).samples.mean(0)
        right = editor.edit(audio, extend_right=2.0, seed=number).samples.mean(0)
        hard = torch.cat([mono[: 5 * rate], mono[: 2 * rate].flip(0), mono[7 * rate :]])
        cases = {
            "region begins": (region.mean(0), 5),
            "region ends": (region.mean(0), 7),
            "extended to the left": (left, 2),
        }
        cases |= {"extended to the right": (right, 12), "hard cut": (hard, 5)}
        for name, (signal, second) in cases.items():
            ranks.setdefault(name, []).append(float((usual < largest(flux(signal), second * rate)).float().mean()))
        typical = usual.unfold(0, 9, 50).amax(1).median()
        ranks.setdefault("typical stretch", []).append(float((usual < typical).float().mean()))
    print("\n| border | rank of its flux |\n|---|--:|")
    for name, values in ranks.items():
        print(f"| {name} | {statistics.median(values):.3f} |", flush=True)


def prompts(editor: AudioEditor, embedder: AudioTextEmbedder, recordings: Sequence[Audio]) -> None:
    """How well regions answer their prompts."""
    texts = embedder.embed_text(PROMPTS)
    rows: dict[str, list[tuple[bool, float]]] = {"recording": [], "edited": []}
    for number, audio in enumerate(recordings):
        wanted = number % len(PROMPTS)
        start, stop = (round(second * audio.sample_rate) for second in (0.4, 1.2))
        edited = editor.edit(audio, regions=[(0.4, 1.2)], prompt=PROMPTS[wanted], seed=number)
        check_rest(audio.samples, edited.samples, start, stop)
        for name, signal in (("recording", audio.samples), ("edited", edited.samples)):
            region = Audio(signal[..., start:stop], audio.sample_rate)
            similarity = (embedder.embed_audio(region) @ texts.T)[0]
            rows[name].append((int(similarity.argmax()) == wanted, float(similarity[wanted])))
    print("\n| prompts | own one closest | similarity |\n|---|--:|--:|")
    for name, pairs in rows.items():
        right, similar = zip(*pairs, strict=True)
        print(f"| {name} | {statistics.mean(right):.0%} | {statistics.mean(similar):.2f} |", flush=True)


def flux(signal: Tensor) -> Tensor:
    """Spectral flux of (T,) at hops of 128 samples."""
    spectra = torch.stft(signal, 512, 128, window=torch.hann_window(512), return_complex=True).abs()
    return (spectra + 1e-3 * spectra.mean()).log().diff(dim=-1).clamp(min=0).mean(0)


def largest(values: Tensor, sample: int, hop: int = 128, frames: int = 4) -> float:
    """The largest flux near a sample."""
    place = round(sample / hop)
    return float(values[max(place - frames, 0) : place + frames + 1].max())


def check_rest(before: Tensor, after: Tensor, start: int, stop: int) -> None:
    """Check that the samples outside of [start, stop) are those of the recording, bit for bit."""
    if not (
        torch.equal(before[..., :start], after[..., :start]) and torch.equal(before[..., stop:], after[..., stop:])
    ):
        raise SystemExit(f"samples outside of {start} to {stop} have changed")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strokes", help="prepared data with captions that name kicks, snares and hi-hats")
    parser.add_argument("--music", help="prepared data with held-out music of 20 s and more")
    parser.add_argument("--drums", default="drums", help="model of strokes with the labels kick, snare and hat")
    parser.add_argument("--generator", default="music", help="model of music")
    parser.add_argument("--takes", type=int, default=8, help="takes of each kind")
    parser.add_argument(
        "--context", type=float, nargs="+", default=[0.0, 0.1], help="seconds, beside the training length"
    )
    parser.add_argument("--excerpts", type=int, default=15, help="of music")
    parser.add_argument("--recordings", help="prepared data with held-out recordings of 1.5 to 6 s")
    parser.add_argument("--prompted", default="sounds", help="model that takes prompts")
    parser.add_argument("--embedding", default="audio-text", help="audio-text model that measures; another than guides")
    return parser.parse_args()


if __name__ == "__main__":
    main()
