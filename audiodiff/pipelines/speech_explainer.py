"""`SpeechExplainer`: how a voice speaks a sentence (`pipelines.explanation`).

The text's encoder attends from phonemes to phonemes. What the process reads of a text are frames, which the durations
of its phonemes align, and so no attention: the explanation has the times of phonemes in its place.
"""

from dataclasses import replace
from typing import Any

import torch

from audiodiff.audio.io import Audio
from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.trajectory import Trajectory
from audiodiff.errors import UserError
from audiodiff.nn.attention_maps import recorded_attention
from audiodiff.pipelines.explanation import Explanation, explain_states, shown_steps, text_maps
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer, sample_mel
from audiodiff.text.front_end import Utterance

BOUNDARY = "|"  # before and after the phonemes of a sentence


class SpeechExplainer(SpeechSynthesizer):
    """Speaks a sentence as `SpeechSynthesizer` does, and says how.

    Args:
        arguments: those of `SpeechSynthesizer`.
    """

    @torch.no_grad()
    def explain(self, text: str | Utterance, options: SpeechOptions | None = None, **overrides: Any) -> Explanation:
        """Speak one sentence at the voice's own rate, and explain every step.

        Args:
            text: of one sentence; or its phonemes.
            options: how.
            overrides: fields of `SpeechOptions` that override those of `options`.

        Raises:
            UserError: several sentences, a rate, or as `say`.
        """
        adapted, chosen = self.adapted_for(replace(options or SpeechOptions(), **overrides))
        adapted.check(chosen)
        return adapted._explain(text, adapted.complete(chosen))

    def _explain(self, text: str | Utterance, options: SpeechOptions) -> Explanation:
        if options.rate != 1:
            raise UserError(f"rate {options.rate:g}", "changes the mel after the process", "explain it at rate 1")
        first, *others = self._parts(text)
        if others:
            raise UserError("text", "is of several sentences or clauses", "explain one at a time")
        utterance, model, seed = first.utterance, self.model, clip_seed(options.seed, first.name)
        with recorded_attention(model.encoder, "encoder.") as attention:
            symbols = self.encode(utterance, options)
        prosody = self.prosody(utterance, options, symbols=symbols)
        speech = self._speak(first, options, seed, None)
        with self._context():
            encoded = model.embed_text(symbols, prosody)
            denoiser: Any = model.denoiser
            if options.guidance_scale is not None and options.guidance_scale != 1:
                denoiser = ClassifierFree(denoiser, options.guidance_scale, model.unconditional(encoded))
            trajectory, sampler = Trajectory(denoiser), self._sampler(options)
            sample_mel(model, encoded, sampler, seed, trajectory, options.temperature)
            condition, null = encoded.condition, model.unconditional(encoded)
            without = {
                "text": replace(condition, frames=null.frames),
                "speaker": replace(condition, global_embedding=null.global_embedding),
            }
            steps = explain_states(model.denoiser, model.network, trajectory.states, condition, without)
            estimates = {
                number: model.to_mel(steps[number].estimate[None].to(self.device), encoded)[0, :, : int(encoded.frames)]
                for number in shown_steps(len(steps))
            }
        hashes = {"model_hash": self.model_hash, "vocoder_hash": self.vocoder.model_hash}
        phonemes = [BOUNDARY, *utterance.phonemes, BOUNDARY]
        return Explanation(
            Audio(speech.audio.samples, speech.audio.sample_rate),
            steps,
            {number: mel.float().cpu() for number, mel in estimates.items()},
            text=phonemes,
            text_attention=text_maps(attention, len(phonemes)),
            phonemes=speech.phonemes,
            settings={"text": text if isinstance(text, str) else text.text} | hashes | options.record(),
        )
