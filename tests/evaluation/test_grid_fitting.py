"""Time grids of a checkpoint: fitting, validation, storing, loading and use by samplers."""

import json
import math
import warnings
from dataclasses import replace

import pytest
import soundfile
import torch

from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.grids.fitted import Spectrum
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import Epsilon
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.schedules.schedule import LinearBeta
from audiodiff.errors import UserError
from audiodiff.evaluation import grid_fitting, modes
from audiodiff.models import checkpoint
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.vocoder import Vocoder

TIMES = (1.0, 0.7, 0.3123456789012345, 0.1, 0.0)
STORED = StoredGrid("v_2m_pc", 4, TIMES)


@pytest.fixture
def gridded(tiny):
    return tiny(sampler="v_2m_pc", consistency=0, grids=[STORED], validated=[4, 10])


def test_a_stored_grid_replaces_the_samplers_default(gridded, tiny, recording):
    assert gridded.sampler_for(4).grid.tolist() == list(TIMES)
    assert gridded.sampler_for(4, "v_2m_pc").grid.tolist() == list(TIMES)
    assert gridded.sampler_for(5).grid is None and gridded.sampler_for(4, "v_3m").grid is None
    plain = tiny(sampler="v_2m_pc", consistency=0)
    one, other = Vocoder(gridded), Vocoder(plain)
    mel = one.mel(recording(2000))
    assert not torch.equal(one.generate(mel, 4).samples, other.generate(mel, 4).samples)
    assert torch.equal(one.generate(mel, 5).samples, other.generate(mel, 5).samples)
    assert torch.equal(one.generate(mel, 4, sampler="ddim").samples, other.generate(mel, 4, sampler="ddim").samples)


def test_a_stored_grid_starts_at_the_denoisers_start_time_within_its_first_interval(gridded):
    assert gridded.sampler_for(4, t_max=0.9).grid.tolist() == [0.9, *TIMES[1:]]
    assert gridded.sampler_for(4, t_max=1.0).grid.tolist() == list(TIMES)
    for late in (0.7, 0.4):
        assert gridded.sampler_for(4, t_max=late).grid is None


def test_recommended_uses_the_grid_of_the_sampler_it_chooses(tiny):
    model = tiny(sampler="recommended", grids=[StoredGrid("v_2m_pc", 6, torch.linspace(1, 0, 7).tolist())])
    assert model.sampler_for(6).grid.tolist() == torch.linspace(1, 0, 7).double().tolist()
    assert model.stored_grid(6, "recommended") is model.stored_grid(6, "v_2m_pc") is model.grids[0]
    assert model.stored_grid(7) is None and model.stored_grid(6, "v_3m_pc") is None


def test_times_survive_a_checkpoint_exactly(gridded, recording, tmp_path):
    gridded.save_pretrained(tmp_path)
    found = VocoderModel.from_pretrained(tmp_path)
    assert [vars(grid) for grid in found.grids] == [vars(STORED)]
    assert found.validated == (4, 10)
    config = json.loads((tmp_path / "config.json").read_text())["model"]
    assert config["grids"] == [{"type": "stored_grid", "sampler": "v_2m_pc", "steps": 4, "times": list(TIMES)}]
    assert config["validated"] == [4, 10]
    one, other = Vocoder(gridded), Vocoder(found)
    mel = one.mel(recording(2000))
    assert torch.equal(one.generate(mel, 4).samples, other.generate(mel, 4).samples)


def test_a_checkpoint_without_grids_loads(tiny, tmp_path):
    tiny().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model"].pop("grids") == [] and config["model"].pop("validated") is None
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = VocoderModel.from_pretrained(tmp_path)
    assert found.grids == () and found.validated is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.sampler_for(1, "ddim")


def test_fewer_steps_than_validated_give_one_warning(gridded, recording):
    vocoder = Vocoder(gridded)
    mel = vocoder.mel(recording(1000))
    with pytest.warns(UserWarning, match="steps 3") as caught:
        vocoder.generate(mel, 3)
    (warning,) = caught
    assert "4" in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vocoder.generate(mel, 4)
        vocoder.generate(mel, 12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"grids": [STORED, STORED]}, "v_2m_pc .*4"),
        ({"validated": [0, 4]}, r"validated \[0, 4\]"),
        ({"validated": [5, 4]}, "validated"),
        ({"validated": [4, "x"]}, "validated"),
        ({"validated": [2.5, 4]}, "validated"),
        ({"validated": [1, 4]}, None),
        ({"validated": [4, 4]}, None),
    ],
)
def test_bad_grids_and_ranges_are_refused(tiny, arguments, words):
    if words is None:
        tiny(**arguments)
        return
    with pytest.raises(UserError, match=words):
        tiny(**arguments)


def test_a_grid_that_starts_above_the_denoiser_is_refused(tiny):
    with pytest.raises(UserError, match=r"0\.99"):
        tiny(objective=Epsilon(), grids=[STORED])


@pytest.mark.parametrize(
    "damage",
    [
        {"sampler": "magic"},
        {"steps": 5},
        {"steps": "4"},
        {"times": [1, 0.5, 0.6, 0.1, 0]},
        {"times": "x"},
        {"times": 3},
    ],
    ids=str,
)
def test_a_damaged_grid_is_one_line(gridded, tmp_path, damage):
    gridded.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model"]["grids"][0] |= damage
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        Vocoder.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value) and "config.json" in str(caught.value)


def test_replaced_shares_the_network(gridded):
    other = gridded.with_arguments(validated=None)
    assert other.network is gridded.network and other.grids == gridded.grids and other.validated is None
    assert gridded.validated == (4, 10) and not other.training
    assert checkpoint.describe(other.network) == checkpoint.describe(gridded.network)


def test_the_spectrum_of_white_noise_has_exponential_scatter(tiny):
    """Powers of a white signal are exponentially distributed: median log(2), and 5 percent below 0.05."""
    vocoder = Vocoder(tiny(prior="standard"))
    noise = [torch.randn(64000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    found = modes.measure_spectrum(vocoder, noise)
    assert len(found.variances) == 64
    assert float((found.weights * found.variances).sum()) == pytest.approx(1, abs=0.03)
    assert float(found.variances[31:33].mean()) == pytest.approx(math.log(2), abs=0.05)
    assert float(found.variances[0]) == pytest.approx(1 / 128, rel=0.15)


def test_the_spectrum_is_that_of_the_whitened_waveform(tiny, recording):
    waveform = recording(16000).samples
    whitened, plain = (modes.measure_spectrum(Vocoder(tiny(prior=prior)), [waveform]) for prior in ("mel", "standard"))
    loud, quiet = (float(found.variances[-1] / found.variances[32]) for found in (plain, whitened))
    assert quiet < 0.1 * loud


def test_silence_has_no_spectrum(tiny):
    with pytest.raises(UserError, match="silent"):
        modes.measure_spectrum(Vocoder(tiny(prior="standard")), [torch.zeros(8000)])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory, recording):
    root, clips = tmp_path_factory.mktemp("clips"), []
    for i, split in enumerate(["train", "train", "validation", "test"]):
        samples = recording(16000 * (7 if i == 0 else 1), seed=i).samples
        soundfile.write(root / f"{i}.wav", samples.numpy(), 16000)
        clips.append(Clip(f"c/{i}", f"{i}.wav", len(samples) / 16000, 16000, split=split))
    return Manifest(tuple(clips), root)


def test_recordings_are_loaded_from_their_splits_and_cut(manifest):
    train = modes.load_recordings(manifest, ("train",), 9, 16000)
    assert sorted(map(len, train)) == [16000, 80000]
    assert len(modes.load_recordings(manifest, ("train",), 1, 16000)) == 1
    assert [len(x) for x in modes.load_recordings(manifest, ("validation", "test"), 9, 8000)] == [8000, 8000]
    with pytest.raises(UserError, match="validation"):
        modes.load_recordings(Manifest(manifest.clips[:2], manifest.root), ("validation",), 1, 16000)


SPECTRUM = Spectrum(torch.logspace(-4, 0, 16))


def test_a_fit_is_validated_on_the_network(tiny, recording, monkeypatch):
    monkeypatch.setattr(grid_fitting, "REFERENCE_STEPS", 24)
    vocoder = Vocoder(tiny(sampler="recommended", validated=[5, 5]))
    held_out = [recording(4000).samples, recording(3000, seed=1).samples]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(
            grid_fitting.fit_grids(vocoder, SPECTRUM, (4, 6), None, grid_fitting.sample_recordings(vocoder, held_out))
        )
    assert [(fit.grid.sampler, fit.grid.steps) for fit in found] == [("v_3m", 4), ("v_2m_pc", 6)]
    for fit in found:
        assert fit.errors[1] <= fit.errors[0] and min(fit.distances) > 0
        own = presets.build(fit.grid.sampler, fit.grid.steps).default_grid(vocoder.model.schedule, 1.0)
        assert fit.grid.times[0] == 1 and fit.grid.times[-1] == 0 and fit.grid.times != tuple(own.tolist())
    mel = vocoder.mel(grid_fitting.Audio(held_out[0], 16000))
    sampling = grid_fitting.sample_recordings(vocoder, held_out[:1])
    alone = next(iter(grid_fitting.fit_grids(vocoder, SPECTRUM, [6], "v_2m_pc", sampling)))
    limit = vocoder.generate(mel, 24, clip_seeds=[0], sampler="recommended", consistency=0).samples
    for model, distance in zip(
        (vocoder.model, vocoder.model.with_arguments(grids=[alone.grid])), alone.distances, strict=True
    ):
        made = Vocoder(model).generate(mel, 6, clip_seeds=[0], sampler="v_2m_pc", consistency=0).samples
        assert float(grid_fitting.multi_resolution_stft(made[None], limit[None])) == pytest.approx(distance, rel=1e-6)


@pytest.mark.parametrize("kind", ["make_music", "make_latent_music"])
def test_grids_of_a_generator_are_validated_on_clips_from_noise(kind, request, monkeypatch):
    monkeypatch.setattr(grid_fitting, "REFERENCE_STEPS", 24)
    generator = AudioGenerator(request.getfixturevalue(kind)())
    (found,) = grid_fitting.fit_grids(generator, SPECTRUM, [6], "dpmpp_2m", grid_fitting.sample_seeds(2))
    on_grid = AudioGenerator(grid_fitting.store(generator.model, [replace(found, distances=(1.0, 0.5))]))
    assert on_grid.model.validated == (6, 6) and on_grid.model.sampler_for(6, "dpmpp_2m").grid is not None
    limit = generator.generate(count=2, steps=24, sampler="recommended", peak_level=None).samples.flatten(0, 1)
    for by, distance in zip((generator, on_grid), found.distances, strict=True):
        made = by.generate(count=2, steps=6, sampler="dpmpp_2m", peak_level=None).samples.flatten(0, 1)
        assert float(grid_fitting.multi_resolution_stft(made, limit).mean()) == pytest.approx(distance, rel=1e-3)


def test_without_validation_the_spectrum_decides(tiny):
    vocoder = Vocoder(tiny(sampler="v_2m_pc"))
    (found,) = grid_fitting.fit_grids(vocoder, SPECTRUM, [6])
    assert found.distances is None and found.better and found.errors[1] < 0.5 * found.errors[0]


def test_a_fit_starts_at_the_denoisers_start_time(tiny):
    vocoder = Vocoder(tiny(objective=Epsilon(), schedule=LinearBeta(), sampler="dpmpp_2m"))
    (found,) = grid_fitting.fit_grids(vocoder, SPECTRUM, [5])
    assert found.grid.times[0] == vocoder.model.denoiser.t_max < 1
    assert vocoder.model.with_arguments(grids=[found.grid]).sampler_for(5).grid.tolist() == list(found.grid.times)


def test_stochastic_and_unknown_samplers_are_refused(tiny):
    vocoder = Vocoder(tiny())
    with pytest.raises(UserError, match="sampler ddpm"):
        list(grid_fitting.fit_grids(vocoder, SPECTRUM, [5], "ddpm"))
    with pytest.raises(UserError, match="sampler 'magic'"):
        list(grid_fitting.fit_grids(vocoder, SPECTRUM, [5], "magic"))


def fit(steps: int, better: bool, validated: bool = True) -> grid_fitting.Fit:
    grid = StoredGrid("ddim", steps, torch.linspace(1, 0, steps + 1).tolist())
    return grid_fitting.Fit(grid, (2.0, 1.0), (1.0, 0.5 if better else 2.0) if validated else None)


def test_the_validation_decides_which_grid_is_better():
    assert fit(3, True).better and not fit(3, False).better and fit(3, False, validated=False).better


def test_better_grids_are_stored_and_the_validated_range_grows(gridded):
    first = grid_fitting.store(gridded, [fit(3, True), fit(6, False), fit(8, True)])
    assert [(grid.sampler, grid.steps) for grid in first.grids] == [("v_2m_pc", 4), ("ddim", 3), ("ddim", 8)]
    assert first.validated == (3, 10)
    assert first.network is gridded.network
    again = grid_fitting.store(first, [fit(3, False), fit(12, True)])
    assert [(grid.sampler, grid.steps) for grid in again.grids] == [("v_2m_pc", 4), ("ddim", 8), ("ddim", 12)]
    assert again.validated == (3, 12)


@pytest.mark.parametrize(
    ("name", "sampler", "validated", "steps"),
    [
        ("default", "ddim", (8, 12), 8),
        ("default", "ddim", (1, 4), 4),
        ("default", "ddim", (4, 12), 6),
        ("default", "dpmpp_3m", (1, 2), 3),
        ("own", "ddim", (8, 12), 6),
    ],
)
def test_an_only_setting_without_a_name_moves_to_validated_steps(tiny, name, sampler, validated, steps):
    model = tiny(settings=[Setting(name, 6, sampler, 4)])
    stored = grid_fitting.store(model, [fit(count, True) for count in validated])
    assert stored.settings == (Setting(name, steps, sampler, 4),)


def test_without_validation_the_validated_range_stays_empty(tiny):
    stored = grid_fitting.store(tiny(), [fit(3, True, validated=False)])
    assert len(stored.grids) == 1 and stored.validated is None
