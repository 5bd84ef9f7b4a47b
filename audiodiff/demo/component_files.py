"""Script and style of the components that the page draws itself."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def script_and_style(name: str) -> dict[str, str]:
    """Arguments of `gr.HTML`: NAME.js after `elements.js`, which all of them share, and NAME.css."""
    elements, script, style = (
        (_FOLDER / file).read_text(encoding="utf-8") for file in ("elements.js", f"{name}.js", f"{name}.css")
    )
    return {"js_on_load": f"{elements}\n{script}", "css_template": style}
