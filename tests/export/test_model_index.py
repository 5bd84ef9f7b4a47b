"""Results of cards as the hub's metadata: what the tables say, and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.export.model_index import model_index
from audiodiff.export.push import with_metadata
from audiodiff.models import card, checkpoint

huggingface_hub = pytest.importorskip("huggingface_hub")
TABLE = """## Results

| data | metric | value | 95 % interval | measured by |
| --- | --- | --: | --- | --- |
| ten clips | PESQ-WB (MOS) | 3.5 | 3.4 to 3.6 | `audiodiff evaluate` |
| ten clips | Gain (dB) | −2 | – | bench |
| ten clips | STOI | – | – | bench |
"""
BENCHMARK = """| Clips | Setting | PESQ-WB (MOS) ↑ | Word error rate (%) ↓ |
| --- | --- | ---: | ---: |
| unseen | fast (default) | 3.77 ± 0.15 | – |
| unseen | good | 4.00 ± 0.15 | – |
| english | fast (default) | 4.10 ± 0.10 | 0.5 ± 1.0 |
| english | fine-tuned, fast (default) | 4.20 ± 0.10 | 0.1 ± 0.1 |
"""


def values(text: str) -> list[tuple[str, str, float]]:
    found = model_index("mine", "audio-to-audio", text)
    results = found[0]["results"] if found else []
    return [(one["dataset"]["name"], m["type"], m["value"]) for one in results for m in one["metrics"]]


def test_rows_of_the_results_that_have_a_value_are_entries():
    found = model_index("mine", "audio-to-audio", "# mine\n\n" + card.marked(TABLE, card.RESULTS))
    assert found[0]["name"] == "mine" and all(one["task"] == {"type": "audio-to-audio"} for one in found[0]["results"])
    assert values(card.marked(TABLE, card.RESULTS)) == [("ten clips", "pesq", 3.5), ("ten clips", "gain-db", -2.0)]
    (metric,) = found[0]["results"][0]["metrics"]
    assert metric["args"] == {"interval": "3.4 to 3.6", "measured_by": "audiodiff evaluate"}


def test_of_a_benchmark_the_default_setting_counts():
    text = card.marked(BENCHMARK, card.BENCHMARK)
    assert values(text) == [("unseen", "pesq", 3.77), ("english", "pesq", 4.1), ("english", "wer", 0.5)]


def test_tables_elsewhere_are_no_results():
    assert model_index("mine", "", TABLE + BENCHMARK) == []


@given(st.text(alphabet="|-ab1. \n", max_size=200))
def test_any_table_is_read(text):
    model_index("mine", "", card.marked(f"{TABLE}{text}", card.RESULTS))


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_results_of_shipped_cards_are_read_by_the_hub_and_stand_in_the_card(name):
    file = checkpoint.locate(name) / "README.md"
    text = file.read_text(encoding="utf-8")
    pushed = with_metadata(text, {"model-index": model_index(name, "text-to-audio", text)}, file)
    results = huggingface_hub.ModelCard(pushed).data.eval_results
    assert results
    for one in results:
        assert re.search(rf"\| *{re.escape(one.metric_name)}\W", text)
        assert one.metric_value in {float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)}
