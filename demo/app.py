"""The demo for a host that expects a module with a variable `demo`. AUDIODIFF_MODEL names the model folder."""

import os

# Gradio reads this when it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from audiodiff.demo import OPTIONS, build

demo = build(os.environ.get("AUDIODIFF_MODEL"))

if __name__ == "__main__":
    demo.launch(**OPTIONS)
