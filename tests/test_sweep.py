"""Every estimator x kinds of X x kinds of y: the numbers of the plain float64 array, or one sentence; never others."""

import datetime
import decimal
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from layerwise import (
    LBFGS,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RNG = np.random.default_rng(0)
PLAIN = RNG.integers(0, 10, (12, 4)).astype(float)
PLAIN[0], PLAIN[1] = 0, 9  # every column from 0 to 9
BITS = (PLAIN > 4).astype(float)
GAPS = PLAIN.copy()
GAPS[3, 1] = GAPS[7, 2] = np.nan
NAMED = pd.DataFrame(PLAIN, columns=list("abcd"))
LABELS = np.arange(12) % 2
SOLVER = LBFGS(2)
LAYER = Autoencoder(2, solver=SOLVER, dtype="float64", random_state=0)  # whatever type the rows have
ESTIMATORS = {
    "autoencoder": LAYER,
    "stack": StackedAutoencoder([LAYER, 2], dtype="float64", random_state=0).set_params(layer1__solver=SOLVER),
    "classifier": StackedClassifier(LAYER, solver=SOLVER, random_state=0),
    "regressor": StackedRegressor(LAYER, solver=SOLVER, random_state=0),
    "detector": AutoencoderOutlierDetector(LAYER, random_state=0),
    "imputer": AutoencoderImputer(LAYER, random_state=0),
}
ON_DISK = tempfile.TemporaryDirectory()


def arrow(columns):
    return pytest.importorskip("pyarrow").table(columns)


def mapped(rows):
    path = Path(ON_DISK.name) / "rows.npy"
    np.save(path, rows)
    return np.load(path, mmap_mode="r")


def dated(kind):
    days = [datetime.datetime(2020, 1, 1 + k) for k in range(12)]
    return kind({"a": PLAIN[:, 0].tolist(), "day": days, "b": PLAIN[:, 2].tolist(), "c": PLAIN[:, 3].tolist()})


def columns(rows):
    return {f"c{k}": rows[:, k].tolist() for k in range(4)}


def with_none(rows):
    return {name: [None if value != value else value for value in values] for name, values in columns(rows).items()}


DATES, COMPLEX = "X holds dates or times", "Complex data not supported: X holds complex numbers"
# By name: what makes the rows, the plain array that they are, and the sentence they are refused with.
ROWS = {
    "float64": (lambda: PLAIN, PLAIN, None),
    "float32": (lambda: PLAIN.astype(np.float32), PLAIN, None),
    "float16": (lambda: PLAIN.astype(np.float16), PLAIN, None),
    "big-endian": (lambda: PLAIN.astype(">f8"), PLAIN, None),
    "int64": (lambda: PLAIN.astype(np.int64), PLAIN, None),
    "int8": (lambda: PLAIN.astype(np.int8), PLAIN, None),
    "uint16": (lambda: PLAIN.astype(np.uint16), PLAIN, None),
    "uint8": (lambda: PLAIN.astype(np.uint8), PLAIN, None),
    "bool": (lambda: BITS.astype(bool), BITS, None),
    "lists": (lambda: PLAIN.tolist(), PLAIN, None),
    "lists of whole numbers": (lambda: PLAIN.astype(int).tolist(), PLAIN, None),
    "objects": (lambda: PLAIN.astype(object), PLAIN, None),
    "text that is numbers": (lambda: PLAIN.astype(str), PLAIN, None),
    "text of any length": (lambda: PLAIN.astype(str).astype(np.dtypes.StringDType()), PLAIN, None),
    "decimals": (lambda: [[decimal.Decimal(int(value)) for value in row] for row in PLAIN], PLAIN, None),
    "Fortran order": (lambda: np.asfortranarray(PLAIN), PLAIN, None),
    "reversed strides": (lambda: PLAIN[::-1, ::-1].copy()[::-1, ::-1], PLAIN, None),
    "read-only map": (lambda: mapped(PLAIN), PLAIN, None),
    "not masked": (lambda: np.ma.array(PLAIN), PLAIN, None),
    "CSR": (lambda: sparse.csr_array(PLAIN), PLAIN, None),
    "CSC": (lambda: sparse.csc_array(PLAIN), PLAIN, None),
    "COO": (lambda: sparse.coo_matrix(PLAIN), PLAIN, None),
    "tensor": (lambda: torch.from_numpy(PLAIN), PLAIN, None),
    "tensor, int32": (lambda: torch.from_numpy(PLAIN).int(), PLAIN, None),
    "tensor, bfloat16": (lambda: torch.from_numpy(PLAIN).bfloat16(), PLAIN, None),
    "pandas": (lambda: pd.DataFrame(PLAIN), PLAIN, None),
    "pandas with names": (lambda: NAMED, PLAIN, None),
    "pandas with whole numbers as names": (lambda: pd.DataFrame(PLAIN, columns=[7, 5, 3, 1]), PLAIN, None),
    "pandas with dates as names": (
        lambda: pd.DataFrame(PLAIN, columns=pd.date_range("2020", periods=4)),
        PLAIN,
        None,
    ),
    "pandas, mixed types": (lambda: NAMED.astype({"a": np.int8, "b": np.float32, "c": object}), PLAIN, None),
    "pandas, nullable": (lambda: NAMED.astype("Int64"), PLAIN, None),
    "pandas, categories": (lambda: NAMED.astype("category"), PLAIN, None),
    "pandas, sparse": (lambda: NAMED.astype(pd.SparseDtype(float, 0)), PLAIN, None),
    "polars": (lambda: pl.DataFrame(columns(PLAIN)), PLAIN, None),
    "polars, mixed types": (lambda: pl.DataFrame(columns(PLAIN)).cast({"c0": pl.Int8, "c1": pl.Float32}), PLAIN, None),
    "Arrow": (lambda: arrow(columns(PLAIN)), PLAIN, None),
    # What is missing
    "NaN": (lambda: GAPS, GAPS, None),
    "NaN, float16": (lambda: GAPS.astype(np.float16), GAPS, None),
    "masked places": (lambda: np.ma.array(PLAIN, mask=np.isnan(GAPS)), GAPS, None),
    "masked int64": (lambda: np.ma.array(PLAIN.astype(int), mask=np.isnan(GAPS)), GAPS, None),
    "masked rows in a list": (lambda: list(np.ma.array(PLAIN, mask=np.isnan(GAPS))), GAPS, None),
    "lists with None": (lambda: np.where(np.isnan(GAPS), None, GAPS).tolist(), GAPS, None),
    "objects with pandas.NA": (lambda: np.where(np.isnan(GAPS), pd.NA, GAPS.astype(object)), GAPS, None),
    "objects with NaT": (lambda: np.where(np.isnan(GAPS), pd.NaT, GAPS.astype(object)), GAPS, None),
    "pandas objects with pandas.NA": (
        lambda: pd.DataFrame(np.where(np.isnan(GAPS), pd.NA, GAPS.astype(object)), columns=list("abcd")),
        GAPS,
        None,
    ),
    "pandas, nullable with gaps": (lambda: pd.DataFrame(GAPS).astype("Int64"), GAPS, None),
    "pandas text with gaps": (lambda: pd.DataFrame(GAPS).astype("Int64").astype("string"), GAPS, None),
    "polars with nulls": (lambda: pl.DataFrame(with_none(GAPS)), GAPS, None),
    "Arrow with nulls": (lambda: arrow(with_none(GAPS)), GAPS, None),
    "tensor with NaN": (lambda: torch.from_numpy(GAPS), GAPS, None),
    # What is refused
    "dates in pandas": (lambda: dated(pd.DataFrame), None, DATES),
    "dates in polars": (lambda: dated(pl.DataFrame), None, DATES),
    "dates in Arrow": (lambda: dated(arrow), None, DATES),
    "dates with NaT": (lambda: np.array([["2020-01-01", "NaT"]] * 12, "datetime64[D]"), None, DATES),
    "durations": (lambda: PLAIN.astype("timedelta64[s]"), None, DATES),
    "dates among objects": (lambda: [[datetime.date(2020, 1, 1), 1.0]] * 12, None, DATES),
    "complex": (lambda: PLAIN + 1j, None, COMPLEX),
    "complex tensor": (lambda: torch.from_numpy(PLAIN) + 1j, None, COMPLEX),
    "text": (lambda: np.where(PLAIN == 9, "nine", PLAIN.astype(str)), None, "X holds text such as 'nine'"),
    "two columns of one name": (lambda: pd.DataFrame(PLAIN, columns=[1, 2, 3, 1]), None, "two columns called '1'"),
    "lazy": (lambda: pl.LazyFrame(columns(PLAIN)), None, r"X is a polars LazyFrame.*X.collect\(\)"),
    "sparse tensor": (lambda: torch.from_numpy(PLAIN).to_sparse(), None, "X is a sparse torch tensor"),
    "loader": (lambda: torch.utils.data.DataLoader(torch.from_numpy(PLAIN)), None, "X is a DataLoader"),
}
WORDS = np.array(["no", "yes"])[LABELS]
HIDDEN = np.arange(12) % 5 == 4
GAPPY = np.where(HIDDEN, np.nan, LABELS)
TEXT = "y holds text such as"
# By name: what makes the labels, and the sentence that a regressor refuses them with.
LABEL_KINDS = {
    "int64": (lambda: LABELS, None),
    "int8": (lambda: LABELS.astype(np.int8), None),
    "uint8": (lambda: LABELS.astype(np.uint8), None),
    "float64": (lambda: LABELS.astype(float), None),
    "float32": (lambda: LABELS.astype(np.float32), None),
    "bool": (lambda: LABELS.astype(bool), None),
    "list": (lambda: LABELS.tolist(), None),
    "list of bools": (lambda: (LABELS == 1).tolist(), None),
    "objects": (lambda: LABELS.astype(object), None),
    "objects that are bools": (lambda: (LABELS == 1).astype(object), None),
    "text that is numbers": (lambda: LABELS.astype(str), None),
    "text": (lambda: WORDS, TEXT),
    "list of text": (lambda: WORDS.tolist(), TEXT),
    "objects that are text": (lambda: WORDS.astype(object), TEXT),
    "text of any length": (lambda: WORDS.astype(np.dtypes.StringDType()), TEXT),
    "column": (lambda: LABELS[:, None], None),
    "tensor": (lambda: torch.from_numpy(LABELS), None),
    "not masked": (lambda: np.ma.array(LABELS), None),
    "pandas": (lambda: pd.Series(LABELS, index=range(100, 112)), None),
    "pandas Int64": (lambda: pd.Series(LABELS, dtype="Int64"), None),
    "pandas boolean": (lambda: pd.Series(LABELS == 1, dtype="boolean"), None),
    "pandas string": (lambda: pd.Series(WORDS, dtype="string"), TEXT),
    "pandas categories": (lambda: pd.Series(WORDS, dtype="category"), TEXT),
    "pandas frame": (lambda: pd.DataFrame({"label": LABELS}), None),
    "polars": (lambda: pl.Series(LABELS), None),
    "polars text": (lambda: pl.Series(WORDS.tolist()), TEXT),
    "polars categories": (lambda: pl.Series(WORDS.tolist()).cast(pl.Categorical), TEXT),
    "Arrow": (lambda: arrow({"y": LABELS}).column(0), None),
    "Arrow text": (lambda: arrow({"y": WORDS.tolist()}).column(0), TEXT),
}


def hide(values, gap):
    return [gap if hidden else value for value, hidden in zip(values, HIDDEN, strict=True)]


GAPPY_LABELS = {
    "NaN": (lambda: GAPPY, None),
    "list with NaN": (lambda: hide(LABELS.tolist(), float("nan")), None),
    "list with None": (lambda: hide(LABELS.tolist(), None), None),
    "list with pandas.NA": (lambda: hide(LABELS.tolist(), pd.NA), None),
    "list with NaT": (lambda: hide(LABELS.tolist(), pd.NaT), None),
    "bools with None": (lambda: hide((LABELS == 1).tolist(), None), None),
    "text with NaN": (lambda: hide(WORDS.tolist(), float("nan")), TEXT),
    "objects that are text with pandas.NA": (lambda: np.array(hide(WORDS.tolist(), pd.NA), dtype=object), TEXT),
    "masked": (lambda: np.ma.array(LABELS, mask=HIDDEN), None),
    "masked float": (lambda: np.ma.array(LABELS.astype(float), mask=HIDDEN), None),
    "masked text": (lambda: np.ma.array(WORDS, mask=HIDDEN), TEXT),
    "pandas Int64": (lambda: pd.Series(hide(LABELS.tolist(), pd.NA), dtype="Int64"), None),
    "pandas boolean": (lambda: pd.Series(hide((LABELS == 1).tolist(), pd.NA), dtype="boolean"), None),
    "pandas string": (lambda: pd.Series(hide(WORDS.tolist(), pd.NA), dtype="string"), TEXT),
    "pandas categories": (lambda: pd.Series(hide(WORDS.tolist(), None), dtype="category"), TEXT),
    "polars": (lambda: pl.Series(hide(LABELS.tolist(), None)), None),
    "polars bools": (lambda: pl.Series(hide((LABELS == 1).tolist(), None)), None),
    "polars text": (lambda: pl.Series(hide(WORDS.tolist(), None)), TEXT),
    "Arrow bools": (lambda: arrow({"y": hide((LABELS == 1).tolist(), None)}).column(0), None),
    "Arrow text": (lambda: arrow({"y": hide(WORDS.tolist(), None)}).column(0), TEXT),
}


def build(name, **params):
    from sklearn.base import clone

    return clone(ESTIMATORS[name]).set_params(**params)


def result(estimator, rows):
    """What an estimator is for: probabilities, targets, scores, rows without gaps or codes."""
    for method in ("predict_proba", "score_samples", "predict", "transform"):
        if hasattr(estimator, method):
            return np.asarray(getattr(estimator, method)(rows), dtype=float).squeeze()
    raise AssertionError(estimator)


@cache
def plain_model(name, base):
    return build(name).fit(BASES[base], LABELS)


BASES = {"plain": PLAIN, "bits": BITS, "gaps": GAPS}


def base_of(plain):
    return next(name for name, rows in BASES.items() if rows is plain)


def says(sentence, call):
    """Check that a call is refused in one sentence."""
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name in ESTIMATORS for kind in ROWS]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_rows(name, kind):
    make, plain, sentence = ROWS[kind]
    rows = make()
    trained = plain_model(name, "plain")
    if name == "imputer" and (sparse.issparse(rows) or kind == "pandas, sparse"):
        sentence = "Sparse data was passed for X"
    elif plain is GAPS and name != "imputer":
        sentence = r"X contains NaN or infinity: X\[3, 1\] is NaN"
    if sentence is not None:
        says(sentence, lambda: build(name).fit(rows, LABELS))
        says(sentence, lambda: result(trained, rows))
        if name in ("autoencoder", "stack"):
            says(sentence.replace("X", "X_val"), lambda: build(name).fit(PLAIN, X_val=rows))
        return
    trained = plain_model(name, base_of(plain))
    expected = result(trained, plain)
    assert_allclose(result(trained, rows), expected, rtol=1e-2 if "float16" in kind else 1e-5, atol=1e-6)
    for label_kind, (make_labels, refused) in LABEL_KINDS.items():
        if name == "regressor" and refused:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                labels = make_labels()
            except pytest.skip.Exception:
                continue
            model = build(name).fit(rows, labels)
        for other in (rows, plain):
            found = result(model, other)
            assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=label_kind)
        if name in ("autoencoder", "stack", "detector", "imputer"):
            break  # which do not look at labels


@pytest.mark.parametrize("kind", LABEL_KINDS)
@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_labels(name, kind):
    make, refused = LABEL_KINDS[kind]
    labels, plain = make(), plain_model(name, "plain")
    if name == "regressor" and refused:
        says(refused, lambda: build(name).fit(PLAIN, labels))
        says(refused, lambda: plain.score(PLAIN, labels))
        return
    model = build(name).fit(PLAIN, labels, X_val=PLAIN, y_val=labels)
    assert_allclose(result(model, PLAIN), result(plain, PLAIN), rtol=1e-6)
    assert model.score(PLAIN, labels) == pytest.approx(plain.score(PLAIN, LABELS))
    if name == "classifier":
        values = ["no", "yes"] if refused else ["0", "1"] if kind == "text that is numbers" else [0, 1]
        assert model.classes_.tolist() == values
        assert_array_equal(model.predict(PLAIN), np.array(values)[plain.predict(PLAIN)])


@pytest.mark.parametrize("kind", GAPPY_LABELS)
@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_labels_with_gaps(name, kind):
    make, refused = GAPPY_LABELS[kind]
    labels = make()
    gap = r"y contains NaN or None in 2 of 12 rows, the first of them y\[4\]"
    says(gap, lambda: build(name).fit(PLAIN, labels))
    says(gap, lambda: plain_model(name, "plain").score(PLAIN, labels))
    says(gap.replace("y", "y_val"), lambda: build(name).fit(PLAIN, LABELS, X_val=PLAIN, y_val=labels))
    expected = build(name, unlabeled=float("nan")).fit(PLAIN, GAPPY)
    for unlabeled in (float("nan"), pd.NA, np.float32("nan")):
        model = build(name, unlabeled=unlabeled)
        if name == "regressor" and refused:
            says(refused, lambda model=model: model.fit(PLAIN, labels))
            continue
        assert_allclose(result(model.fit(PLAIN, labels), PLAIN), result(expected, PLAIN), rtol=1e-6)
    if name == "classifier":
        assert model.classes_.tolist() == (["no", "yes"] if refused else [0, 1])
