"""General MIDI: instruments with their names and useful ranges, drum kits and the keys of their percussion.

Program and key numbers are those of General MIDI level 1 (MIDI Manufacturers Association, 1991).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Instrument:
    """A melodic instrument.

    Attributes:
        program: General MIDI's, from 0.
        nouns: its name, as parts of a caption.
        adjectives: of its name.
        low, high: MIDI keys that it sounds natural at.
        chords: whether it plays several notes at once.
        sustained: whether a note lasts until it is released.
    """

    program: int
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    low: int
    high: int
    chords: bool
    sustained: bool

    @property
    def name(self) -> str:
        """Its name."""
        return " ".join((*self.adjectives, *self.nouns))


# Program, lowest and highest key, flags (c: chords, s: sustained), name; adjectives before the last comma.
_TABLE = """
0 28 96 c piano
4 36 88 c electric, piano
6 36 84 c harpsichord
7 36 80 c clavinet
8 60 96 c celesta
9 72 100 - glockenspiel
10 60 90 c music box
11 53 89 c vibraphone
12 48 90 c marimba
13 65 96 - xylophone
14 60 77 - tubular bell
15 60 84 - dulcimer
16 36 90 cs organ
18 36 90 cs rock, organ
19 36 90 cs church organ
21 48 84 cs accordion
22 60 84 s harmonica
24 40 79 c nylon, guitar
25 40 79 c steel, guitar
26 40 79 c jazz, guitar
27 40 79 c clean electric, guitar
28 40 76 - muted electric, guitar
29 40 76 cs overdriven, guitar
30 40 76 cs distorted, guitar
32 28 55 - acoustic, bass
33 28 55 - fingered, bass
34 28 55 - picked, bass
35 28 55 s fretless, bass
36 28 55 - slapped, bass
38 28 60 s synth bass
40 55 96 s violin
41 48 84 s viola
42 36 72 s cello
43 28 55 s contrabass
44 43 90 cs tremolo, strings
45 43 90 c plucked, strings
46 40 90 c harp
47 36 55 - timpani
48 40 90 cs strings
50 40 90 cs synth strings
52 48 79 cs choir
53 48 79 cs voice
54 48 84 cs synth choir
56 55 82 s trumpet
57 40 72 s trombone
58 28 55 s tuba
59 55 82 s muted, trumpet
60 41 77 s french horn
61 40 79 cs brass section
62 40 84 cs synth brass
64 56 87 s soprano, saxophone
65 49 80 s alto, saxophone
66 44 75 s tenor, saxophone
67 37 68 s baritone, saxophone
68 58 91 s oboe
69 52 81 s english horn
70 34 72 s bassoon
71 50 91 s clarinet
72 74 102 s piccolo
73 60 96 s flute
74 60 91 s recorder
75 60 91 s pan flute
77 55 84 s shakuhachi
78 60 96 s whistle
79 60 84 s ocarina
80 40 90 cs square-wave, synth lead
81 40 90 cs sawtooth, synth lead
88 40 84 cs shimmering, synth pad
89 40 84 cs warm, synth pad
104 48 77 - sitar
105 48 84 - banjo
106 50 79 - shamisen
107 50 84 - koto
108 48 84 - kalimba
109 48 77 s bagpipe
110 55 90 s fiddle
111 55 84 s shehnai
112 60 90 - tinkle, bell
114 52 77 - steel drum
"""


def _instrument(line: str) -> Instrument:
    program, low, high, flags, name = line.split(" ", 4)
    adjectives, _, noun = name.rpartition(", ")
    return Instrument(int(program), (noun,), tuple(adjectives.split()), int(low), int(high), "c" in flags, "s" in flags)


INSTRUMENTS = tuple(map(_instrument, _TABLE.strip().split("\n")))

# Presets of the drum bank: adjectives of a hit, the detail of its caption, and the keys at which FluidR3's kit has a
# sound of its own (elsewhere it is that of preset 0, so that the adjectives would be wrong).
KITS = {
    0: ((), "from an acoustic drum kit", tuple(range(35, 60))),
    8: ((), "from an acoustic drum kit", (35, 36, 49, 51, 52, 53, 55)),
    16: (("powerful",), "from an acoustic drum kit", (35, 36, 38, 40, 41, 42, 43, 44, 45, 46, 47, 48, 50)),
    24: (("electric",), "from a drum machine", (35, 36, 38, 40, 41, 43, 45, 47, 48, 50)),
    25: (("808",), "from a drum machine", (35, 36, 38, 39, *range(40, 49), 50, 51, 54, 56, 58)),
    32: (("jazz",), "from an acoustic drum kit", (35, 36, 38, 40)),
    40: (("brushed",), "from an acoustic drum kit", (38, 39, 40, 58)),
}
# Keys of percussion: adjectives and noun.
PERCUSSION = {
    35: "kick drum",
    36: "kick drum",
    37: "side stick",
    38: "snare",
    39: "hand clap",
    40: "snare",
    41: "low, floor tom",
    42: "closed, hi-hat",
    43: "high, floor tom",
    44: "pedal, hi-hat",
    45: "low, tom",
    46: "open, hi-hat",
    47: "mid, tom",
    48: "mid, tom",
    49: "crash cymbal",
    50: "high, tom",
    51: "ride cymbal",
    52: "china cymbal",
    53: "ride bell",
    54: "tambourine",
    55: "splash cymbal",
    56: "cowbell",
    58: "vibraslap",
    60: "high, bongo",
    61: "low, bongo",
    62: "muted, conga",
    63: "open, conga",
    64: "low, conga",
    65: "high, timbale",
    66: "low, timbale",
    67: "high, agogo",
    68: "low, agogo",
    69: "shaker",
    70: "maracas",
    71: "short, whistle",
    72: "long, whistle",
    73: "short, guiro",
    74: "long, guiro",
    75: "claves",
    76: "high, woodblock",
    77: "low, woodblock",
    78: "muted, cuica",
    79: "open, cuica",
    80: "muted, triangle",
    81: "open, triangle",
}
# Programs of sound effects, and the nouns of their captions.
EFFECTS = {
    120: "guitar fret noise",
    121: "breath",
    122: "sea waves",
    123: "bird",
    124: "phone ring",
    125: "helicopter",
    126: "applause",
    127: "gunshot",
}
_NAMES = ("C", "C sharp", "D", "D sharp", "E", "F", "F sharp", "G", "G sharp", "A", "A sharp", "B")


def pitch_class(key: int) -> str:
    """The name of a MIDI key without its octave, such as "F sharp"."""
    return _NAMES[key % 12]


def note_name(key: int) -> str:
    """The name of a MIDI key: "A4" is 69."""
    name = pitch_class(key)
    return f"{name}{' ' if len(name) > 1 else ''}{key // 12 - 1}"
