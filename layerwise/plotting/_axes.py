"""What every picture needs: axes to draw on, and names from data, which are shown as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

_LONGEST = 28


def new_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure, of a size in inches."""
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax


def shorten(name: Any) -> str:
    """Return a name on one line, cut where it is too long for a picture."""
    text = "".join(character if character.isprintable() else "\ufffd" for character in " ".join(str(name).split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def name_features(names: Sequence[Any] | None, n_features: int) -> list[str]:
    """Return the names of features, or their numbers."""
    if names is None:
        return [f"feature {index}" for index in range(n_features)]
    if len(names) != n_features:
        raise ValueError(f"feature_names has {len(names)} entries, but there are {n_features} features; name each")
    return [str(name) for name in names]


def add_legend(ax: Axes, handles: Sequence[Any], names: Sequence[Any], **settings: Any) -> None:
    """Add a legend whose names come from data: no dollar sign or leading underscore in them has a meaning."""
    legend = ax.legend(handles, [" "] * len(handles), **settings)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(shorten(name))
