"""Leads links to files outside docs/ to their pages in the guide, so that a link serves readers of either."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "results.md",
}
LINK = re.compile(r"\]\((?P<path>\.\./[^)#\s]+)")


def lead(app: Sphinx, docname: str, content: list[str]) -> None:
    """Rewrite the links of a page as it is read."""
    folder = Path(app.srcdir, docname).parent

    def replace(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link["path"]))
        name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
        page = f"gallery/{target.stem}.rst" if target.parent == ROOT / "examples" else PAGES.get(name)
        return link[0] if page is None else "](" + os.path.relpath(Path(app.srcdir, page), folder)

    content[0] = LINK.sub(replace, content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", lead)
    return {"parallel_read_safe": True}
