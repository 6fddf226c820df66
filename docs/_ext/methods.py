"""Tells the templates of autosummary what a class is, and which of its methods are of layerwise or of scikit-learn."""

from __future__ import annotations

import inspect
from enum import EnumMeta
from pydoc import locate
from typing import Any

from sphinx.application import Sphinx


def methods_from(package: str, fullname: str) -> list[str]:
    """Return the public methods of a class that are written in a package, in the order of their names."""
    cls: Any = locate(fullname)
    return [
        name
        for name, kind, _, _ in inspect.classify_class_attrs(cls)
        if kind.endswith("method") and not name.startswith("_") and home_of(getattr(cls, name)) == package
    ]


def home_of(method: Any) -> str:
    """Return the package that a method was written in, whatever class it is wrapped for."""
    return (getattr(method, "__module__", None) or "").partition(".")[0]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.config.autosummary_context = {
        "own_methods": lambda fullname: methods_from("layerwise", fullname),
        "is_enum": lambda fullname: isinstance(locate(fullname), EnumMeta),
        "sklearn_methods": lambda fullname: methods_from("sklearn", fullname),
    }
    return {"parallel_read_safe": True}
