"""Sentences: their mels are stored and the same, their durations add up, and rare speakers are repeated."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from audiodiff.audio.mel import PRESETS, MelSpectrogram
from audiodiff.conditioners.reference import Reference
from audiodiff.conditioners.speaker import Speaker
from audiodiff.data.corpora.tones import write_tones
from audiodiff.data.dataset import read_crop
from audiodiff.data.sentences import SentenceDataset, SentenceStream, balanced
from audiodiff.errors import UserError
from audiodiff.text.symbols import ENGLISH

SPEC = PRESETS["vocos_24k"]


@pytest.fixture
def manifest(tmp_path):
    return write_tones(tmp_path, clips=6, seconds=0.3, sample_rate=16000, speakers=["ann", "bob"])


def test_a_stored_mel_is_the_computed_one(manifest):
    sentences = SentenceDataset(manifest, SPEC, ENGLISH)
    clip = manifest.clips[1]
    computed = sentences.mel(clip)
    (file,) = sentences.cache.rglob("*.npy")
    assert torch.equal(SentenceDataset(manifest, SPEC, ENGLISH).mel(clip), computed)
    exact = MelSpectrogram(SPEC)(read_crop(manifest, clip, 24000, 0, 7200))
    torch.testing.assert_close(computed, exact, rtol=0, atol=0.008)
    file.write_bytes(b"damaged")
    assert torch.equal(sentences.mel(clip), computed)
    assert SentenceDataset(manifest, PRESETS["speech_16k"], ENGLISH).cache != sentences.cache


def test_durations_add_up_to_the_frames_of_the_mel(manifest):
    item = SentenceDataset(manifest, SPEC, ENGLISH)[0]
    assert float(item["durations"].sum()) == pytest.approx(item["mel"].shape[-1])
    assert len(item["tokens"]) == len(item["durations"]) == len(item["pitch"])
    assert item["tokens"][0] == item["tokens"][-1] == 1


def test_a_reference_is_another_clip_of_the_same_speaker(manifest):
    sentences = SentenceDataset(manifest, SPEC, ENGLISH, [Speaker(["ann", "bob"]), Reference(seconds=0.1)])
    references = torch.stack([sentences.item(0, draw)["reference"] for draw in range(12)])
    assert references.isfinite().all() and len(references.unique(dim=0)) > 3
    assert sentences.item(0, 0)["speaker"].tolist() == [1.0, 0.0]
    assert torch.equal(references[5], sentences.item(0, 5)["reference"])


def test_a_share_of_the_sentences_has_a_reference(manifest):
    sentences = SentenceDataset(manifest, SPEC, ENGLISH, [Reference(seconds=0.1, share=0.5)])
    given = [bool(sentences.item(0, draw)["reference"].isfinite().all()) for draw in range(40)]
    assert 10 < sum(given) < 30


def test_speakers_with_few_sentences_are_repeated():
    speakers = ["ann"] * 90 + ["bob"] * 10
    for balance, repeats in ((0.0, 1), (0.5, 3), (1.0, 9)):
        counts = np.bincount(balanced(speakers, balance), minlength=100)
        assert (counts[:90] == 1).all() and (counts[90:] == repeats).all()


def test_a_stream_is_a_function_of_seed_and_draw(manifest):
    sentences = SentenceDataset(manifest, SPEC, ENGLISH, [Speaker(["ann", "bob"])])
    stream = SentenceStream(sentences, 1.0, 4, seed=3)
    batches = stream.batches(0)
    first, second = next(batches), next(batches)
    batch = stream.collate([stream[draw] for draw in first])
    assert batch["draw"].tolist() == first and batch["mel"].shape[0] == len(first) == 3  # of 0.3 s, in a second
    assert next(SentenceStream(sentences, 1.0, 4, seed=3).batches(second[0])) == second
    assert torch.equal(stream.collate([stream[draw] for draw in first])["mel"], batch["mel"])


def test_clips_without_phonemes_are_no_sentences(tmp_path):
    with pytest.raises(UserError, match=r"no clips with phonemes.*audiodiff align"):
        SentenceDataset(write_tones(tmp_path, clips=2, seconds=0.1), SPEC, ENGLISH)


@pytest.mark.parametrize("samples", [7199, 7200, 7201, 7300, 7455])
def test_clips_may_end_without_silence(manifest, samples):
    sentences = SentenceDataset(manifest, SPEC, ENGLISH)
    clip = manifest.clips[0]
    sounds = len(clip.phonemes)
    seconds = samples / 24000
    durations = (0.0, *(seconds / sounds,) * sounds, 0.0)
    frames = SPEC.frames(samples)
    found = sentences.frames(replace(clip, seconds=seconds, durations=durations), frames)
    assert float(found.sum()) == pytest.approx(frames) and (found >= 0).all()
    with pytest.raises(UserError, match="do not add up"):
        sentences.frames(replace(clip, durations=durations), frames + 3)
