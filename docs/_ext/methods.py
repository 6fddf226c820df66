"""Tells the templates of autosummary which methods of a class are of layerwise, and which come from scikit-learn."""

from __future__ import annotations

import inspect
from pydoc import locate

from sphinx.application import Sphinx


def methods_from(package: str, fullname: str) -> list[str]:
    """Return the public methods of a class that are written in a package, in the order of their names."""
    return [
        name
        for name, kind, home, _ in inspect.classify_class_attrs(locate(fullname))
        if kind.endswith("method") and not name.startswith("_") and home.__module__.partition(".")[0] == package
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.config.autosummary_context = {
        "own_methods": lambda fullname: methods_from("layerwise", fullname),
        "sklearn_methods": lambda fullname: methods_from("sklearn", fullname),
    }
    return {"parallel_read_safe": True}
