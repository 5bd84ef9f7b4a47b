"""Reading audio files to their end.

How long a recording is, is what can be decoded, not what a header says or a library guesses: `AudioFile` reads blocks
to the end and counts. Before that, each family of formats is looked through for what its header promises (`chunks`,
`mpeg`, `ogg`), so that a file that was cut off is refused, a header that was never finished is completed, and a file
that holds several streams one after another is read as all of them.
"""
