import gzip
import importlib.util
import os

import numpy as np
import pytest
from noise_files import sound

from audiodiff.audio.io import read
from audiodiff.data.audit import Audit
from audiodiff.data.corpora import speech
from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError


def test_ljspeech(ljspeech, tmp_path):
    manifest = prepare([f"ljspeech:{ljspeech}"], tmp_path / "out")
    texts = {clip.id: clip.text for clip in manifest.clips}
    assert texts == {
        "ljspeech/LJ001-0000": 'Printing, in fourteen fifty-five, "the only" sense',
        "ljspeech/LJ001-0001": "second",
        "ljspeech/LJ001-0002": "",
    }
    assert {(c.speaker, c.license, c.sample_rate) for c in manifest.clips} == {("ljspeech/LJ", "public domain", 22050)}
    assert Manifest.load(tmp_path / "out") == manifest
    assert Audit.load(tmp_path / "out").findings["unreadable"] == [["ljspeech/LJ001-0009", "no such file"]]


def test_vctk(tmp_path):
    root = tmp_path / "VCTK-Corpus-0.92"
    audio = root / "wav48_silence_trimmed"
    first = sound(audio / "p225/p225_001_mic1.flac", rate=48000, seed=1)
    sound(audio / "p225/p225_001_mic2.flac", rate=48000, seed=2)
    sound(audio / "p226/p226_003_mic2.flac", rate=48000, seed=3)
    sound(audio / "p315/p315_001_mic1.flac", rate=48000, seed=4)
    for speaker, number, text in (("p225", "001", "Please call Stella."), ("p226", "003", "Six spoons.\n")):
        path = root / f"txt/{speaker}/{speaker}_{number}.txt"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    manifest = prepare([f"vctk:{root}"], tmp_path / "out", split_by="speaker")
    assert [(clip.id, clip.speaker, clip.text) for clip in manifest.clips] == [
        ("vctk/p225/p225_001", "vctk/p225", "Please call Stella."),
        ("vctk/p226/p226_003", "vctk/p226", "Six spoons."),
        ("vctk/p315/p315_001", "vctk/p315", ""),
    ]
    assert np.abs(read(manifest.path(manifest.clips[0])).samples.numpy() - first).max() < 1e-4  # microphone 1


def test_vctk_of_names_that_are_not_utf8(tmp_path):
    sound(tmp_path / "new.wav")
    (tmp_path / "vctk/wav48/p1").mkdir(parents=True)
    (tmp_path / "new.wav").rename(tmp_path / "vctk/wav48/p1" / os.fsdecode(b"caf\xe9.wav"))
    manifest = prepare([f"vctk:{tmp_path / 'vctk'}"], tmp_path / "out")
    assert [clip.id for clip in Manifest.load(tmp_path / "out").clips] == ["vctk/p1/caf?"] and len(manifest) == 1


def test_vctk_080(tmp_path):
    sound(tmp_path / "v/wav48/p225/p225_001.wav", rate=48000)
    assert [clip.id for clip in prepare([f"vctk:{tmp_path / 'v'}"], tmp_path / "out").clips] == ["vctk/p225/p225_001"]


def test_festvox_layout(tmp_path):
    sound(tmp_path / "voice/wav/ru_0001.wav")
    sound(tmp_path / "voice/wav/ru_0002.wav")
    (tmp_path / "voice/etc").mkdir()
    (tmp_path / "voice/etc/txt.done.data").write_text('( ru_0001 "Прядь, "волнистых" вол+ос." )\n', encoding="utf-8")
    found = speech.festvox(tmp_path / "voice")
    assert [(r.key, r.text, r.speaker) for r in found] == [
        ("ru_0001", 'Прядь, "волнистых" вол+ос.', "voice"),
        ("ru_0002", "", "voice"),
    ]
    assert found[0].read().sample_rate == 16000


def test_fillets_layout(tmp_path):
    for name in ("city/cs/hi", "city/cs/mute", "share/jokes/cs/joke", "city/nl/hi"):
        sound(tmp_path / f"sound/{name}.ogg", rate=22050)
    (tmp_path / "script/city").mkdir(parents=True)
    (tmp_path / "script/share").mkdir()
    (tmp_path / "script/city/dialogs_cs.lua").write_text(
        'dialogId("hi", "font_big", "Say \\"hi\\"")\ndialogStr(\n"Řekni \\"ahoj\\"")\n'
        'dialogId("mute", "", "")\ndialogStr("")\n',
        encoding="utf-8",
    )
    (tmp_path / "script/share/x_dialogs_cs.lua").write_text('dialogId("joke", "font_small", "Ha")\ndialogStr("Cha")\n')
    found = speech.fillets(tmp_path / "sound", tmp_path / "script")
    assert [(r.key, r.text, r.speaker) for r in found] == [
        ("city/hi", 'Řekni "ahoj"', "font_big"),
        ("city/mute", "", ""),
        ("share/jokes/joke", "Cha", "font_small"),
    ]


def test_fillets_levels_in_noise_are_left_out(tmp_path):
    for name in ("city/cs/hi", "keys/cs/key", "linux/cs/tux"):
        sound(tmp_path / f"sound/{name}.ogg", rate=22050)
    found = speech.fillets(tmp_path / "sound", tmp_path / "script")
    assert {r.key: bool(r.exclude_reason) for r in found} == {"city/hi": False, "keys/key": True, "linux/tux": True}


@pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="PyAV is not installed")
def test_asterisk_layout_and_g722(tmp_path):
    import av

    clean = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    for name in ("hello", "letters/at", "silence/1", "empty"):
        path = tmp_path / f"sounds/en_voice/{name}.g722"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "empty":
            path.touch()
            continue
        with av.open(str(path), "w", format="g722") as container:
            stream = container.add_stream("g722", rate=16000, layout="mono")
            frame = av.AudioFrame.from_ndarray((clean * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate = 16000
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
    texts = tmp_path / "texts.gz"
    with gzip.open(texts, "wt", encoding="utf-8") as file:
        file.write("; a comment: here\n\nhello: Hello (you) there. <beep>\nletters/at: at [@]\nsilence/1: (1 second)\n")
    found = {r.key: r for r in speech.asterisk(tmp_path / "sounds", texts)}
    assert {key: r.text for key, r in found.items()} == {
        "hello": "Hello (you) there.",
        "letters/at": "at",
        "silence/1": "",
        "empty": "",
    }
    assert {key for key, r in found.items() if r.exclude_reason} == {"silence/1"}
    assert found["hello"].speaker == "en_voice"
    audio = found["hello"].read()
    assert audio.sample_rate == 16000
    assert audio.seconds == pytest.approx(1, abs=0.02)
    spectrum = np.abs(np.fft.rfft(audio.samples.numpy()[:16000] * np.hanning(len(audio.samples[:16000]))))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    tone = spectrum[430:451].__pow__(2).sum()
    assert tone > 100 * (np.square(spectrum).sum() - tone)  # G.722's noise lies far below a pure tone
    with pytest.raises(UserError):
        found["empty"].read()


@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")
def test_texts_beside_recordings_get_phonemes_in_their_language(tmp_path):
    for number, suffix in enumerate((".lab", ".txt", "")):
        sound(tmp_path / f"me/{number}.wav", seed=number)
        if suffix:
            (tmp_path / f"me/{number}{suffix}").write_text("Hello.\n")
    plain = prepare([f"folder:{tmp_path / 'me'}"], tmp_path / "plain")
    assert {(clip.text, clip.language, clip.phonemes) for clip in plain.clips} == {("Hello.", "", ""), ("", "", "")}
    english = prepare([f"folder:{tmp_path / 'me'}"], tmp_path / "english", language="en-us")
    assert [clip.text for clip in english.clips] == ["Hello.", "Hello.", ""]
    assert [clip.language for clip in english.clips] == ["en-us", "en-us", ""]
    assert english.clips[0].phonemes == english.clips[1].phonemes != "" == english.clips[2].phonemes
    assert all(clip.durations == clip.pitch == () for clip in english.clips)


def test_a_text_that_several_speakers_read_is_in_one_split(tmp_path):
    root = tmp_path / "VCTK"
    for speaker in ("p1", "p2", "p3"):
        for number in range(20):
            sound(root / f"wav48/{speaker}/{speaker}_{number:03d}.wav", seed=number, rate=16000)
            (root / f"txt/{speaker}").mkdir(parents=True, exist_ok=True)
            (root / f"txt/{speaker}/{speaker}_{number:03d}.txt").write_text(f"Sentence number {number}.")
    clips = prepare([f"vctk:{root}"], tmp_path / "out").clips
    splits = {clip.text: {other.split for other in clips if other.text == clip.text} for clip in clips}
    assert len(splits) == 20 and all(len(found) == 1 for found in splits.values())
    assert {clip.split for clip in clips} == {"train", "validation", "test"} or len({c.split for c in clips}) == 2


def test_labels_of_festvox_become_phonemes_with_durations(tmp_path):
    sound(tmp_path / "voice/wav/ru_0001.wav", seconds=1.0)
    for name in ("etc", "lab"):
        (tmp_path / "voice" / name).mkdir()
    (tmp_path / "voice/etc/txt.done.data").write_text('( ru_0001 "да" )\n', encoding="utf-8")
    (tmp_path / "voice/lab/ru_0001.lab").write_text("#\n0.3 125 pau\n0.4 125 d\n0.6 125 aa\n0.9 125 pau\n")
    (one,) = speech.festvox(tmp_path / "voice")
    assert one.phonemes == "dá" and one.durations == pytest.approx((0.3, 0.1, 0.2, 0.4))
