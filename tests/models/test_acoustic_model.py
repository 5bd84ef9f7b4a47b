"""The acoustic model: length regulation, padding, folding, prosody that is used as given, and interpolated speakers."""

import pytest
import torch

from audiodiff.audio.io import Audio
from audiodiff.conditioners.reference import Reference
from audiodiff.errors import UserError
from audiodiff.models.acoustic_model import AcousticModel, EncodedText, Prosody
from audiodiff.nn.condition import Condition
from audiodiff.nn.text_encoder import regulate, whole_frames

PHONEMES = ["həlˈO wˈɜɹld.", "jˈɛs.", "ɡˈʊd mˈɔɹnɪŋ, ˈɛvɹiwˌʌn."]


def encode(model: AcousticModel, phonemes: list[str], speakers: list, prosody: Prosody | None = None):
    symbols = model.encode_symbols(model.tokens(phonemes), model.speaker_embedding(speakers))
    return model.embed_text(symbols, prosody or model.predict_prosody(symbols))


def test_regulation_repeats_each_symbol_for_its_duration():
    hidden = torch.arange(6.0).reshape(2, 1, 3)
    frames, positions, lengths = regulate(hidden, torch.tensor([[2, 0, 1], [1, 3, 0]]))
    assert frames[:, 0].tolist() == [[0, 0, 2, 0], [3, 4, 4, 4]] and lengths.tolist() == [3, 4]
    assert positions[0, 0].tolist() == [0.25, 0.75, 0.5, 0]
    torch.testing.assert_close(positions[1, 0], torch.tensor([0.5, 1 / 6, 0.5, 5 / 6]))


def test_rounded_durations_add_up():
    durations = torch.rand(3, 50, generator=torch.Generator().manual_seed(0)) * 4
    rounded = whole_frames(durations)
    assert (rounded >= 0).all()
    assert ((rounded.cumsum(1) - durations.cumsum(1)).abs() <= 0.5 + 1e-5).all()


@pytest.mark.parametrize("prior_mean", [False, True])
def test_the_process_and_mels_are_inverse(make_voice, prior_mean):
    model = make_voice(prior_mean=prior_mean)
    generator = torch.Generator().manual_seed(0)
    mel = torch.rand(2, 80, 9, generator=generator) * 6 - 8
    mean = torch.randn(2, 160, 5, generator=generator)
    scale = torch.rand(2, 160, 5, generator=generator) + 0.1
    encoded = EncodedText(Condition(), mean, scale, torch.tensor([9, 9]))
    again = model.to_mel(model.from_mel(mel, encoded), encoded)
    torch.testing.assert_close(again[..., :9], mel)
    torch.testing.assert_close(again[..., 9:], torch.full_like(again[..., 9:], model.normalization.floor))


def test_a_sentence_does_not_depend_on_its_batch(make_voice):
    model = make_voice()
    together = encode(model, PHONEMES, ["ann", "bob", "ann"])
    for row, (phonemes, speaker) in enumerate(zip(PHONEMES, ["ann", "bob", "ann"], strict=True)):
        alone = encode(model, [phonemes], [speaker])
        frames = alone.mean.shape[-1]
        torch.testing.assert_close(together.mean[row, :, :frames], alone.mean[0], rtol=0, atol=1e-5)
        assert not together.condition.frames[row, :, frames:].any()
        assert int(together.frames[row]) == int(alone.frames)


def test_durations_are_used_as_given(make_voice):
    model = make_voice()
    symbols = len(PHONEMES[0]) + 2
    encoded = encode(model, PHONEMES[:1], ["ann"], Prosody(torch.full((1, symbols), 2.5), torch.zeros(1, symbols)))
    assert int(encoded.frames) == round(2.5 * symbols) and int(encoded.condition.samples) == -(
        -int(encoded.frames) // 2
    )


def test_a_mixture_of_speakers_lies_between_them(make_voice):
    model = make_voice()
    ann, bob, mixed, same = model.speaker_embedding(["ann", "bob", "ann:1,bob:3", {"ann": 0.25, "bob": 0.75}])
    torch.testing.assert_close(mixed, 0.25 * ann + 0.75 * bob)
    torch.testing.assert_close(same, mixed)


def test_an_unknown_speaker_is_named_beside_the_known_ones(make_voice):
    with pytest.raises(UserError, match=r"zoe.*ann, bob"):
        make_voice().speaker_embedding(["zoe"])


def test_a_clip_is_embedded_as_the_mean_of_its_windows(make_voice):
    model = make_voice(reference=Reference(seconds=0.5, embedding=16))
    generator = torch.Generator().manual_seed(0)
    parts = [scale * torch.randn(8000, generator=generator).cumsum(0) for scale in (0.01, 0.02)]
    one, other, both, ann = model.speaker_embedding(
        [*(Audio(part - part.mean(), 16000) for part in parts), Audio(torch.cat(parts), 16000), "ann"]
    )
    assert not torch.allclose(one, other, atol=1e-3)
    windows = model.reference.windows(Audio(torch.cat(parts), 16000))
    torch.testing.assert_close(both, model.reference({"reference": windows}).global_embedding.mean(0))
    torch.testing.assert_close(ann, make_voice().speaker_embedding(["ann"])[0])


def test_a_clip_is_refused_by_a_voice_that_takes_none(make_voice):
    with pytest.raises(UserError, match=r"^reference: .*ann, bob.*fine-tune"):
        make_voice().speaker_embedding([Audio(torch.ones(9), 8000)])


def test_parts_that_do_not_fit_are_refused(make_voice):
    with pytest.raises(UserError, match=r"network\.frontend\.channels"):
        make_voice().with_arguments(encoder=make_voice("vocos_24k").encoder, mel_spec=make_voice("vocos_24k").mel_spec)
