"""`SpeechSynthesizer`: from text to speech, sentence by sentence.

A text is cut into sentences, and long sentences at clause punctuation (`text.front_end`); each part is synthesized
whole: phonemes, durations and pitch, the mel by diffusion, the audio by the vocoder that the voice names. The silence
that the model predicts at both ends of a part is what lies between sentences, so that parts are joined in silence; a
cut within a sentence keeps less of it, an empty line between paragraphs adds `PARAGRAPH_PAUSE`. The rate scales all
of these; a pause that the text asks for, `[pause 0.5]`, is as long as it says.

A text is spoken as a speaker of the training data, as a mixture of them, or as the speaker of a reference clip, if the
model takes one. The rate scales the time of the mel (`audio.mel.time_scale`), a pitch shift the predicted pitch, energy
is an offset of the log-mel. Part k of seed s starts from the noise of clip k (`pipelines.seeds`), so that a stream, the
whole text and any batch agree.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from audiodiff.audio.io import Audio
from audiodiff.audio.mel.time_scale import scale_time
from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.noise import batch_noise, clip_seed, step_noise
from audiodiff.diffusion.samplers.sampler import DenoiserLike, Sampler
from audiodiff.errors import UserError
from audiodiff.models.acoustic_model import AcousticModel, EncodedSymbols, EncodedText, Prosody
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.text_encoder import whole_frames
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.pauses import SYNTHESIZED_SECONDS, insert_silence, pause_seconds
from audiodiff.pipelines.pipeline import Pipeline, Progress
from audiodiff.pipelines.speech import Speech
from audiodiff.pipelines.timed_text import TimedPhoneme, TimedWord
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.text.front_end import FrontEnd, Utterance, front_end
from audiodiff.text.lexicon import Lexicon
from audiodiff.text.segmentation import LONGEST_SENTENCE, PARAGRAPH, SENTENCE_ENDS

CLAUSE_CHARACTERS = 200  # longer sentences are cut at clause punctuation
FIRST_CLAUSE_CHARACTERS = 60  # of a stream: its first part is short, so that audio begins early
PARAGRAPH_PAUSE = 0.5  # seconds more between paragraphs than between sentences, at rate 1
_CLAUSE_SILENCE = 0.12  # seconds between two parts of one sentence, at most
_MIN_FRAMES = 0.5  # of a symbol, at rate 1


class _Part(NamedTuple):
    """A sentence or a clause; `name` decides its noise."""

    utterance: Utterance
    name: str
    first: bool  # of its sentence
    last: bool
    paragraph_ends: bool = False


class SpeechSynthesizer(Pipeline):
    """Speaks texts.

    Args:
        model: a voice.
        device, precision, model_hash, training: as of `Pipeline`.
        vocoder: of the same mel spec; None: the one that the voice names.
        lexicon: pronunciations that go before those of the language, or the CSV file that holds them.

    Raises:
        UserError: the vocoder reads other mels than the voice makes, or as `Pipeline`.
    """

    MODEL = AcousticModel
    model: AcousticModel

    def __init__(
        self,
        model: AcousticModel,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        model_hash: str = "",
        training: dict | None = None,
        vocoder: Vocoder | str | Path | None = None,
        lexicon: Lexicon | str | Path | None = None,
    ):
        super().__init__(model, device, precision, model_hash, training)
        chosen = model.vocoder if vocoder is None else vocoder
        self.vocoder = chosen if isinstance(chosen, Vocoder) else Vocoder.from_pretrained(chosen, device, precision)
        self._lexicon = Lexicon.load(lexicon, model.language) if isinstance(lexicon, str | Path) else lexicon
        self._front: FrontEnd | None = None
        self._embeddings: WeakKeyDictionary[Audio, Tensor] = WeakKeyDictionary()  # of reference clips
        self._check_vocoder()

    @property
    def front(self) -> FrontEnd:
        """The front end, which is loaded when the first text is read."""
        if self._front is None:
            self._front = front_end(self.model.language, self._lexicon)
        return self._front

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of the speakers."""
        return self.model.speakers

    def say(
        self,
        text: str | Utterance,
        options: SpeechOptions | None = None,
        *,
        callback: Callable[[Progress], None] | None = None,
        **overrides: Any,
    ) -> Speech:
        """Speak a text of any length.

        Args:
            text: with the markup `[[phonemes]]` and `[pause 0.5]`; or phonemes (`Utterance.from_phonemes`).
            options: how.
            callback: called with the progress within each part.
            overrides: fields of `SpeechOptions` that override those of `options`.

        Raises:
            UserError: nothing to speak, bad markup, an unknown speaker, a reference that the model does not take, or an
                option out of range.
        """
        whole = text if isinstance(text, str) else text.text
        return Speech.join(self.stream(text, options, early=False, callback=callback, **overrides), whole)

    def stream(
        self,
        text: str | Utterance,
        options: SpeechOptions | None = None,
        *,
        early: bool = True,
        callback: Callable[[Progress], None] | None = None,
        **overrides: Any,
    ) -> Iterator[Speech]:
        """Speak a text part by part: sentences, and clauses of long ones. Memory does not grow with the text.

        Args:
            text, options, callback, overrides: as of `say`.
            early: cut a first sentence of more than `FIRST_CLAUSE_CHARACTERS` into shorter clauses, so that the audio
                begins early. The sentences after it, and without `early` all parts, are those of `say`.

        Raises:
            UserError: an option that the model does not take; while it is drawn from, as `say`.
        """
        adapted, chosen = self.adapted_for(_options(options, overrides))
        adapted.check(chosen)
        limit = FIRST_CLAUSE_CHARACTERS if early else CLAUSE_CHARACTERS
        return adapted._synthesize(self._parts(text, limit), chosen, callback)

    def check(self, options: SpeechOptions) -> None:
        """Check options against the model, before any work.

        Raises:
            UserError: an unknown speaker or sampler, a reference that is silent or that the model does not take, or
                fewer steps than the sampler needs.
        """
        adapted, options = self.adapted_for(options)
        adapted._speaker(options)
        options = self.complete(options)
        with warnings.catch_warnings(action="ignore"):  # sampling warns
            self._sampler(options)

    def complete(self, options: SpeechOptions) -> SpeechOptions:
        """The options with the model's own in place of None, and its first speaker where there is no reference."""
        model = self.model
        own: dict[str, Any] = {
            "speaker": self.speakers[0] if options.reference is None else None,
            "steps": model.default_steps,
            "sampler": model.sampler,
            "guidance_scale": model.guidance,
            "temperature": model.temperature,
        }
        return replace(options, **{name: value for name, value in own.items() if getattr(options, name) is None})

    @torch.inference_mode()
    def encode(self, utterance: Utterance, options: SpeechOptions | None = None) -> EncodedSymbols:
        """The symbols of an utterance as the speaker of the options says them; in float32 at any precision."""
        adapted, options = self.adapted_for(options or SpeechOptions())
        return adapted.model.encode_symbols(self.model.tokens([utterance.phonemes]), adapted._speaker(options))

    @torch.inference_mode()
    def prosody(
        self, utterance: Utterance, options: SpeechOptions | None = None, *, symbols: EncodedSymbols | None = None
    ) -> Prosody:
        """Durations (1, N) in mel frames and pitch (1, N) in Hz of an utterance's symbols and both boundaries.

        Of pauses, only what is synthesized (`pauses`). The rate of the options divides the durations later; those of
        pauses are multiplied by it, so that they last as long as the text says.

        Args:
            utterance: a sentence or a clause.
            options: how.
            symbols: as of `encode`, if they are known.
        """
        adapted, options = self.adapted_for(options or SpeechOptions())
        predicted = adapted.model.predict_prosody(symbols or adapted.encode(utterance, options))
        durations = predicted.durations.clamp(min=_MIN_FRAMES)
        for place, seconds in pause_seconds(utterance).items():
            durations[0, place] += min(seconds, SYNTHESIZED_SECONDS) * self._frame_rate * options.rate
        return Prosody(durations, predicted.pitch * 2 ** (options.pitch / 12))

    @torch.inference_mode()
    def mel(
        self,
        utterance: Utterance,
        options: SpeechOptions | None = None,
        *,
        symbols: EncodedSymbols | None = None,
        prosody: Prosody | None = None,
        noise_seed: int | None = None,
        callback: Callable[[Progress], None] | None = None,
    ) -> Tensor:
        """The log-mel (M, F) of an utterance, at the rate of the options.

        Args:
            utterance: a sentence or a clause.
            options: how.
            symbols: as of `encode`, if they are known.
            prosody: durations at rate 1 and pitch; None: predicted ones.
            noise_seed: of the noise, in place of clip 0 of the options' seed.
            callback: called with the progress after every step.
        """
        adapted, options = self.adapted_for(self.complete(options or SpeechOptions()))
        symbols = symbols or adapted.encode(utterance, options)
        prosody = prosody or adapted.prosody(utterance, options, symbols=symbols)
        seed = clip_seed(options.seed, "0") if noise_seed is None else noise_seed
        model = adapted.model
        with self._context():
            encoded = model.embed_text(symbols, prosody)
            denoiser: Any = model.denoiser
            if options.guidance_scale is not None and options.guidance_scale != 1:
                denoiser = ClassifierFree(denoiser, options.guidance_scale, model.unconditional(encoded))
            sampler = self._sampler(options)
            gain = options.energy * self._decibel

            def report(step: int, nfe: int, mel: Tensor) -> None:
                if callback is not None:
                    callback(Progress(step + 1, nfe, scale_time(mel, options.rate) + gain))

            mel = sample_mel(model, encoded, sampler, seed, denoiser, options.temperature, report)
            return scale_time(mel, options.rate) + gain

    def _parts(self, text: str | Utterance, first_limit: int = CLAUSE_CHARACTERS) -> Iterator[_Part]:
        if isinstance(text, Utterance):
            yield from self._phoneme_parts(text)
            return
        limit = first_limit
        for number, found in enumerate(self.front.sentences(text)):
            sentence = found.removesuffix(PARAGRAPH)
            clauses = self.front.clauses(sentence, limit) if len(sentence) > limit else [sentence]
            for place, clause in enumerate(clauses):
                name = f"{number}.{place}" if place else str(number)
                last = place == len(clauses) - 1
                yield _Part(self.front.phonemize(clause), name, place == 0, last, last and sentence != found)
            limit = CLAUSE_CHARACTERS

    def _phoneme_parts(self, utterance: Utterance) -> Iterator[_Part]:
        """The utterance itself; if it is long and was given as phonemes, in clauses, as a text is."""
        given = utterance.text == utterance.phonemes and len(utterance.phonemes) > LONGEST_SENTENCE
        ended = True
        for number, part in enumerate(utterance.split(CLAUSE_CHARACTERS) if given else [utterance]):
            ends = not given or part.phonemes.endswith(SENTENCE_ENDS)
            yield _Part(part, f"0.{number}" if number else "0", ended, ends)
            ended = ends

    def _synthesize(
        self, parts: Iterator[_Part], options: SpeechOptions, callback: Callable[[Progress], None] | None
    ) -> Iterator[Speech]:
        for part in parts:
            yield self._speak(part, options, clip_seed(options.seed, part.name), callback)

    @torch.inference_mode()
    def _speak(self, part: _Part, options: SpeechOptions, seed: int, callback: Any) -> Speech:
        symbols = self.encode(part.utterance, options)
        prosody = self.prosody(part.utterance, options, symbols=symbols)
        limit = _CLAUSE_SILENCE / 2 * self._frame_rate
        for place, whole in ((0, part.first), (-1, part.last)):
            if not whole and not part.utterance.pauses:
                prosody.durations[0, place] = prosody.durations[0, place].clamp(max=limit)
        if part.paragraph_ends:
            prosody.durations[0, -1] += PARAGRAPH_PAUSE * self._frame_rate
        mel = self.mel(part.utterance, options, symbols=symbols, prosody=prosody, noise_seed=seed, callback=callback)
        generated = self.vocoder.generate(mel, clip_seeds=[seed], steps=self._vocoder_steps)
        assert isinstance(generated, Audio)
        durations = whole_frames(prosody.durations)[0] / self._frame_rate / options.rate
        audio, durations = insert_silence(generated, durations, part.utterance)
        return _timed(part.utterance, audio, durations)

    def _set_model(self, model: PretrainedModel) -> None:
        super()._set_model(model)
        self._embeddings = WeakKeyDictionary()  # of reference clips, by the model's own encoder

    @property
    def _frame_rate(self) -> float:
        """Mel frames a second."""
        return self.model.mel_spec.sample_rate / self.model.mel_spec.hop_length

    @property
    def _decibel(self) -> float:
        """What a log-mel rises by where its audio is louder by 1 dB."""
        spec = self.model.mel_spec
        return {"e": math.log(10) / 20, "10": 1 / 20, "db": 1 / spec.power}[spec.log_base] * spec.power

    def _speaker(self, options: SpeechOptions) -> Tensor:
        """The embedding (1, E) of the speaker, or of the reference, once for all parts of a text."""
        clip = options.reference
        if not isinstance(clip, Audio):
            return self.model.speaker_embedding([options.speaker])
        if clip not in self._embeddings:
            with torch.inference_mode():
                self._embeddings[clip] = self.model.speaker_embedding([clip])
        return self._embeddings[clip]

    def _sampler(self, options: SpeechOptions) -> Sampler:
        """The sampler of complete options."""
        assert options.steps is not None
        return self.model.sampler_for(options.steps, options.sampler)

    @property
    def _vocoder_steps(self) -> int:
        """Those of the vocoder's default setting; without named ones, the fewest that it was validated with.

        What more steps add is lost behind a predicted mel.
        """
        model = self.vocoder.model
        if model.validated is None or model.has_named_settings:
            return model.default_steps
        return model.validated[0]

    def _check_vocoder(self) -> None:
        if differences := self.vocoder.spec.differences(self.model.mel_spec):
            problem = f"reads other mels than the voice makes: {'; '.join(differences)}"
            fix = f"choose a vocoder of the voice's mel, such as {self.model.vocoder}"
            raise UserError("vocoder", problem, fix)


def sample_mel(
    model: AcousticModel,
    encoded: EncodedText,
    sampler: Sampler,
    seed: int,
    denoiser: DenoiserLike | None = None,
    temperature: float | None = None,
    report: Callable[[int, int, Tensor], None] | None = None,
) -> Tensor:
    """Sample the log-mel (M, F) of one encoded text.

    Args:
        model: that encoded the text.
        encoded: a batch of one.
        sampler: of the model.
        seed: of the noise.
        denoiser: the model's, guided; None: the model's own.
        temperature: factor of all noise; None: the model's own.
        report: called after every step with its number, their total, and the mel that is estimated.
    """
    denoiser = denoiser or model.denoiser
    where = ([seed], model.network.frontend.channels, encoded.mean.shape[-1], 0, encoded.mean.device)

    def finish(x: Tensor) -> Tensor:
        return model.to_mel(x, encoded)[0, :, : int(encoded.frames)]

    def report_step(step: int, nfe: int, _: Tensor, estimate: Tensor) -> None:
        if report is not None:
            report(step, nfe, finish(estimate))

    factor, noise = model.temperature if temperature is None else temperature, step_noise(*where)
    start = batch_noise(*where) * sampler.noise_scale(denoiser) * factor
    return finish(sampler(denoiser, start, encoded.condition, lambda step: noise(step) * factor, report_step))


def _options(options: SpeechOptions | None, overrides: Mapping[str, Any]) -> SpeechOptions:
    try:
        return replace(options or SpeechOptions(), **overrides)
    except TypeError:
        known = SpeechOptions.__dataclass_fields__
        name = next(name for name in overrides if name not in known)
        raise UserError(f"option {name}", "unknown", f"choose among {', '.join(known)}") from None


def _timed(utterance: Utterance, audio: Audio, durations: Tensor) -> Speech:
    """The audio of an utterance with the times of its words and phonemes, of their durations (N,) in seconds."""
    seconds = audio.samples.shape[-1] / audio.sample_rate
    edges = [0.0, *durations.cumsum(0).clamp(max=seconds).tolist()]
    edges[-1] = seconds
    symbols = ["", *utterance.phonemes, ""]
    phonemes = tuple(TimedPhoneme(symbol, *times) for symbol, times in zip(symbols, pairwise(edges), strict=True))
    words = tuple(
        TimedWord(word.text, edges[word.start + 1], edges[word.end + 1], word.spoken) for word in utterance.words
    )
    sentences = (TimedWord(utterance.text, edges[1], edges[-2]),)
    return Speech(
        text=utterance.text, seconds=seconds, words=words, phonemes=phonemes, sentences=sentences, audio=audio
    )
