"""The templates of this package, filled in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(name: str, filters: dict[str, Callable] | None = None, **values: Any) -> str:
    """Return a template with its values; what it asks for and does not get is an error.

    Parameters
    ----------
    name : str
        File in ``templates/``.
    filters : dict of callable, default=None
        Further filters, by name.
    **values : Any

    Returns
    -------
    text : str
    """
    environment = Environment(
        loader=PackageLoader("layerwise.export"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Python and Markdown; what comes from data is escaped by filters
    )
    environment.filters.update(filters or {})
    return environment.get_template(name).render(**values)
