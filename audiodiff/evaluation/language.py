"""Languages of clips: as the manifest states them, else by corpus."""

from audiodiff.data.manifest import Clip

CORPORA = {
    "asterisk-en": "en",
    "asterisk-es": "es",
    "asterisk-fr": "fr",
    "asterisk-it": "it",
    "asterisk-ru": "ru",
    "festvox-ru": "ru",
    "fillets-cs": "cs",
    "hibari": "en",
    "kokoro": "en",
    "ljspeech": "en",
    "vctk": "en",
}


def language(clip: Clip, default: str = "") -> str:
    """ISO 639-1 code of the language of a clip; `default` if neither the clip nor `CORPORA` states it."""
    return clip.language.partition("-")[0] or CORPORA.get(clip.id.partition("/")[0], default)
