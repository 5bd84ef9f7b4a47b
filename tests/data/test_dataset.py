from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from audiodiff.audio.io import Audio, read, resample, write
from audiodiff.data.dataset import ClipDataset, CropDataset, DrawSampler, read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError

RATES = {"a": (16000, 1.0), "b": (16000, 0.21), "c": (22050, 2.3), "d": (44100, 0.9), "e": (24000, 4.0)}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    clips = []
    for name, (rate, seconds) in RATES.items():
        samples = torch.from_numpy(0.2 * rng.standard_normal(round(seconds * rate))).float().clamp(-0.99, 0.99)
        write(folder / f"{name}.flac", Audio(samples, rate))
        clips.append(Clip(name, f"{name}.flac", len(samples) / rate, rate, text=name.upper()))
    return Manifest(tuple(clips), folder)


def test_a_draw_is_a_pure_function_of_seed_and_draw(manifest):
    one, other = CropDataset(manifest, 16000, 4000, seed=3), CropDataset(manifest, 16000, 4000, seed=3)
    draws = [0, 5, 1, 300, 2, 5]
    first = {draw: one[draw] for draw in draws}
    for draw in reversed(draws):  # another order, another object
        again = other[draw]
        assert torch.equal(again.pop("waveform"), first[draw]["waveform"])
        assert again == {key: value for key, value in first[draw].items() if key != "waveform"}
    different = CropDataset(manifest, 16000, 4000, seed=4)
    assert [one.clip(d).id for d in range(20)] != [different.clip(d).id for d in range(20)]
    assert any(one.start(d) != one.start(d + one.draws_per_pass) for d in range(20))


def test_every_pass_is_another_permutation_in_proportion_to_length(manifest):
    dataset = CropDataset(manifest, 16000, 4000)
    expected = {name: max(1, round(int(np.ceil(round(s * r) * 16000 / r)) / 4000)) for name, (r, s) in RATES.items()}
    assert expected == {"a": 4, "b": 1, "c": 9, "d": 4, "e": 16}
    assert dataset.draws_per_pass == sum(expected.values())
    passes = []
    for number in range(3):
        start = number * dataset.draws_per_pass
        names = [dataset.clip(draw).id for draw in range(start, start + dataset.draws_per_pass)]
        assert {name: names.count(name) for name in RATES} == expected
        passes.append(tuple(names))
    assert len(set(passes)) == 3


def test_weights_say_how_often_clips_come_up_and_draws_stay_pure(manifest):
    weights = [4, 0.5, 1, 1, 0.25]
    dataset, other = (CropDataset(manifest, 16000, 4000, seed=1, weights=weights) for _ in range(2))
    passes, length = 60, dataset.draws_per_pass
    drawn = [dataset.clip(draw).id for draw in range(passes * length)]
    for name, weight in zip(RATES, weights, strict=True):
        expected = length * weight / sum(weights)
        counts = [drawn[p * length : (p + 1) * length].count(name) for p in range(passes)]
        assert set(counts) <= {int(expected), int(expected) + 1}  # systematic: rounded up or down in every pass
        assert abs(np.mean(counts) - expected) < 0.2
    assert [other.clip(draw).id for draw in (700, 3, 699)] == [drawn[draw] for draw in (700, 3, 699)]


def test_crops_equal_the_whole_file(manifest):
    dataset = CropDataset(manifest, 16000, 4000, seed=1)
    whole = {one.id: read(manifest.path(one), 16000).samples for one in manifest.clips}
    starts = {name: set() for name in RATES}
    for draw in range(2 * dataset.draws_per_pass):
        item, start = dataset[draw], dataset.start(draw)
        starts[item["clip"]].add(start)
        stretch = whole[item["clip"]][start : start + 4000]
        assert item["waveform"].shape == (4000,)
        assert item["waveform"].dtype == torch.float32
        assert item["samples"] == len(stretch)
        exact = RATES[item["clip"]][0] == 16000
        # noise up to full band: below the rounding of a 16-bit file where the rate changes, and equal where it does not
        assert (item["waveform"][: len(stretch)] - stretch).abs().max() <= (0 if exact else 2**-15)
        assert not item["waveform"][len(stretch) :].any()
    assert all(len(found) > 2 for name, found in starts.items() if name != "b")
    assert starts["b"] == {0}


def test_crops_reach_both_ends(manifest):
    dataset = CropDataset(manifest.__class__(manifest.clips[:1], manifest.root), 16000, 15998)
    assert {dataset.start(draw) for draw in range(60)} == {0, 1, 2}


def test_a_crop_of_another_rate_must_start_on_the_common_grid(manifest):
    with pytest.raises(ValueError, match="not a multiple of 320"):
        read_crop(manifest, manifest.clips[2], 16000, 100, 50)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_and_resume(manifest, workers):
    dataset = CropDataset(manifest, 16000, 2000, seed=7)

    def batches(start: int, count: int, workers: int) -> list:
        loader = DataLoader(dataset, batch_size=3, sampler=DrawSampler(start), num_workers=workers)
        return list(islice(loader, count))

    unbroken = batches(0, 6, 0)
    resumed = batches(0, 2, workers) + batches(6, 4, workers)
    for one, other in zip(unbroken, resumed, strict=True):
        assert one["clip"] == other["clip"]
        assert torch.equal(one["draw"], other["draw"])
        assert torch.equal(one["waveform"], other["waveform"])


def test_whole_clips(manifest):
    dataset = ClipDataset(manifest, 16000)
    assert len(dataset) == 5
    for item, one in zip(dataset, manifest.clips, strict=False):
        audio = read(manifest.path(one))
        assert torch.equal(item["waveform"], resample(audio.samples, audio.sample_rate, 16000))
        assert (item["clip"], item["text"]) == (one.id, one.text)
    assert [len(ClipDataset(manifest, 16000, 0.5)[i]["waveform"]) for i in range(5)] == [8000, 3360, 8000, 8000, 8000]


def test_one_draw_per_clip_clip_whatever_their_lengths(tmp_path):
    clips = tuple(Clip(f"c/{k}", f"{k}.flac", 100.0 if k == 0 else 1.0, 8000) for k in range(10))
    chosen = []
    for seed in range(200):
        crops = CropDataset(Manifest(clips, tmp_path), 8000, 8000, seed)
        assert sorted(crops.clip(draw).id for draw in crops.one_draw_per_clip(20)) == [clip.id for clip in clips]
        chosen += [crops.clip(draw).id for draw in crops.one_draw_per_clip(2)]
    assert 20 < chosen.count("c/0") < 60  # of 400; four standard deviations about a tenth


def test_nothing_to_draw_from(manifest):
    with pytest.raises(UserError, match="no clips"):
        CropDataset(manifest.with_splits("test"), 16000, 4000)
