"""Writes the reference of the command line from the commands themselves, as they would answer to ``--help``."""

from __future__ import annotations

import re
from pathlib import Path

from cyclopts.docs.markdown import generate_markdown_docs
from sphinx.application import Sphinx

from layerwise.cli import app as command_line

# What every command repeats.
REPEATED = re.compile(r"\*\*With every command\*\*:\n\n(?:\* .*\n)+")


def describe() -> str:
    """Return the help of all commands as Markdown, with headings from the second level down."""
    for name in command_line:
        if command_line[name].default_command is not None:
            command_line[name].help = None  # its docstring says more than its line in the list of commands
    text = generate_markdown_docs(
        command_line,
        heading_level=2,
        generate_toc=False,
        no_root_title=True,
        skip_preamble=True,
        exclude_commands=["--install-completion"],
    )
    first = REPEATED.search(text).end()
    text = text[:first] + REPEATED.sub("", text[first:])
    return re.sub(r"^Example: (.*)$", r"```console\n$ \1\n```", text, flags=re.MULTILINE)


def write(app: Sphinx) -> None:
    """Write what ``cli.md`` includes."""
    page = Path(app.srcdir, "generated", "commands.md")
    page.parent.mkdir(exist_ok=True)
    page.write_text(describe(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
