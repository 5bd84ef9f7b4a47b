"""Training of restorers: what is degraded and how, what is learned, and what is refused."""

import itertools
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from audiodiff.audio.io import Audio, write
from audiodiff.data.corpora.tones import tone
from audiodiff.data.noises import Noises
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.degradation import Degradation, colored, slow
from audiodiff.training.tasks.restoration import RestorationTask

RATE = 16000


def clips(count: int = 3, samples: int = 4096) -> torch.Tensor:
    noise = torch.randn(count, samples, generator=torch.Generator().manual_seed(0))
    return torch.stack([tone(k, samples, RATE) for k in range(count)]) + 0.05 * noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("noises")
    for number in range(30):
        level = 0.0 if number == 7 else 0.01 * (number + 1)
        samples = level * torch.randn(4000, generator=torch.Generator().manual_seed(number))
        write(path / "in" / f"{number}.wav", Audio(samples, 8000))
    prepare([f"folder:{path / 'in'}"], path / "data")
    with_license(path / "data", "CC0-1.0")
    return path / "data"


def with_license(folder: Path, license: str) -> None:
    """State a license of all clips of prepared data."""
    header, *rows = (folder / "manifest.jsonl").read_text().splitlines()
    rows = [json.dumps(json.loads(row) | {"license": license}) for row in rows]
    (folder / "manifest.jsonl").write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize("recorded", [False, True])
def test_noise_has_the_levels_that_are_asked_for(recorded, folder):
    found = {"noises": [folder], "voices": [folder]} if recorded else {}
    degradation, waveform = Degradation((1, 0, 0), snr=(-5, 30), **found), clips(40, 4000)
    degradation.load(RATE)
    observation = degradation(waveform, RATE, BatchRandom(0))
    noise = observation.guess - waveform
    ratio = 10 * torch.log10(waveform.square().sum(-1) / noise.square().sum(-1))
    assert -5.01 <= ratio.min() < 0 and 25 < ratio.max() <= 30.01 and observation.free.all()
    flatness = torch.fft.rfft(noise).abs()[:, 100:]
    assert flatness.log().mean(-1).sub(flatness.mean(-1).log()).std() > 0.02  # of several colors


def test_clipping_has_the_levels_that_are_asked_for():
    waveform = clips(40)
    observation = Degradation((0, 1, 0), level=(0.1, 0.5))(waveform, RATE, BatchRandom(0))
    share = observation.guess.abs().amax(-1) / waveform.abs().amax(-1)
    assert 0.0999 <= share.min() < 0.15 and 0.4 < share.max() <= 0.5001
    assert torch.equal(observation.complete(waveform - observation.guess)[observation.weight == 0],
                       waveform[observation.weight == 0])  # fmt: skip
    torch.testing.assert_close(observation.complete(waveform - observation.guess), waveform)


def test_gaps_have_the_lengths_that_are_asked_for():
    waveform = clips(40, 8000)
    observation = Degradation((0, 0, 1), gap=(0.01, 0.05), gaps=2)(waveform, RATE, BatchRandom(0))
    for row in observation.free:
        edges = torch.nn.functional.pad(row, (1, 1)).diff().nonzero()[:, 0]
        lengths = edges[1::2] - edges[::2]
        assert 1 <= len(lengths) <= 2 and all(159 <= length <= 800 for length in lengths)
    known = observation.free == 0
    assert torch.equal(observation.guess[known], waveform[known])


def test_kinds_are_as_frequent_as_their_weights():
    many = Degradation((0, 0, 1), gap=(0.001, 0.002), gaps=40)(clips(30, 4000), RATE, BatchRandom(0))
    assert max(int((row.diff() == 1).sum()) for row in many.free) > 20  # of any number there are random numbers enough
    observation = Degradation((2, 1, 1))(clips(1).expand(200, -1), RATE, BatchRandom(0))
    noisy, clipped = observation.free.all(-1), observation.saturation.any(-1)
    assert 80 < noisy.sum() < 120 and 35 < clipped.sum() < 65 and not (noisy & clipped).any()


def test_colors_and_rates_in_closed_form():
    white = torch.randn(1 << 16, generator=torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(colored(white, -6.0, RATE)).abs().square()
    hertz = torch.linspace(0, RATE / 2, len(spectrum))
    octaves = [spectrum[(hertz > low) & (hertz < 1.1 * low)].mean() for low in (200, 400, 800, 1600, 3200)]
    slopes = [10 * float(torch.log10(b / a)) for a, b in itertools.pairwise(octaves)]
    assert all(abs(slope + 6) < 1 for slope in slopes)
    torch.testing.assert_close(colored(white, 0.0, RATE), white, atol=1e-5, rtol=0)
    gentle = slow(white, 4.0, RATE)
    assert gentle.square().mean() == pytest.approx(1, abs=1e-4)
    assert torch.fft.rfft(gentle).abs()[round(5 * len(white) / RATE) :].max() < 1e-2


def test_a_degradation_is_that_of_its_rows_on_any_number_of_ranks(folder):
    degradation = Degradation(noises=[folder], voices=[folder])
    degradation.load(RATE)
    waveform = clips(4)
    whole = degradation(waveform, RATE, BatchRandom(3))
    for rank in range(2):
        own = degradation(waveform[rank::2], RATE, BatchRandom(3, rank, 2))
        assert torch.equal(own.guess, whole.guess[rank::2]) and torch.equal(own.lower, whole.lower[rank::2])


def test_noises_are_those_of_their_split_at_one_power(folder):
    train, held_out = Noises([folder], RATE), Noises([folder], RATE, ("validation", "test"))
    assert len(train.samples) > len(held_out.samples) > 0
    assert train.samples.square().mean() == pytest.approx(1, rel=0.01) and not (train.samples == 0).all()
    assert torch.equal(Noises([folder], RATE).samples, train.samples)
    shorter = Noises([folder], RATE, minutes=1 / 60)
    assert len(shorter.samples) == RATE
    stretch = shorter.stretch(0.5, RATE)  # from the middle on, and again from the beginning
    assert torch.equal(stretch, shorter.samples.roll(-RATE // 2))
    assert torch.equal(shorter.babble(torch.tensor([0.5, 0.5]), 100), 2 * stretch[:100])


def test_noises_that_are_not_there_are_one_line(folder, tmp_path):
    for data, minutes in (([tmp_path], 1), ([], 1)):
        with pytest.raises(UserError):
            Noises(data, RATE, minutes=minutes)
    restricted = tmp_path / "gpl"
    restricted.mkdir()
    shutil.copy(folder / "manifest.jsonl", restricted)
    with_license(restricted, "GPL-2")
    with pytest.raises(UserError, match="holds no clip that can be noise"):
        Noises([restricted], RATE, permissive=True)


TASKS = [RestorationTask(steps=(1,), repulsion=0.0, mel_weight=1.0), RestorationTask(steps=(2,), repulsion=0.5)]


@pytest.mark.parametrize("task", TASKS, ids=["regression", "energy distance"])
def test_a_loss_is_a_function_of_its_arguments_and_reaches_every_weight(task, make_restorer):
    model, batch = make_restorer().train(), {"waveform": clips(8)}
    first, again = (task.loss(model, batch, BatchRandom(3)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["loss"] != task.loss(model, batch, BatchRandom(4))["loss"]
    first["loss"].backward()
    still = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert all("noise_level" in name for name in still)  # behind a layer that is zero at initialization


def test_without_a_correction_each_distance_is_one(make_restorer):
    """Each part of the loss is relative to that of the guess."""
    model = make_restorer()
    torch.nn.init.zeros_(model.network.unet.conv_out.weight)
    torch.nn.init.zeros_(model.network.unet.conv_out.bias)
    degradation = Degradation((1, 0, 0), snr=(0, 10))
    task = RestorationTask(degradation, steps=(1,), repulsion=0.0, stft_weight=1.0, mel_weight=2.0, waveform_weight=4.0)
    found = task.loss(model, {"waveform": clips()}, BatchRandom(0))
    torch.testing.assert_close(found["clip_loss"], torch.full((3,), 7.0), atol=1e-3, rtol=0)


def test_losses_fall(make_restorer):
    task, model = TASKS[0], make_restorer().train()
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(15):
        loss = task.loss(model, {"waveform": clips(6)}, BatchRandom(0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0], losses


@pytest.mark.parametrize("name", ["snr", "slope", "level", "gap"])
def test_bounds_that_fall_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} from 3 to 2"):
        Degradation(**{name: (3, 2)})
    assert math.isfinite(Degradation(**{name: (2, 2)}).minutes)
