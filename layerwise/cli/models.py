"""Commands that use a trained model: encode, decode, reconstruct, predict, score, evaluate."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score, roc_auc_score

from layerwise.checkpoint import atomic
from layerwise.cli.common import Flag, Reply, Shown
from layerwise.cli.opening import Opened, list_columns, open_model
from layerwise.data.inputs import read_input
from layerwise.data.outputs import check_output, write_columns, write_csv
from layerwise.estimators import AutoencoderOutlierDetector, StackedClassifier, StackedRegressor
from layerwise.inspection import stack_of


def encode(
    model: Path,
    data: Path,
    *,
    out: Path | None = None,
    array: str | None = None,
    device: str = "auto",
    overwrite: Flag = False,
    display: Shown,
) -> Reply:
    """Write the codes of rows: the features that the model has learned.

    Example: layerwise encode runs/digits t10k-images.gz --out codes.npy

    Parameters
    ----------
    model
        Folder of a trained model.
    data
        Rows, in any form that fit takes.
    out
        File to write: .csv, .parquet, .feather, .json, .jsonl, .npy, .npz or .safetensors; without it CSV goes to
        standard output.
    array
        Which array of a .npz, .mat or .safetensors file holds the rows.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """

    def columns() -> tuple[dict[str, Any], Opened]:
        opened = open_model(model, data, array=array, device=device)
        return {"code": opened.estimator.transform(opened.X)}, opened

    return _write(columns, out, overwrite, display)


def decode(
    model: Path,
    codes: Path,
    *,
    out: Path | None = None,
    device: str = "auto",
    overwrite: Flag = False,
    display: Shown,
) -> Reply:
    """Write what codes stand for: the rows that they are decoded to.

    Example: layerwise decode runs/strokes codes.npy --out images.npy

    Parameters
    ----------
    model
        Folder of a trained model.
    codes
        One row of codes for each row, as encode writes them.
    out
        File to write, as for encode; without it CSV goes to standard output.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """

    def columns() -> tuple[dict[str, Any], Opened]:
        opened = open_model(model, None, device=device)
        if isinstance(opened.estimator, (StackedClassifier, StackedRegressor)):
            raise ValueError(f"{model} has codes that labels have changed, which cannot be decoded; see reconstruct")
        others = [name for name in list_columns(codes) if not name.startswith("code_")]
        source = read_input(codes, id=others)
        rows = _as_rows(opened, stack_of(opened.estimator).inverse_transform(source.X))
        return rows, replace(opened, source=source)

    return _write(columns, out, overwrite, display)


def reconstruct(
    model: Path,
    data: Path,
    *,
    out: Path | None = None,
    array: str | None = None,
    device: str = "auto",
    overwrite: Flag = False,
    display: Shown,
) -> Reply:
    """Write rows as the model reconstructs them: without noise, with the likeliest texts.

    Example: layerwise reconstruct runs/digits t10k-images.gz --out clean.npy

    Parameters
    ----------
    model
        Folder of a trained model.
    data
        Rows, in any form that fit takes.
    out
        File to write, as for encode; without it CSV goes to standard output.
    array
        Which array of a .npz, .mat or .safetensors file holds the rows.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """

    def columns() -> tuple[dict[str, Any], Opened]:
        opened = open_model(model, data, array=array, device=device)
        stack = stack_of(opened.estimator)
        return _as_rows(opened, stack.inverse_transform(stack.transform(opened.X))), opened

    return _write(columns, out, overwrite, display)


def predict(
    model: Path,
    data: Path,
    *,
    probabilities: Flag = False,
    out: Path | None = None,
    array: str | None = None,
    device: str = "auto",
    overwrite: Flag = False,
    display: Shown,
) -> Reply:
    """Write a label for each row, a value, or whether it is an outlier, by what the model was trained for.

    Example: layerwise predict runs/species table.csv --probabilities --out predictions.csv

    Parameters
    ----------
    model
        Folder of a trained classifier, regressor or outlier detector.
    data
        Rows, in any form that fit takes.
    probabilities
        Of a classifier: the probability of each class too.
    out
        File to write, as for encode; without it CSV goes to standard output.
    array
        Which array of a .npz, .mat or .safetensors file holds the rows.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """

    def columns() -> tuple[dict[str, Any], Opened]:
        opened = open_model(model, data, array=array, device=device)
        estimator = opened.estimator
        if probabilities and not isinstance(estimator, StackedClassifier):
            raise ValueError(f"{model} is no classifier but a {type(estimator).__name__}, which has no probabilities")
        if isinstance(estimator, StackedRegressor):
            return {"prediction": estimator.predict(opened.X)}, opened
        if isinstance(estimator, AutoencoderOutlierDetector):
            return {"outlier": estimator.predict(opened.X) < 0}, opened
        if not isinstance(estimator, StackedClassifier):
            raise ValueError(f"{model} is a {type(estimator).__name__}, which predicts nothing; train with --labels")
        p = estimator.predict_proba(opened.X)
        shares = {f"p_{label}": p[:, place] for place, label in enumerate(estimator.classes_)} if probabilities else {}
        return {"label": estimator.classes_[p.argmax(axis=1)], **shares}, opened

    return _write(columns, out, overwrite, display)


def score(
    model: Path,
    data: Path,
    *,
    per_feature: Flag = False,
    out: Path | None = None,
    array: str | None = None,
    device: str = "auto",
    overwrite: Flag = False,
    display: Shown,
) -> Reply:
    """Write how badly each row is reconstructed: the higher the error, the more unusual the row.

    Example: layerwise score runs/machines machines.csv --per-feature --out scores.csv

    Parameters
    ----------
    model
        Folder of a trained model; an outlier detector says which rows are outliers, too.
    data
        Rows, in any form that fit takes.
    per_feature
        What each feature adds to the error, too: why a row is unusual.
    out
        File to write, as for encode; without it CSV goes to standard output.
    array
        Which array of a .npz, .mat or .safetensors file holds the rows.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """

    def columns() -> tuple[dict[str, Any], Opened]:
        opened = open_model(model, data, array=array, device=device)
        detector, columns = opened.estimator, {}
        if isinstance(detector, AutoencoderOutlierDetector):
            columns["outlier"] = detector.predict(opened.X) < 0
        else:
            detector = AutoencoderOutlierDetector(FrozenEstimator(stack_of(detector))).fit(opened.X)
        errors = detector.reconstruction_error(opened.X, per_feature=True)
        names = opened.feature_names or [f"x_{place}" for place in range(errors.shape[1])]
        shares = {f"error: {name}": errors[:, place] for place, name in enumerate(names)} if per_feature else {}
        return {"error": errors.sum(axis=1), **columns, **shares}, opened

    return _write(columns, out, overwrite, display)


def evaluate(
    model: Path, data: Path, *, labels: str | None = None, array: str | None = None, device: str = "auto"
) -> Reply:
    """Measure a model on rows: accuracy, R2 or AUC with labels, the reconstruction error without.

    Example: layerwise evaluate runs/digits t10k-images.gz --labels t10k-labels.gz

    Parameters
    ----------
    model
        Folder of a trained model.
    data
        Rows, in any form that fit takes.
    labels
        The column or array of the data, or the file, that holds the true labels or targets; of a table the column of
        the training if not given.
    array
        Which array of a .npz, .mat or .safetensors file holds the rows.
    device
        auto, cpu, cuda or cuda:N.
    """
    opened = open_model(model, data, labels=labels, array=array, device=device)
    facts = {"n_rows": len(opened.X), **_measure(opened)}
    shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in facts.items()}
    return Reply(facts, "\n".join(f"{name}: {value}" for name, value in shown.items()))


def _measure(opened: Opened) -> dict[str, Any]:
    """Return the figures of a model on rows, by what it is."""
    estimator, X, y = opened.estimator, opened.X, opened.y
    predictor = isinstance(estimator, (StackedClassifier, StackedRegressor))
    if predictor and y is None:
        raise ValueError(f"{opened.folder} is a {type(estimator).__name__}; give the true labels with --labels")
    if isinstance(estimator, StackedClassifier):
        known = estimator.classes_.astype(y.dtype) if y.dtype.kind in "biuf" else estimator.classes_.astype(str)
        y = y if y.dtype.kind in "biuf" else y.astype(str)
        accuracy = float(accuracy_score(y, known[np.argmax(estimator.predict_proba(X), axis=1)]))
        most = np.unique(y, return_counts=True)[1].max() / len(y)
        return {"accuracy": accuracy, "n_wrong": round((1 - accuracy) * len(y)), "accuracy_of_commonest": float(most)}
    if isinstance(estimator, StackedRegressor):
        predicted = estimator.predict(X)
        return {"r2": r2_score(y, predicted), "mean_absolute_error": mean_absolute_error(y, predicted)}
    if isinstance(estimator, AutoencoderOutlierDetector):
        errors = estimator.reconstruction_error(X)
        figures = {"mean_error": float(errors.mean()), "n_outliers": int((estimator.predict(X) < 0).sum())}
        if y is None:
            return figures
        values, counts = np.unique(y.astype(str), return_counts=True)
        if len(values) != 2:
            raise ValueError(f"labels have {len(values)} different values, but two are needed: outlier and normal")
        rare = values[counts.argmin()]
        return figures | {"outlier_label": str(rare), "auc": float(roc_auc_score(y.astype(str) == rare, errors))}
    reconstruction = estimator.inverse_transform(estimator.transform(X))
    clean = X / 255 if X.dtype == np.uint8 else X
    return {
        "reconstruction_error": -estimator.score(X),
        "r2": float(1 - np.square(reconstruction - clean).sum() / np.square(clean - clean.mean(axis=0)).sum()),
    }


def _as_rows(opened: Opened, X: np.ndarray) -> dict[str, Any]:
    """Return reconstructed rows as columns like those of the training."""
    if opened.encoder is None:
        return {"x": X}
    frame = opened.encoder.inverse_transform(X)
    return {name: frame[name].to_numpy() for name in frame.columns}


def _write(columns: Any, out: Path | None, overwrite: bool, display: Any) -> Reply:
    """Write columns, made once it is sure that there is a place for them, to a file or to standard output."""
    if out is None:
        made, opened = columns()
        if display.as_json:
            return Reply({"rows": _records(made, opened.ids)}, "")
        write_csv(sys.stdout, made, ids=opened.ids)
        return Reply({}, "")
    check_output(out)
    with atomic(out, overwrite=overwrite) as staging:
        made, opened = columns()
        write_columns(staging, made, ids=opened.ids)
    n_rows = len(next(iter(made.values())))
    return Reply({"out": str(out), "n_rows": n_rows, "columns": list(made)}, f"{n_rows:,} rows are in {out}")


def _records(columns: Mapping[str, Any], ids: Mapping[str, Any]) -> list[dict[str, Any]]:
    named = {name: np.asarray(values).tolist() for name, values in {**ids, **columns}.items()}
    return [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
