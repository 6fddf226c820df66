"""What a release says of itself: one version everywhere, and a citation that programs can read."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import layerwise

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_one_version(project, citation):
    heading = re.search(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released, date = heading.groups()
    assert project["version"] == citation["version"] == released
    assert str(citation["date-released"]) == date
    assert layerwise.__version__ == released, "the installed version is another: run make"


def test_citation_has_what_its_format_requires(project, citation):
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["license"] in project["license"].split(" AND ")
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)
        assert reference.get("doi", "10.").startswith("10.")
