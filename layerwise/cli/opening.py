"""A trained model with the rows to use it on, read and prepared like those of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

import layerwise
from layerwise import runs
from layerwise.cli.targets import read_as_trained, stands_for_none
from layerwise.cli.trained_rows import are_known, warn_of_far_rows
from layerwise.data._polars import composed
from layerwise.data.column_types import Marked, from_plain
from layerwise.data.inputs import Input, TableSource, is_tabular, open_source, read
from layerwise.data.table_encoder import TableEncoder
from layerwise.data.tables import TableFile
from layerwise.data.values import describe_missing
from layerwise.estimators import AutoencoderImputer, StackedClassifier, StackedRegressor
from layerwise.inspection import bare, step_of
from layerwise.section import WHOLE, Section

# Files that hold arrays by name.
_WITH_NAMES = (".npz", ".mat", ".safetensors")


@dataclass(frozen=True)
class Opened:
    """A model and rows for it.

    Attributes
    ----------
    folder : Path
        Of the model.
    estimator : estimator of layerwise
        Without what prepares its rows.
    encoder : TableEncoder or None
        From tables to rows.
    source : Input
        What was read; without rows where nothing was.
    X : ndarray of shape (n_samples, n_features)
        Rows as the estimator takes them.
    section : Section, default=WHOLE
        Which part of the data they are.
    """

    folder: Path
    estimator: BaseEstimator
    encoder: TableEncoder | None
    source: Input
    X: np.ndarray
    section: Section = WHOLE


def name_rows(source: Input, places: np.ndarray | None = None) -> list[str] | None:
    """Return the first of the columns that tell rows apart, as text; without such their places, None for all rows."""
    if source.ids:
        return [str(name) for name in next(iter(source.ids.values()))]
    return None if places is None else [f"row {place}" for place in places]


def tell_known(opened: Opened) -> str | None:
    """Say that the rows are those that the model was trained on, if most of them are; None where nothing tells."""
    facts = runs.read_facts(opened.folder)
    if not are_known(opened.source.X, facts.get("sample_of_rows")):
        return None
    held_out = facts.get("held_out")
    also = f" (held out: {held_out})" if isinstance(held_out, str) else ""
    return (
        f"These rows were trained on, all or most of them, so they do not tell how good the model is on others; give "
        f"rows that the model has not seen{also}"
    )


def select(data: Path, facts: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """Return which part of the data holds the rows: what is given, else what was in training, where that fits."""
    as_array = not (data.is_dir() or is_tabular(data))
    known = {"array": data.suffix in _WITH_NAMES, "layout": as_array, "transpose": as_array}
    return {name: facts[name] for name, fits in known.items() if fits and name in facts} | section.given()


def list_columns(data: Path, section: Section = WHOLE) -> list[str]:
    """Return the names of the columns of a table; none of other files."""
    return TableFile(data, section).names if is_tabular(data) else []


def _has_texts(estimator: BaseEstimator) -> bool:
    """Whether the classes of a classifier are text."""
    return isinstance(estimator, StackedClassifier) and estimator.classes_.dtype.kind == "U"


def open_model(
    folder: Path,
    data: Path | None,
    *,
    labels: str | None = None,
    unlabeled: str | None = None,
    sample_weight: str | None = None,
    section: Section = WHOLE,
    device: str = "auto",
) -> Opened:
    """Load a model, and read rows as those of its training were read.

    Parameters
    ----------
    folder : Path
    data : Path or None
        None reads nothing.
    labels : str or None, default=None
        Where the labels are, as `layerwise.read` takes it; None takes the column of the training, where there is such.
    unlabeled : str or None, default=None
        The label of rows that have none, beside that of the training.
    sample_weight : str or None, default=None
        Which column or array says how often each row counts; rows of 0 are
        left out. None is none, whatever it was in the training.
    section : Section, default=WHOLE
        Which part of the data holds the rows; what it leaves open is as in the training.
    device : str, default="auto"

    Returns
    -------
    opened : Opened
    """
    model = layerwise.load(folder, device=device)
    encoder, imputer = step_of(model, TableEncoder), step_of(model, AutoencoderImputer)
    if data is None:
        nothing = np.empty((0, 0))
        return Opened(folder, bare(model), encoder, Input(nothing, None, {}, None, None, None), nothing)
    facts = runs.read_facts(folder)
    section = Section(**select(data, facts, section))
    opened = open_source(data, section)
    tabular = isinstance(opened, TableSource)
    columns = set(map(composed, opened.names)) if tabular and encoder is not None else set()
    image_shape = facts.get("image_shape") if data.is_dir() and not tabular else None
    labels = labels or (facts.get("labels") if composed(facts.get("labels") or "") in columns else None)
    marks = from_plain(facts["label_marks"]) if facts.get("label_marks") else None
    opened.as_written = labels if isinstance(marks, Marked) or _has_texts(bare(model)) else None
    source = read(
        opened,
        labels=labels,
        ids=[name for name in facts.get("id") or [] if composed(name) in columns],
        sample_weight=sample_weight,
        encoder=encoder,
        image_shape=tuple(image_shape) if image_shape else None,
    ).without_weightless()
    expected = getattr(imputer or bare(model), "n_features_in_", source.X.shape[1])
    hint = opened.hint_at_transpose(n_features=expected) if source.X.shape[1] != expected else ""
    if hint:
        raise ValueError(f"{data} has {source.X.shape[1]} features, but the model expects {expected}{hint}")
    if encoder is None and source.encoder is not None and source.encoder.categories_:
        raise ValueError(
            f"{data} has columns of text ({', '.join(source.encoder.categories_)}), but the model was trained on an "
            f"array of numbers; give it a table of those numbers alone, in their order"
        )
    if unlabeled is not None and (source.y is None or not stands_for_none(source.y, unlabeled).any()):
        raise ValueError(f"unlabeled={unlabeled!r} stands nowhere in the labels")
    if isinstance(bare(model), StackedRegressor) and source.y is not None:
        none = [str(label) for label in (facts.get("unlabeled"), unlabeled) if label is not None]
        where = str(data if source.label_name else labels)
        source = source._replace(y=read_as_trained(source.y, marks if isinstance(marks, Marked) else None, none, where))
    X = source.X
    warn_of_far_rows(X, facts.get("ranges"), source.feature_names)
    missing = describe_missing(X, source.feature_names)
    if missing and imputer is None:
        raise ValueError(f"{data}: {missing}; the model does not fill in gaps; train it with --impute")
    if imputer is not None:
        X = imputer.transform(X)
    return Opened(folder, bare(model), encoder, source, X, section)
