"""The guide's sources: every public name is documented, by one docstring that says everything; no link is dead."""

import importlib
import inspect
import re
from enum import Enum
from pathlib import Path
from typing import Protocol

import pytest
from numpydoc.docscrape import NumpyDocString

import layerwise

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# What is public: the classes and functions in `__all__` of these.
MODULES = (
    "layerwise",
    "layerwise.callbacks",
    "layerwise.comparison",
    "layerwise.corruptions",
    "layerwise.data",
    "layerwise.displays",
    "layerwise.distributed",
    "layerwise.export",
    "layerwise.modules",
    "layerwise.penalties",
    "layerwise.plotting",
    "layerwise.progress",
    "layerwise.report",
    "layerwise.solvers",
    "layerwise.trackers",
)


def public():
    """Return what is public by its name, under the shortest if it has several."""
    found = {}
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            thing = getattr(module, name)
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing not in found.values():
                found[f"{module.__name__}.{name}"] = thing
    return found


PUBLIC = public()
METHODS = {
    f"{name}.{method.__name__}": method
    for name, thing in PUBLIC.items()
    if inspect.isclass(thing)
    for _, method in inspect.getmembers(thing, inspect.isroutine)
    if not method.__name__.startswith(("_", "<lambda>")) and getattr(method, "__module__", "").startswith("layerwise.")
}


def test_reference_lists_what_is_public():
    listed, module = [], None
    for line in (DOCS / "api.md").read_text().splitlines():
        if current := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            module = current[1]
        elif entry := re.fullmatch(r"   (\w+)", line):
            listed.append(f"{module}.{entry[1]}")
    assert sorted(listed) == sorted(PUBLIC)


def parameters(thing):
    """Return the names of what a call takes, as a docstring writes them."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    taken = inspect.signature(thing).parameters.values()
    return [stars.get(one.kind, "") + one.name for one in taken if one.name not in ("self", "cls")]


def is_protocol(thing):
    return Protocol in thing.__bases__


def described(entries):
    """Return the names in a section of a docstring; one entry can be of several."""
    return [name for entry in entries for name in entry.name.split(", ")]


@pytest.mark.parametrize("name", [*PUBLIC, *METHODS])
def test_docstring_names_every_parameter(name):
    thing = (PUBLIC | METHODS)[name]
    assert thing.__doc__, "has no docstring"
    docstring = NumpyDocString(inspect.cleandoc(thing.__doc__))
    assert " ".join(docstring["Summary"]).endswith("."), docstring["Summary"]
    if inspect.isclass(thing) and (issubclass(thing, (Exception, Enum)) or is_protocol(thing)):
        return  # nobody calls it
    said, taken = described(docstring["Parameters"]), parameters(thing)
    if inspect.isclass(thing) and not said:  # a dataclass or a named tuple, whose attributes are what it takes
        said = described(docstring["Attributes"])[: len(taken)]
    if name in METHODS and not said:
        assert len(taken) <= 2, "more than a summary can tell"
    else:
        assert said == taken


@pytest.mark.parametrize("name", [f"layerwise.{name}" for name in layerwise.__all__])
def test_docstring_has_an_example(name):
    assert ">>> " in "\n".join(NumpyDocString(inspect.cleandoc(PUBLIC[name].__doc__))["Examples"])


PAGES = [
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *DOCS.rglob("*.md"))
    if page.relative_to(ROOT).parts[:2] not in {("docs", "_build"), ("docs", "gallery"), ("docs", "generated")}
]
CODE = re.compile(r"^(`{3,}).*?^\1`*$|`[^`\n]+`", re.DOTALL | re.MULTILINE)


def anchors(page):
    """Return the anchors of a page of Markdown: its headings as both GitHub and the guide spell them."""
    headings = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def source(target):
    """Return the file that a link leads to: for what building the guide makes in gallery/, the program."""
    made = re.fullmatch(r"(?:sphx_glr_)?(\w+?)(?:_\d{3}\.png|\.rst)", target.name)
    return ROOT / "examples" / f"{made[1]}.py" if made and DOCS / "gallery" in target.parents else target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert source(target).is_file(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"
