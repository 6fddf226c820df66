"""The unit browser: of every unit its filter, activations and the rows that excite it most, as data for a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from layerwise.plotting.tiles import as_images, join_tiles, row_tiles
from layerwise.report.coding import intensity_range
from layerwise.report.figures import picture, shrink
from layerwise.report.filters import LayerFilters
from layerwise.report.section import Section, number
from layerwise.report.subject import Subject

_BINS = 24
_N_ROWS, _N_TABLE_ROWS = 8, 5
_N_WEIGHTS, _N_VALUES = 12, 6
# Pixels of all rows shown, grey or in colour: what keeps the page small.
_PIXELS, _COLOUR_PIXELS = 1_600_000, 500_000


def browser_section(subject: Subject, filters: Sequence[LayerFilters]) -> Section:
    """Return the section of the unit browser.

    Parameters
    ----------
    subject : Subject
    filters : sequence of LayerFilters
        Whose pictures the script cuts its tiles from.

    Returns
    -------
    section : Section
        With ``data``, which JSON can hold.
    """
    n_rows = _count_rows(subject)
    data: dict[str, Any] = {"layers": [_describe_layer(subject, layer, n_rows) for layer in filters], "rows": None}
    content: dict[str, Any] = {"data": data, "sprite": None}
    if subject.image_shape is not None:
        content["sprite"], data["rows"] = _draw_rows(subject, data["layers"])
    return Section("browser", "Unit browser", content, pretrained=True)


def _count_rows(subject: Subject) -> int:
    """Return how many rows can be shown."""
    if subject.image_shape is None:
        return len(subject.rows)
    tile = shrink(np.zeros((1, *subject.image_shape)))[0]
    budget = _PIXELS if tile.ndim == 2 else _COLOUR_PIXELS
    return max(1, min(len(subject.rows), budget // (tile.shape[0] * tile.shape[1])))


def _describe_layer(subject: Subject, layer: LayerFilters, n_rows: int) -> dict[str, Any]:
    h = subject.codes[layer.index].double().numpy(force=True)
    low, high = float(h.min()), float(h.max())
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    dead, saturated = set(subject.dead_units(layer.index)), set(subject.saturated_units(layer.index))
    units = []
    for unit, activations in enumerate(h.T[: len(layer.weights)]):
        strongest = np.argsort(-activations[:n_rows], kind="stable")
        strongest = strongest[: _N_ROWS if layer.tile else _N_TABLE_ROWS]
        units.append(
            {
                "mean": number(float(activations.mean())),
                "state": "dead" if unit in dead else "saturated" if unit in saturated else "",
                "counts": np.histogram(activations, edges)[0].tolist(),
                "rows": [[int(row), number(float(activations[row]))] for row in strongest],
                **({} if layer.tile else _describe_weights(subject, layer.weights[unit], strongest)),
            }
        )
    return {
        "name": f"layer {layer.index}",
        "n_units": layer.n_units,
        "low": number(round(low, 4)),
        "high": number(round(high, 4)),
        "sprite": layer.image_name if layer.tile else None,
        "tile": layer.tile,
        "columns": layer.columns,
        "units": units,
    }


def _describe_weights(subject: Subject, weights: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Return a unit's largest weights, and the values that rows have there."""
    largest = np.argsort(-np.abs(weights), kind="stable")[:_N_WEIGHTS]
    shown = largest[:_N_VALUES]
    values = subject.values(subject.x[rows.tolist()])[:, shown]
    gaps = subject.missing[rows][:, shown]
    return {
        "weights": [[subject.features[k], round(float(weights[k]), 4)] for k in largest],
        "values": [
            [number(None if gap else float(value)) for value, gap in zip(line, missing, strict=True)]
            for line, missing in zip(values, gaps, strict=True)
        ],
        "names": [_name_row(subject, row) for row in rows.tolist()],
    }


def _name_row(subject: Subject, row: int) -> str:
    label = subject.label_of(row)
    return subject.names[row] if label is None else f"{subject.names[row]} ({label})"


def _draw_rows(subject: Subject, layers: list[dict[str, Any]]) -> tuple[Any, dict[str, Any]]:
    """Draw all rows that some unit shows, once; make the units point at places in the picture."""
    used = sorted({row for layer in layers for unit in layer["units"] for row, _ in unit["rows"]})
    places = {row: place for place, row in enumerate(used)}
    for layer in layers:
        for unit in layer["units"]:
            unit["rows"] = [[places[row], activation] for row, activation in unit["rows"]]
    images = as_images(subject.values(subject.x[used]), subject.image_shape)
    tiles = shrink(row_tiles(images, *intensity_range(subject)))
    columns = math.ceil(math.sqrt(len(tiles)))
    sprite = picture(
        join_tiles(tiles, columns, empty=np.nan), f"{len(tiles)} rows that excite some unit most.", name="browser-rows"
    )
    return sprite, {
        "sprite": "browser-rows",
        "tile": [tiles.shape[2], tiles.shape[1]],
        "columns": columns,
        "names": [_name_row(subject, row) for row in used],
    }
