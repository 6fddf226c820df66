"""A run on disk is a folder: the model, ``metrics.jsonl`` with every iteration, and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from sklearn.base import BaseEstimator

from layerwise import persistence, plotting
from layerwise.callbacks import Step
from layerwise.estimators import Autoencoder

METRICS = "metrics.jsonl"
# Inputs and reconstructions in a picture.
_N_EXAMPLES = 12


def write_run(
    folder: Path,
    estimator: BaseEstimator | None,
    steps: Iterable[Step],
    X: Any,
    image_shape: tuple[int, ...] | None,
) -> None:
    """Write a trained estimator, its history and its pictures into a folder that is made.

    Parameters
    ----------
    folder : Path
        Does not exist yet.
    estimator : estimator of layerwise or None
        None writes the history alone.
    steps : iterable of Step
        The history, as `layerwise.callbacks.History` keeps it.
    X : array-like of shape (n_samples, n_features)
        Rows to show reconstructions of; the first few are taken.
    image_shape : tuple of int or None
        Shape of a row as an image; None leaves out the pictures that need it.
    """
    folder.mkdir()
    steps = list(steps)
    with (folder / METRICS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(step.as_dict()) + "\n" for step in steps)

    curves: dict[str, list[float]] = {}
    for step in steps:
        if step.status is None:
            curves.setdefault(step.stage, []).append(step.value)
    save_picture(plotting.plot_loss(curves), folder / "loss.png")
    if estimator is None:
        return
    persistence.write(estimator, folder)
    if image_shape is None:
        return
    stack = getattr(estimator, "autoencoder_", estimator)
    first = stack if isinstance(stack, Autoencoder) else stack.layers_[0]
    save_picture(plotting.plot_filters(first.components_, image_shape), folder / "filters.png")
    examples = X[:_N_EXAMPLES]
    reconstructions = stack.inverse_transform(stack.transform(examples))
    picture = plotting.plot_reconstructions(examples, reconstructions, image_shape)
    save_picture(picture, folder / "reconstructions.png")


def save_picture(ax: Axes, path: Path) -> None:
    """Write a picture to a file, and forget its figure.

    Parameters
    ----------
    ax : matplotlib Axes
    path : Path
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.savefig(path, dpi=120)
    plt.close(figure)
