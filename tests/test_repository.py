"""Files that other programs read: workflows and forms of GitHub, the citation, the metadata of the hosted demo."""

import re
from pathlib import Path

import pytest

import audiodiff

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def steps(workflow: Path) -> list[dict]:
    return [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]


def test_workflows_lint_test_every_python_build_the_docs_and_the_wheels():
    assert [path.stem for path in WORKFLOWS] == ["docs", "tests", "wheels"]
    run = {step["run"] for workflow in WORKFLOWS for step in steps(workflow) if "run" in step}
    assert {"make lint", "make test", "make test-slow", "make docs", "make wheels"} <= run
    matrix = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_ends_in_time_and_runs_targets_that_exist(workflow):
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {"contents": "read"} and content["name"] == workflow.stem
    assert all(job["timeout-minutes"] <= 180 for job in content["jobs"].values())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for step in steps(workflow):
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/checkout@v4"))
        assert set(re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))) <= targets


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_github_requires(form):
    content = yaml.safe_load(form.read_text())
    assert content["name"] and content["description"] and content["body"]
    names = [field["id"] for field in content["body"]]
    assert len(set(names)) == len(names)
    assert any(field.get("validations", {}).get("required") for field in content["body"])
    assert all(field["type"] == "textarea" and field["attributes"]["label"] for field in content["body"])


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == audiodiff.__version__ and citation["license"] == "Apache-2.0"
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{citation['version']}] - {citation['date-released']}\n" in changes


def test_the_hosted_demo_has_the_metadata_of_a_space():
    _, head, _ = (ROOT / "demo/README.md").read_text().split("---\n", 2)
    space = yaml.safe_load(head)
    colors = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert space["sdk"] == "gradio" and {space["colorFrom"], space["colorTo"]} <= colors
    assert len(space["short_description"]) <= 60 and space["license"] == "apache-2.0"
    assert (ROOT / "demo" / space["app_file"]).is_file()
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"gradio=={space['sdk_version']}" in pins
