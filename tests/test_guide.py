"""The guide's pages, run as a reader would: blocks of Python and of commands, from the top of a page to its end."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^(?P<skip>% not run\n+)?```(?P<kind>python|console)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?")


def blocks(page):
    """Return (kind, code) of the blocks of a page that are to be run."""
    return [(found["kind"], found["code"]) for found in BLOCK.finditer(page.read_text()) if not found["skip"]]


# Pages for those who come from elsewhere have a test of their own.
PAGES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if not page.name.startswith("migrate") and page.relative_to(DOCS).parts[0] not in ("_build", "generated", "gallery")
]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(DOCS).with_suffix(""))
)
def test_page(page, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as for whoever types the lines in that folder
    namespace = {"__name__": "__main__"}
    for kind, code in blocks(page):
        if kind == "python":
            exec(compile(code, str(page), "exec"), namespace)
        else:
            for command, shown in commands(code):
                missing = unsaid(shown, call(command, run))
                assert not missing, f"{command} does not answer {missing}"
    plt.close("all")


def commands(code):
    """Return each command of a block of a terminal with the lines that are shown of its answer."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif line.strip() and line.strip() != "...":
            found[-1][1].extend(words(line))
    return found


def call(command, run):
    """Run a command of layerwise, or a program by Python, and return all that it says."""
    program, *arguments = shlex.split(command, comments=True)
    if program == "layerwise":
        code, out, err = run(*arguments)
    else:
        assert program == "python", f"{command}: mark what is not to be run by '% not run'"
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
        code, out, err = done.returncode, done.stdout, done.stderr
    assert code == 0, f"{command}\n{err}"
    return out + err


def unsaid(shown, answer):
    """Return the lines shown that are not in an answer; one that ends with "..." is the beginning of a line."""
    said = words(answer)
    return [line for line in shown if line not in said and not (line.endswith("...") and begins(said, line[:-3]))]


def begins(said, start):
    return any(line.startswith(start) for line in said)


def words(text):
    """Return lines without what changes from run to run: numbers, the width of a table, the star of an interval."""
    return [re.sub(r"\] \*", "]", NUMBER.sub("#", " ".join(line.split()))) for line in text.splitlines()]


def test_blocks_that_are_marked_are_not_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\n1\n```\n\n% not run\n\n```console\n$ rm -rf /\n```\n\n```console\n$ layerwise\n```\n")
    assert blocks(page) == [("python", "1\n"), ("console", "$ layerwise\n")]


def test_answers_that_are_not_given_are_found():
    shown = commands("$ layerwise evaluate x \\\n    y.csv\naccuracy: 0.97\n...\nn_wrong:  3\n$ layerwise inspect x\n")
    assert shown == [("layerwise evaluate x      y.csv", ["accuracy: #", "n_wrong: #"]), ("layerwise inspect x", [])]
    answer = "n_rows: 100\naccuracy:   0.8412\nhead: stopped\n"
    assert unsaid(["accuracy: #", "head: s..."], answer) == []
    assert unsaid(["accuracy: #", "n_wrong: #", "head: c..."], answer) == ["n_wrong: #", "head: c..."]
