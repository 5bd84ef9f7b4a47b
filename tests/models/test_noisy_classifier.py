import pytest
import torch

from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine, RectifiedFlow, VarianceExploding
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_process import autoencoder_of, difference, spectrum_of
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.classifier import ClassifierNetwork
from audiodiff.nn.frontends.frontend import IdentityFrontend
from audiodiff.nn.network import Network


def test_a_checkpoint_keeps_it(make_classifier, tmp_path):
    model = make_classifier()
    model.save_pretrained(tmp_path)
    again = NoisyClassifier.from_pretrained(tmp_path)
    x, log_snr = torch.randn(2, 1, 400), torch.tensor([-2.0, 3.0])
    assert again.classes == model.classes and torch.equal(again.logits(x, log_snr), model.logits(x, log_snr))
    assert difference(again, model) == ""


def test_one_classifier_is_for_every_schedule(make_classifier):
    """At one log-SNR all processes are the same but for a factor."""
    model, x0, noise = make_classifier(), torch.randn(2, 1, 400), torch.randn(2, 1, 400)
    values = []
    for schedule in (Cosine(), RectifiedFlow(), VarianceExploding()):
        t = float(schedule.t_from_log_snr(1.5))
        level = schedule.level(t)
        x_t = level.alpha * x0 + level.sigma * noise
        values += [model.log_prob(schedule, ["kick"])(x_t, t), model.log_prob(schedule, ["kick"])(x_t, torch.tensor(t))]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-4, atol=1e-4)


def test_several_labels_add_up_and_times_are_of_each_clip(make_classifier):
    model, x_t, schedule = make_classifier(), torch.randn(2, 1, 400), Cosine()
    kick, bell, both = (model.log_prob(schedule, labels)(x_t, 0.5) for labels in (["kick"], ["bell"], ["kick", "bell"]))
    torch.testing.assert_close(both, kick + bell)
    assert (both < 0).all()
    each = model.log_prob(schedule, ["kick"])(x_t, torch.tensor([0.5, 0.2], dtype=torch.float64))
    torch.testing.assert_close(each[0], kick[0])
    assert not torch.isclose(each[1], kick[1])


def test_classes_of_recordings(make_classifier):
    shares = make_classifier().classify(torch.randn(3, 1, 1000))
    assert shares.shape == (3, 3) and ((shares > 0) & (shares < 1)).all()


def test_mistakes(make_classifier):
    with pytest.raises(
        UserError, match="label 'dog': the classifier has no such class; choose among kick, snare, bell"
    ):
        make_classifier().log_prob(Cosine(), ["dog"])
    network = make_classifier().network
    with pytest.raises(UserError, match="has 3 outputs, 2 classes are named"):
        NoisyClassifier(network, ["kick", "snare"], 8000, 1600)
    with pytest.raises(UserError, match="has 3 outputs, 2 classes are named"):
        NoisyClassifier(network, ["kick", "snare", "kick"], 8000, 1600)


def test_what_two_models_run_on(make_music, make_classifier, tmp_path):
    music = make_music(1)
    assert difference(make_classifier(), music) == ""
    assert difference(make_classifier(channels=2), music) == "channels 2, not 1"
    assert difference(make_classifier(spectrum=None), music) == "another average spectrum"
    torch.manual_seed(0)
    codecs = [Autoencoder(channels=[8, 8], blocks=[1, 1]).requires_grad_(False) for _ in range(2)]
    network = ClassifierNetwork(IdentityFrontend(codecs[0].latents), 1, [8], [1])
    latent = [NoisyClassifier(network, ["kick"], 8000, 1600, None, codec) for codec in codecs]
    assert difference(latent[0], music) == "latents, not waveforms"
    assert difference(*latent) == "the latents of another codec" and difference(latent[0], latent[0]) == ""
    unet = Network(IdentityFrontend(codecs[0].latents), 0, 1, [8], [1], embedding=16)
    AudioModel(unet, Cosine(), V(), 8000, 1600, autoencoder=codecs[0]).save_pretrained(tmp_path / "latent")
    music.save_pretrained(tmp_path / "music")
    assert spectrum_of(tmp_path / "music").decibels == music.spectrum.decibels
    assert spectrum_of(tmp_path / "latent") is None and autoencoder_of(tmp_path / "music") is None
    found = autoencoder_of(tmp_path / "latent").state_dict()
    assert all(torch.equal(weight, found[name]) for name, weight in codecs[0].state_dict().items())
    latent[0].save_pretrained(tmp_path / "classifier")
    for read in (spectrum_of, autoencoder_of):
        with pytest.raises(UserError, match="is a model of type noisy_classifier; choose one of type audio"):
            read(tmp_path / "classifier")
    assert sum(p.requires_grad for p in latent[0].trainable_parameters()) == len(list(network.parameters()))
