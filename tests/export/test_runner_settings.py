"""Tables of an exported vocoder: which there are, in which order."""

from tiny_models import make_model

from audiodiff.export import runner_settings
from audiodiff.models.setting import Setting


def test_every_setting_has_a_table_of_its_own_steps():
    own = [Setting("fast", 1, "ddim", 2), Setting("best", 100, "v_3m", 5)]
    tables = runner_settings.settings(make_model(settings=own))["tables"]
    assert list(tables["v_3m"]) == [*map(str, range(3, 65)), "100"]
    assert len(tables["v_3m"]["100"]["rows"]) == 100
    assert list(tables["ddim"])[-1] == str(runner_settings.MAX_STEPS)


def test_samplers_are_in_the_order_of_the_settings():
    """So that two exports of one model are the same file: a set of strings has another order in every process."""
    samplers = ["v_3m", "ddim", "dpmpp_2m", "heun", "v_2m_pc", "recommended", "dpmpp_3m", "ddpm", "ddim"]
    own = [Setting(f"s{i}", 4, sampler) for i, sampler in enumerate(samplers)]
    assert list(runner_settings.settings(make_model(settings=own))["tables"]) == list(dict.fromkeys(samplers))
