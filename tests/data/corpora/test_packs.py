import io
import struct

import numpy as np
import pytest
import soundfile
import torch
from noise_files import sound

from audiodiff.data.corpora import debian, packs, sounds
from audiodiff.data.corpora.corpus import Request
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError


def wav(samples, rate=22050):
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="WAV", subtype="PCM_16")
    return content.getvalue()


def catalog(*entries):
    """A catalog of OpenTTD with these titles and WAVs."""
    table, body = b"", b""
    for title, content in entries:
        offset = 8 * len(entries) + len(body)
        table += struct.pack("<II", offset | 0x80000000, len(content))
        name = title.encode() + b"\0"
        body += bytes([len(name)]) + name + content
    return table + body


def archive(**lumps):
    """A WAD archive with these lumps."""
    body, directory = b"", b""
    for name, content in lumps.items():
        directory += struct.pack("<II8s", 12 + len(body), len(content), name.encode())
        body += content
    return b"PWAD" + struct.pack("<II", len(lumps), 12 + len(body)) + body + directory


def test_opensfx_sounds_have_the_license_of_the_collection(tmp_path, monkeypatch):
    tone = np.full(22050, 0.25, np.float32)
    horn = '"Ship horn". Original "a.aif" by Leon (M). Edited by W. License: Creative Commons Attribution 3.0 Unported.'
    content = catalog(
        (horn, wav(tone)),
        ('"Toyland: Bubble plop". By J. License: Creative Commons Zero 1.0.', wav(np.stack([tone, tone * 0], 1))),
        ('"Helicopter". By L. License: Creative Commons Attribution-ShareAlike 3.0 Unported.', wav(tone)),
        ('"Unused/Nothing". Trivial empty sound file. License: Creative Commons Zero 1.0.', wav(tone)),
    )
    path = tmp_path / "usr/share/games/openttd/baseset/opensfx/opensfx.cat"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setattr(debian, "fetch", lambda package, downloads: tmp_path)
    found, plop, helicopter = packs.opensfx(tmp_path)
    assert found.license == 'CC-BY-SA-3.0 (Original "a.aif" by Leon M. Edited by W)'
    assert (plop.name, plop.license) == ("Bubble plop", "CC-BY-SA-3.0 (By J)")
    assert (found.group, plop.group) == ("a.aif", "")
    assert helicopter.license == "CC-BY-SA-3.0 (By L)" and not sounds.PACKS["opensfx"].permissive
    assert torch.equal(plop.read().samples, torch.full((22050,), 0.125)) and plop.read().sample_rate == 22050


def test_minetest_sounds_have_the_license_of_their_author_or_module(tmp_path, monkeypatch):
    mods = tmp_path / "usr/share/games/minetest/games/minetest_game/mods"
    for name in ("carts/sounds/carts_cart_moving.2", "carts/sounds/other", "fire/sounds/fire"):
        (mods / name).parent.mkdir(parents=True, exist_ok=True)
        (mods / f"{name}.ogg").touch()
    terms = tmp_path / "usr/share/doc/minetest-data/copyright"
    terms.parent.mkdir(parents=True)
    terms.write_text("Format: 1.0\n\nFiles: mtg/mods/carts/*\nCopyright: Developers\nLicense: Expat\n")
    monkeypatch.setattr(debian, "fetch", lambda package, downloads: tmp_path)
    assert {one.key.rpartition("/")[2]: one.license for one in packs.minetest(tmp_path)} == {
        "carts_cart_moving.2": "CC-BY-3.0 (YleArkisto of freesound.org)",
        "other": "Expat (Developers)",
        "fire": "see the copyright file",
    }


def test_a_kit_of_other_peoples_recordings_is_left_out(tmp_path, monkeypatch):
    kits = tmp_path / "usr/share/hydrogen/data/drumkits"
    for kit in ("Audiophob", "Other"):
        sound(kits / kit / "86335__zgump__tom.wav", 0.05)
        (kits / kit / "drumkit.xml").write_text("<drumkit_info/>")
    terms = tmp_path / "usr/share/doc/hydrogen-drumkits/copyright"
    terms.parent.mkdir(parents=True)
    terms.write_text("Format: 1.0\n\nFiles: *\nCopyright: Somebody\nLicense: CC0\n")
    monkeypatch.setattr(debian, "fetch", lambda package, downloads: tmp_path)
    found = {one.key.partition("/")[0]: one.exclude_reason for one in packs.hydrogen("hydrogen-drumkits", tmp_path)}
    assert "other people's" in found["Audiophob"] and not found["Other"]


def test_freedoom_lumps_are_unsigned_bytes_with_padding(tmp_path, monkeypatch):
    samples = bytes([0] * 16 + [128, 192, 64] + [0] * 16)
    lump = struct.pack("<HHI", 3, 11025, len(samples)) + samples
    path = tmp_path / "usr/share/games/doom/freedoom2.wad"
    path.parent.mkdir(parents=True)
    path.write_bytes(archive(DSPODTH1=lump, DPPISTOL=lump, DSEMPTY=b"", PLAYPAL=b"x" * 99))
    monkeypatch.setattr(debian, "fetch", lambda package, downloads: tmp_path)
    (found,) = packs.freedoom(tmp_path)
    assert (found.key, found.group) == ("podth1", "podth")
    assert found.read().samples.tolist() == [0, 0.5, -0.5] and found.read().sample_rate == 11025


@pytest.mark.parametrize(
    ("key", "group"),
    {
        "coin1": "coin",
        "drums/tom_hi_soft": "drums/tom_hi",
        "BongoHi-Hardest 3": "BongoHi",
        "bullet-smg-15x": "bullet-smg",
        "ion huge~": "ion",
        "2": "2",
        "Amajor_UP_02": "Amajor",
        "hyperdrive out": "hyperdrive",
    }.items(),
)
def test_takes_and_strokes_are_one_group(key, group):
    assert packs._group(key) == group


@pytest.mark.parametrize(
    ("stem", "details"),
    {
        "Fsharp minor_UP_03": ("F sharp minor", "strummed up"),
        "Bflat major_02": ("B flat major",),
        "Asharp minro7b5_DOWN_02": ("A sharp half-diminished", "strummed down"),
        "Cmajor_Down_01": ("C major", "strummed down"),
    }.items(),
)
def test_names_of_strummed_chords(stem, details):
    assert packs._chord_details(packs._CHORD.match(stem)) == details


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """One pack of four files: two takes, one under a share-alike license, one without a known name."""
    root = tmp_path / "pack"
    for number, name in enumerate(("hats/closed_1", "hats/closed_2", "rain", "xyzzy")):
        sound(root / f"{name}.wav", seconds=0.3, seed=number, channels=2, rate=44100)
    licenses = {"rain": "CC-BY-SA-3.0 (Somebody)"}
    opened = sounds.Pack(
        lambda downloads: packs._files(root, lambda path: licenses.get(path.stem, "CC0-1.0")), ("from a video game",)
    )
    monkeypatch.setattr(sounds, "PACKS", {"mine": opened})


def test_sounds_have_captions_and_permissive_licenses(pack, tmp_path):
    manifest = prepare(["sounds"], tmp_path / "out")
    assert [clip.id for clip in manifest.clips] == ["sounds/mine/hats/closed_1", "sounds/mine/hats/closed_2"]
    first, second = manifest.clips
    assert first.caption == "closed hi-hat from a video game" and first.channels == 1 and first.speaker == "sounds/mine"
    assert first.caption_parts[:3] == ("adjective: closed", "noun: hi-hat", "detail: from a video game")
    assert first.caption_parts[3:] == ("character: bright", "character: noisy")  # it is noise
    assert (first.piece, first.split) == (second.piece, second.split) == ("sounds/mine/hats/closed", first.split)
    reasons = {one.key: one.exclude_reason for one in sounds.open_corpus(Request()).recordings if one.exclude_reason}
    assert reasons["mine/rain"] == "its license CC-BY-SA-3.0 is not permissive (see sounds:all)"
    assert "no sound that the caption rules know" in reasons["mine/xyzzy"]


def test_share_alike_sounds_are_asked_for_and_marked(pack, tmp_path):
    manifest = prepare(["sounds:all"], tmp_path / "out")
    licenses = {clip.id: clip.license for clip in manifest.clips}
    assert licenses["sounds-all/mine/rain"] == "CC-BY-SA-3.0 (Somebody)" and len(licenses) == 3
    with pytest.raises(UserError, match="sounds:all"):
        prepare(["sounds:some"], tmp_path / "out")


def test_every_pack_with_rewrites_exists():
    from audiodiff.data.captions.vocabulary import vocabulary

    assert set(vocabulary().packs) <= set(sounds.PACKS)
