"""A voice goes on from one with other speakers: names that it knows keep their vectors, new ones start at the mean."""

import pytest
import torch

from audiodiff import train
from audiodiff.conditioners.reference import Reference
from audiodiff.conditioners.speaker import Speaker
from audiodiff.errors import UserError


def test_vectors_are_carried_over_by_name():
    trained, new = Speaker(["ann", "bob"], 4), Speaker(["me", "bob"], 4)
    weight = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    carried = new.carry_over(trained, {"projection.weight": weight})
    torch.testing.assert_close(carried["projection.weight"], torch.stack([weight.mean(1), weight[:, 1]], 1))


def test_added_speakers_are_carried_over_too():
    trained, new = Speaker(["ann", "bob"], 4, added=["eve"]), Speaker(["eve", "me"], 4, added=["bob"])
    weight, eve = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).split([2, 1], 1)
    carried = new.carry_over(trained, {"projection.weight": weight, "vectors.0": eve[:, 0]})
    mean = torch.cat([weight, eve], 1).mean(1)
    torch.testing.assert_close(carried["projection.weight"], torch.stack([eve[:, 0], mean], 1))
    torch.testing.assert_close(carried["vectors.0"], weight[:, 1])


def test_training_starts_from_a_voice_with_other_speakers(make_voice, tmp_path):
    trained = make_voice(speakers=("ann", "bob", "eve"))
    trained.save_pretrained(tmp_path / "base", {"licenses": ["X-1.0"]})
    own = make_voice(speakers=("me",))
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.zero_()
    record = train.start(own, str(tmp_path / "base"))
    assert record["licenses"] == ["X-1.0"]
    mean = trained.speaker.projection.weight.mean(1)
    torch.testing.assert_close(own.speaker.projection.weight[:, 0], mean)
    for name, weight in trained.encoder.state_dict().items():
        assert torch.equal(own.encoder.state_dict()[name], weight)


@pytest.mark.parametrize("base", [None, 16])
@pytest.mark.parametrize("own", [None, 16])
def test_either_voice_may_take_reference_clips(make_voice, tmp_path, base, own):
    def voice(embedding, speaker):
        return make_voice(speakers=(speaker,), reference=embedding and Reference(embedding=embedding))

    trained, new = voice(base, "ann"), voice(own, "me")
    trained.save_pretrained(tmp_path / "base", {})
    before = {} if new.reference is None else {k: v.clone() for k, v in new.reference.state_dict().items()}
    train.start(new, str(tmp_path / "base"))
    expected = before if trained.reference is None else trained.reference.state_dict()
    for name in before:
        assert torch.equal(new.reference.state_dict()[name], expected[name])
    assert torch.equal(new.encoder.mean.weight, trained.encoder.mean.weight)


def test_another_size_is_one_line(make_voice, tmp_path):
    make_voice(speakers=("ann",)).save_pretrained(tmp_path / "base", {})
    with pytest.raises(UserError, match="does not fit"):
        train.start(make_voice("vocos_24k", speakers=("me",)), str(tmp_path / "base"))
