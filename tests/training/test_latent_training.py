"""From a folder of songs to an autoencoder, to its latents, to a model that makes music in them."""

import math
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audiodiff import config, train
from audiodiff.audio import io
from audiodiff.conditioners.scalars import Scalars
from audiodiff.data.augmentation import Augmentation, Delay, Level, Mixing, MixingPool, Polarity, Speed
from audiodiff.data.dataset import read_crop
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.codec import Codec, codec_checkpoint
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.training.codec_samples import predictability
from audiodiff.training.datamodule import AudioData
from audiodiff.training.latents import LatentData, _copy_key, codec_hash, encode, latent_file

RATE, CROP = 8000, 2048
CODEC = (
    *(
        "network.latents=4",
        "network.hop_length=32",
        "network.channels=[16,16]",
        "network.blocks=[1,1]",
    ),
    *("callbacks.samples.statistics_crops=4", "data.batch_size=2"),
)
LATENT = (
    *("network.frontend.channels=8", "network.channels=[16,16]", "network.blocks=[1,1]"),
    *("callbacks.samples.clips=2", "callbacks.samples.steps=2", "data.batch_size=4"),
)
SMALL = (f"data.sample_rate={RATE}", f"data.crop_samples={CROP}", "data.workers=0", "trainer.accelerator=cpu")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Ten songs of chords, at two rates, some in mono; one is silent, one is no audio."""
    root = tmp_path_factory.mktemp("songs") / "mine"
    root.mkdir()
    for number in range(10):
        rate, channels = (8000, 12000)[number % 2], 1 + number % 3 // 2
        time = np.arange(rate * (2 + number % 3)) / rate
        wave = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220 + 10 * number, 330, 440)) / 6
        soundfile.write(root / f"song {number}_{90 + number}bpm.wav", np.stack([wave] * channels, 1), rate)
    soundfile.write(root / "silence.wav", np.zeros(16000), 8000)
    (root / "broken.wav").write_bytes(b"no audio")
    (root / "notes.txt").write_text("no audio either")
    return root


@pytest.fixture(scope="module")
def codec(songs, tmp_path_factory):
    """A codec trained for four steps on a folder that nobody prepared."""
    folder = tmp_path_factory.mktemp("codec")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("autoencoder", CODEC, songs, folder, "trainer.max_steps=4", "callbacks.checkpoints.every_n_steps=2")
    return folder


def run(recipe, words, path, folder, *more):
    overrides = [f"+recipe={recipe}", *SMALL, *words, f'data.path="{path}"', f'folder="{folder}"', *more]
    return train.run(config.compose(overrides), folder)


def test_a_folder_of_songs_is_all_that_is_needed(codec):
    clips = AudioData(str(codec / "data" / "mine"), RATE, CROP, 2).manifest().clips
    assert len(clips) == 10 and {clip.channels for clip in clips} == {1, 2}
    assert {clip.tempo for clip in clips} == {90.0 + number for number in range(10)}


def test_the_recipe_trains_a_codec(codec):
    model = Codec.from_pretrained(codec / "model")
    assert (model.sample_rate, model.channels, model.latents, model.compression) == (RATE, 2, 8, 16.0)
    assert (model.network.deviation != 1).all() and model.network.mean.any()
    assert "one latent number for 16 samples" in (codec / "model" / "README.md").read_text()
    assert (codec / "samples" / "step_000000004" / "0000_original.wav").exists()


def test_an_interrupted_codec_ends_as_an_unbroken_one(codec, songs, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(codec / "checkpoints" / "step=000000002.ckpt", tmp_path / "checkpoints")
    run("autoencoder", CODEC, codec / "data" / "mine", tmp_path, "trainer.max_steps=4", "resume=last")
    mine, theirs = (Codec.from_pretrained(one / "model").state_dict() for one in (tmp_path, codec))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_another_codec_begins_with_its_weights(codec, tmp_path):
    start = f'init_from="{codec / "model"}"'
    run("autoencoder", CODEC, codec / "data" / "mine", tmp_path, "trainer.max_steps=0", start)
    mine, theirs = (Codec.from_pretrained(one / "model").state_dict() for one in (tmp_path, codec))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs if name not in ("network.mean", "deviation"))


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_what_neighbors_tell_of_a_frame(memory):
    """Of a first-order autoregression, between its neighbors, 2 a^2 / (1 + a^2) of the variance."""
    x = torch.randn(24, 3, 1000, generator=torch.Generator().manual_seed(0))
    for frame in range(1, 1000):
        x[..., frame] = memory * x[..., frame - 1] + (1 - memory**2) ** 0.5 * x[..., frame]
    expected = 2 * memory**2 / (1 + memory**2)
    assert predictability(5 + x * torch.tensor([0.1, 1.0, 9.0])[:, None]) == pytest.approx(expected, abs=0.03)
    assert math.isnan(predictability(x[..., :4])) and math.isnan(predictability(x[:1]))


def latents(codec, **options) -> LatentData:
    arguments = {"sample_rate": RATE, "crop_samples": CROP, "batch_size": 2, "channels": 2, "scalars": ["seconds"]}
    data = LatentData(str(codec / "data" / "mine"), codec=str(codec / "model"), **arguments | options)
    data.conditioners = [Scalars(data.scalars, 8)]
    return data


def test_crops_are_what_the_codec_makes_of_the_recording(codec):
    data, model = latents(codec), Codec.from_pretrained(codec / "model")
    data.setup("fit")
    files = {path: path.stat().st_mtime_ns for path in data.latents.rglob("*.npy")}
    assert len(files) == 10
    for draw in range(12):
        item = data.crops[draw]
        frames = CROP // model.stride
        assert item["latents"].shape == (8, frames) and 0 < float(item["scalars"][0]) < 1.001 * CROP / RATE
        start = data.crops.start(draw) // model.stride * model.stride
        whole = io.read(item["path"], sample_rate=RATE, channels=2).samples
        whole = torch.nn.functional.pad(whole, (0, max(CROP - whole.shape[-1], 0)))
        start = min(start, (model.frames(whole.shape[-1]) - frames) * model.stride)
        expected = model.encode(whole[None])[0, :, start // model.stride :][:, :frames]
        torch.testing.assert_close(item["latents"], expected.detach(), rtol=1e-2, atol=3e-2)  # kept in half precision
    latents(codec).setup("fit")
    assert files == {path: path.stat().st_mtime_ns for path in data.latents.rglob("*.npy")}


def test_a_recording_that_changed_is_encoded_again_and_so_is_more_silence(codec, songs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine"
    shutil.copytree(songs, mine)
    prepared = ["data", "mine"]

    def encoded(crop=CROP):
        prepare([f"music:{mine}"], tmp_path.joinpath(*prepared))
        arguments = {"sample_rate": RATE, "crop_samples": crop, "batch_size": 2, "channels": 2}
        data = LatentData(str(tmp_path.joinpath(*prepared)), codec=str(codec / "model"), **arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # recordings are shorter than the longest crop
            data.setup("fit")
        crops = [data.crops[draw] for draw in range(20)]
        return {crop["clip"]: crop["latents"] for crop in crops}

    before = encoded()
    changed = next(clip for clip in before if "song 0" in clip or "song 2" in clip)
    name = next(path for path in mine.glob("*.wav") if path.stem == changed.removeprefix("music/"))
    soundfile.write(name, 0.2 * np.random.default_rng(0).standard_normal(24000), 8000)
    after = encoded()
    assert not torch.equal(before[changed], after[changed])
    longest = encoded(32 * CROP)  # longer than any recording
    assert {latents.shape for latents in longest.values()} == {(8, 32 * CROP // 64)}


@pytest.fixture(scope="module")
def network(codec):
    return Codec.from_pretrained(codec / "model")


def test_an_id_that_leads_out_of_the_folder_writes_no_latents(codec, network, tmp_path):
    there, root = Manifest.load(codec / "data" / "mine"), tmp_path / "a/b"
    shutil.copytree(there.root, root, ignore=shutil.ignore_patterns(".latents"))
    Manifest((replace(there.clips[0], id="../../../victim/x"), *there.clips[1:]), root).save()
    data = LatentData(str(root), RATE, CROP, 2, channels=2, codec=str(codec / "model"))
    with pytest.raises(UserError, match=r"line 2: field 'id' is '../../../victim/x', which leads out"):
        data.setup("fit")
    assert not (root / ".latents").exists() and not list(tmp_path.rglob("victim"))


@pytest.mark.parametrize("name", ["い" * 85, "x" * 255, "a" * 255 + "/" + "b" * 240])
def test_recordings_of_long_names_are_encoded(codec, network, tmp_path, name):
    there = Manifest.load(codec / "data" / "mine")
    pair = tuple(replace(one, id=f"music/{name}{k}", piece="") for k, one in enumerate(there.clips[:2]))
    encode(network, Manifest(pair, there.root), tmp_path, CROP)
    files = [latent_file(tmp_path, there, one, RATE, CROP) for one in pair]
    assert sorted(tmp_path.rglob("*.npy")) == sorted(files) and len(set(files)) == 2


def test_a_clip_whose_file_is_gone_is_one_line(tmp_path):
    manifest = Manifest((Clip("a/b", "a/b.flac", 1.0, RATE),), tmp_path)
    with pytest.raises(UserError, match=r"a/b\.flac: cannot be read .*prepare the data again"):
        latent_file(tmp_path, manifest, manifest.clips[0], RATE, CROP)


@pytest.mark.parametrize(("accelerator", "device"), [("cpu", "cpu"), ("auto", "cuda"), ("gpu", "cuda"), ("mps", "cpu")])
def test_recordings_are_encoded_where_the_trainer_runs(codec, monkeypatch, accelerator, device):
    assert config.compose(["+recipe=music_latent", "trainer.accelerator=cpu"]).data.accelerator == "cpu"
    used = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Codec, "to", lambda self, device: used.append(device) or self)
    latents(codec, accelerator=accelerator).setup("fit")
    assert used == [device]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 16000}, r"data\.sample_rate 16000: .*codec .* has 8000; set data\.sample_rate=8000"),
        ({"channels": 1}, r"data\.channels 1: .*codec .* has 2"),
        ({"crop_samples": 2000}, r"crop_samples 2000: is not a multiple of 64.*set data\.crop_samples=1984"),
    ],
)
def test_a_codec_that_does_not_fit(codec, options, message):
    with pytest.raises(UserError, match=message):
        latents(codec, **options).setup("fit")


def test_the_recipe_trains_a_model_on_latents(codec, tmp_path):
    where = (f'data.codec="{codec / "model"}"', "data.scalars=[seconds,tempo]", "trainer.max_steps=4")
    run("music_latent", LATENT, codec / "data" / "mine", tmp_path, *where)
    generator = AudioGenerator.from_pretrained(tmp_path / "model")
    assert generator.model.conditioners[0].scalars == ("seconds", "tempo") and generator.model.codec.sample_rate == RATE
    made = generator.generate(clip_seeds=[1, 2], seconds=1.0, steps=2, tempo=100.0, guidance_scale=2.0)
    assert made.samples.shape == (2, 2, RATE) and made.samples.isfinite().all()
    trained, kept = (Codec.from_pretrained(one / "model").network.state_dict() for one in (tmp_path, codec))
    assert all(torch.equal(trained[name], kept[name]) for name in kept)  # the codec is not trained on
    assert generator.training["codec"] == checkpoint.load(codec / "model").training
    hashes = {codec_hash(codec_checkpoint(checkpoint.load(one / "model"))) for one in (tmp_path, codec)}
    assert len(hashes) == 1  # an exported model's latents are those of its codec


def test_a_model_on_beats_begins_with_one_without_and_resumes(codec, tmp_path):
    where = (f'data.codec="{codec / "model"}"', "data.scalars=[]")
    data = codec / "data" / "mine"
    run("music_latent", LATENT, data, tmp_path / "plain", *where, "trainer.max_steps=2")
    beats = (*where, "model=rhythmic_latent_audio", f'init_from="{tmp_path / "plain" / "model"}"')
    beats += ("trainer.max_steps=4", "callbacks.checkpoints.every_n_steps=2")
    run("music_latent", LATENT, data, tmp_path / "whole", *beats)
    (tmp_path / "half" / "checkpoints").mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "checkpoints" / "step=000000002.ckpt", tmp_path / "half" / "checkpoints")
    run("music_latent", LATENT, data, tmp_path / "half", *beats, "resume=last")
    whole, half = (AudioGenerator.from_pretrained(tmp_path / name / "model").model for name in ("whole", "half"))
    assert all(torch.equal(whole.weights()[name], weight) for name, weight in half.weights().items())
    assert whole.network.condition == 3 and list(whole.condition_options()) == ["tempo", "first_beat"]
    assert all(weight.any() for name, weight in whole.weights().items() if ".condition.weight" in name)
    assert AudioGenerator(whole).generate(seed=1, steps=2, tempo=100.0).samples.isfinite().all()


def test_weights_of_another_codec_or_number_of_channels_are_refused(codec, tmp_path):
    where = (f'data.codec="{codec / "model"}"', "data.scalars=[]", "trainer.max_steps=1")
    with pytest.raises(UserError, match=r"1 channel\(s\), the data has 2; set network.frontend.channels=8"):
        run("music_latent", (*LATENT, "network.frontend.channels=4"), codec / "data" / "mine", tmp_path / "a", *where)
    run("music_latent", LATENT, codec / "data" / "mine", tmp_path / "b", *where)
    other = Codec.from_pretrained(codec / "model")
    torch.nn.init.zeros_(other.network.conv_out.weight)
    other.save_pretrained(tmp_path / "other")
    where = (f'data.codec="{tmp_path / "other"}"', *where[1:], f'init_from="{tmp_path / "b" / "model"}"')
    with pytest.raises(UserError, match=r"data\.codec .*other: is another codec"):
        run("music_latent", LATENT, codec / "data" / "mine", tmp_path / "c", *where)


def test_the_waveform_recipe_takes_a_folder(songs, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    tiny = ("network.channels=[8,8,8]", "network.blocks=[1,1,1]", "network.frontend.n_fft=256")
    more = ("network.frontend.hop_length=64", "task.spectrum_crops=4", "trainer.max_steps=2", "data.batch_size=2")
    run("music_uncond", (*tiny, *more, *LATENT[3:5]), songs, tmp_path / "run")
    assert caplog.text.count("preparing") == 1
    assert AudioGenerator.from_pretrained(tmp_path / "run" / "model").generate(steps=2).samples.shape == (2, CROP)


def test_a_folder_of_silence_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quiet").mkdir()
    soundfile.write(tmp_path / "quiet" / "a.wav", np.zeros(16000), 8000)
    with pytest.raises(UserError, match="none of its 1 recordings can be used; the first: silent"):
        AudioData("quiet", RATE, CROP, 2).setup("fit")


def test_one_short_clip_is_trained_on_and_said_to_be_short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    soundfile.write(tmp_path / "one" / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 8000)
    data = AudioData("one", RATE, 3 * RATE, 2)
    with pytest.warns(UserWarning, match=r"1 of 1 recordings are shorter than a crop of 3\.0 s"):
        data.setup("fit")
    assert data.crops[0]["samples"] == 16000 and len(data.held_out.manifest) == 1


def test_a_codec_can_begin_with_that_of_a_model_of_music(codec, songs, tmp_path, monkeypatch):
    monkeypatch.chdir(codec)
    run(
        "music_latent",
        LATENT,
        codec / "data" / "mine",
        tmp_path,
        f'data.codec="{codec / "model"}"',
        "trainer.max_steps=1",
    )
    trained, fresh = (Codec.from_pretrained(codec / "model") for _ in range(2))
    for parameter in fresh.network.parameters():
        torch.nn.init.zeros_(parameter)
    record = train.start(fresh, str(tmp_path / "model"))
    assert record["steps"] == 4 == checkpoint.load(codec / "model").training["steps"]
    mine, theirs = fresh.network.state_dict(), trained.network.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_each_copy_is_the_augmented_recording_encoded(codec, network):
    """What a draw takes from a file is what its codec makes of the waveform that augmentation makes."""
    augmentation = Augmentation(Speed((0.8, 1.2), 0.5), level=Level(probability=0.5), delay=Delay(probability=0.5))
    path, options = str(codec / "data" / "mine"), {"channels": 2, "codec": str(codec / "model")}
    data = LatentData(path, RATE, CROP, 2, augmentation=augmentation, copies=2, **options)
    data.setup("fit")
    crops = data.crops
    files = list(crops._copies_folder.rglob("*.npy"))
    assert len(files) == 2 * len(crops.manifest)
    seen = set()
    for draw in range(12):
        copy, clip = crops._copy(draw), crops.recorded(draw)
        key = _copy_key(clip, copy)
        changed, _ = augmentation.augment_clip(clip, MixingPool(()), RATE, key)
        waveform = augmentation(read_crop(crops.manifest, changed, RATE, 0, 10**6, 2), RATE, key)
        expected = network.encode(waveform[None])[0].detach()
        start = min(crops.start(draw) // crops.stride, expected.shape[-1] - CROP // crops.stride)
        cut = expected[:, start : start + CROP // crops.stride]
        assert torch.allclose(crops[draw]["latents"], cut, atol=2e-3, rtol=1e-3)  # stored in half precision
        seen.add((clip.id, copy))
    assert len(seen) > len({clip for clip, _ in seen})
    plain = LatentData(path, RATE, CROP, 2, **options)
    plain.setup("fit")
    assert any(not torch.equal(plain.crops[draw]["latents"], crops[draw]["latents"]) for draw in range(4))
    assert all(torch.equal(plain.held_out[draw]["latents"], data.held_out[draw]["latents"]) for draw in range(4))


def test_copies_are_reused_by_another_seed_and_made_anew_for_another_effect(codec, monkeypatch):
    path, options = str(codec / "data" / "mine"), {"channels": 2, "codec": str(codec / "model"), "copies": 2}

    def folder(seed, effect):
        data = LatentData(path, RATE, CROP, 2, seed=seed, augmentation=Augmentation(polarity=effect), **options)
        data.setup("fit")
        return data.crops._copies_folder

    one = folder(0, Polarity(0.5))
    assert folder(0, Polarity(0.6)) != one
    monkeypatch.setattr(Codec, "encode", None)  # nothing is encoded again
    assert folder(1, Polarity(0.5)) == one


def captioned(source, folder, order=1):
    """A copy of prepared data with a caption for each clip, in this or the opposite order."""
    shutil.copytree(source, folder)
    manifest = Manifest.load(folder)
    clips = [replace(clip, caption=f"chord {number}") for number, clip in enumerate(manifest.clips)]
    replace(manifest, clips=tuple(clips[::order])).save()
    return folder


def test_captions_of_mixed_latents_name_both(codec, tmp_path):
    augmentation = Augmentation(mixing=Mixing(probability=1.0))
    options = {"channels": 2, "codec": str(codec / "model"), "copies": 1}
    path = captioned(codec / "data" / "mine", tmp_path / "mine")
    data = LatentData(str(path), RATE, CROP, 2, augmentation=augmentation, **options)
    data.setup("fit")
    captions = {data.crops.clip(draw).caption for draw in range(20)}
    assert sum(" and " in caption for caption in captions) > 3


def test_mixed_copies_of_data_in_another_order_have_the_same_captions(codec, tmp_path, monkeypatch):
    augmentation = Augmentation(mixing=Mixing(probability=1.0))
    options = {"channels": 2, "codec": str(codec / "model"), "copies": 2}
    found = []
    for order in (1, -1):
        path = captioned(codec / "data" / "mine", tmp_path / f"mine{order}", order)
        data = LatentData(str(path), RATE, CROP, 2, augmentation=augmentation, **options)
        data.setup("fit")
        captions = {
            (clip.id, copy): augmentation.augment_clip(clip, data.crops.mixing_pool, RATE, _copy_key(clip, copy))[
                0
            ].caption
            for clip in data.crops.manifest.clips
            for copy in range(2)
        }
        found.append((data.crops._copies_folder.name, captions))
    assert found[0] == found[1]


def test_with_copies_only_held_out_recordings_are_encoded_as_they_are(codec, tmp_path):
    shutil.copytree(codec / "data" / "mine", tmp_path / "mine", ignore=shutil.ignore_patterns(".latents"))
    options = {"channels": 2, "codec": str(codec / "model"), "copies": 2}
    data = LatentData(
        str(tmp_path / "mine"), RATE, CROP, 2, augmentation=Augmentation(polarity=Polarity(0.5)), **options
    )
    data.setup("fit")
    copies = set(data.crops._copies_folder.rglob("*.npy"))
    assert len(copies) == 2 * len(data.crops.manifest)
    assert len(set(data.latents.rglob("*.npy")) - copies) == len(data.held_out.manifest) < len(data.crops.manifest)
    assert data.held_out[0]["latents"].isfinite().all()
