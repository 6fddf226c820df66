"""Keeps the initials of authors: "D. C. Liu" at the start of a line would be item D of a list."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx


def keep(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape them in a docstring."""
    lines[:] = [re.sub(r"^( *)(?=[A-Z]\. )", r"\1\\", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, before numpydoc takes docstrings apart."""
    app.connect("autodoc-process-docstring", keep, priority=400)
    return {"parallel_read_safe": True}
