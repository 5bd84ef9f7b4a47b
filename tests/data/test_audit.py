from dataclasses import replace

import numpy as np
import pytest
import soundfile
from noise_files import sound

from audiodiff.data.audit import FINDINGS, Audit, audit, measure
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError

RATE = 16000


def test_statistics_of_known_signals():
    t = np.arange(RATE) / RATE
    sine = measure(0.5 * np.sin(2 * np.pi * 100 * t), RATE)
    assert sine.rms_dbfs == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=1e-6)
    assert sine.peak_dbfs == pytest.approx(20 * np.log10(0.5), abs=1e-6)
    assert sine.dc == pytest.approx(0, abs=1e-12)
    assert (sine.silent_fraction, sine.clipped_samples) == (0, 0)
    assert measure(np.full(RATE, 0.25), RATE).dc == 0.25
    half = np.concatenate([np.zeros(RATE // 2), 0.1 * np.ones(RATE // 2)])
    assert measure(half, RATE).silent_fraction == 0.5
    assert measure(np.array([0.5]), RATE).rms_dbfs == pytest.approx(20 * np.log10(0.5))
    assert measure(np.zeros(100), RATE).rms_dbfs == -200


def test_clipping_counts_runs_and_not_touching_peaks():
    x = np.zeros(1000)
    x[[10, 20, 21]] = 1.0  # a peak, and two in a row
    assert measure(x, RATE).clipped_samples == 0
    x[100:105] = 1.0
    x[200:203] = -1.0
    x[997:] = 1.0  # up to the end
    assert measure(x, RATE).clipped_samples == 11


@pytest.fixture
def faulty(tmp_path):
    """Sound recordings, and one with each fault, all of them seeded."""
    rng = np.random.default_rng(0)
    t = np.arange(RATE) / RATE
    root = tmp_path / "faulty"
    root.mkdir()

    def put(name, data):
        soundfile.write(root / f"{name}.wav", data, RATE)

    noise = {i: 0.1 * rng.standard_normal(RATE).clip(-4, 4) for i in range(20)}
    for i in range(12):
        put(f"good{i}", noise[i])
    put("clipped", (1.5 * np.sin(2 * np.pi * 50 * t)).clip(-1, 1) * 0.9999 * (t < 0.2) + noise[12] * (t >= 0.2))
    put("dc", noise[13] + 0.05)
    put("silence", noise[14] * (t < 0.3))
    put("quiet", noise[15] * 0.03)
    put("loud", np.sign(noise[16]) * 0.9)
    put("twin", noise[3])
    put("mute", np.zeros(RATE))
    put("blip", noise[17][:3000])
    (root / "text.wav").write_text("hello")
    return root


def test_seeded_faults_are_found_and_nothing_else(faulty, tmp_path):
    prepare([f"folder:{faulty}"], tmp_path / "out")
    found = {kind: [name for name, _ in entries] for kind, entries in Audit.load(tmp_path / "out").findings.items()}
    assert found == {
        "clipping": ["faulty/clipped"],
        "dc": ["faulty/dc"],
        "silence": ["faulty/silence"],
        "level": ["faulty/loud", "faulty/quiet"],
        "text": [],
        "duplicates": ["faulty/twin"],
        "near-duplicates": [],
        "unreadable": ["faulty/text"],
        "left out": ["faulty/blip", "faulty/mute"],
    }
    assert set(found) == set(FINDINGS)


def test_caption_words_are_counted_and_near_duplicates_of_captioned_clips_found(tmp_path):
    rng, t = np.random.default_rng(1), np.arange(RATE) / RATE
    root = tmp_path / "mine"
    root.mkdir()
    one, other = (rng.standard_normal(RATE) * np.exp(-speed * t) * 0.2 for speed in (6, 20))
    for name, data in {"kick": one, "kick_copy": 0.5 * one, "snare": other, "dull": one * 0.25}.items():
        soundfile.write(root / f"{name}.wav", data, RATE)
    (root / "captions.csv").write_text("kick,a kick\nkick_copy,soft kick\nsnare,the snare\n")
    prepare([f"music:{root}"], tmp_path / "out")
    found = Audit.load(tmp_path / "out")
    assert found.corpora["music"].caption_words == {"kick": 2, "snare": 1, "soft": 1}
    # The clip without a caption is not compared.
    ((name, problem),) = found.findings["near-duplicates"]
    assert name == "music/kick_copy" and problem == "like music/kick, cosine 1.000, in test and not in train"
    assert "3 caption words, 2 of them in one clip only; in most clips: kick 2, snare 1, soft 1" in str(found)


def test_sums(faulty, tmp_path):
    soundfile.write(faulty / "slow.wav", 0.1 * np.sin(np.arange(16000)), 8000)
    manifest = prepare([f"folder:{faulty}"], tmp_path / "out")
    group = audit(tmp_path / "out").corpora["faulty"]
    assert group.clips == len(manifest) == 19
    assert group.hours == pytest.approx(20 / 3600)
    assert sum(group.clips_by_split.values()) == 19
    assert sum(group.hours_by_split.values()) == pytest.approx(group.hours)
    assert group.sample_rates == {8000: 1, 16000: 18}
    assert (group.shortest_seconds, group.longest_seconds) == (1, 2)
    assert (group.speakers, group.with_text, group.synthetic, group.licenses) == (1, 0, False, ["not stated"])


def test_files_damaged_after_preparation_are_listed(faulty, tmp_path):
    manifest = prepare([f"folder:{faulty}"], tmp_path / "out")
    (tmp_path / "out/faulty/good0.flac").unlink()
    (tmp_path / "out/faulty/good1.flac").write_bytes((tmp_path / "out/faulty/good1.flac").read_bytes()[:5000])
    found = audit(manifest).findings["unreadable"]
    assert [name for name, _ in found] == ["faulty/good0", "faulty/good1"]


def test_saved_and_printed(faulty, tmp_path):
    manifest = prepare([f"folder:{faulty}"], tmp_path / "out")
    loaded = Audit.load(tmp_path / "out")
    assert Audit.matches(manifest)
    assert not Audit.matches(Manifest(manifest.clips[1:], manifest.root))
    earlier = replace(loaded, findings={k: v for k, v in loaded.findings.items() if k != "near-duplicates"})
    earlier.save(manifest.root)
    assert not Audit.matches(manifest)  # an earlier version did not look for them
    printed = str(loaded)
    assert "faulty: 0.01 hours, 18 clips; " in printed
    assert "18 at 16000 Hz" in printed
    assert "clipping: 1 " in printed
    assert "faulty/twin: same as faulty/good3" in printed
    loaded.save(tmp_path / "copy")
    assert Audit.load(tmp_path / "copy") == loaded


def test_no_manifest(tmp_path):
    with pytest.raises(UserError, match="no such manifest"):
        audit(tmp_path)


def test_texts_that_do_not_fit_their_audio_are_flagged(tmp_path):
    sound(tmp_path / "a.wav")
    one = Clip("c/a", "a.wav", 2.0, 16000)
    fits = replace(one, text="A sentence of about two seconds.")
    spoken = replace(fits, phonemes="ɐ kˈæt", durations=(0.2, 0.1, 0.5, 0.1, 0.05, 0.3, 0.25, 0.5))
    found = {
        "": [one, fits, spoken, replace(one, text="Yes.")],
        "only 26 letters": [replace(fits, seconds=20.0)],
        "26 letters in 0.50 s": [replace(fits, seconds=0.5)],
        "a phoneme of 1.30 s": [replace(spoken, durations=(0.2, 0.1, 0.1, 0.1, 0.05, 1.3, 0.05, 0.1))],
        "4 phonemes in 0.10 s": [replace(spoken, durations=(1, 0, 0.05, 0, 0, 0.05, 0, 0.9))],
    }
    for problem, clips in found.items():
        for clip in clips:
            texts = audit(Manifest((clip,), tmp_path)).findings["text"]
            assert [subject for subject, _ in texts] == (["c/a"] if problem else [])
            assert not problem or problem in texts[0][1]
