"""Numbers and widths of weights that were trained elsewhere, checked."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_floats(values: Any, name: str) -> np.ndarray:
    """Return an array as float64, if it holds finite real numbers."""
    try:
        if np.iscomplexobj(values):
            raise TypeError("they are complex")
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not hold real numbers: {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array


def check_width(**widths: int) -> None:
    """Refuse a width that is no whole number above 0."""
    for name, width in widths.items():
        if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 1:
            raise ValueError(f"{name}={width!r} must be a whole number, at least 1")
