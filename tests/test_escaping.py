"""Text from data stays text: on the terminal, in the card, in CSV; of pages see test_report.py and test_browser.py."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from layerwise.cli.common import printable, render
from layerwise.data import write_csv

EVIL = "\x1b[31m\x1b]0;title\x07[bold]red[/bold] <script>alert(1)</script> |a|\n# head \u202e$x^{2$ \x9b1m 'q\" ,;"


@pytest.fixture
def table(tmp_path):
    rows = np.random.default_rng(0).random((30, 2))
    frame = pl.DataFrame(rows, schema=[EVIL, "b"]).with_columns(
        pl.Series(f"id{EVIL}", [f"{EVIL}{k}" for k in range(30)]), pl.Series(f"y{EVIL}", [f"A{EVIL}", "B"] * 15)
    )
    frame.write_parquet(tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


def is_calm(text):
    """Whether a terminal shows a text as it is."""
    return all(char.isprintable() or char in "\n\t" for char in text)


def check_page(page):
    """Look for elements and attributes in a page that only the data can have brought in."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append((tag, dict(attrs)))

    Reader().feed(page)
    scripts = [attrs for tag, attrs in found if tag == "script"]
    assert page.count("alert(1)") > 0
    assert page.count("<script>alert(1)") == 0
    assert all("src" not in attrs for attrs in scripts)
    assert not any(name.startswith("on") for _, attrs in found for name in attrs)
    assert "default-src 'none'" in page


def test_commands_print_no_control_characters(run, table, tmp_path):
    out = tmp_path / "run"
    flags = ("--labels", f"y{EVIL}", "--id", f"id{EVIL}", "--layers", "2", "--max-iter", "2", "--out", out)
    commands = [
        ("fit", table, *flags),
        ("inspect", out),
        ("evaluate", out, table),
        ("predict", out, table, "--out", tmp_path / "p.csv"),
        ("fit", table, "--labels", f"z{EVIL}", "--out", tmp_path / "other"),
        ("predict", out, tmp_path / f"absent{EVIL}.csv"),
    ]
    printed = []
    for place, command in enumerate(commands):
        code, output, errors = run(*command)
        assert code == (0 if place < 4 else 2), errors
        assert is_calm(output + errors)
        printed.append(output + errors)
    assert "\\x1b[31m" in "".join(printed)
    assert "[bold]red[/bold]" in printed[1]
    card = (out / "MODEL_CARD.md").read_text()
    assert is_calm(card)
    assert "<script>" not in "".join(line for line in card.splitlines() if line[:4] != "    ")  # but for code
    check_page((out / "report.html").read_text())
    with (tmp_path / "p.csv").open(newline="") as file:
        found = list(csv.reader(file))
    assert [row[0] for row in found] == [f"id{EVIL}", *(f"{EVIL}{k}" for k in range(30))]
    facts = json.loads(run("inspect", out, "--json")[1])
    assert facts["classes"] == [f"A{EVIL}", "B"]


def test_facts_of_a_hostile_run_are_shown_as_they_are(run, table, tmp_path):
    out = tmp_path / "run"
    assert (
        run("fit", table, "--ignore", f"id{EVIL}", f"y{EVIL}", "--max-iter", "1", "--layers", "2", "--out", out)[0] == 0
    )
    facts = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(facts | {"note": "\x1b[2J\x1b]8;;http://x\x07", "command": "\x1b[31m"}))
    code, output, errors = run("inspect", out)
    assert code == 0
    assert is_calm(output + errors)
    assert "\\x1b[2J" in output


def test_tables_hold_text_and_no_markup():
    from rich.table import Table

    table = Table("[red]name[/red]", title="[b]title[/b]")
    table.add_row(":smile: [link=http://x]y[/link]")
    text = render(table)
    assert "[red]name[/red]" in text
    assert ":smile: [link=http://x]y[/link]" in text
    assert is_calm(text)


def test_printable_keeps_words():
    assert printable("Zürich\t日本\n") == "Zürich\t日本\n"
    assert printable("\x1b[31m\u202e\x9b") == "\\x1b[31m\\u202e\\x9b"


def test_csv_is_quoted(tmp_path):
    with (tmp_path / "x.csv").open("w", newline="") as file:
        write_csv(file, {"v": np.arange(1.0)}, ids={EVIL: np.array([EVIL], dtype=object)})
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(csv.reader(file))[1][0] == EVIL
