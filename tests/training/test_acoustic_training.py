"""Training an acoustic model: losses of sentences, not of their padding, and runs that resume exactly."""

import copy
import functools
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from audiodiff import config, train
from audiodiff.conditioners.reference import Reference
from audiodiff.models.acoustic_model import AcousticModel, Prosody
from audiodiff.nn.speech_encoder import MIN_SCALE
from audiodiff.text.symbols import ENGLISH
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.module import TrainingModule
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.tasks.acoustic import AcousticTask, gaussian_loss

PHONEMES = ["həlˈO.", "jˈɛs, ˈɪt ɪz."]


def sentences(frames=(14, 20)) -> dict:
    """A batch of two sentences of random mels, the shorter one padded."""
    generator = torch.Generator().manual_seed(0)
    rows = [[1, *ENGLISH.encode(text), 1] for text in PHONEMES]
    width, longest = max(map(len, rows)), max(frames)
    tokens, durations = torch.zeros(2, width, dtype=torch.long), torch.zeros(2, width, dtype=torch.float64)
    for row, (symbols, count) in enumerate(zip(rows, frames, strict=True)):
        tokens[row, : len(symbols)] = torch.tensor(symbols)
        durations[row, : len(symbols)] = count / len(symbols)
    mel = torch.randn(2, 80, longest, generator=generator) - 5
    pitch = 150.0 * (tokens > 2)
    speaker = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    return {"mel": mel, "tokens": tokens, "durations": durations, "pitch": pitch, "speaker": speaker}


def _texts(model: AcousticModel) -> tuple:
    """Arguments of `embed_text` of the batch."""
    batch = sentences()
    symbols = model.encode_symbols(batch["tokens"], model.embed_speaker(batch))
    return symbols, Prosody(batch["durations"], batch["pitch"])


def losses(model: AcousticModel, batch: dict, **options) -> dict:
    return AcousticTask(**options).loss(model, batch, BatchRandom(0))


@pytest.mark.parametrize("prior_mean", [False, True])
def test_padding_has_no_part_in_the_loss(make_voice, prior_mean):
    model = make_voice(prior_mean=prior_mean).eval()
    batch = sentences()
    before = losses(model, batch)
    changed = batch["mel"].clone()
    changed[0, :, 14:] = 7.0
    padded = batch | {
        "mel": changed,
        **{name: torch.nn.functional.pad(batch[name], (0, 5)) for name in ("tokens", "durations", "pitch")},
    }
    after = losses(model, padded)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-5, atol=1e-5)


def test_the_network_learns_what_is_left_without_moving_mean_or_scale(make_voice):
    """Both are trained on losses of their own: the diffusion's target is for the gradient a constant."""
    model = make_voice(prior_mean=True).train()
    only = losses(model, sentences(), mean_weight=0.0, prosody_weight=0.0, condition_dropout=0.0)
    only["loss"].backward()
    for head in (model.encoder.mean, model.encoder.log_scale):
        assert head.weight.grad is None or not head.weight.grad.any()
    assert model.network.unet.conv_out.weight.grad.any() and model.encoder.text.table.weight.grad.any()


def test_the_scale_is_learned_as_the_error_of_the_mean(make_voice):
    """The likelihood of an error is largest at its root mean square."""
    errors = torch.randn(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.7
    scales = torch.linspace(0.3, 1.5, 1201, dtype=torch.float64)
    best = scales[gaussian_loss(errors.abs(), scales[:, None]).mean(1).argmin()]
    assert float(best) == pytest.approx(float(errors.square().mean().sqrt()), abs=1e-3)

    model = make_voice().train()
    losses(model, sentences(), prosody_weight=0.0)["loss"].backward()
    assert model.encoder.log_scale.weight.grad.any()
    encoded = model.embed_text(*_texts(model))
    assert encoded.scale.shape == encoded.mean.shape and (encoded.scale >= MIN_SCALE).all()
    x = model.from_mel(sentences()["mel"], encoded)
    torch.testing.assert_close(x * encoded.scale + encoded.mean, model.fold_mel(sentences()["mel"]))


def test_text_and_speaker_are_dropped_by_their_share(make_voice, monkeypatch):
    model = make_voice().train()
    seen = []
    loss = model.denoiser.loss
    monkeypatch.setattr(model.denoiser, "loss", lambda *values: seen.append(values[3]) or loss(*values))
    losses(model, sentences(), condition_dropout=1.0)
    losses(model, sentences(), condition_dropout=0.0)
    losses(model.eval(), sentences(), condition_dropout=1.0)
    assert [bool(one.frames.any()) for one in seen] == [False, True, True]
    assert [bool(one.global_embedding.any()) for one in seen] == [False, True, True]
    assert all(one.samples.tolist() == [7, 10] for one in seen)


def test_a_reference_takes_the_place_of_the_speaker(make_voice):
    model = make_voice(reference=Reference(seconds=0.1, embedding=16))
    clips = torch.randn(2, 1600, generator=torch.Generator().manual_seed(0))
    known = torch.full((1600,), torch.nan)
    batch = {"speaker": torch.eye(2), "reference": torch.stack([clips[0], known])}
    swapped = {**batch, "speaker": torch.eye(2).flip(0)}
    one, other = model.embed_speaker(batch), model.embed_speaker(swapped)
    assert torch.equal(one[0], other[0]) and not torch.equal(one[1], other[1])
    torch.testing.assert_close(one[1], model.speaker_embedding(["bob"])[0])


def test_a_few_steps_learn(make_voice):
    """A single batch, as in `debug=overfit`: all parts of the loss fall."""
    model = make_voice()
    task = AcousticTask(condition_dropout=0.0)
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-2)
    module = TrainingModule(model, task, optimizer, WarmupCosine(2))
    adam = module.configure_optimizers()
    history = []
    for _ in range(40):
        outputs = module.compute_loss(sentences(), "draw 0")
        adam.zero_grad()
        outputs["loss"].backward()
        adam.step()
        history.append({name: float(outputs[name].detach()) for name in ("loss", "mean", "duration", "pitch")})
    for name, first in history[0].items():
        assert history[-1][name] < 0.8 * first, name


RUN = (
    *("+recipe=speech_text", "debug=smoke", "audio=speech_16k", "network.frontend.channels=160", "data.balance=0"),
    *("network.channels=[16]", "network.blocks=[1]", "model.encoder.channels=16", "model.encoder.text_blocks=1"),
    *("model.encoder.prosody_blocks=1", "model.encoder.frame_blocks=1", "callbacks.checkpoints.every_n_steps=2"),
    *("trainer.max_steps=3", "trainer.log_every_n_steps=1", "callbacks.samples.clips=1"),
    "lr_schedule.final_ratio=1.0",  # whose rate would depend on the length of the run
)


def run(composed, **changes) -> dict:
    """Train with `changes` of the configuration; the state at the end."""
    composed = copy.deepcopy(composed)
    for key, value in changes.items():
        OmegaConf.update(composed, key, value)
    folder = Path(composed.folder)
    train.run(composed, folder, [*RUN, f'data.path="{composed.data.path}"'])
    return torch.load(max((folder / "checkpoints").glob("*.ckpt")), weights_only=True)


def test_a_resumed_run_is_an_unbroken_one(tmp_path):
    """Also where only the unbroken one draws samples."""
    composed = config.compose([*RUN, f'data.path="{tmp_path}/tones"', f'folder="{tmp_path}/one"'])
    unbroken = run(composed)
    pieces = functools.partial(run, composed, folder=f"{tmp_path}/two", callbacks={"samples": None})
    pieces(trainer={"max_steps": 1})
    resumed = pieces(resume="last")
    assert unbroken["next_draw"] == resumed["next_draw"] == 6
    weights = unbroken["state_dict"]
    assert all(torch.equal(weights[name], value) for name, value in resumed["state_dict"].items())
    model = AcousticModel.from_pretrained(tmp_path / "one" / "model")
    assert model.normalization is not None and model.speakers == ("hibari/heart",)
