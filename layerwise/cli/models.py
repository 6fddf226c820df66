"""Commands that use a trained model: encode, predict, evaluate."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

import layerwise
from layerwise.checkpoint import atomic
from layerwise.cli.common import Flag, app
from layerwise.data import load_labels, load_rows
from layerwise.estimators import StackedClassifier
from layerwise.estimators._finetuning import FineTunedEstimator


@app.command
def encode(model: Path, data: Path, *, out: Path, device: str = "auto", overwrite: Flag = False) -> None:
    """Write the codes of rows to a .npy file.

    Example: layerwise encode runs/digits t10k-images.gz --out codes.npy

    Parameters
    ----------
    model
        Folder of a trained model.
    data
        Rows: a .npy or an IDX file.
    out
        The .npy file to write, one row of codes for each row.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """
    with _array_file(out, overwrite) as staging:
        codes = layerwise.load(model, device=device).transform(load_rows(data).X)
        np.save(staging, codes, allow_pickle=False)
    print(f"{len(codes)} rows of {codes.shape[1]} codes are in {out}")


@app.command
def predict(model: Path, data: Path, *, out: Path | None = None, device: str = "auto", overwrite: Flag = False) -> None:
    """Print the predicted label of each row, or write them to a .npy file.

    Example: layerwise predict runs/digits t10k-images.gz --out labels.npy

    Parameters
    ----------
    model
        Folder of a trained classifier.
    data
        Rows: a .npy or an IDX file.
    out
        The .npy file to write; without it, one label a line goes to standard output.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """
    if out is None:
        print("\n".join(str(label) for label in _predict(model, data, device)))
        return
    with _array_file(out, overwrite) as staging:
        labels = _predict(model, data, device)
        np.save(staging, labels, allow_pickle=False)
    print(f"{len(labels)} labels are in {out}")


@app.command
def evaluate(model: Path, data: Path, *, labels: Path | None = None, device: str = "auto") -> None:
    """Print how well a model does on rows: its accuracy with labels, its reconstruction error without.

    Example: layerwise evaluate runs/digits t10k-images.gz --labels t10k-labels.gz

    Parameters
    ----------
    model
        Folder of a trained model.
    data
        Rows: a .npy or an IDX file.
    labels
        The true label of each row: a .npy or an IDX file.
    device
        auto, cpu, cuda or cuda:N.
    """
    X = load_rows(data).X
    if labels is None:
        estimator = layerwise.load(model, device=device)
        if isinstance(estimator, FineTunedEstimator):
            raise ValueError(f"{model} is a {type(estimator).__name__}; give the true labels with --labels")
        print(f"reconstruction error 1/(2m) sum |x^ - x|^2: {-estimator.score(X):.6g} on {len(X)} rows")
        return
    classifier, y = _load_classifier(model, device), load_labels(labels)
    if len(y) != len(X):
        raise ValueError(f"{data} has {len(X)} rows, but {labels} has {len(y)} labels; each row needs one")
    wrong = int((classifier.predict(X) != y).sum())
    print(f"accuracy {1 - wrong / len(X):.2%}: {wrong} of {len(X)} rows are wrong")


def _load_classifier(model: Path, device: str) -> StackedClassifier:
    estimator = layerwise.load(model, device=device)
    if not isinstance(estimator, StackedClassifier):
        raise ValueError(f"{model} is no classifier but a {type(estimator).__name__}; train one with fit --labels")
    return estimator


def _predict(model: Path, data: Path, device: str) -> np.ndarray:
    return _load_classifier(model, device).predict(load_rows(data).X)


def _array_file(out: Path, overwrite: bool) -> AbstractContextManager[Path]:
    """Give a place for a .npy file, refused before the work if it cannot be had; otherwise as `atomic`."""
    if out.suffix != ".npy":
        raise ValueError(f"out={out} must end in .npy")
    return atomic(out, overwrite=overwrite)
