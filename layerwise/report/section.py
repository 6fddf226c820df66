"""A section of the page, and figures in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes
    ----------
    name : str
        Its id, and the name of its template.
    title : str
    content : dict
        What the template shows.
    pretrained : bool
        Whether it shows layers as pre-training left them, whatever labels made of them later.
    """

    name: str
    title: str
    content: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False


def number(value: Any) -> str:
    """Return a value in words: a number with four digits or thousands, and None as none.

    Parameters
    ----------
    value : object

    Returns
    -------
    text : str

    Examples
    --------
    >>> number(60000), number(0.123456), number(None), number("adam"), number([200, 50])
    ('60,000', '0.1235', 'none', 'adam', '200, 50')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{value:,}"
    if isinstance(value, Real):
        value = float(value)
        if not math.isfinite(value):
            return "not finite"
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(number(part) for part in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {number(part)}" for name, part in value.items()) or "none"
    return str(value)


def percent(share: float | None) -> str:
    r"""Return a share in percent; or that it is not known.

    Examples
    --------
    >>> percent(None)
    'not known'
    >>> percent(0.9712).replace("\N{NO-BREAK SPACE}", " ")
    '97.1 %'
    """
    return "not known" if share is None or not math.isfinite(share) else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
