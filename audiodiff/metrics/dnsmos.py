"""DNSMOS P.835: a network that predicts the mean opinion score of listeners (Reddy, Gopal and Cutler, ICASSP 2022).

Its input is 9.01 s at 16 kHz. Scores of longer clips are averaged over windows one second apart, as in speechmos;
shorter clips are repeated to one window. (speechmos repeats them to up to twice that and averages windows over the same
loop: several times the work, for the same mean within 0.005 on 18 clips, single clips within 0.08.)
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from audiodiff.extras import load_module
from audiodiff.metrics.rates import at_rate

SAMPLE_RATE = 16000
WINDOW = int(9.01 * SAMPLE_RATE)


@cache
def _model() -> Any:
    """The model of speechmos, loaded once per process; one thread per session, because clips are scored in parallel."""
    dnsmos, runtime = load_module("speechmos.dnsmos"), load_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    folder = Path(dnsmos.__file__).parent / "dnsmos_models"
    paths = [str(folder / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
    model = dnsmos.DNSMOS(*paths)
    model.onnx_sess, model.p808_onnx_sess = (
        runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in paths
    )
    return model


def dnsmos_overall(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """P.835 overall score of `estimate` (T,), from 1 to 5; the reference is not used."""
    samples = np.clip(at_rate(estimate, sample_rate, SAMPLE_RATE), -1, 1)
    if len(samples) < WINDOW:
        samples = np.resize(samples, WINDOW)
    return float(_model()(samples, SAMPLE_RATE, False)["ovrl_mos"])
