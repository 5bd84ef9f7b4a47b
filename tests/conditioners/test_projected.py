"""The projection of the state: closer to the mel, alone as in a batch, in streams, checkpoints and training."""

import pytest
import torch

import audiodiff
from audiodiff import Vocoder
from audiodiff.audio.mel import PRESETS, MelSpectrogram
from audiodiff.audio.prior import MelPrior
from audiodiff.conditioners.mel import denormalize_mel, normalize_mel
from audiodiff.conditioners.projected import ProjectedState
from audiodiff.errors import UserError
from audiodiff.export.graph import export_graph
from audiodiff.nn.condition import Condition

SPEC = PRESETS["speech_16k"]
HOP = SPEC.hop_length


def noise(clips: int, samples: int) -> torch.Tensor:
    return torch.randn(clips, 1, samples, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mel(recording):
    return MelSpectrogram(SPEC)(torch.stack([recording(32 * HOP, seed=seed).samples for seed in range(2)]))


def compute(mel: torch.Tensor, state: torch.Tensor, iterations: int, **condition) -> Condition:
    projected = ProjectedState(MelPrior(SPEC), SPEC, iterations)
    return projected.compute(state, Condition(normalize_mel(mel, SPEC), **condition))


def test_a_mel_is_normalized_and_back(mel):
    torch.testing.assert_close(denormalize_mel(normalize_mel(mel, SPEC), SPEC), mel)


def test_noise_comes_closer_to_the_mel_with_every_iteration(mel):
    state = noise(2, 32 * HOP)
    errors = []
    for iterations in (1, 4, 16):
        cond = compute(mel, state, iterations, signal=state)
        assert cond.frames.shape == (2, 2 * SPEC.n_mels, mel.shape[-1]) and cond.signal.shape == (2, 2, 32 * HOP)
        assert torch.equal(cond.frames[:, : SPEC.n_mels], normalize_mel(mel, SPEC))
        assert torch.equal(cond.signal[:, :1], state)
        errors.append(float(cond.frames[:, SPEC.n_mels :].abs().mean()))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_a_clip_in_a_batch_is_as_alone(mel):
    state, short = noise(2, 32 * HOP), 20
    held = mel.clone()
    held[1, :, short:] = mel[1, :, short - 1 : short]
    cond = compute(held[..., :32], state, 3, samples=torch.tensor([32 * HOP, short * HOP]))
    alone = compute(mel[1:, :, :short], state[1:, :, : short * HOP], 3)
    torch.testing.assert_close(cond.signal[1:, :, : short * HOP], alone.signal, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(cond.frames[1:, :, :short], alone.frames, atol=1e-3, rtol=1e-3)


def test_gradients_pass_to_the_state(mel):
    state = noise(2, 32 * HOP).requires_grad_()
    compute(mel, state, 2).signal.square().mean().backward()
    assert state.grad.isfinite().all() and state.grad.any()


@pytest.mark.parametrize("options", [{}, {"bridge": 1.0, "prior": "rough, mel"}])
def test_a_model_generates_streams_and_is_saved(tiny, tmp_path, mel, options):
    model = tiny(input_consistency=2, consistency=2, **options)
    model.save_pretrained(tmp_path / "model")
    vocoder = Vocoder.from_pretrained(tmp_path / "model")
    assert vocoder.model.input_consistency == 2
    frames = torch.cat([mel[0, :, :32]] * 4, -1)
    whole = vocoder.generate(frames, steps=2, seed=1).samples
    assert whole.isfinite().all()
    assert not torch.allclose(whole, Vocoder(tiny(consistency=2, **options)).generate(frames, steps=2, seed=1).samples)
    chunks = vocoder.stream(iter(frames.split(16, -1)), steps=2, seed=1, chunk=16)
    streamed = torch.cat([chunk.samples for chunk in chunks], -1)
    torch.testing.assert_close(streamed, whole, atol=2e-4, rtol=1e-3)


def test_training_reaches_every_parameter_that_it_feeds(tiny, recording):
    model = tiny(input_consistency=1).train()
    waveform = torch.stack([recording(4100, seed=seed).samples for seed in range(2)])  # no whole number of frames
    estimate = model.estimate(waveform, noise(2, 4100), torch.tensor([0.3, 0.9]))
    estimate.loss.mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.network.parameters())
    first = model.network.unet.conv_in.weight.grad.unflatten(1, (2, 2, 513))  # real and imaginary, of two signals
    assert first[:, :, 1].any()


def test_a_network_without_room_for_it_is_told_what_to_set(tiny):
    model = tiny()
    with pytest.raises(UserError, match=r"mel, projected provide 160; set network\.condition=160"):
        audiodiff.models.vocoder_model.VocoderModel(
            model.network, model.schedule, model.objective, SPEC, model.prior, input_consistency=2
        )


def test_it_is_not_exported_to_onnx(tiny):
    with pytest.raises(UserError, match="input_consistency"):
        export_graph(tiny(input_consistency=1))
