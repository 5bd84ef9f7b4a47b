"""From a manifest to batches."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audiodiff.audio.io import Audio
from audiodiff.conditioners.beats import Beats
from audiodiff.conditioners.labels import Labels
from audiodiff.data import bandwidth
from audiodiff.data.augmentation import Augmentation, Delay, Equalization, Mixing, Polarity, Speed
from audiodiff.data.captions import compose
from audiodiff.data.corpora.tones import write_tones
from audiodiff.data.manifest import SPLITS
from audiodiff.errors import UserError
from audiodiff.training import smoke
from audiodiff.training.datamodule import AudioData, ManifestData
from audiodiff.training.smoke import prepare_tones
from audiodiff.training.tasks.denoising import DenoisingTask


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A folder of six prepared tones."""
    return write_tones(tmp_path_factory.mktemp("tones"), clips=6, seconds=0.5).root


def loader(data, next_draw: int = 0, rank: int = 0, ranks: int = 1):
    """A rank's training loader of a run that has used `next_draw` draws."""
    module = SimpleNamespace(next_draw=next_draw)
    data.trainer = SimpleNamespace(lightning_module=module, global_rank=rank, world_size=ranks)
    data.setup("fit")
    return iter(data.train_dataloader())


def test_batches_go_on_where_the_run_stood(tones):
    whole, later = (loader(ManifestData(tones, 16000, 2048, 3, seed=1), n) for n in (0, 6))
    first, second, third = (next(whole) for _ in range(3))
    assert [batch["draw"].tolist() for batch in (first, second, third)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    again = next(later)
    assert torch.equal(again["waveform"], third["waveform"])
    assert again["clip"] == third["clip"]
    assert first["waveform"].shape == (3, 2048)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_batches_of_one(tones, ranks):
    def data():
        return ManifestData(tones, 16000, 2048, 6, seed=1)

    one, shares = loader(data(), 6), [loader(data(), 6, rank, ranks) for rank in range(ranks)]
    for _ in range(3):
        whole, parts = next(one), [next(share) for share in shares]
        for rank, part in enumerate(parts):
            assert part["draw"].tolist() == whole["draw"].tolist()[rank::ranks]
            assert torch.equal(part["waveform"], whole["waveform"][rank::ranks])


def test_a_batch_that_devices_cannot_share_is_named(tones):
    with pytest.raises(
        UserError, match=r"data.batch_size 3: is not a multiple of the 2 devices; set data.batch_size=4"
    ):
        loader(ManifestData(tones, 16000, 2048, 3), ranks=2)


def test_training_and_held_out_clips_are_apart(tones):
    data = ManifestData(tones, 16000, 2048, 2, validation_clips=1)
    data.setup("fit")
    assert {clip.split for clip in data.crops.manifest.clips} == {"train"}
    assert [clip.split for clip in data.held_out.manifest.clips] == ["validation"]
    (item,) = data.val_dataloader()
    assert item["waveform"].shape == (1, 8000)


def test_one_clip_is_the_first_long_enough_or_the_one_asked_for(tones):
    data = ManifestData(tones, 16000, 4096, 2, clip="")
    data.setup("fit")
    assert [clip.id for clip in data.crops.manifest.clips] == ["tones/001"]
    assert [clip.id for clip in data.held_out.manifest.clips] == ["tones/001"]
    data = ManifestData(tones, 16000, 4096, 2, clip="tones/004")
    data.setup("fit")
    assert set(next(loader(data))["clip"]) == {"tones/004"}


@pytest.mark.parametrize("options", [{"clip": "tones/999"}, {"crop_samples": 10**6}])
def test_clip_that_there_is_not_is_named(tones, options):
    data = ManifestData(tones, 16000, **{"crop_samples": 4096, "batch_size": 2, "clip": ""} | options)
    with pytest.raises(UserError, match=r"data.clip: no clip .* manifest.jsonl"):
        data.setup("fit")


def test_recordings_that_end_below_a_frequency_are_left_out(tones, monkeypatch):
    manifest = ManifestData(tones, 16000, 2048, 2).prepared()
    every = manifest.clips
    wide = {clip.id for clip in every[::2]}
    paths = {manifest.path(clip) for clip in every if clip.id in wide}
    monkeypatch.setattr(bandwidth, "read", lambda path: Audio(torch.randn(8000) * (path in paths), 16000))
    chosen = ManifestData(tones, 16000, 2048, 2, min_bandwidth=7000).prepared().clips
    assert [clip.id for clip in chosen] == [clip.id for clip in every if clip.id in wide]
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"data.min_bandwidth 9000: no training clip reaches it"):
        ManifestData(tones, 16000, 2048, 2, min_bandwidth=9000).prepared()


def test_minutes_choose_training_clips_and_leave_the_held_out_ones(tones):
    def chosen(minutes):
        clips = ManifestData(tones, 16000, 2048, 2, minutes=minutes).prepared().clips
        return [{clip.id for clip in clips if (clip.split == "train") == training} for training in (True, False)]

    everything, held_out = chosen(None)
    few, more = chosen(1.0 / 60), chosen(1.7 / 60)  # of 0.5 s each
    assert (len(few[0]), len(more[0])) == (2, 3) and few[0] < more[0] < everything
    assert few[1] == more[1] == held_out and chosen(1) == [everything, held_out]
    with pytest.raises(UserError, match=r"data.minutes 0.001: is shorter than the clip tones/"):
        chosen(0.001)


def test_a_run_records_the_clips_that_it_trains_on_whatever_is_prepared_later(tmp_path):
    data = ManifestData(write_tones(tmp_path, clips=6, seconds=0.5).root, 16000, 2048, 1)
    data.setup("fit")
    before = data.prepared().content_hash()
    write_tones(tmp_path, clips=9, seconds=0.5)
    assert data.prepared().content_hash() == before != ManifestData(tmp_path, 16000, 2048, 1).prepared().content_hash()


def test_unprepared_data_names_the_command(tmp_path):
    with pytest.raises(UserError, match=r"run `audiodiff prepare asterisk-en --out .*absent`, or set data.path"):
        ManifestData(tmp_path / "absent", 16000, 4096, 2).setup("fit")


@pytest.mark.filterwarnings("ignore:.*waiting for process")
def test_tones_are_written_by_one_of_several_processes_and_only_once(tmp_path, monkeypatch):
    folder, written = tmp_path / "tones", []
    monkeypatch.setattr(smoke, "write_tones", lambda path, **_: written.append(path) or write_tones(path, clips=3))
    (folder / "tones").mkdir(parents=True)  # as a killed process leaves it
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(prepare_tones, [folder] * 3))
    prepare_tones(folder / "manifest.jsonl")
    assert written == [folder] and len(ManifestData(folder, 16000, 4096, 2).manifest()) == 3


def test_tones_are_not_written_among_other_files(tmp_path):
    (tmp_path / "song.wav").touch()
    prepare_tones(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


def test_several_manifests_are_one_stream_and_validate_on_all(tones, tmp_path):
    more = write_tones(tmp_path / "more", clips=6, seconds=0.5)
    renamed = tuple(replace(clip, id=f"more/{number}") for number, clip in enumerate(more.clips))
    replace(more, clips=renamed).save()
    data = ManifestData([str(tones), str(tmp_path / "more")], 16000, 2048, 2, validation_clips=2)
    data.setup("fit")
    trained = {clip.id.split("/")[0] for clip in data.crops.manifest.clips}
    assert trained == {"tones", "more"} and data.path == f"{tones}, {tmp_path / 'more'}"
    assert {clip.id.split("/")[0] for clip in data.held_out.manifest.clips} == {"tones", "more"}
    assert {name.split("/")[0] for name in next(loader(data))["clip"]} <= trained
    missing = ManifestData([str(tones), str(tmp_path / "asterisk-fr")], 16000, 2048, 2)
    with pytest.raises(UserError, match=r"audiodiff prepare asterisk-fr --out .*asterisk-fr"):
        missing.setup("fit")


def test_augmentation_changes_training_crops_only(tones):
    augmentation = Augmentation(polarity=Polarity(1.0))
    plain, changed = (ManifestData(tones, 16000, 2048, 4, augmentation=one) for one in (None, augmentation))
    assert torch.equal(next(loader(plain))["waveform"], -next(loader(changed))["waveform"])
    assert torch.equal(plain.held_out[0]["waveform"], changed.held_out[0]["waveform"])
    sounds = [AudioData(tones, 16000, 2048, 4, augmentation=one) for one in (None, augmentation)]
    batches = [next(loader(one))["waveform"] for one in sounds]
    assert torch.equal(batches[0], -batches[1])
    validation = [one.validation_crops()[0]["waveform"] for one in sounds]
    assert torch.equal(*validation)


@pytest.fixture
def captioned(tmp_path):
    """Tones of which one training clip and one held-out clip are low, the others high."""
    manifest = write_tones(tmp_path, clips=12, seconds=0.5)
    first = {split: next(clip for clip in manifest.clips if clip.split == split).id for split in SPLITS}
    captions = {clip.id: compose(["tone"], ["low" if clip.id in first.values() else "high"]) for clip in manifest.clips}
    clips = [replace(c, caption=captions[c.id].text, caption_parts=captions[c.id].parts) for c in manifest.clips]
    replace(manifest, clips=tuple(clips)).save()
    return tmp_path


def test_captions_are_balanced_in_training_and_canonical_in_validation(captioned):
    counts = []
    for balance in (None, "caption"):
        data = AudioData(captioned, 16000, 2048, 4, balance=balance, from_start=True)
        data.setup("fit")
        drawn = [data.crops.clip(draw) for draw in range(40 * data.crops.draws_per_pass)]
        counts.append(sum(clip.caption == "low tone" for clip in drawn) / len(drawn))
        assert all(clip.caption_parts for clip in drawn)
        held_out = [data.held_out.clip(draw) for draw in range(data.held_out.draws_per_pass)]
        wordings = {clip.draw_caption(np.random.default_rng(seed)) for clip in held_out for seed in range(20)}
        assert wordings == {"low tone", "high tone"}
    assert counts[0] == pytest.approx(1 / 8) and counts[1] == pytest.approx(1 / 2, abs=0.01)


def test_captions_that_there_are_not_cannot_be_balanced(tmp_path):
    manifest = write_tones(tmp_path, clips=6, seconds=0.5)
    clips = tuple(replace(clip, caption="", caption_parts=()) for clip in manifest.clips)
    replace(manifest, clips=clips).save()
    with pytest.raises(UserError, match=r"data\.balance=caption"):
        AudioData(tmp_path, 16000, 2048, 4, balance="caption").setup("fit")


def test_mixing_is_refused_where_a_condition_speaks_of_one_sound(tones):
    mixing = Augmentation(mixing=Mixing())
    with pytest.raises(UserError, match=r"data\.augmentation\.mixing: needs captions"):
        ManifestData(tones, 16000, 2048, 4, augmentation=mixing).setup("fit")
    labeled = AudioData(tones, 16000, 2048, 4, augmentation=mixing)
    labeled.conditioners = [Labels(["kick"])]
    with pytest.raises(UserError, match=r"would leave labels of one of the two sounds"):
        labeled.setup("fit")
    with pytest.raises(UserError, match=r"would leave tempo of one of the two sounds"):
        AudioData(tones, 16000, 2048, 4, augmentation=mixing, scalars=["seconds", "tempo"]).setup("fit")


def test_beats_that_are_a_condition_are_not_moved(tones):
    rhythmic = AudioData(tones, 16000, 2048, 4, augmentation=Augmentation(delay=Delay()))
    rhythmic.conditioners = [Beats()]
    with pytest.raises(UserError, match=r"data\.augmentation\.delay: would move the sound and not its beat times"):
        rhythmic.setup("fit")


def test_the_average_spectrum_is_that_of_the_augmented_crops(tones):
    augmentation = Augmentation(Speed(probability=1.0), equalization=Equalization(10.0, 1.0))
    spectra = []
    for one in (None, augmentation, augmentation):
        data = AudioData(tones, 16000, 2048, 4, augmentation=one)
        data.setup("fit")
        model = SimpleNamespace(channels=1, sample_rate=16000, spectrum=None, codec=None)
        DenoisingTask(spectrum_crops=8).prepare(model, data)
        spectra.append(torch.tensor(model.spectrum.decibels))
    plain, changed, again = spectra
    assert torch.equal(changed, again) and (plain - changed).abs().max() > 3
