"""The front matter of model cards, and of those that are shipped."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_models import make_audio_text, make_model

from audiodiff.audio.mel import PRESETS
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.export.model_card import CARDS, core_hours, metadata, model_card
from audiodiff.models import checkpoint
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.models.setting import Setting
from audiodiff.models.training_record import data_licenses

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("licenses", "lines"),
    [
        (["CC0", "MIT (someone)"], ['license_name: "CC0; MIT"', "tags: [audio, vocoder]"]),
        (["GPL-2 (someone)"], ['license_name: "GPL-2"', "tags: [audio, vocoder, gpl]"]),
        (
            ["CC-BY-SA-3.0", "MIT"],
            ['license_name: "CC-BY-SA-3.0; MIT"', "tags: [audio, vocoder, share-alike]"],
        ),
        ([], ["tags: [audio, vocoder, unknown-license]"]),
    ],
)
def test_the_metadata_names_the_licenses_and_terms_beyond_attribution(licenses, lines):
    head = ["---", "library_name: audiodiff", "pipeline_tag: audio-to-audio", "license: other"]
    assert metadata("audio-to-audio", licenses, "vocoder").split("\n") == [*head, *lines, "---"]


def test_every_model_type_has_a_card_or_says_that_it_has_none():
    assert CARDS.keys() == MODEL_TYPES.keys()


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_a_shipped_models_card_names_its_licenses(name):
    folder = checkpoint.locate(name)
    found, card = checkpoint.load(folder), (folder / "README.md").read_text(encoding="utf-8")
    licenses = data_licenses(found.training, card)
    language = found.arguments.get("language", "")
    assert card.startswith(metadata(CARDS[found.type][0], licenses, found.type, language) + "\n")
    assert (", share-alike, gpl]\n" in card) == any("GPL" in license for license in licenses)


def record(**others) -> dict:
    known = {"steps": 1000, "audio_hours": 40.0, "minutes": 90.0, "hardware": "A CPU, 2 threads", "device": "cpu"}
    return known | {"data": "data/teachers", "manifest_hash": "abc", "version": "1"} | others


def voice_card(tmp_path, *stages) -> str:
    def clip(corpus: str, **others) -> Clip:
        return Clip(f"{corpus}/a", "a.flac", 3600.0, 24000, "Text.", f"{corpus}/voice", **others)

    apache = {"license": "Apache-2.0 (the model's; synthetic speech)", "synthetic": True}
    clips = (
        clip("hibari", **apache | {"license": "Apache 2.0 (the model's; synthetic speech)"}),
        clip("kokoro", **apache),
        clip("asterisk-en", license="CC-BY-SA-3.0 (A. Smith)"),
    )
    model = SimpleNamespace(
        TYPE="acoustic",
        mel_spec=PRESETS["vocos_24k"],
        vocoder="speech-24k",
        language="en-us",
        speakers=("hibari/voice", "kokoro/voice"),
        parameters=lambda: [SimpleNamespace(numel=lambda: 1_234_567)],
    )
    first = (*clips[:2], clip("hibari-shifted", **apache))
    manifests = [Manifest(first, tmp_path), Manifest((*clips, clip("tones")), tmp_path)]  # of two stages
    return model_card(model, "voice-en", stages, ["CC-BY-SA-3.0"], manifests, "- Young.")


def test_the_card_of_a_voice_names_speakers_sources_and_teachers(tmp_path):
    card = voice_card(tmp_path, ("", record()), ("vocoder speech-24k", record(minutes=30.0)))
    for part in (
        "pipeline_tag: text-to-speech",
        'audiodiff say "The file is ready." --voice voice-en',
        "1,234,567",
        "hibari/voice, kokoro/voice",
        "| kokoro (SYNTHETIC) |",
        "| hibari (SYNTHETIC) |  | Apache-2.0 (the model's; synthetic speech) |",
        "| asterisk-en |",
        "| hibari-shifted (SYNTHETIC) |",
        "**Synthetic voices.** hibari, kokoro, hibari-shifted: these clips are the output",
        "hibari-tts was distilled",
        "Kokoro-82M was trained on permissive",
        "| 2, vocoder speech-24k | 1,000 | 40.0 | 30 min | 1.0 |",
        "Together 4.0 core-hours of training.",
    ):
        assert part in card, part
    assert card.count("| kokoro (SYNTHETIC) |") == 1  # both stages have it


def test_the_bill_counts_threads_and_names_what_is_missing(tmp_path):
    assert core_hours(record()) == 3.0 and core_hours(record(hardware="A CPU, 1 thread")) == 1.5
    assert core_hours(record(hardware="A GPU")) is None
    assert "Together 3.0 core-hours of training, and 1 stage without a record of cores." in voice_card(
        tmp_path, ("", record()), ("", record(hardware="A GPU"))
    )


def test_the_card_of_a_vocoder_lists_its_named_settings():
    described = CARDS["vocoder"][1]
    unnamed = described(make_model(), "mine", 1000)
    assert "setting" not in unnamed and unnamed.endswith(")")
    named = described(make_model(settings=[Setting("fast", 1, "ddim", 8), Setting("good", 4)]), "mine", 1000)
    assert "| fast | 1 | ddim | 8 iterations |\n| good | 4 | recommended | 32 iterations |\n\nThe first" in named


def test_the_card_of_an_audio_text_embedding_tells_rendered_clips_from_synthetic_voices(tmp_path):
    model = make_audio_text()
    clips = tuple(
        Clip(f"instruments/{number}", "a.flac", 3600.0, 8000, license="MIT", synthetic=True, caption="kick")
        for number in range(2)
    )
    card = model_card(model, "audio-text", [("", record())], ["MIT"], [Manifest(clips, tmp_path)], "- Young.")
    assert "audiodiff search FOLDER" in card and "pipeline_tag: feature-extraction" in card
    assert "**Synthetic clips.** instruments: " in card and "voice" not in card.lower()


def test_the_card_of_a_hypernetwork_says_what_it_adapts(tmp_path, hypernetwork):
    clips = (Clip("sounds/0", "a.flac", 3600.0, 8000, license="MIT", caption="kick"),)
    card = model_card(hypernetwork, "mine", [("", record())], ["MIT"], [Manifest(clips, tmp_path)], "- Young.")
    assert "audiodiff adapt clip.wav more.wav --model mine" in card and hypernetwork.base_hash[:12] in card
    assert "pipeline_tag: text-to-audio" in card and "rank 2" in card


def test_the_card_of_a_prompted_generator_says_how_it_is_prompted(tmp_path, make_prompted, make_music):
    manifests = [Manifest((Clip("sounds/0", "a.flac", 3600.0, 8000, license="MIT", caption="kick"),), tmp_path)]
    card = model_card(make_prompted(labels=()), "sounds", [("", record())], ["MIT"], manifests, "- Young.")
    assert "pipeline_tag: text-to-audio" in card and "--model sounds --prompt " in card and "wordllama" in card
    assert "Labels" not in card and "Labels: kick, snare" in CARDS["audio"][1](make_prompted(), "sounds", 1)
    card = model_card(make_music(), "music", [("", record())], ["MIT"], manifests, "- Young.")
    assert "pipeline_tag: text-to-audio" in card and "prompt" not in card
