"""What strict JSON can hold, which knows no NaN and no infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def as_strict(value: Any) -> Any:
    """Return what strict JSON can hold: None stands for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {name: as_strict(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
