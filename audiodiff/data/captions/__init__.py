"""Captions of sounds: rules from file names to words, and the wordings that training draws from.

The rules are tables in `vocabulary.toml`: nouns, adjectives and details with their spellings in file names and their
synonyms, and rewrites of abbreviations, some of them of single packs. `naming` applies them to names, `character`
measures how a sound is, `caption` draws.
"""

from audiodiff.data.captions.caption import Caption, compose
from audiodiff.data.captions.naming import canonical_caption, caption_of_name

__all__ = ["Caption", "canonical_caption", "caption_of_name", "compose"]
