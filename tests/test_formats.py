"""The same rows in every format are the same encoder, the same numbers and the same model, to the bit.

A format is a row in `FORMATS`: how it is written here, and which kinds of columns it cannot hold, and why.
"""

import json
import tempfile
from collections.abc import Callable, Collection
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse

import layerwise
from layerwise import LBFGS, Autoencoder, StackedClassifier

pl = pytest.importorskip("polars")

N_ROWS = 1000
_random = np.random.default_rng(0)
_towns = _random.choice(["Basel", "Bern", "Genf", "Thun"], N_ROWS)
# A column of each kind. The names are such as even the oldest formats can hold.
KINDS = {
    "NUMBER": pl.Series(_random.normal(50, 9, N_ROWS).round(3)),
    "WHOLE": pl.Series(_random.integers(-500, 500, N_ROWS)),
    "LARGE": pl.Series(_random.integers(10**9, 10**12, N_ROWS).astype(float)),
    "GAPS": pl.Series([None if gap else float(k) for k, gap in enumerate(_random.random(N_ROWS) < 0.2)]),
    "TEXT": pl.Series(_towns),
    "TWO": pl.Series(_random.choice(["no", "yes"], N_ROWS)),
    "ACCENTS": pl.Series(np.where(_towns == "Bern", "Zürich", _towns)),
    "TEXTGAPS": pl.Series([None if k % 7 == 0 else town for k, town in enumerate(_towns.tolist())]),
    "COMMAS": pl.Series([f'{town}, it\'s "here"' for town in _towns]),
    "LABELLED": pl.Series(_random.choice(["agree", "differ", "neither"], N_ROWS), dtype=pl.Categorical),
    "DAY": pl.Series([date(1950, 1, 1) + timedelta(int(k)) for k in _random.integers(0, 30_000, N_ROWS)]),
    "MOMENT": pl.Series([datetime(2001, 1, 1) + timedelta(seconds=int(k)) for k in _random.integers(0, 10**8, N_ROWS)]),
    "DAYGAPS": pl.Series([None if k % 5 == 0 else date(2020, 1, 1) + timedelta(k) for k in range(N_ROWS)]),
}
# The class of each row, as numbers and as text.
CODES = pl.Series(_random.integers(1, 4, N_ROWS))
NAMED = pl.Series([("low", "mid", "high")[code - 1] for code in CODES], dtype=pl.Categorical)


class Format(NamedTuple):
    """How a frame is written, and which kinds of columns the format cannot hold."""

    write: Callable[[pl.DataFrame, Path], None]
    lacks: Collection[str] = ()
    labels: str = "LABEL"


def _coded(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, dict[float, str]]]:
    """Return a frame with numbers for categories, and what they stand for."""
    labels = {}
    for name in [name for name, dtype in frame.schema.items() if dtype == pl.Categorical]:
        texts = sorted(frame[name].cast(pl.String).unique())
        labels[name] = {float(code): text for code, text in enumerate(texts, 1)}
        codes = {text: code for code, text in labels[name].items()}
        frame = frame.with_columns(frame[name].cast(pl.String).replace_strict(codes, return_dtype=pl.Float64))
    return frame, labels


def _with_labels(writer: str, **options: bool) -> Callable[[pl.DataFrame, Path], None]:
    def write(frame: pl.DataFrame, path: Path) -> None:
        pyreadstat = pytest.importorskip("pyreadstat")
        coded, labels = _coded(frame)
        if writer == "write_dta":
            labels = {name: {int(code): text for code, text in own.items()} for name, own in labels.items()}
            coded = coded.with_columns(pl.col(name).cast(pl.Int32) for name in labels)
        getattr(pyreadstat, writer)(coded, path, variable_value_labels=labels, **options)

    return write


def _without_labels(writer: str) -> Callable[[pl.DataFrame, Path], None]:
    def write(frame: pl.DataFrame, path: Path) -> None:
        pyreadstat = pytest.importorskip("pyreadstat")
        getattr(pyreadstat, writer)(frame.with_columns(pl.col(pl.Categorical).cast(pl.String)), path)

    return write


def _write_arff(frame: pl.DataFrame, path: Path) -> None:
    def quote(value: object) -> str:
        text = str(value.isoformat() if isinstance(value, date) else value)
        return "?" if value is None else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    kinds = []
    for name, dtype in frame.schema.items():
        values = ",".join(map(quote, frame[name].drop_nulls().unique().to_list()))
        kind = "numeric" if dtype.is_numeric() else f"{{{values}}}" if dtype == pl.Categorical else "string"
        kind = {pl.Date: "date yyyy-MM-dd", pl.Datetime("us"): "DATE"}.get(dtype, kind)
        kinds.append(f"@attribute '{name}' {kind}\n")
    rows = (
        ",".join("?" if v is None else repr(v) if isinstance(v, (int, float)) else quote(v) for v in row)
        for row in frame.iter_rows()
    )
    path.write_text("% people\n@RELATION people\n" + "".join(kinds) + "@DATA\n" + "\n".join(rows) + "\n", "utf-8")


def _write_svm(frame: pl.DataFrame, path: Path) -> None:
    from sklearn.datasets import dump_svmlight_file

    X = frame.drop("LABEL").to_numpy().astype(float)
    dump_svmlight_file(X, frame["LABEL"].to_numpy(), str(path), zero_based=False)


def _write_json(frame: pl.DataFrame, path: Path) -> None:
    rows = [{name: v.isoformat() if isinstance(v, date) else v for name, v in row.items()} for row in frame.to_dicts()]
    lines = [json.dumps({name: value for name, value in row.items() if value is not None}) for row in rows]
    path.write_text("\n\n".join(lines) if path.suffix == ".jsonl" else f"[{','.join(lines)}]", "utf-8")


_NUMBERS = {"NUMBER", "WHOLE", "LARGE"}
_DATES = {"DAY", "MOMENT", "DAYGAPS"}
FORMATS = {
    ".parquet": Format(lambda frame, path: frame.write_parquet(path)),
    ".feather": Format(lambda frame, path: frame.write_ipc(path)),
    ".csv": Format(lambda frame, path: frame.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S"), _DATES),
    ".jsonl": Format(_write_json, _DATES),  # dates are text there, as in CSV
    ".json": Format(_write_json, _DATES),
    ".sav": Format(_with_labels("write_sav")),
    ".zsav": Format(_with_labels("write_sav", compress=True)),
    ".dta": Format(_with_labels("write_dta")),
    ".xpt": Format(_without_labels("write_xport")),
    ".por": Format(_without_labels("write_por"), {"ACCENTS"}),  # ASCII alone
    ".arff": Format(_write_arff),
    ".svm": Format(_write_svm, set(KINDS) - _NUMBERS, "y"),  # numbers, labels of numbers, no gaps
}


def _columns(ending):
    return [name for name in KINDS if name not in FORMATS[ending].lacks]


@cache
def _read(ending, held):
    """Return the columns that a format holds, read from it and from Parquet: each file once."""
    frame = pl.DataFrame({name: KINDS[name] for name in held})
    frame = frame.with_columns((CODES if ending == ".svm" else NAMED).alias("LABEL"))
    found = []
    for own in (ending, ".parquet"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"rows{own}"
            FORMATS[own].write(frame, path)
            found.append(layerwise.read(path, labels=FORMATS[own].labels))
    return found


def _dense(X):
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


@pytest.mark.filterwarnings("ignore:.*become categories without an order")
@pytest.mark.parametrize(("ending", "kind"), [(ending, kind) for ending in FORMATS for kind in _columns(ending)])
def test_a_column_of_a_kind_is_the_same_in_all_formats(ending, kind):
    found, expected = _read(ending, tuple(_columns(ending)))
    places = [place for place, name in enumerate(expected.feature_columns) if name == kind]
    assert (_dense(found.X)[:, places].tobytes(), found.X.shape) == (expected.X[:, places].tobytes(), expected.X.shape)
    if found.encoder is not None:
        assert found.encoder.get_reading(kind) == expected.encoder.get_reading(kind)
        assert found.encoder.categories_.get(kind) == expected.encoder.categories_.get(kind)
        assert [found.feature_names[place] for place in places] == [expected.feature_names[place] for place in places]


@pytest.mark.filterwarnings("ignore:.*become categories without an order")
@pytest.mark.parametrize("ending", FORMATS)
def test_rows_of_all_kinds_train_the_same_model(ending):
    pair = _read(ending, tuple(_columns(ending)))
    assert pair[0].y.tolist() == pair[1].y.tolist()
    assert (pair[0].encoder or pair[1].encoder).describe() == pair[1].encoder.describe()
    whole = ~np.isnan(pair[1].X).any(axis=0)
    models = [
        StackedClassifier(
            Autoencoder(3, solver=LBFGS(max_iter=2)), finetune=0, solver=LBFGS(max_iter=2), random_state=0
        )
        for _ in pair
    ]
    first, second = (
        model.fit(_dense(found.X)[:, whole], found.y).predict_proba(pair[1].X[:, whole])
        for model, found in zip(models, pair, strict=True)
    )
    assert first.tobytes() == second.tobytes()
