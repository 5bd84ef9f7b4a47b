"""The audio-text pipeline: clips in any form, similarities, warnings of unknown words."""

import pytest
import torch

import audiodiff
from audiodiff.audio.io import Audio
from audiodiff.data.manifest import Clip
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder


def test_clips_come_alone_in_a_batch_or_in_a_list(audio_text_folder):
    embedder = audiodiff.load(audio_text_folder, "cpu")
    assert isinstance(embedder, AudioTextEmbedder)
    batch = torch.randn(2, 2, 3000, generator=torch.Generator().manual_seed(0))
    found = embedder.embed_audio(Audio(batch, 16000))
    assert found.shape == (2, 12)
    torch.testing.assert_close(embedder.embed_audio([Audio(one, 16000) for one in batch]), found)
    torch.testing.assert_close(embedder.embed_audio(Audio(batch[0].mean(0), 16000)), found[:1], rtol=0, atol=1e-5)
    similarity = embedder.similarity(Audio(batch, 16000), ["rain", "a kick drum", "rain"])
    assert similarity.shape == (2, 3) and similarity.abs().max() <= 1 + 1e-5
    assert torch.equal(similarity[:, 0], similarity[:, 2])
    assert embedder.similarity(Audio(batch[0], 16000), "rain").shape == (1, 1)


def test_vectors_of_texts_guide_by_gradients(audio_text_folder):
    embedder = AudioTextEmbedder.from_pretrained(audio_text_folder)
    wave = torch.randn(1, 1, 2000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (embedder.model.embed_audio(wave, 8000) * embedder.embed_text("rain")).sum().backward()
    assert wave.grad.abs().sum() > 0


def test_words_that_no_caption_has_are_said(audio_text_folder):
    embedder = AudioTextEmbedder.from_pretrained(audio_text_folder)
    embedder.model.prompt.fit([Clip("a", "a.flac", 1.0, 8000, caption="soft rain")])
    with pytest.warns(UserWarning, match="thunder"):
        embedder.embed_text("thunder")


@pytest.mark.parametrize("audio", [torch.zeros(9), [torch.zeros(9)], "a.wav"])
def test_what_is_no_audio_is_one_line(audio_text_folder, audio):
    with pytest.raises(UserError, match="Audio") as caught:
        AudioTextEmbedder.from_pretrained(audio_text_folder).embed_audio(audio)
    assert "\n" not in str(caught.value)
