"""Prompt fidelity: clips that are what their prompts ask for, clips that are not, synonyms, groups, and the command."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from audiodiff.audio.io import Audio, write
from audiodiff.cli import build
from audiodiff.data.captions import Caption, compose
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.samplers.sampler import NotFinite
from audiodiff.errors import UserError
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.prompt_evaluation import (
    ALL,
    REAL,
    RECORDED,
    RENDERED,
    UNPROMPTED,
    PromptEvaluation,
    choose_prompts,
)
from audiodiff.evaluation.prompt_report import prompt_data, prompt_sections
from audiodiff.evaluation.report import Report, markdown
from audiodiff.pipelines.seeds import clip_seeds

RATE, SAMPLES = 8000, 2000
PITCHES = {f"tone number {number}": 200.0 + 250 * number for number in range(12)}


def tone(hertz: float, samples: int = SAMPLES) -> torch.Tensor:
    return 0.5 * (2 * torch.pi * hertz * torch.arange(samples) / RATE).sin()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Tones of twelve captions, the first eight recorded, and training clips of two of these captions."""
    root, clips = tmp_path_factory.mktemp("tones"), []
    for number, (caption, hertz) in enumerate(PITCHES.items()):
        for split in ("test", "train") if number < 2 else ("test",):
            path = f"{split}{number}.wav"
            write(root / path, Audio(tone(hertz), RATE))
            common = {"split": split, "synthetic": number >= 8, "caption": caption}
            clips.append(Clip(f"t/{split}{number}", path, SAMPLES / RATE, RATE, **common))
    found = Manifest(tuple(clips), root)
    found.save()
    return found


class Listener:
    """An embedder that knows pitches: vectors are 1 at the tone's number."""

    model_hash = "0" * 64

    def embed_text(self, texts):
        return torch.eye(12)[[list(PITCHES).index(text) for text in texts]]

    def embed_audio(self, audio):
        spectrum = torch.fft.rfft(audio.samples.mean(0), n=8000).abs()
        hertz = float(spectrum.argmax())
        return torch.eye(12)[[int(np.argmin([abs(hertz - pitch) for pitch in PITCHES.values()]))]]


class NounListener(Listener):
    """Reads any captions."""

    def embed_text(self, texts):
        return torch.eye(len(texts))


def generator(hertz_of):
    """A generator whose clip of a prompt and a seed is a tone of `hertz_of(prompt, seed)`."""

    def generate(prompt, seconds, clip_seeds, **options):
        assert set(options) == {"steps", "sampler"} | (set(options) & {"guidance_scale"})
        clips = [tone(hertz_of(prompt, seed), round(seconds * RATE)) for seed in clip_seeds]
        return Audio(torch.stack(clips)[:, None], RATE)

    model = SimpleNamespace(samples=SAMPLES, channels=1)
    return SimpleNamespace(model=model, sample_rate=RATE, generate=generate)


def run(manifest, hertz_of, name="set", **options):
    found = PromptEvaluation(generator(hertz_of), Listener(), manifest, Settings(limit=24))
    clips = list(found.generate(name, **options))
    assert len(clips) == found.count == 24 and {clip.shape for clip in clips} == {(1, SAMPLES)}
    found.recordings()
    return found, found.fidelity()


def test_clips_that_follow_their_prompts_find_them(manifest):
    found, fidelity = run(manifest, lambda prompt, seed: PITCHES[prompt])
    for name in ("set", REAL):
        row = fidelity[name][ALL]
        assert row.recall_at_1.mean == row.reciprocal_rank.mean == row.noun_at_1.mean == row.similarity.mean == 1
        assert row.chance == pytest.approx(1 / 12) and row.captions == 12
    assert fidelity["set"][ALL].clips == 24 and fidelity[REAL][ALL].clips == 12
    assert (fidelity["set"][RECORDED].captions, fidelity["set"][RENDERED].captions) == (8, 4)
    assert [found.prompt_of(2 * number) for number in range(12)] == [one.caption for one in found.prompts]


def test_clips_without_a_prompt_find_them_by_chance(manifest):
    pitches = list(PITCHES.values())
    _, fidelity = run(manifest, lambda prompt, seed: pitches[seed % 12], UNPROMPTED, prompt=None)
    row = fidelity[UNPROMPTED][ALL]
    assert row.recall_at_1.low <= row.chance <= row.recall_at_1.high + 0.1 and row.recall_at_1.mean < 0.4


def test_one_wrong_caption_of_four_is_a_quarter_less(manifest):
    order = list(PITCHES)

    def hertz_of(prompt, seed):
        number = order.index(prompt)
        return PITCHES[order[(number + 1) % 12] if number % 4 == 0 else prompt]

    _, fidelity = run(manifest, hertz_of)
    assert fidelity["set"][ALL].recall_at_1.mean == pytest.approx(0.75)
    assert fidelity["set"][ALL].recall_at_1.low < 0.75 < fidelity["set"][ALL].recall_at_1.high


def test_silent_clips_are_like_no_caption(manifest):
    _, fidelity = run(manifest, lambda prompt, seed: 0.0)
    assert fidelity["set"][ALL].recall_at_1.mean == 0 and fidelity["set"][ALL].similarity.mean == 0


def test_clips_that_are_not_finite_are_like_no_caption_and_four_clips_are_the_default(manifest):
    def fail(prompt, seed):
        if prompt == "tone number 3":
            raise NotFinite("clips", "NaN")
        return PITCHES[prompt]

    found = PromptEvaluation(generator(fail), Listener(), manifest, Settings())
    clips = list(found.generate("set"))
    assert found.repeats == 20 and len(clips) == 240  # of twelve captions
    assert sum(not np.isfinite(clip).all() for clip in clips) == 20
    assert found.fidelity()["set"][ALL].recall_at_1.mean == pytest.approx(11 / 12)


def test_one_clip_that_is_not_finite_leaves_the_others_of_its_caption(manifest):
    def fail(prompt, seed):
        if prompt == "tone number 3" and seed == bad:
            raise NotFinite("clips", "NaN")
        return PITCHES[prompt]

    found = PromptEvaluation(generator(fail), Listener(), manifest, Settings(limit=48))
    place = [one.caption for one in found.prompts].index("tone number 3")
    bad = clip_seeds(0, found.count)[found.repeats * place + 1]
    clips = list(found.generate("set"))
    assert [number for number, clip in enumerate(clips) if not np.isfinite(clip).all()] == [4 * place + 1]
    assert found.fidelity()["set"][ALL].recall_at_1.mean == pytest.approx(47 / 48)


def test_a_caption_that_training_draws_is_trained(manifest):
    def clip(number, split, nouns, adjectives=(), details=(), character=()):
        caption = compose(nouns, adjectives, details).with_character(character)
        changes = {"id": f"d/{number}", "split": split, "caption": caption.text, "caption_parts": caption.parts}
        return replace(manifest.clips[0], **changes)

    train = clip(0, "train", ["phone"], ["electric"], ["from a kit"], ["short"])
    cases = [([], [], True), (["electric"], [], True), (["short"], [], True), (["loud"], [], False)]
    cases += [([], ["from a kit"], True), (["electric"], ["on wood"], False)]
    held_out = [clip(1 + number, "test", ["phone"], *words) for number, (*words, _) in enumerate(cases)]
    held_out.append(clip(20, "test", ["bell"], ["electric"]))
    found = choose_prompts(replace(manifest, clips=(train, *held_out)), ["test"], 60)
    evaluation = PromptEvaluation(None, NounListener(), replace(manifest, clips=(train, *held_out)), Settings())
    numbers = np.arange(len(found))
    chances = evaluation._fidelity(numbers, np.eye(len(found)))
    assert chances.chance == pytest.approx(1 / 7) and chances.noun_chance == pytest.approx((6 * 6 + 1) / 49)
    trained = {one.caption: one.trained for one in found}
    assert trained == {one.caption: known for one, (*_, known) in zip(held_out, cases, strict=False)} | {
        "electric bell": False
    }


def test_captions_that_were_not_trained_on_come_first(manifest):
    assert [one.trained for one in choose_prompts(manifest, ["test"], 12)].count(True) == 2
    assert not any(one.trained for one in choose_prompts(manifest, ["test"], 6))
    chosen = choose_prompts(manifest, ["test"], 6)
    assert sum(one.clip.synthetic for one in chosen) == 2  # a third
    assert choose_prompts(manifest, ["test"], 6) == chosen


def test_a_caption_is_a_prompt_once_and_nouns_are_read_from_its_parts(manifest):
    def clip(number, caption):
        return replace(
            manifest.clips[0], id=f"s/{number}", split="test", caption=caption.text, caption_parts=caption.parts
        )

    captions = [
        Caption("loud kick drum", ("adjective: loud", "noun: kick drum")),
        Caption("Loud  kick drum"),
        Caption("soft kick drum", ("adjective: soft", "noun: kick drum")),
        Caption("something else"),
    ]
    clips = [clip(number, caption) for number, caption in enumerate(captions)]
    prompts = choose_prompts(replace(manifest, clips=(*clips, *manifest.clips)), ["test"], 60)
    nouns = {one.caption: one.noun for one in prompts}
    assert len({"loud kick drum", "Loud  kick drum"} & set(nouns)) == 1
    assert nouns["soft kick drum"] == "kick drum" and nouns["something else"] == "something else"


def test_captions_of_one_noun_come_one_after_the_others(manifest):
    variants = [
        replace(
            manifest.clips[0],
            id=f"v/{number}",
            split="test",
            caption=f"take {number} of a bell",
            caption_parts=("noun: bell", f"detail: take {number}"),
        )
        for number in range(20)
    ]
    tones = [one for one in manifest.clips if one.split == "test" and not one.synthetic]
    chosen = choose_prompts(replace(manifest, clips=(*variants, *tones)), ["test"], 9)
    assert [one.noun for one in chosen].count("bell") == 1 and len({one.noun for one in chosen}) == 9


def test_too_few_captions_are_one_line(manifest):
    with pytest.raises(UserError, match="captions"):
        choose_prompts(manifest, ["validation"])


def test_the_report_has_a_table_for_each_group(manifest):
    found, fidelity = run(manifest, lambda prompt, seed: PITCHES[prompt], "generated")
    sections = prompt_sections(fidelity, found.prompts, found.embedding)
    text = markdown(Report("t", "", [], sections, {}))
    assert len(sections) == 3 and "| generated | 24 | 100.0%" in text and "| chance |  | 8.3% |  |  | 8.3% |" in text
    assert "10 of which are no wording of a training clip's" in text
    data = prompt_data(found, fidelity)
    assert data["fidelity"]["generated"]["all"]["recall_at_1"]["mean"] == 1 and len(data["prompts"]) == 12
    assert prompt_data(None, {}) == {}


def evaluate(*words):
    return CliRunner().invoke(build(), ["evaluate", *map(str, words), "--device", "cpu", "--no-baselines"])


@pytest.fixture(scope="module")
def many(manifest, tmp_path_factory):
    """Enough training clips to compare distributions."""
    root = tmp_path_factory.mktemp("many")
    clips = []
    for number in range(48):
        caption, hertz = list(PITCHES.items())[number % 12]
        noise = 0.05 * torch.randn(SAMPLES, generator=torch.Generator().manual_seed(number))
        write(root / f"{number}.wav", Audio(tone(hertz) + noise, RATE))
        split = "train" if number < 24 else "test"
        clips.append(Clip(f"m/{number}", f"{number}.wav", SAMPLES / RATE, RATE, split=split, caption=caption))
    Manifest(tuple(clips), root).save()
    return root


def test_the_command_scores_each_guidance_scale(make_prompted, audio_text_folder, many, tmp_path):
    make_prompted(labels=()).save_pretrained(tmp_path / "model")
    words = ("--model", tmp_path / "model", "--data", many, "--report", tmp_path / "report", "--limit", 24)
    result = evaluate(*words, "--steps", 2, "--embedding", audio_text_folder, "--guidance-scales", "2,4")
    assert result.exit_code == 0, result.exception
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(data["fidelity"]) == {"generated", "guidance 2", "guidance 4", REAL, UNPROMPTED}
    assert {"generated", "guidance 2", "guidance 4", UNPROMPTED} < set(data["rows"])
    assert all(row["all"]["clips"] == 24 for name, row in data["fidelity"].items() if name != REAL)
    assert "Prompts: all captions" in (tmp_path / "report" / "report.md").read_text()


def test_what_does_not_apply_is_one_line(make_music, make_prompted, audio_text_folder, many, tmp_path, monkeypatch):
    make_music(labels=()).save_pretrained(tmp_path / "plain")
    words = ("--data", many, "--report", tmp_path / "report", "--limit", 24)
    for option in (("--embedding", audio_text_folder), ("--guidance-scales", "2")):
        result = evaluate("--model", tmp_path / "plain", *words, *option)
        assert isinstance(result.exception, UserError) and option[0] in str(result.exception)
    make_prompted(labels=()).save_pretrained(tmp_path / "prompted")
    result = evaluate("--model", tmp_path / "prompted", *words, "--embedding", tmp_path / "plain")
    assert isinstance(result.exception, UserError) and "audio_text" in str(result.exception)
    result = evaluate("--model", tmp_path / "prompted", *words, "--guidance-scales", "two")
    assert isinstance(result.exception, UserError) and "two" in str(result.exception)
    monkeypatch.setattr("audiodiff.evaluation.registry.PromptEvaluation", None)  # nothing is generated before
    for scale in ("1e9", "nan"):
        result = evaluate("--model", tmp_path / "prompted", *words, "--guidance-scales", f"1,{scale}")
        assert isinstance(result.exception, UserError) and "--guidance-scales" in str(result.exception)
