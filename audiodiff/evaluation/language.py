"""Languages of corpora; manifests do not state them."""

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


def language(clip: Clip, default: str = "") -> str:
    """ISO 639-1 code of the language of a clip; `default` if its corpus is not in `CORPORA`."""
    return CORPORA.get(clip.id.partition("/")[0], default)
