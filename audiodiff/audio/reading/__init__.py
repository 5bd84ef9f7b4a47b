"""Robust decoding of audio files.

The length of a recording is what can be decoded, not what a header states or a library estimates: `AudioFile` reads
blocks to the end and counts. Before that, the headers of each family of formats are checked (`chunks`, `mpeg`, `ogg`),
so that a truncated file is refused, an unfinished header is completed, and all of several consecutive streams in a file
are read.
"""
