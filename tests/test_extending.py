"""What the guide says of extending layerwise, done to a copy of it: the class, its rows, a program and a command."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Where the class of a page goes, and above which line; a file of its own without.
HOMES = {
    "penalty": ("layerwise/penalties.py", "SPARSITIES: "),
    "corruption": ("layerwise/corruptions.py", "CORRUPTIONS: "),
    "solver": ("layerwise/solvers/barzilai_borwein.py", None),
}
# Its docstring's example, and tests that a row of the diff adds; how many they are.
TESTS = {
    "penalty": ("HoyerSparsity or gradient_is_numeric and hoyer", 9),
    "corruption": ("BlockMasking or numeric_with_other_noise and corruption2", 2),
    "solver": ("BarzilaiBorwein or barzilai_borwein and (hostile or classifier or ends_where)", 40),
}


def blocks(page, kind):
    text = (ROOT / "docs" / "extending" / f"{page}.md").read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def change(text, old, new):
    assert text.count(old) == 1, f"the guide changes what is not there once: {old}"
    return text.replace(old, new)


def apply(diff, root):
    """Make the changes of a diff without numbers of lines: files begin with ---, hunks with @@."""
    for part in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        header, *hunks = re.split(r"^@@\n", part, flags=re.MULTILINE)
        path = root / header.splitlines()[0]
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            path.write_text(change(path.read_text(), old, new))


def call(root, *words):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", HOMES)
def test_page(page, tmp_path):
    shutil.copytree(ROOT / "layerwise", tmp_path / "layerwise", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    changed = re.findall(r"^--- (tests/.*)$", "".join(blocks(page, "diff")), re.MULTILINE)
    for name in ["tests/conftest.py", "tests/problems.py", *changed, "pyproject.toml"]:
        shutil.copy(ROOT / name, tmp_path / name)
    path, above = tmp_path / HOMES[page][0], HOMES[page][1]
    first, *_, last = blocks(page, "python")
    if above is None:
        path.write_text(first)
    else:
        text, own = path.read_text(), first[first.index("class ") :]
        path.write_text(change(text, f"\n{above}", f"\n{own}\n\n{above}"))
    for diff in blocks(page, "diff"):
        apply(diff, tmp_path)

    call(tmp_path, "-c", last)
    for command in blocks(page, "console"):
        call(tmp_path, "-m", *command.removeprefix("$ ").replace("\\\n", " ").split())
    names, count = TESTS[page]
    assert f"{count} passed" in call(tmp_path, "-m", "pytest", "-q", "-k", names, str(path), *changed)
    call(tmp_path, "-m", "ruff", "check", "layerwise", "tests")
    call(tmp_path, "-m", "ruff", "format", "--check", "layerwise", "tests")


def test_a_page_that_is_stale_is_found(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\ny = 2\n")
    apply("--- a.py\n+++ a.py\n@@\n-x = 1\n+x = 3\n@@\n y = 2\n+z = 4\n", tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 3\ny = 2\nz = 4\n"
    with pytest.raises(AssertionError, match="not there once"):
        apply("--- a.py\n+++ a.py\n@@\n-x = 1\n+x = 3\n", tmp_path)
