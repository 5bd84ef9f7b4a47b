"""Properties of every metric: identity, direction, and NaN where the score is undefined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from audiodiff import extras
from audiodiff.errors import UserError
from audiodiff.metrics import REPORT_METRICS, require_all
from audiodiff.metrics.pesq import WORST

RATE = 16000
INTRUSIVE = [name for name in REPORT_METRICS if name != "dnsmos"]


def voice(seconds: float = 3.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Vowels with a gliding pitch, hisses and pauses: enough of speech for metrics of speech."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pulses = np.diff(np.floor(np.cumsum(130 + 40 * np.sin(2 * np.pi * 0.7 * time)) / rate), prepend=0)
    syllable = (time * 3).astype(int)
    hiss = np.where(syllable % 4 == 2, 0.03 * rng.standard_normal(len(time)), 0)
    source = np.where(syllable % 4 < 2, pulses, 0) + hiss
    out = np.zeros_like(time)
    for k in range(syllable.max() + 1):
        spoken = source * (syllable == k)
        for formant in rng.uniform((300, 900, 2300), (800, 2200, 3300)):
            radius, angle = np.exp(-np.pi * 90 / rate), 2 * np.pi * formant / rate
            spoken = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], spoken)
        out += spoken
    out += 1e-4 * rng.standard_normal(len(time))
    return (0.5 * out / np.abs(out).max()).astype(np.float32)


def noisy(clean: np.ndarray, snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(len(clean))
    return (clean + noise * np.sqrt(np.mean(clean**2)) * 10 ** (-snr_db / 20)).astype(np.float32)


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return voice()


@pytest.mark.parametrize(
    ("name", "best"),
    [("pesq", 4.644), ("stoi", 1), ("mcd", 0), ("f0_rmse", 0), ("voicing_f1", 1), ("mr_stft", 0)],
)
def test_identity(name, best, clean):
    assert REPORT_METRICS[name](clean, clean, RATE) == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("name", REPORT_METRICS)
def test_more_noise_is_worse(name, clean):
    metric = REPORT_METRICS[name]
    scores = [metric(clean, np.clip(noisy(clean, snr), -1, 1), RATE) for snr in (40, 20, 0)]
    if name == "f0_rmse":  # what is still voiced under noise may be the clearest part: only the ends compare
        scores = [metric(clean, clean, RATE), scores[1]]
    worse = np.diff(scores) < 0 if metric.better == "higher" else np.diff(scores) > 0
    assert worse.all(), scores


def test_dnsmos_does_not_hear_the_reference(clean):
    metric = REPORT_METRICS["dnsmos"]
    assert metric(clean, clean, RATE) == metric(noisy(clean, 0), clean, RATE)


def test_dnsmos_is_that_of_its_package_from_one_window_on():
    from speechmos import dnsmos

    long = voice(10.2)
    assert REPORT_METRICS["dnsmos"](long, long, RATE) == pytest.approx(dnsmos.run(long, RATE)["ovrl_mos"], abs=1e-4)


@pytest.mark.parametrize("name", REPORT_METRICS)
def test_silent_reference_and_short_clip_are_undefined(name, clean):
    metric, silence = REPORT_METRICS[name], np.zeros_like(clean)
    assert math.isnan(metric(silence, clean, RATE))
    assert math.isnan(metric(clean[:3999], clean[:3999], RATE))
    assert math.isnan(metric(clean[:0], clean[:0], RATE))


@pytest.mark.parametrize("name", INTRUSIVE)
def test_silent_estimate_is_a_failure_not_a_gap(name, clean):
    metric = REPORT_METRICS[name]
    silent, bad = (metric(clean, x, RATE) for x in (np.zeros_like(clean), noisy(clean, 10)))
    if name == "f0_rmse":  # nothing is voiced in both; voicing F1 says so
        assert math.isnan(silent)
        return
    assert silent < bad if metric.better == "higher" else silent > bad


def test_silent_estimate_gets_the_ends_of_the_scales(clean):
    silence = np.zeros_like(clean)
    assert REPORT_METRICS["pesq"](clean, silence, RATE) == WORST
    assert REPORT_METRICS["stoi"](clean, silence, RATE) == pytest.approx(0, abs=1e-6)
    assert REPORT_METRICS["voicing_f1"](clean, silence, RATE) == 0


def test_quiet_but_long_enough_for_stoi_alone(clean):
    spoken = clean.copy()
    spoken[3000:] = 0  # what is left after removing silence is below STOI's span of 384 ms
    assert math.isnan(REPORT_METRICS["stoi"](spoken, spoken, RATE))


@pytest.mark.parametrize("name", REPORT_METRICS)
def test_misuse_is_refused(name, clean):
    metric, broken = REPORT_METRICS[name], clean.copy()
    broken[7] = np.nan
    for estimate in (clean[:-1], clean[None], broken):
        with pytest.raises(ValueError, match=name):
            metric(clean, estimate, RATE)


@pytest.mark.parametrize("name", ["pesq", "stoi", "dnsmos"])
def test_other_sample_rates_are_resampled(name, clean):
    from audiodiff.metrics.rates import at_rate

    metric, estimate = REPORT_METRICS[name], np.clip(noisy(clean, 15), -1, 1)
    at_24k = metric(at_rate(clean, RATE, 24000), np.clip(at_rate(estimate, RATE, 24000), -1, 1), 24000)
    assert at_24k == pytest.approx(metric(clean, estimate, RATE), rel=0.03)


@pytest.mark.parametrize("name", REPORT_METRICS)
def test_table_is_complete(name):
    metric = REPORT_METRICS[name]
    assert metric.name == name and metric.label and len(metric.meaning) > 60 and metric.better in ("higher", "lower")


def test_missing_package_names_the_command(monkeypatch, clean):
    def absent(module):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module.partition(".")[0])

    require_all()
    monkeypatch.setattr(extras, "import_module", absent)
    with pytest.raises(UserError, match=r"package pesq: is not installed; .*pip install pesq"):
        require_all()
    for name, package in {"pesq": "pesq", "stoi": "pystoi", "mcd": "pyworld"}.items():
        with pytest.raises(UserError, match=package):
            REPORT_METRICS[name](clean, clean * 0.9, RATE)


def test_broken_package_says_what_it_lacks(monkeypatch):
    def broken(module):
        raise ModuleNotFoundError("No module named 'pkg_resources'", name="pkg_resources")

    monkeypatch.setattr(extras, "import_module", broken)
    with pytest.raises(UserError, match=r"pyworld: cannot be imported .*pkg_resources"):
        extras.load_module("pyworld")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12000), st.sampled_from([0.0, 1e-6, 0.1, 1.0]), st.integers(0, 3), st.integers(0, 3))
def test_whatever_comes_gets_a_number_or_nan(samples, level, kind, other):
    rng = np.random.default_rng(samples)
    shapes = (np.zeros(samples), rng.standard_normal(samples), np.ones(samples), voice(1)[:samples])
    reference, estimate = (np.clip(level * shapes[k][:samples], -1, 1).astype(np.float32) for k in (kind, other))
    for name in INTRUSIVE:
        assert not math.isinf(REPORT_METRICS[name](reference, estimate, RATE))
