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
from layerwise.data.archives import is_archive
from layerwise.data.cells import CellsSource, is_cells, match_genes
from layerwise.data.column_types import Marked, from_plain
from layerwise.data.image_source import ImageSource
from layerwise.data.inputs import Input, TableSource, is_tabular, open_source, read
from layerwise.data.statistics_packages import STATISTICS_ENDINGS
from layerwise.data.svmlight import SVMLIGHT_ENDINGS
from layerwise.data.table_encoder import TableEncoder
from layerwise.data.tables import TableFile, find_workbooks
from layerwise.data.trees import is_zarr
from layerwise.data.values import describe_missing
from layerwise.data.workbooks import has_sheet
from layerwise.estimators import AutoencoderImputer, StackedClassifier, StackedRegressor
from layerwise.inspection import bare, prepare, step_of
from layerwise.section import WHOLE, Section
from layerwise.urls import Place, Url


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
    file : TableFile or None, default=None
        Of a table: what they were read from.
    """

    folder: Path
    estimator: BaseEstimator
    encoder: TableEncoder | None
    source: Input
    X: np.ndarray
    section: Section = WHOLE
    file: TableFile | None = None


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


def select(data: Place, facts: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """Return which part of the data holds the rows: what is given, else what was in training, where that fits."""
    given = section.given()
    if isinstance(data, Url):
        known = dict.fromkeys(("query", "table"), not (section.query or section.table))
        return {name: facts[name] for name, fits in known.items() if fits and name in facts} | given
    of_cells = is_cells(data)
    as_array = is_zarr(data) or not (data.is_dir() or is_tabular(data))
    known = {"array": is_archive(data), **dict.fromkeys(("layout", "transpose"), as_array)}
    known = dict.fromkeys(known, False) if of_cells else known
    known |= dict.fromkeys(("layer", "obsm"), of_cells and not {"layer", "obsm"} & given.keys())  # one of both
    known |= dict.fromkeys(("encoding", "value_labels"), data.suffix.lower() in STATISTICS_ENDINGS)
    known["zero_based"] = data.name.lower().endswith(SVMLIGHT_ENDINGS)
    sheet = facts.get("sheet")
    known["sheet"] = section.sheet is None and sheet is not None and _has_sheet(data, sheet)
    return {name: facts[name] for name, fits in known.items() if fits and name in facts} | given


def _has_sheet(data: Path, name: str) -> bool:
    """Whether the data are workbooks, the first of which has a sheet of this name."""
    paths = find_workbooks(data)
    return bool(paths) and has_sheet(paths[0], name)


def list_columns(data: Place, section: Section = WHOLE) -> list[str]:
    """Return the names of the columns of a table, or of the obs of cells; none of other files."""
    if not isinstance(data, Url) and is_cells(data):
        return list(CellsSource(data, section).names)
    return TableFile(data, section).names if is_tabular(data) else []


def match_columns(rows: Input, trained: Input, where: Place) -> Input:
    """Return other rows with as many columns as those that are trained on have, and their genes by name."""
    rows = rows.widen(trained.X.shape[1])
    if trained.encoder is None and trained.feature_names is not None and rows.feature_names is not None:
        return match_genes(rows, trained.feature_names, where)
    return rows


def _has_texts(estimator: BaseEstimator) -> bool:
    """Whether the classes of a classifier are text."""
    return isinstance(estimator, StackedClassifier) and estimator.classes_.dtype.kind == "U"


def open_model(
    folder: Path,
    data: Place | None,
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
    data : Path, Url or None
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
    of_cells = isinstance(opened, CellsSource)
    columns = set(map(composed, opened.names)) if of_cells or (tabular and encoder is not None) else set()
    image_shape = facts.get("image_shape") if isinstance(opened, ImageSource) else None
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
    genes = getattr(bare(model), "column_names_", None)
    if of_cells and genes is not None:
        source = match_genes(source, genes.tolist(), data)
    expected = int(getattr(imputer or bare(model), "n_features_in_", None) or source.X.shape[1])
    source = source.widen(expected)
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
    warn_of_far_rows(source.X, facts.get("ranges"), source.feature_names)
    missing = describe_missing(source.X, source.column_names)
    if missing and imputer is None:
        raise ValueError(f"{data}: {missing}; the model does not fill in gaps; train it with --impute")
    file = opened.file if isinstance(opened, TableSource) else None
    return Opened(folder, bare(model), encoder, source, prepare(model, source.X), section, file)
