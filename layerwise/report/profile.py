"""What is in the columns of a table: type, gaps, range or commonest values, how they are spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from layerwise.data.profiles import MISSING
from layerwise.report.columns import Column
from layerwise.report.section import Section, number, percent
from layerwise.report.subject import Subject

_MAX_COLUMNS, _MAX_VALUES = 100, 3
_BINS, _WIDTH, _HEIGHT = 16, 96, 24


def columns_section(subject: Subject, descriptions: Mapping[str, str]) -> Section | None:
    """Return the section that profiles the columns of a table, with what they are in words; None for images."""
    if subject.image_shape is not None:
        return None
    shown = subject.columns[:_MAX_COLUMNS]
    return Section(
        "columns",
        "The columns",
        {
            "n_columns": len(subject.columns),
            "n_rows": len(subject.given),
            "columns": [
                profile_column(column, subject.given[:, column.features].astype(float))
                | {"description": descriptions.get(column.name, "")}
                for column in shown
            ],
        },
    )


def profile_column(column: Column, values: np.ndarray) -> dict[str, Any]:
    """Return what is in a column.

    Parameters
    ----------
    column : Column
    values : ndarray of shape (n_rows, n_features)
        Of the features that were made of it.

    Returns
    -------
    profile : dict
        ``name``, ``type``, ``missing`` (a share; ``gaps`` in words), ``words``, and ``counts`` of a histogram or
        ``values`` with shares.
    """
    profile = _profile_text(column, values) if column.texts else _profile_numbers(values[:, 0])
    return {"name": column.name, "gaps": percent(profile["missing"])} | profile


def _profile_text(column: Column, values: np.ndarray) -> dict[str, Any]:
    assert column.texts is not None
    texts = list(column.texts)
    shares = (values > 0.5).mean(axis=0).tolist()
    missing = float(np.isnan(values).all(axis=1).mean())
    if MISSING in texts:
        missing += shares.pop(texts.index(MISSING))
        texts.remove(MISSING)
    elif len(texts) == 1:  # one of two values, which is told by 0
        texts, shares = [*texts, f"not {texts[0]}"], [*shares, float((values[:, 0] < 0.5).mean())]
    order = np.argsort([-share for share in shares], kind="stable")
    common = [(texts[k], percent(shares[k]), shares[k]) for k in order[:_MAX_VALUES]]
    words = "" if len(texts) == 2 else f"{len(texts)} value{'s' * (len(texts) != 1)}"
    return {"type": "text", "missing": missing, "words": words, "values": common}


def _profile_numbers(values: np.ndarray) -> dict[str, Any]:
    there = values[np.isfinite(values)]
    profile = {"type": "number", "missing": float(np.isnan(values).mean()), "words": "no values", "values": []}
    if not len(there):
        return profile
    low, high = float(there.min()), float(there.max())
    whole = bool((there == np.round(there)).all())
    profile["type"] = "whole number" if whole else "number"
    if low == high:
        return profile | {"words": f"always {number(low)}"}
    if whole and (low, high) == (0.0, 1.0):
        share = float(there.mean())
        common = [("yes", percent(share), share), ("no", percent(1 - share), 1 - share)]
        return profile | {"type": "yes or no", "words": "", "values": sorted(common, key=lambda item: -item[2])}
    shares = (there / 2 - low / 2) / (high / 2 - low / 2)  # halves, as the range may be larger than any number
    counts = np.histogram(shares, _BINS, (0.0, 1.0))[0].tolist()
    return profile | {
        "words": f"{number(low)} to {number(high)}, mean {number(float(there.mean()))}",
        "counts": counts,
        "path": _draw_bars(counts),
        "alt": f"{len(there)} values in {_BINS} bins from {number(low)} to {number(high)}: {number(counts)}.",
    }


def _draw_bars(counts: list[int]) -> str:
    """Return the bars of a histogram as the path of an SVG."""
    step, highest = _WIDTH // _BINS, max(counts)
    tall = [round(_HEIGHT * count / highest, 1) for count in counts]
    return "".join(f"M{k * step} {_HEIGHT}v{-h:g}h{step - 1}v{h:g}z" for k, h in enumerate(tall) if h)
