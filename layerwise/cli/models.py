"""Commands that use a trained model: encode, decode, reconstruct, impute, predict, score."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from layerwise import runs
from layerwise.atomic import atomic
from layerwise.cli.common import (
    NO_TABLE,
    Data,
    Device,
    Display,
    Flag,
    InSection,
    IntoATable,
    IntoTable,
    Model,
    Out,
    Overwrite,
    Reply,
    Shown,
    check_apart,
)
from layerwise.cli.opening import Opened, list_columns, open_model, select, tell_known
from layerwise.data.cells_output import ENDING, check_cells_output, write_cells
from layerwise.data.gaps import as_array, fill_table
from layerwise.data.inputs import find_separator, read
from layerwise.data.outputs import check_output, write_columns, write_csv
from layerwise.estimators import AutoencoderOutlierDetector, StackedClassifier, StackedRegressor
from layerwise.inspection import stack_of
from layerwise.section import WHOLE, Section
from layerwise.urls import Place, Url

# Columns that are named as the reason for an error, at most.
_N_REASONS = 3


def encode(
    model: Model,
    data: Data,
    *,
    out: Out = None,
    into: IntoATable = NO_TABLE,
    section: InSection = WHOLE,
    device: Device = "auto",
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Write the codes of rows: the features that the model has learned.

    Example: layerwise encode runs/digits t10k-images.gz --out codes.npy
    """

    def columns() -> tuple[dict[str, Any], dict[str, Any]]:
        opened = open_model(model, data, section=section, device=device)
        estimator = opened.estimator
        coder = estimator if hasattr(estimator, "transform") else stack_of(estimator)
        return {"code": coder.transform(opened.X)}, opened.source.ids

    return _write(columns, model, data, section, out, into, overwrite, display)


def decode(
    model: Model,
    codes: Path,
    *,
    out: Out = None,
    into: IntoATable = NO_TABLE,
    device: Device = "auto",
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Write what codes stand for: the rows that they are decoded to.

    Example: layerwise decode runs/strokes strokes.npy --out images.npy

    Parameters
    ----------
    codes
        One row of codes for each row, as encode writes them (.json is not read).
    """

    def columns() -> tuple[dict[str, Any], dict[str, Any]]:
        opened = open_model(model, None, device=device)
        if isinstance(opened.estimator, (StackedClassifier, StackedRegressor)):
            raise ValueError(f"{model} has codes that labels have changed, which cannot be decoded; see reconstruct")
        others = [name for name in list_columns(codes) if not name.startswith("code_")]
        source = read(codes, ids=others)
        return _as_rows(opened, stack_of(opened.estimator).inverse_transform(source.X), out), source.ids

    return _write(columns, model, codes, WHOLE, out, into, overwrite, display)


def reconstruct(
    model: Model,
    data: Data,
    *,
    out: Out = None,
    into: IntoATable = NO_TABLE,
    section: InSection = WHOLE,
    device: Device = "auto",
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Write rows as the model reconstructs them: without noise, with the likeliest texts.

    Example: layerwise reconstruct runs/digits t10k-images.gz --out clean.npy
    """

    def columns() -> tuple[dict[str, Any], dict[str, Any]]:
        opened = open_model(model, data, section=section, device=device)
        stack = stack_of(opened.estimator)
        return _as_rows(opened, stack.inverse_transform(stack.transform(opened.X)), out), opened.source.ids

    return _write(columns, model, data, section, out, into, overwrite, display)


def impute(
    model: Model,
    data: Data,
    *,
    out: Out = None,
    into: IntoATable = NO_TABLE,
    section: InSection = WHOLE,
    device: Device = "auto",
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Write rows with their missing numbers filled in, and all others as they are, by a model trained with --impute.

    A table keeps all its columns in their order, CSV its separator too, but no blanks around values; .npy and
    .safetensors get the features alone.

    Example: layerwise impute runs/machines machines.csv --out filled.csv
    """
    ending = None if out is None else out.suffix.lower()
    as_text = not display.as_json if out is None else ending in (".csv", ".tsv")

    def columns() -> tuple[dict[str, Any], dict[str, Any]]:
        # Which fills them in.
        opened = open_model(model, data, section=section, device=device)
        if opened.encoder is None or ending in (".npy", ".safetensors"):
            return _as_rows(opened, opened.X, out), opened.source.ids
        numbers = opened.encoder.numbers_of(opened.X)
        assert opened.file is not None
        texts = opened.file.names if as_text else [*opened.source.ids, *opened.encoder.categories_]
        readings = {name: opened.encoder.get_reading(name) for name in numbers}
        missing = opened.encoder.list_missing()
        filled = fill_table(
            opened.file, numbers, text=texts, readings=readings, missing=missing, dates=_keeps_dates(out)
        )
        marks = set(map(str, missing))
        gaps = {
            name: sum(value is None or str(value).strip() in marks for value in filled[name].tolist())
            for name in opened.encoder.categories_
        }
        left = ", ".join(f"{name!r:.65} ({count})" for name, count in gaps.items() if count)
        if left:
            display.say(f"Numbers are filled in; gaps of text stay: {left}")
        return filled if as_text else filled | opened.source.ids, {}

    return _write(columns, model, data, section, out, into, overwrite, display, separator=find_separator(data))


def predict(
    model: Model,
    data: Data,
    *,
    probabilities: Flag = False,
    out: Out = None,
    into: IntoATable = NO_TABLE,
    section: InSection = WHOLE,
    device: Device = "auto",
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Write a label for each row, a value, or whether it is an outlier, by what the model was trained for.

    Example: layerwise predict runs/species table.csv --probabilities --out predictions.csv

    Parameters
    ----------
    probabilities
        Of a classifier: the probability of each class too.
    """

    def columns() -> tuple[dict[str, Any], dict[str, Any]]:
        opened = open_model(model, data, section=section, device=device)
        estimator = opened.estimator
        if probabilities and not isinstance(estimator, StackedClassifier):
            raise ValueError(f"{model} holds no classifier but {type(estimator).__name__}, which has no probabilities")
        if isinstance(estimator, StackedRegressor):
            return {"prediction": estimator.predict(opened.X)}, opened.source.ids
        if isinstance(estimator, AutoencoderOutlierDetector):
            return {"outlier": estimator.predict(opened.X) < 0}, opened.source.ids
        if not isinstance(estimator, StackedClassifier):
            raise ValueError(f"{model} holds {type(estimator).__name__}, which predicts nothing; train with --labels")
        p = estimator.predict_proba(opened.X)
        shares = {f"p_{label}": p[:, place] for place, label in enumerate(estimator.classes_)} if probabilities else {}
        return {"label": estimator.classes_[p.argmax(axis=1)], **shares}, opened.source.ids

    return _write(columns, model, data, section, out, into, overwrite, display)


def score(
    model: Model,
    data: Data,
    *,
    because: Flag = False,
    per_feature: Flag = False,
    out: Out = None,
    into: IntoATable = NO_TABLE,
    section: InSection = WHOLE,
    device: Device = "auto",
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Write how badly each row is reconstructed: the higher the error, the more unusual the row.

    Example: layerwise score runs/machines machines.csv --because --out scores.csv

    Parameters
    ----------
    because
        The columns that add most to the error, too, in words: why a row is unusual. Values that were missing, and are
        filled in, are no reason.
    per_feature
        What each column adds to the error, too, in numbers.
    """

    def columns() -> tuple[dict[str, Any], dict[str, Any]]:
        opened = open_model(model, data, section=section, device=device)
        coder = opened.estimator.coder_
        errors = coder.errors(coder.rows(opened.X), per_feature=True).numpy(force=True)
        columns: dict[str, Any] = {"error": errors.sum(axis=1)}
        if isinstance(opened.estimator, AutoencoderOutlierDetector):
            columns["outlier"] = opened.estimator.predict(opened.X) < 0
        elif known := tell_known(opened):
            display.say(known)
        names = opened.source.feature_columns or opened.source.feature_names
        names = names or [f"x_{place}" for place in range(errors.shape[1])]
        parts = _sum_by_column(errors, names)
        if because:
            raw = opened.source.X
            given = errors if raw is opened.X or sparse.issparse(raw) else np.where(np.isnan(raw), 0, errors)
            columns["because"] = _name_largest(_sum_by_column(given, names), columns["error"])
        shares = {f"error: {name}": part for name, part in parts.items()} if per_feature else {}
        return {**columns, **shares}, opened.source.ids

    return _write(columns, model, data, section, out, into, overwrite, display)


def _sum_by_column(errors: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the error that each column adds: the sum over its features, of text one for each value."""
    parts: dict[str, np.ndarray] = {}
    for name, own in zip(names, errors.T, strict=True):
        parts[name] = parts[name] + own if name in parts else own
    return parts


def _name_largest(parts: Mapping[str, np.ndarray], errors: np.ndarray) -> list[str]:
    """Return for each row the columns that make up most of its error, with their shares in words.

    What was missing, and is filled in, is 0 in ``parts`` and no reason; it counts in ``errors``.
    """
    names, table = list(parts), np.stack(list(parts.values()), axis=1)
    shares = table / np.maximum(errors[:, None], np.finfo(table.dtype).tiny)
    largest = np.argsort(-shares, axis=1, kind="stable")[:, :_N_REASONS]
    return [
        ", ".join(f"{names[place]} {100 * row[place]:.0f} %" for place in places if row[place] > 0 or row.sum() == 0)
        for row, places in zip(shares, largest, strict=True)
    ]


def _keeps_dates(out: Place | None) -> bool:
    """Whether dates are written as such; elsewhere they are text."""
    return out is not None and out.suffix.lower() == ".xlsx"


def _as_rows(opened: Opened, X: np.ndarray, out: Place | None) -> dict[str, Any]:
    """Return reconstructed rows as columns like those of the training."""
    if opened.encoder is None:
        return {"x": X}
    frame = opened.encoder.inverse_transform(X)
    return {name: as_array(frame[name], _keeps_dates(out)) for name in frame.columns}


def _write(
    columns: Any,
    model: Path,
    data: Place,
    section: Section,
    out: Place | None,
    into: IntoTable,
    overwrite: bool,
    display: Display,
    separator: str = ",",
) -> Reply:
    """Write columns, made once it is sure that there is a place for them: to a file, a table, or standard output."""
    if isinstance(out, Url):
        table = select(data, runs.read_facts(model), section).get("table")
        if overwrite and table is not None and (data, table) == (out, into.out_table):
            raise ValueError(f"out_table={table!r} is the data itself; choose another table")
        return _write_table(columns, out, into, overwrite)
    if into != NO_TABLE:
        raise ValueError(
            f"out_table={into.out_table!r} and append={into.append} are of a database, but out={out} is none"
        )
    if out is None:
        made, ids = columns()
        ids = _name_ids(ids, made)
        if display.as_json:
            return Reply({"rows": _records(made, ids)}, "")
        write_csv(sys.stdout, made, ids=ids, separator=separator)
        return Reply({}, "")
    if out.suffix.lower() == ENDING:
        check_cells_output(out, Path(data))
        check_apart(out, data)
        with atomic(out, overwrite=overwrite) as staging:
            made, _ = columns()
            places = write_cells(staging, Path(data), made)
        n_rows = len(next(iter(made.values())))
        text = f"{n_rows:,} rows are in {out}, a copy of {data}: {', '.join(places)}"
        return Reply({"out": str(out), "n_rows": n_rows, "columns": places}, text)
    check_output(out)
    check_apart(out, data)
    with atomic(out, overwrite=overwrite) as staging:
        made, ids = columns()
        write_columns(staging, made, ids=_name_ids(ids, made), separator=separator)
    n_rows = len(next(iter(made.values())))
    return Reply({"out": str(out), "n_rows": n_rows, "columns": list(made)}, f"{n_rows:,} rows are in {out}")


def _write_table(columns: Any, out: Url, into: IntoTable, overwrite: bool) -> Reply:
    """Write columns to a table of a database."""
    from layerwise.data.database_output import check_table, write_table

    name = into.out_table
    if name is None:
        raise ValueError(f"out={out} is a database; name the table to write with --out-table")
    check_table(out, name, overwrite=overwrite, append=into.append)
    made, ids = columns()
    n_rows = write_table(out, name, made, ids=_name_ids(ids, made), overwrite=overwrite, append=into.append)
    how = "were added to" if into.append else "are in"
    facts = {"out": str(out), "out_table": name, "append": into.append, "n_rows": n_rows, "columns": list(made)}
    return Reply(facts, f"{n_rows:,} rows {how} table {name} of {out}")


def _name_ids(ids: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that tell rows apart; one that bears the name of what is written becomes ``id: name``."""
    taken = tuple(f"{name}_" for name in made)
    return {f"id: {name}" if name in made or name.startswith(taken) else name: ids[name] for name in ids}


def _records(columns: Mapping[str, Any], ids: Mapping[str, Any]) -> list[dict[str, Any]]:
    named = {name: np.asarray(values).tolist() for name, values in {**ids, **columns}.items()}
    return [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
