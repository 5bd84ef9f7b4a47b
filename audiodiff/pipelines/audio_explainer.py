"""`AudioExplainer`: how an audio generator makes a clip (`pipelines.explanation`)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from audiodiff.audio.io import Audio
from audiodiff.audio.loudness import normalize_peak
from audiodiff.conditioners.conditioner import Conditioner
from audiodiff.diffusion.guidance.composition import Composition
from audiodiff.diffusion.trajectory import Trajectory
from audiodiff.errors import UserError
from audiodiff.nn.attention_maps import recorded_attention
from audiodiff.nn.condition import Condition
from audiodiff.pipelines import seeds
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.explanation import NOTHING, Explanation, explain_states, shown_steps, text_maps
from audiodiff.pipelines.options import GenerationConfig, configure

WORDS, WHOLE = ", word by word", ", as a whole"  # after the name of a condition: its tokens, and its vector


class AudioExplainer(AudioGenerator):
    """Generates a clip as `AudioGenerator` does, and says how.

    Args:
        arguments: those of `Pipeline`, with an `AudioModel`.
    """

    @torch.no_grad()
    def explain(self, config: GenerationConfig | None = None, **options: Any) -> Explanation:
        """Generate one clip, and explain every step.

        It costs one more evaluation of the network a step, and one for each condition and part of one.

        Args:
            config: what to generate.
            options: as of `generate`.

        Raises:
            UserError: a clip longer than those that the model was trained on, loops, continuations, variations, guides
                and prompts of several parts, or as `generate`.
        """
        config = configure(config or GenerationConfig(), options)
        adapted, config = self.adapted_for(config)
        return adapted._explain(config)

    def _explain(self, config: GenerationConfig) -> Explanation:
        self._check_one_process(config)
        samples, sampling = self._samples(config), self._sampler
        frames, (seed,) = self.model.frames(samples), seeds.resolve(config.seed, None, None)
        if frames > sampling.window:
            longest = self.model.samples / self.sample_rate
            raise UserError(f"{samples / self.sample_rate:g} seconds", "too long to explain", f"use {longest:.2f}")
        steering = sampling.steering(1, frames, config)
        prompt = next((one for one in self.model.conditioners if one.name == "prompt"), torch.nn.Identity())
        with recorded_attention(prompt, "conditioners.prompt.") as text_attention:
            denoiser, condition = steering.steer(self.model.denoiser)
        if isinstance(condition, Composition):
            raise UserError("prompt", "is of several parts, each with maps of its own", "explain one at a time")
        trajectory = Trajectory(denoiser)
        sampler = sampling.sampler(config, trajectory.t_max)
        start = sampling.noise([seed], frames) * sampler.noise_scale(trajectory)
        z = sampling.run(sampler, trajectory, start, condition, [seed], config, None)
        batch = steering.raw_conditions(steering.conditions())
        tokens, columns = self._tokens(batch)
        with self._context():
            own = self.model.embed_condition(batch)
            without = self._without(batch, own)
            steps = explain_states(self.model.denoiser, self.model.network, trajectory.states, own, without, columns)
        waveform = torch.cat(list(self._decode(z, samples)), dim=-1)
        audio = waveform if config.peak_level is None else normalize_peak(waveform, config.peak_level)
        words = tokens[:-1] if tokens else []
        return Explanation(
            Audio(audio[0], self.sample_rate),
            steps,
            {number: self._heard(steps[number].estimate, samples) for number in shown_steps(len(steps))},
            tokens,
            words,
            text_maps(text_attention, len(words)),
            settings=self.settings(config) | {"model_hash": self.model_hash},
        )

    def _heard(self, estimate: torch.Tensor, samples: int) -> Audio:
        """The waveform (T,) of an estimate, mixed to one channel."""
        waveform = torch.cat(list(self._decode(estimate[None].to(self.device), samples)), dim=-1)
        return Audio(waveform[0].mean(0), self.sample_rate)

    def _without(self, batch: dict[str, Any], own: Condition) -> dict[str, Condition]:
        """The condition without each of its parts, by name: also without tokens or vector of one with both."""
        found: dict[str, Condition] = {}
        for conditioner in self.model.conditioners:
            name = conditioner.name
            if name not in batch or name == "guidance":  # which is no part of the request that may be missing
                continue
            null = found[name] = self.model.embed_condition({**batch, name: conditioner.nulled(batch[name])})
            alone = conditioner(batch)
            if alone.tokens is not None and alone.global_embedding is not None:
                found[name + WORDS] = replace(own, tokens=null.tokens, token_mask=null.token_mask)
                found[name + WHOLE] = replace(own, global_embedding=null.global_embedding)
        return found

    def _tokens(self, batch: dict[str, Any]) -> tuple[list[str], list[int]]:
        """Texts of the valid tokens of a condition, with "nothing", and their numbers; empty without tokens."""
        texts: list[str] = []
        columns: list[int] = []
        first = 0
        for conditioner in self.model.conditioners:
            found = conditioner(batch) if conditioner.token_channels else None
            if found is None or found.tokens is None:
                continue
            valid = found.valid_tokens()[0].nonzero().flatten().tolist()
            texts += _texts(conditioner, batch, len(valid))
            columns += [first + place for place in valid]
            first += found.tokens.shape[1]
        return ([*texts, NOTHING], columns) if first else ([], [])

    def _check_one_process(self, config: GenerationConfig) -> None:
        others = {"loop": config.loop, "continue_from": config.continue_from, "init_audio": config.init_audio}
        for name in [name for name, value in others.items() if value] + list(config.guides()):
            raise UserError(name, "cannot be explained", "leave it out")


def _texts(conditioner: Conditioner, batch: dict[str, Any], count: int) -> Sequence[str]:
    """What so many tokens of a conditioner stand for."""
    if conditioner.name == "prompt":
        texts = conditioner.token_texts(batch["prompt"][0])  # type: ignore[operator]
        return [*texts, *[""] * (count - len(texts))][:count]
    return [f"{conditioner.name} {number}" for number in range(1, count + 1)]
