"""Figures of a page: charts as inline SVG that follows its colours, pictures as PNG, each with its words."""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

# Widest side of a tile, in pixels.
_LONGEST = 48
# Colours that matplotlib draws with, and what they are called in report.css.
_COLOURS = {
    "#000000": "currentColor",
    "#ffffff": "var(--card)",
    "#b0b0b0": "var(--line)",
    "#cccccc": "var(--line)",
    "#999999": "var(--grey)",
} | {to_hex(colour): f"var(--c{number})" for number, colour in enumerate(mpl.colormaps["tab10"].colors)}  # type: ignore[attr-defined]
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.6,
    "legend.fontsize": 9.0,
    "legend.framealpha": 0.8,
    "axes.unicode_minus": False,
}
_NO_METADATA: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}


def chart(draw: Callable[..., object], alt: str, *, width: int = 360, height: int = 230) -> Markup:
    """Draw a chart as inline SVG, whose text is text and whose colours are those of the page.

    Parameters
    ----------
    draw : callable
        Draws on the matplotlib Axes that it gets as ``ax``.
    alt : str
        What is to be seen, with figures, for those who do not see it.
    width, height : int, default=360, 230
        In points; the page stretches it.

    Returns
    -------
    figure : Markup
    """
    alt = alt.encode("utf-8", "replace").decode()
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE | {"svg.hashsalt": alt}), warnings.catch_warnings():
        # Names from data may be in any script: browsers have fonts that matplotlib has not.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        draw(ax=figure.subplots())
        figure.savefig(buffer, format="svg", transparent=True, dpi=144, metadata=_NO_METADATA)
    root = _without_namespaces(ElementTree.fromstring(buffer.getvalue()))
    root.attrib |= {"class": "chart", "role": "img", "aria-label": alt, "style": f"max-width: {1.45 * width:.0f}px"}
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def picture(canvas: np.ndarray, alt: str, *, zoom: float = 1.0, name: str | None = None) -> Markup:
    """Return a canvas as an image element.

    Parameters
    ----------
    canvas : ndarray of shape (height, width[, 3])
        Values in [0, 1]; NaN is transparent.
    alt : str
        What is to be seen, with figures, for those who do not see it.
    zoom : float, default=1.0
        Pixels of the page for one of the canvas, where there is room.
    name : str or None, default=None
        The element's id.

    Returns
    -------
    figure : Markup
    """
    # One value is kept free for transparency.
    values = np.where(np.isnan(canvas), 0, np.round(1 + 254 * np.nan_to_num(canvas))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", optimize=True, transparency=0 if values.ndim == 2 else (0, 0, 0))
    return Markup('<img class="pixels" {}alt="{}" width="{}" height="{}" style="width: {}px" src="{}">').format(
        Markup('id="{}" ').format(name) if name else "",
        alt,
        canvas.shape[1],
        canvas.shape[0],
        round(zoom * canvas.shape[1]),
        "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
    )


def shrink(tiles: np.ndarray) -> np.ndarray:
    """Return tiles of shape (n, height, width[, 3]) made smaller by averaging, so that none is wider than 48 pixels."""
    step = math.ceil(max(tiles.shape[1:3]) / _LONGEST)
    height, width = (max(1, size // step) for size in tiles.shape[1:3])
    rows, columns = min(step, tiles.shape[1]), min(step, tiles.shape[2])
    tiles = tiles[:, : height * rows, : width * columns]
    return tiles.reshape(len(tiles), height, rows, width, columns, *tiles.shape[3:]).mean(axis=(2, 4))


def zoom_for(tiles: np.ndarray, size: float = 56.0) -> float:
    """Return the zoom at which a tile is about this many pixels wide."""
    return max(1.0, size / tiles.shape[2])


def _without_namespaces(root: ElementTree.Element) -> ElementTree.Element:
    """Make an SVG document part of an HTML page: no namespaces, no ids that nothing refers to, colours of the page."""
    used: set[tuple[str, str]] = set()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        for name, value in element.attrib.items():
            if name == "d":
                element.attrib[name] = value.replace("\n", "")
                continue
            if name in ("style", "fill", "stroke"):
                value = re.sub(r"font-family: [^;]*;?", "", value)
                value = re.sub(r"#[0-9a-f]{6}\b", lambda match: _COLOURS.get(match[0], match[0]), value)
                element.attrib[name] = value
            used.update(re.findall(r"^#(\w+)$|url\(#(\w+)\)", value))
    kept = {reference for pair in used for reference in pair}
    for element in root.iter():
        if element.get("id") not in kept:
            element.attrib.pop("id", None)
        for child in [child for child in element if child.tag == "style"]:
            element.remove(child)  # it would hold for the whole page
    return root
