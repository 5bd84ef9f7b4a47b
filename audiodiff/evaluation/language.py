"""Which language a clip is in: known by its corpus, since a manifest does not say."""

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
    "ljspeech": "en",
    "vctk": "en",
}


def language(clip: Clip, otherwise: str = "") -> str:
    """ISO 639-1 code of what is spoken; `otherwise` where the corpus does not tell."""
    return CORPORA.get(clip.id.partition("/")[0], otherwise)
