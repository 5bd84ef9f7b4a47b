"""The page of each model type, and serving it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from audiodiff.demo import generator_page, speech_page, vocoder_page
from audiodiff.demo.uploads import MAX_MEGABYTES
from audiodiff.errors import UserError
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.aligner import Aligner
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.checkpoint import locate, type_of
from audiodiff.models.codec import Codec
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.models.restoration_model import RestorationModel
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.options import options_of
from audiodiff.pipelines.guidance_options import GuideModels

# By model type, the page of a checkpoint folder on a device; None: there is none. Pages of `GUIDED` take guides, too,
# those of `ADAPTED` adapters.
PAGES: dict[str, Callable[..., gr.Blocks] | None] = {
    VocoderModel.TYPE: vocoder_page.build,
    AudioModel.TYPE: generator_page.build,
    Codec.TYPE: None,
    AcousticModel.TYPE: speech_page.build,
    Aligner.TYPE: None,
    AudioTextModel.TYPE: None,
    NoisyClassifier.TYPE: None,
    Hypernetwork.TYPE: None,
    UpsamplerModel.TYPE: None,
    RestorationModel.TYPE: None,
}
GUIDED = {AudioModel.TYPE}
ADAPTED = {AudioModel.TYPE, AcousticModel.TYPE}
# The visitor's own fonts: the page requests nothing from other hosts.
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
# Options of `gr.Blocks.launch`, wherever the page is served.
OPTIONS = {"theme": THEME, "footer_links": ["api"], "max_file_size": f"{MAX_MEGABYTES}mb"}


def build(
    folder: str | Path | None = None,
    runs: str | Path = "runs",
    device: str = "cpu",
    guides: GuideModels | None = None,
    adapters: Sequence[str] = (),
) -> gr.Blocks:
    """Build the page of a model.

    Args:
        folder: checkpoint folder, or the name of a shipped model; None for the newest vocoder below `runs`, else a
            shipped one.
        runs: where training puts its runs.
        device: that the model runs on.
        guides: models that visitors may choose to guide a generator, beside shipped ones.
        adapters: whose scales visitors may set, as "DIR" or "DIR:SCALE", the scale to begin with.

    Raises:
        UserError: no such model, one of a type that has no page, or a guide or an adapter that does not fit.
    """
    given = {name: getattr(guides, name) for name in options_of(GuideModels) if getattr(guides, name, None) is not None}
    kind = VocoderModel.TYPE if folder is None else type_of(locate(folder))
    if given and kind not in GUIDED:
        name, guide = next(iter(given.items()))
        raise UserError(f"{name} {guide}", f"has no effect on a {kind}", "leave it out, or give an audio generator")
    if adapters and kind not in ADAPTED:
        fix = "leave it out, or give an audio generator or a voice"
        raise UserError(f"adapter {adapters[0]}", f"cannot be chosen on the page of a {kind}", fix)
    if folder is None:
        return vocoder_page.build(None, device, Path(runs))
    if kind in PAGES and PAGES[kind] is None:
        served = " or ".join(name for name, page in PAGES.items() if page)
        raise UserError(folder, f"is a {kind}, for which the demo has no page", f"give a model of type {served}")
    page = PAGES.get(kind, vocoder_page.build)
    more: dict[str, Any] = {"guides": guides} if kind in GUIDED else {}
    return page(locate(folder), device, **more | ({"adapters": adapters} if kind in ADAPTED else {}))


def launch(
    folder: str | Path | None,
    host: str,
    port: int | None,
    device: str,
    guides: GuideModels | None = None,
    adapters: Sequence[str] = (),
) -> None:
    """Build the page and serve it until Ctrl-C.

    Raises:
        UserError: as `build`, or the port is taken.
    """
    page = build(folder, device=device, guides=guides, adapters=adapters)
    try:
        page.launch(server_name=host, server_port=port, **OPTIONS)
    except OSError as error:
        raise UserError(f"{host}:{port}", "cannot be served from", "choose another --port or --host") from error
