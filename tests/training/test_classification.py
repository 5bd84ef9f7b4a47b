"""A classifier of noisy signals learns its classes, and then guides a generator that knows no labels to them."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate

from audiodiff import config
from audiodiff.conditioners.classes import Classes, classes_of
from audiodiff.conditioners.conditioner import Crop
from audiodiff.data.captions import compose
from audiodiff.data.manifest import Clip
from audiodiff.diffusion.guidance.gradient import ClassifierGuidance
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.nn.classifier import ClassifierNetwork
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.classifier_scores import LEVELS, accuracy
from audiodiff.training.tasks.classification import ClassificationTask
from audiodiff.training.tasks.denoising import check_data

SAMPLES, CLASSES = 128, ("low", "high")


class Tones:
    """The exact denoiser of noise in one of two bands, (B, 1, SAMPLES): a mixture of two Gaussians, diagonal in
    frequency."""

    schedule, t_max = Cosine(), 0.98

    def __init__(self):
        bins = torch.arange(SAMPLES // 2 + 1)
        bands = [(bins > 2) & (bins < 14), (bins > 30) & (bins < 60)]
        variances = torch.stack([0.02 + band.double() for band in bands])
        self.variances = variances / (variances @ self.multiplicity())[:, None] * SAMPLES

    @staticmethod
    def multiplicity():
        """Real dimensions of each bin."""
        counts = torch.full((SAMPLES // 2 + 1,), 2.0, dtype=torch.float64)
        counts[0] = counts[-1] = 1
        return counts

    def log_shares(self, x, alpha, sigma):
        """Log-probabilities (B, 2) of the bands given noisy signals."""
        power = torch.fft.rfft(x[:, 0].double(), norm="ortho").abs().square()
        total = alpha**2 * self.variances + sigma**2
        logs = -0.5 * (power[:, None] / total + total.log()) @ torch.diag(self.multiplicity())
        return logs.sum(-1).log_softmax(1)

    def __call__(self, x, t, cond=None):
        level = self.schedule.level(float(t))
        gains = level.alpha * self.variances / (level.alpha**2 * self.variances + level.sigma**2)
        spectrum = torch.fft.rfft(x[:, 0].double(), norm="ortho")
        means = torch.fft.irfft(spectrum[:, None] * gains, n=SAMPLES, norm="ortho")
        return (self.log_shares(x, level.alpha, level.sigma).exp()[..., None] * means).sum(1)[:, None].to(x)

    def draw(self, kinds, generator):
        noise = torch.fft.rfft(torch.randn(len(kinds), SAMPLES, generator=generator).double(), norm="ortho")
        filtered = torch.fft.irfft(noise * self.variances[kinds].sqrt(), n=SAMPLES, norm="ortho")
        return filtered.float()[:, None]


def make_model():
    torch.manual_seed(0)
    network = ClassifierNetwork(StftFrontend(1, 32, 8), 2, [16, 24], [1, 1], 16)
    return NoisyClassifier(network, CLASSES, 8000, SAMPLES)


def make_batch(tones, number, clips=24):
    generator = torch.Generator().manual_seed(number)
    kinds = torch.randint(2, (clips,), generator=generator)
    return {"waveform": tones.draw(kinds, generator), "classes": torch.nn.functional.one_hot(kinds, 2).float()}


@pytest.fixture(scope="module")
def trained():
    model, task, tones = make_model().train(), ClassificationTask(), Tones()
    optimizer = torch.optim.AdamW(model.trainable_parameters(), 1e-2)
    losses = []
    for step in range(100):
        loss = task.loss(model, make_batch(tones, step), BatchRandom(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.6 * sum(losses[:3]) / 3 * 10
    return model.eval().requires_grad_(False)


def test_it_learns_the_classes_at_every_noise_level(trained):
    tones = Tones()
    shares = accuracy(trained, make_batch(tones, 1000, 256), ClassificationTask())
    assert list(shares) == list(LEVELS) and shares[8.0] > 0.95 and shares[0.0] > 0.9
    assert all(math.isfinite(share) for share in shares.values())


def test_it_guides_a_generator_without_labels(trained):
    """The share of clips in the band asked for, by the exact posterior: half of them without, nearly all with it."""
    tones, generator = Tones(), torch.Generator().manual_seed(5)
    noise = torch.randn(64, 1, SAMPLES, generator=generator)

    def share(denoiser, band):
        found = DDIM(16)(denoiser, noise * tones.schedule.level(tones.t_max).scale)
        return float((tones.log_shares(found, 1.0, 0.1).argmax(1) == band).double().mean())

    plain = share(tones, 1)
    assert 0.25 < plain < 0.75
    for band, name in enumerate(CLASSES):
        guided = ClassifierGuidance(tones, trained.log_prob(tones.schedule, [name]), 4.0, (-6.0, 4.0))
        assert share(guided, band) > 0.9


def test_its_slope_is_about_that_of_the_exact_posterior(trained):
    """At a noise level where both bands are possible, the two gradients of log p(high | x_t) point the same way."""
    tones = Tones()
    level = tones.schedule.level(float(tones.schedule.t_from_log_snr(-3.0)))
    clean = make_batch(tones, 2000, 64)["waveform"]
    x_t = level.alpha * clean + level.sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    slopes = []
    for value in (
        lambda x: trained.log_prob(tones.schedule, ["high"])(x, level.t).sum(),
        lambda x: tones.log_shares(x, level.alpha, level.sigma)[:, 1].sum(),
    ):
        x = x_t.clone().requires_grad_()
        slopes.append(torch.autograd.grad(value(x), x)[0].flatten(1))
    uncertain = tones.log_shares(x_t, level.alpha, level.sigma).exp().min(1).values > 0.02
    cosines = torch.nn.functional.cosine_similarity(*slopes)[uncertain]
    assert uncertain.sum() > 5 and cosines.mean() > 0.3


def test_validation_losses_are_comparable(trained):
    task, batch = ClassificationTask(), make_batch(Tones(), 3)
    one, two = (task.loss(trained, batch, BatchRandom(7)) for _ in range(2))
    assert one["loss"] == two["loss"] and one["clip_loss"].shape == (24,) and 0 <= float(one["found"]) <= 1


def test_padding_does_not_count(trained):
    tones, task = Tones(), ClassificationTask(mask_padding=True)
    batch = make_batch(tones, 4) | {"samples": torch.full((24,), 64)}
    changed = dict(batch, waveform=torch.cat([batch["waveform"][..., :64], torch.zeros(24, 1, 64)], -1))
    # The noise of the valid part is the same, and what lies beyond is masked.
    assert torch.allclose(*(task.loss(trained, one, BatchRandom(7))["loss"] for one in (batch, changed)), rtol=1e-4)
    seen = []
    model = SimpleNamespace(network=trained.network, normalize=trained.normalize, codec=None, stride=1)
    model.logits = lambda x, log_snr, samples: seen.append(samples) or trained.logits(x, log_snr, samples)
    accuracy(model, batch, task)
    assert all(torch.equal(samples, batch["samples"]) for samples in seen) and len(seen) == len(LEVELS)


def test_classes_are_labels_or_words_of_captions():
    clip = Clip("a", "a.flac", 1.0, 8000, label="kick; hand drum", caption="loud metallic bell")
    names = ("hand drum", "drum", "bell", "metallic bell", "glass", "kick")
    assert classes_of(clip, names) == {"hand drum", "bell", "metallic bell", "kick"}
    crop = Crop(clip, 0, 10, 10, 8000, lambda start, samples: torch.zeros(samples), None)
    assert Classes(names).from_crop(crop).tolist() == [1, 0, 1, 1, 0, 1]
    assert Classes(names).parse({}) is None and not Classes(names)({}).tensors()


def test_words_of_forms_are_no_classes():
    caption = compose(["bell"], ["metallic"], ["of a sound"])
    clip = Clip("a", "a.flac", 1.0, 8000, caption="metallic bell", caption_parts=compose(["bell"], ["metallic"]).parts)
    assert classes_of(clip, ("bell", "sound", "a", "the")) == {"bell"}
    clip = Clip("a", "a.flac", 1.0, 8000, caption=caption.text, caption_parts=caption.parts)
    assert classes_of(clip, ("bell", "sound", "the")) == {"bell", "sound"}


def test_the_sample_rate_is_the_generators(make_music, tmp_path):
    make_music().save_pretrained(tmp_path)
    words = ["+recipe=noisy_classifier", f"generator={tmp_path}", "data.sample_rate=44100", f"folder={tmp_path}"]
    assert instantiate(config.compose(words).model).sample_rate == 8000


def test_data_that_does_not_fit(make_latent_music):
    clips = (Clip("a", "a.flac", 1.0, 8000, label="low"), Clip("b", "b.flac", 1.0, 8000))
    data = SimpleNamespace(channels=1, sample_rate=8000, path="data", manifest=lambda: SimpleNamespace(clips=clips))
    with pytest.raises(UserError, match="data: no clip has high as a label or in its caption"):
        ClassificationTask().prepare(make_model(), data)
    data.manifest = lambda: SimpleNamespace(clips=(replace(clips[0], label="low; high"), replace(clips[0])))
    with pytest.raises(UserError, match="data: every clip has low as a label or in its caption"):
        ClassificationTask().prepare(make_model(), data)
    data.sample_rate = 16000
    with pytest.raises(UserError, match=r"data.sample_rate 16000: the generator has 8000; set data.sample_rate=8000"):
        ClassificationTask().prepare(make_model(), data)
    with pytest.raises(UserError, match=r"the data: is of waveforms, .*; set data=latents data.codec=MODEL"):
        check_data(make_latent_music(1), data)
    data.channels = 2
    with pytest.raises(UserError, match=r"set network.frontend.channels=2"):
        ClassificationTask().prepare(make_model(), data)


@pytest.mark.parametrize("limits", [(8.0, 8.0), (4.0, 8.0), (-8.0, 8.0)])
def test_noise_levels_are_within_their_range(limits, monkeypatch):
    model, seen = make_model(), []
    own = model.logits
    monkeypatch.setattr(
        model, "logits", lambda x, log_snr, samples=None: seen.append(log_snr) or own(x, log_snr, samples)
    )
    ClassificationTask(log_snr_range=limits).loss(model, make_batch(Tones(), 3), BatchRandom(0))
    (levels,) = seen
    assert limits[0] <= float(levels.min()) and float(levels.max()) <= limits[1]
    assert float(levels.max() - levels.min()) >= 0.8 * (limits[1] - limits[0])


@pytest.mark.parametrize("limits", [(8.0, 4.0), (-9.0, 8.0), (4.0, 9.0)])
def test_a_range_of_noise_levels_that_is_none(limits):
    with pytest.raises(ValueError, match="log_snr_range"):
        ClassificationTask(log_snr_range=limits)
