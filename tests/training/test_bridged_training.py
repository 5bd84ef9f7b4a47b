"""A bridge in training: configured, resumed, refused, and learned by heart."""

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from audiodiff import Vocoder, config, train
from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import EnergyPrior, RoughPrior
from audiodiff.audio.spectral import si_sdr
from audiodiff.data.corpora.tones import tone
from audiodiff.diffusion.bridge import Bridge
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.training.module import TrainingModule
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.tasks.task import fade_edges
from audiodiff.training.tasks.vocoder import VocoderTask

BRIDGE = ("prior=rough", "model.bridge=1.0", "network.frontend.signals=2")


def test_a_run_with_a_bridge_is_exported_and_resumed(tmp_path):
    options = ["+recipe=speech_mel", "debug=smoke", *BRIDGE, "augmentation=speech", f"folder={tmp_path}"]
    assert 0 < train.run(config.compose(options), tmp_path) < 100
    first = Vocoder.from_pretrained(tmp_path / "model")
    train.run(config.compose([*options, "trainer.max_steps=3", "resume=last"]), tmp_path)
    resumed = Vocoder.from_pretrained(tmp_path / "model")
    assert (first.training["steps"], resumed.training["steps"]) == (2, 3)
    for vocoder in (first, resumed):
        assert vocoder.model.bridge == 1.0 and isinstance(vocoder.model.denoiser.network, Bridge)
        assert vocoder.generate(torch.full((80, 7), -4.0), 2).samples.isfinite().all()
    before, after = first.model.network.state_dict(), resumed.model.network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["model.bridge=1.0", "network.frontend.signals=2"], "bridge: MelPrior has no mean"),
        (["model.bridge=1.0", "prior=rough"], "set network.frontend.signals=2"),
        (["model.bridge=-1", "prior=rough"], "noise must be a finite number > 0, got -1"),
    ],
)
def test_configurations_that_do_not_fit_are_refused_in_words(options, words):
    cfg = config.compose(["+recipe=speech_mel", "debug=smoke", *options])
    with pytest.raises(InstantiationException) as caught:
        instantiate(cfg.model)
    assert words in str(caught.value.__cause__)
    assert isinstance(caught.value.__cause__, ValueError if "=-1" in options[0] else UserError)


@pytest.mark.slow
def test_a_clip_is_learned_by_heart():
    """SI-SDR of one, two and six calls, in dB: 17.5, 16.9, 16.9 after 150 steps; untrained 0, -62, -62."""
    torch.manual_seed(0)
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(signals=1), spec.n_mels, spec.hop_length, [96, 96], [2, 2])
    model = VocoderModel(network, Cosine(), V(), spec, RoughPrior(spec, EnergyPrior(spec)), bridge=1.0)
    clip = fade_edges(tone(1, 8192, spec.sample_rate)[None], spec.hop_length)
    training = TrainingModule(model, VocoderTask(gain=(1.0, 1.0), stft_weight=0.0), None, None)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, betas=(0.9, 0.99))
    rate = WarmupCosine(warmup_steps=20)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 2e-3 * rate.factor(step, step / 150)
        optimizer.zero_grad()
        training.compute_loss({"waveform": clip.expand(8, -1)}, f"draw {step}")["loss"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    for calls in (1, 2, 6):
        made = Vocoder(model).resynthesize(Audio(clip[0], spec.sample_rate), calls, consistency=0)
        assert float(si_sdr(made.samples[None], clip)) > 12
