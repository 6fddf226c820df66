"""What the layers make of rows: reconstructions, activations, explained variance, a map of the codes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import PercentFormatter

from layerwise.displays.computing import corrupt, map_codes
from layerwise.estimators import AutoencoderOutlierDetector
from layerwise.estimators._summary import explained_variance_ratio, pca_explained_variance_ratio
from layerwise.plotting import plot_activations, plot_codes, plot_explained_variance, plot_feature_errors
from layerwise.plotting.tiles import as_images, join_tiles, row_tiles
from layerwise.report.figures import chart, picture, shrink, zoom_for
from layerwise.report.section import Section, number, percent
from layerwise.report.subject import Subject

_N_EXAMPLES = 10
_N_WORST, _N_COLUMNS = 5, 3
# t-SNE takes a second for so many rows.
_MAP_ROWS = 1000


def measure_variance(subject: Subject) -> list[tuple[str, float, float | None]]:
    """Return, for each layer and then the whole stack, the share of the variance kept, and what PCA would keep.

    Parameters
    ----------
    subject : Subject

    Returns
    -------
    ratios : list of (name, ratio, pca_ratio)
        Of the sample; without PCA where values are missing, and only of the whole where layers were fine-tuned.
    """
    if subject.missing.any():
        return [("whole stack" if len(subject.layers) > 1 else "layer 0", _observed_ratio(subject), None)]
    whole = (
        "whole stack",
        explained_variance_ratio(subject.x, subject.reconstruction),
        pca_explained_variance_ratio(subject.x, subject.codes[-1].shape[1]),
    )
    if getattr(subject.autoencoder, "finetune", None) is not None:
        return [whole]  # by themselves, layers that were trained together reconstruct nothing
    ratios = [_layer_ratios(subject, index) for index in range(len(subject.layers))]
    return [*ratios, whole] if len(ratios) > 1 else ratios


@torch.no_grad()
def _layer_ratios(subject: Subject, index: int) -> tuple[str, float, float | None]:
    x, h = [subject.x, *subject.codes][index : index + 2]
    kept = explained_variance_ratio(x, subject.layers[index].layer_.decode(h))
    return f"layer {index}", kept, pca_explained_variance_ratio(x, h.shape[1])


def _observed_ratio(subject: Subject) -> float:
    """Return the share of the variance of the observed entries that is kept."""
    x = np.where(subject.missing, np.nan, subject.x.double().numpy(force=True))
    counts = np.maximum((~subject.missing).sum(axis=0), 1)
    total = np.nansum((x - np.nansum(x, axis=0) / counts) ** 2)
    return float(1 - np.nansum(subject.squared_errors()) / total) if total > 0 else float("nan")


def variance_section(ratios: list[tuple[str, float, float | None]]) -> Section:
    """Return the section that compares the variance kept with PCA."""
    names, kept, pca = (list(column) for column in zip(*ratios, strict=True))
    known = [value for value in pca if value is not None]
    words = "; ".join(
        f"{name} {percent(ours)}" + (f", PCA {percent(theirs)}" if theirs is not None else "")
        for name, ours, theirs in ratios
    )
    draw = partial(plot_explained_variance, names, kept, known or None)
    return Section(
        "variance",
        "Explained variance",
        {"figure": chart(draw, f"Share of the variance that is kept: {words}."), "with_pca": bool(known)},
        pretrained=True,
    )


def reconstructions_section(subject: Subject) -> Section:
    """Return the section that shows rows beside their reconstructions; of a table, the error of each feature."""
    noise = subject.layers[0].corruption
    content: dict[str, Any] = {
        "images": subject.image_shape is not None,
        "noise": noise and " ".join(repr(noise).split()),
    }
    if subject.image_shape is None:
        content |= {"figure": _draw_feature_errors(subject), "worst": _list_worst(subject)}
    else:
        content |= _draw_examples(subject)
    return Section("reconstructions", "Reconstructions", content, pretrained=True)


def _draw_examples(subject: Subject) -> dict[str, Any]:
    assert subject.image_shape is not None
    x = subject.x[:_N_EXAMPLES]
    noisy = corrupt(subject.layers[0], x, subject.random)
    lines = {"inputs": x, "reconstructions": subject.reconstruction[:_N_EXAMPLES]}
    if noisy is not None:
        with torch.no_grad():
            lines = {"inputs": x, "corrupted inputs": noisy, "reconstructions": subject.coder.network(noisy)}
    values = {name: subject.values(line) for name, line in lines.items()}
    low, high = intensity_range(subject)
    tiles = shrink(
        row_tiles(np.concatenate([as_images(line, subject.image_shape) for line in values.values()]), low, high)
    )
    error = np.mean((values["reconstructions"] - values["inputs"]) ** 2) ** 0.5 / (high - low)
    alt = f"{len(x)} rows as images: {', '.join(lines)}, one line each; they differ by {percent(error)} of the range."
    canvas = join_tiles(tiles, len(x), empty=np.nan)
    return {
        "figure": picture(canvas, alt, zoom=zoom_for(tiles, 72)),
        "lines": list(lines),
        "names": subject.names[: len(x)],
    }


def intensity_range(subject: Subject) -> tuple[float, float]:
    """Return what is black and what is white: from 0 to 1, or as far as the sample goes."""
    values = subject.values(subject.x)
    low, high = float(values.min()), float(values.max())
    return (0.0, 1.0) if low >= 0 and 0.5 < high <= 1 else (low, high if high > low else low + 1)


def _draw_feature_errors(subject: Subject) -> Any:
    x = np.where(subject.missing, np.nan, subject.x.double().numpy(force=True))
    observed = np.maximum((~subject.missing).sum(axis=0), 1)
    variances = np.nansum((x - np.nansum(x, axis=0) / observed) ** 2, axis=0) / observed
    shares = subject.squared_errors() / np.where(variances > 0, variances, np.nan)
    means = np.nansum(shares, axis=0) / observed
    worst = ", ".join(f"{subject.features[k]} {percent(means[k])}" for k in np.argsort(-means)[:3])
    alt = f"Share of each feature's variance that its reconstruction misses; most of all {worst}."
    draw = partial(_draw_shares, means, subject.features)
    return chart(draw, alt, height=50 + 15 * min(12, subject.width))


def _list_worst(subject: Subject) -> list[dict[str, Any]]:
    """Return the rows that are reconstructed worst: their names, and the columns that differ most."""
    if isinstance(subject.model, AutoencoderOutlierDetector):
        return []  # its unusual rows are these
    errors = np.nan_to_num(subject.squared_errors())
    by_column = np.stack([errors[:, column.features].sum(axis=1) for column in subject.columns], axis=1)
    worst = np.argsort(-by_column.sum(axis=1), kind="stable")[:_N_WORST]
    values, found = subject.values(subject.x[worst.tolist()]), subject.values(subject.reconstruction[worst.tolist()])
    return [
        {
            "name": subject.names[row],
            "label": subject.label_of(row),
            "columns": [
                (column.name, column.tell(values[place]), column.tell(found[place]))
                for column in (subject.columns[k] for k in np.argsort(-by_column[row], kind="stable")[:_N_COLUMNS])
            ],
        }
        for place, row in enumerate(worst)
    ]


def _draw_shares(shares: np.ndarray, features: list[str], ax: Any) -> None:
    plot_feature_errors(shares, features, ax=ax)
    ax.set_xlabel("share of the variance that is missed")
    ax.xaxis.set_major_formatter(PercentFormatter(1))  # with as many decimals as tell the ticks apart


def activations_section(subject: Subject) -> Section:
    """Return the section that shows how active the units of each layer are."""
    return Section(
        "activations",
        "How active the units are",
        {"layers": [_draw_activations(subject, index) for index in range(len(subject.layers))]},
        pretrained=True,
    )


def _draw_activations(subject: Subject, index: int) -> dict[str, Any]:
    means = subject.mean_activations(index)
    dead, saturated = subject.dead_units(index), subject.saturated_units(index)
    target = getattr(subject.layers[index].sparsity, "target", None)
    alt = (
        f"Mean activations of the {len(means)} units of layer {index}: from {number(means.min())} to "
        f"{number(means.max())}, {number(means.mean())} on average"
        + ("" if target is None else f", with a target of {target:g}")
        + f"; {len(dead)} dead, {len(saturated)} saturated."
    )
    draw = partial(plot_activations, means, target=target, dead=dead, saturated=saturated)
    return {
        "title": f"layer {index}",
        "figure": chart(draw, alt),
        "mean": number(means.mean()),
        "target": target,
        "dead": dead.tolist(),
        "saturated": saturated.tolist(),
        "n_units": len(means),
    }


@torch.no_grad()
def codes_section(subject: Subject) -> Section:
    """Return the section with the map of the codes; of the fine-tuned network, where there is one."""
    network = getattr(subject.model, "network_", None)
    codes = (subject.codes[-1] if network is None else network.encode(subject.x)).numpy(force=True)
    chosen = np.sort(subject.random.permutation(len(codes))[:_MAP_ROWS])
    points = map_codes(codes[chosen], random_state=subject.random)
    labels = None
    if subject.labels is not None and subject.known.any():
        labels = subject.labels if subject.labels.ndim == 1 else subject.labels[:, 0]
        kept = labels.astype(object) if not subject.known.all() else labels
        if not subject.known.all():
            kept[~subject.known] = None
            if labels.dtype.kind == "f":
                kept = kept.astype(float)
        labels = kept[chosen]
    alt = f"Map of the codes of {len(chosen)} rows" + ("." if labels is None else ", coloured by label.")
    content = {
        "figure": chart(partial(_draw_map, points, labels), alt, width=420, height=320),
        "n_rows": len(chosen),
        "labelled": labels is not None,
        "finetuned": subject.finetuned_with is not None,
    }
    return Section("codes", "A map of the codes", content)


def _draw_map(points: np.ndarray, labels: Any, ax: Any) -> None:
    plot_codes(points, labels, ax=ax)
    for spine in ax.spines.values():
        spine.set_visible(False)
