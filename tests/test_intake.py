"""What users pass: names of columns, gaps, dates, containers that hold no rows, labels of many kinds."""

import datetime
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

import layerwise
from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.comparison import compare
from layerwise.data import TableEncoder

SOLVER = LBFGS(2)
LAYER = Autoencoder(2, solver=SOLVER, random_state=0)
CLASSIFIER = StackedClassifier(LAYER, solver=SOLVER, random_state=0)
REGRESSOR = StackedRegressor(LAYER, solver=SOLVER, random_state=0)
EVERY = [
    LAYER,
    StackedAutoencoder([LAYER]),
    CLASSIFIER,
    REGRESSOR,
    AutoencoderOutlierDetector(LAYER),
    AutoencoderImputer(LAYER, random_state=0),
]
M = 20
X = np.random.default_rng(0).random((M, 4))
Y = np.arange(M) % 2
GAPS = np.where(X > 0.8, np.nan, X)

every_estimator = pytest.mark.parametrize("estimator", EVERY, ids=lambda estimator: type(estimator).__name__)


def frame(names, rows=X):
    return pd.DataFrame(rows, columns=names)


def apply(estimator, rows):
    return (estimator.transform if hasattr(estimator, "transform") else estimator.predict)(rows)


# --- Names of columns


OTHER_NAMES = {
    "numbers": [30, 10, 40, 20],
    "floats": [0.25, 0.5, 0.75, 1.0],
    "dates": pd.period_range("2021-03", periods=4, freq="M"),
    "tuples": pd.MultiIndex.from_product([["left", "right"], ["x", "y"]]),
    "numbers in another order": [1, 0, 2, 3],
}


@pytest.mark.parametrize("names", OTHER_NAMES.values(), ids=OTHER_NAMES)
@every_estimator
def test_columns_in_another_order_are_refused(estimator, names, tmp_path):
    rows = frame(names)
    turned = rows[rows.columns[[0, 2, 1, 3]]]
    fitted = clone(estimator).fit(rows, Y)
    layerwise.save(fitted, tmp_path / "model")
    expected = apply(fitted, X)  # an array has no names
    for model in (fitted, pickle.loads(pickle.dumps(fitted)), layerwise.load(tmp_path / "model")):
        assert_array_equal(apply(model, rows), expected)
        with pytest.raises(ValueError, match=r"the columns of X are not in the order of training: column 1 is '"):
            apply(model, turned)
        with pytest.raises(ValueError, match=r"are not those of training: column 0 is '77', but was '"):
            apply(model, frame([77, *rows.columns[1:]]))


def test_columns_of_later_and_other_rows():
    rows = frame([30, 10, 40, 20])
    turned = rows[[10, 20, 30, 40]]
    order = "are not in the order of training: column 0 is '10', but was '30' there; bring them into that order"
    model = clone(LAYER).set_params(solver=Adam(1)).fit(rows)
    before = model.components_.copy()
    for use in (
        model.partial_fit,
        model.set_params(warm_start=True).fit,
        model.score,
        FrozenEstimator(model).transform,
        lambda rows: clone(LAYER).fit(rows[rows.columns], X_val=frame([30, 10, 40, 20])),
        lambda rows: StackedClassifier(FrozenEstimator(model)).fit(rows, Y),
        lambda rows: StackedAutoencoder([FrozenEstimator(model)]).fit(rows),
    ):
        with pytest.raises(ValueError, match="are not in the order of training"):
            use(turned)
    with pytest.raises(ValueError, match=order):
        model.partial_fit(turned)
    assert_array_equal(model.components_, before)
    assert not hasattr(clone(model).fit(X), "column_names_")
    model.set_params(warm_start=False).fit(turned)
    assert model.column_names_.tolist() == ["10", "20", "30", "40"]
    assert not hasattr(model.fit(X), "column_names_")


def test_text_of_a_frozen_stack_is_compared():
    with pytest.raises(ValueError, match="column 0 is 'd', but was 'a' there"):
        StackedClassifier(FrozenEstimator(clone(LAYER).fit(frame(list("abcd"))))).fit(frame(list("dcba")), Y)


def test_columns_numbered_from_0_have_no_names():
    for rows in (X, frame(None)):
        model = clone(LAYER).fit(rows)
        assert not hasattr(model, "column_names_")
        assert_array_equal(model.transform(frame([0, 1, 2, 3])), model.transform(X))
        with pytest.raises(ValueError, match="column 0 is '3', but was '0' there"):
            model.transform(frame([3, 2, 1, 0]))
        with pytest.warns(UserWarning, match="X has columns with names, such as '5', but Autoencoder was fitted"):
            model.transform(frame([0, 1, 2, 5]))
    named = clone(LAYER).fit(frame([5, 6, 7, 8]))
    assert_array_equal(named.transform(frame(None)), named.transform(X))
    with pytest.raises(ValueError, match="column 0 is '0', but was '2' there"):
        clone(LAYER).fit(frame([2, 1, 0, 3])).transform(frame(None))


@pytest.mark.parametrize(
    ("rows", "twin"),
    [
        (pd.concat([frame([1, 2, 3, 4]), frame([1, 5, 6, 7])], axis=1), "1"),
        (frame(["a", "b", "b", "c"]), "b"),
        (frame(pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("a", 1), ("b", 1)])), r"\('a', 1\)"),
    ],
)
def test_two_columns_of_one_name(rows, twin):
    with pytest.raises(ValueError, match=f"^X has two columns called '?\"?{twin}'?\"?; give each column a name"):
        clone(LAYER).fit(rows)


# --- What is missing


def as_objects(gap):
    return np.where(np.isnan(GAPS), gap, GAPS.astype(object))


MASKED = {
    "masked": np.ma.array(X, mask=np.isnan(GAPS)),
    "masked float32": np.ma.array(X.astype(np.float32), mask=np.isnan(GAPS)),
    "pandas.NA": as_objects(pd.NA),
    "NaT": as_objects(pd.NaT).tolist(),
    "nullable": frame(list("abcd"), GAPS).astype("Float32"),
    "pandas.NA in a frame": frame(list("abcd"), as_objects(pd.NA)),
}


@pytest.mark.parametrize("rows", MASKED.values(), ids=MASKED)
def test_gaps_of_any_kind(rows):
    row, column = (int(place) for place in np.argwhere(np.isnan(GAPS))[0])
    for estimator in EVERY[:-1]:
        with pytest.raises(ValueError, match=rf"X contains NaN or infinity: X\[{row}, {column}\] is NaN"):
            clone(estimator).fit(rows, Y)
    plain = frame(list("abcd")) if isinstance(rows, pd.DataFrame) else X
    with pytest.raises(ValueError, match=r"X_val contains NaN or infinity"):
        clone(LAYER).fit(plain, X_val=rows)
    filled = clone(EVERY[-1]).fit(rows).transform(rows)
    assert_allclose(filled, clone(EVERY[-1]).fit(GAPS).transform(GAPS), rtol=1e-5)


def test_masks_of_codes_and_weights_count():
    model = clone(LAYER).fit(X)
    with pytest.raises(ValueError, match="is NaN"):
        model.inverse_transform(np.ma.array(X[:, :2], mask=X[:, :2] > 0.5))
    for weights in (np.ma.array(np.ones(M), mask=Y), pd.Series([1.0, None] * 10, dtype="Float64"), [1, pd.NA] * 10):
        with pytest.raises(ValueError, match="sample_weight contains NaN"):
            clone(LAYER).fit(X, sample_weight=weights)
    weighted = clone(LAYER).fit(X, sample_weight=np.ma.array(1 + Y)).components_
    assert_array_equal(weighted, clone(LAYER).fit(X, sample_weight=1 + Y).components_)


PLACEHOLDERS = {
    "0": (0, np.array),
    "99": (99, torch.from_numpy),
    "-0.5": (-0.5, lambda rows: torch.from_numpy(rows).float()),
    "-1": (-1.0, lambda rows: frame(list("abcd"), rows)),
    "1e6": (1e6, lambda rows: pl.DataFrame(rows, schema=list("abcd"))),
    "7": (7, lambda rows: frame([4, 3, 2, 1], rows)),
    "inf": (np.inf, list),
}


@pytest.mark.parametrize(("value", "kind"), PLACEHOLDERS.values(), ids=PLACEHOLDERS)
def test_numbers_that_mean_missing(value, kind, tmp_path):
    rows = kind(np.where(np.isnan(GAPS), value, X))
    plain, model = (AutoencoderImputer(LAYER, random_state=0).set_params(missing_values=v) for v in (np.nan, value))
    expected = plain.fit(GAPS).transform(GAPS)
    filled = model.fit(rows).transform(rows)
    assert_allclose(np.asarray(filled), expected, rtol=1e-5)
    layerwise.save(model, tmp_path / "model")
    loaded = layerwise.load(tmp_path / "model")
    assert (loaded.missing_values, clone(loaded).missing_values) == (value, value)
    assert_array_equal(np.asarray(loaded.transform(rows)), np.asarray(filled))


@pytest.mark.parametrize("value", [None, pd.NA, float("nan"), np.float32("nan")])
def test_words_for_missing(value, tmp_path):
    model = AutoencoderImputer(LAYER, missing_values=value, random_state=0).fit(GAPS)
    layerwise.save(model, tmp_path / "model")
    assert_array_equal(layerwise.load(tmp_path / "model").transform(GAPS), clone(EVERY[-1]).fit(GAPS).transform(GAPS))


def test_numbers_that_mean_missing_in_uint8():
    rows = np.round(X * 9).astype(np.uint8)
    gaps = np.where(rows == 0, np.nan, rows)
    expected = AutoencoderImputer(LAYER, random_state=0).fit(gaps).transform(gaps)
    assert_array_equal(AutoencoderImputer(LAYER, missing_values=0, random_state=0).fit(rows).transform(rows), expected)


def test_value_that_nothing_is():
    with pytest.warns(UserWarning, match="missing_values=-999 stands nowhere in X, so that nothing counts as missing"):
        AutoencoderImputer(LAYER, missing_values=-999).fit(X)
    with pytest.raises(ValueError, match="The 'missing_values' parameter of AutoencoderImputer must be"):
        AutoencoderImputer(LAYER, missing_values="?").fit(X)


# --- Dates, and other rows that are refused


DAYS = [datetime.date(2020, 1, 1 + k) for k in range(M)]
DATED = {
    "pandas": frame(["a", "b", "c", "day"]).assign(day=pd.to_datetime(DAYS)),
    "pandas with time zone": frame(["a", "b", "c", "day"]).assign(day=pd.date_range("2020", periods=M, tz="UTC")),
    "pandas periods": frame(["a", "b", "c", "day"]).assign(day=pd.period_range("2020", periods=M)),
    "pandas objects": frame(["a", "b", "c", "day"]).assign(day=DAYS),
    "polars": pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "day": DAYS}),
    "polars durations": pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "day": [datetime.timedelta(1)] * M}),
}


@pytest.mark.parametrize("rows", DATED.values(), ids=DATED)
@every_estimator
def test_dates_beside_numbers_are_refused_by_name(estimator, rows):
    sentence = (
        r"^X holds dates or times in column 'day', but numbers are needed; make numbers of them first, such as days "
        r"since a certain one, or leave them out, for example with layerwise.data.TableEncoder\(ignore=\['day'\]\)$"
    )
    with pytest.raises(ValueError, match=sentence):
        clone(estimator).fit(rows, Y)


def test_the_advice_for_dates_is_sound():
    encoded = TableEncoder(ignore=["day"]).fit_transform(DATED["polars"])
    assert_array_equal(encoded, X[:, :3])
    days = TableEncoder().fit_transform(DATED["polars"])[:, 3]  # it makes numbers of them, too
    assert_array_equal(days, [(day - datetime.date(1970, 1, 1)).days for day in DAYS])


@pytest.mark.parametrize(
    "rows",
    [
        np.array([["NaT", "2020-01-01"]] * M, "datetime64[D]"),
        (X * 100).astype("timedelta64[h]"),
        [[1.0, datetime.time(3)]] * M,
        np.array([[np.timedelta64(3, "D"), 1.0]] * M, dtype=object),
        pd.DataFrame({"only": pd.to_datetime(["2020-01-01", None] * 10)}),
    ],
)
def test_dates_alone_are_refused(rows):
    with pytest.raises(ValueError, match=r"^X holds dates or times.*, but numbers are needed"):
        clone(EVERY[-1]).fit(rows)
    with pytest.raises(ValueError, match=r"^X holds dates or times.*, but numbers are needed"):
        clone(LAYER).fit(np.ones((M, 2))).transform(rows)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (pl.LazyFrame(X), r"^X is a polars LazyFrame, which holds no rows yet; pass X.collect\(\)$"),
        (torch.utils.data.TensorDataset(torch.from_numpy(X)), "^X is a TensorDataset, but all rows are needed as one"),
        (torch.from_numpy(X).to_sparse(), r"^X is a sparse torch tensor; pass X.to_dense\(\), or"),
        (X * 1j, "^Complex data not supported: X holds complex numbers; pass real and imaginary parts as columns"),
        (torch.from_numpy(X).cfloat(), "^Complex data not supported: X holds"),
        (sparse.csr_array(X * 1j), "^Complex data not supported: X holds"),
        (np.zeros(M, [("a", float), ("b", float)]), "^X is a structured array; pass numpy.lib.recfunctions"),
        (np.full((M, 2), "1", np.dtypes.StringDType()) + "x", "^X holds text such as '1x', but numbers are needed"),
    ],
)
@every_estimator
def test_what_holds_no_rows_of_numbers(estimator, rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        clone(estimator).fit(rows, Y)


# --- Labels


def hide(values, gap):
    return [gap if k % 5 == 4 else value for k, value in enumerate(values)]


WORDS = ["rain", "sun"] * 10
LABELS = {
    "list": hide(Y.tolist(), None),
    "masked": np.ma.array(Y, mask=np.arange(M) % 5 == 4),
    "nullable": pd.Series(hide(Y.tolist(), pd.NA), dtype="Int8"),
    "bools": np.array(hide((Y == 1).tolist(), None), dtype=object),
    "nullable bools": pd.Series(hide((Y == 1).tolist(), pd.NA), dtype="boolean"),
    "polars bools": pl.Series(hide((Y == 1).tolist(), None)),
    "text and NaN": hide(WORDS, float("nan")),
    "text and NaT": np.array(hide(WORDS, pd.NaT), dtype=object),
    "nullable text": pd.Series(hide(WORDS, pd.NA), dtype="string"),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_with_gaps(labels, tmp_path):
    gap = r"contains NaN or None in 4 of 20 rows, the first of them"
    with pytest.raises(ValueError, match=rf"^y {gap} y\[4\]; say unlabeled=float\('nan'\)"):
        clone(CLASSIFIER).fit(X, labels)
    with pytest.raises(ValueError, match=rf"^y_val {gap} y_val\[4\]; leave such rows out"):
        clone(CLASSIFIER).fit(X, Y, X_val=X, y_val=labels)
    expected = clone(CLASSIFIER).set_params(unlabeled=np.nan).fit(X, hide(Y.astype(float).tolist(), np.nan))
    for unlabeled in (float("nan"), pd.NA):
        model = clone(CLASSIFIER).set_params(unlabeled=unlabeled).fit(X, labels)
        assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    values = ["rain", "sun"] if labels[0] == "rain" else [0, 1]
    assert model.classes_.tolist() == values
    layerwise.save(model, tmp_path / "model")
    assert_array_equal(layerwise.load(tmp_path / "model").predict(X), model.predict(X))
    with pytest.raises(ValueError, match="contains NaN or None in 4 of 20 rows"):
        model.score(X, labels)


ODD = np.where(Y == 1, np.nan, X.T[0])
TARGETS = {
    "nullable": (pd.array(ODD, dtype="Float64"), ODD),
    "masked": (np.ma.array(X, mask=np.isnan(ODD)[:, None] & (np.arange(4) == 2)), np.where(Y[:, None] == 1, np.nan, X)),
    "polars": (pl.Series(ODD, nan_to_null=True), ODD),
}


@pytest.mark.parametrize(("targets", "plain"), TARGETS.values(), ids=TARGETS)
def test_targets_with_gaps(targets, plain):
    with pytest.raises(ValueError, match="y contains NaN or None in 10 of 20 rows"):
        clone(REGRESSOR).fit(X, targets)
    expected, found = (clone(REGRESSOR).set_params(unlabeled=np.nan).fit(X, y).predict(X) for y in (plain, targets))
    assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("labels", "unlabeled", "sentence"),
    [
        (["-7", "a", "b", "a"], -7, "^unlabeled=-7 is a number, but in y it is text; say unlabeled='-7'$"),
        ([99, 0, 1, 0], "99", "^unlabeled='99' is text, but in y it is a number; say unlabeled=99$"),
        (np.array(["a", "b", np.nan, "b"]), np.nan, "^unlabeled=nan is a number, but in y it is text; say unlabeled='"),
        (np.array([-2, 0, 1, 0]).astype(np.uint8), -2, "^unlabeled=-2 cannot stand in y of type uint8.* say unl.*=254"),
        (torch.tensor([-1, 0, 1, 0]).to(torch.uint8), -1, "^unlabeled=-1 cannot stand in y of type uint8"),
    ],
)
def test_unlabeled_of_another_type(labels, unlabeled, sentence):
    labels = torch.cat([labels] * 5) if isinstance(labels, torch.Tensor) else np.tile(labels, 5)
    model = clone(CLASSIFIER).set_params(unlabeled=unlabeled)
    for use in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=sentence):
            use(X, labels)


def test_unlabeled_that_no_label_is():
    model = clone(CLASSIFIER).set_params(unlabeled="?")
    with pytest.warns(UserWarning, match=r"unlabeled='\?' stands nowhere in y, so that all rows count as labelled"):
        model.fit(X, WORDS)
    model.partial_fit(X, WORDS)  # a batch may be without such rows
    some = clone(model).fit(X, hide(Y.tolist(), "?"))
    assert some.classes_.tolist() == [0, 1]
    assert some.classes_.dtype.kind == "i"


def test_comparison_takes_rows_without_labels_of_any_kind():
    model = clone(CLASSIFIER).set_params(unlabeled=float("nan"))
    assert compare(model, X, LABELS["masked"], X, Y, budgets=["all"], n_seeds=1).budgets == [16]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            ["on", "on ", "off", "ON"] * 5,
            r"the classes 'ON', 'on', 'on ' differ only in blanks or case, and are learnt",
        ),
        (["a", "", "b", "a"] * 5, "the text '' is learnt as a class; say unlabeled='' if such rows have no label"),
        (np.array(["a", "b", np.nan, "a"] * 5), "the text 'nan' is learnt as a class"),
    ],
)
def test_classes_that_may_be_mistakes_are_told_once(labels, sentence):
    with pytest.warns(UserWarning, match=sentence) as told:
        model = clone(CLASSIFIER).fit(X, labels)
    assert len([warning for warning in told if "mistakes" in str(warning.message)]) == 1
    assert model.classes_.tolist() == sorted(set(labels))


@pytest.mark.parametrize(
    ("estimator", "labels", "sentence"),
    [
        (
            CLASSIFIER,
            sparse.csr_array(Y[:, None]),
            r"^y is a sparse matrix, but an array is needed; pass y.toarray\(\)",
        ),
        (REGRESSOR, sparse.coo_matrix(X), "^y is a sparse matrix"),
        (REGRESSOR, torch.from_numpy(X).to_sparse(), "^y is a sparse torch tensor"),
        (CLASSIFIER, pl.LazyFrame({"y": Y}), r"^y is a polars LazyFrame, which holds no rows yet; pass y.collect\(\)"),
        (CLASSIFIER, [2, "two"] * 10, "^y holds text beside other values, such as 'two' and 2; make all of them text"),
        (REGRESSOR, np.array([2.5, "two"] * 10, object), "^y holds text beside other values, such as 'two' and 2.5"),
        (CLASSIFIER, [True, "yes"] * 10, "^y holds text beside other values, such as 'yes' and True"),
        (CLASSIFIER, [{}, {}] * 10, "^y holds values of type dict, but numbers or text are needed"),
        (CLASSIFIER, Y * 1j, "^Complex data not supported: y holds complex numbers"),
        (REGRESSOR, WORDS, "^y holds text such as 'rain', but a regressor needs numbers; StackedClassifier takes text"),
        (REGRESSOR, ["1.5", ""] * 10, "^y holds text such as '', but a regressor needs numbers"),
        (REGRESSOR, pd.to_datetime(DAYS), "^y holds dates or times, but a regressor needs numbers"),
    ],
)
def test_labels_that_are_refused(estimator, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        clone(estimator).fit(X, labels)
    with pytest.raises(ValueError, match=sentence.replace("y", "y_val", 1).replace("pass y.", "pass y_val.")):
        clone(estimator).fit(X, Y, X_val=X, y_val=labels)


def test_numbers_written_as_text():
    with pytest.warns(UserWarning, match="y holds numbers written as text, such as '0.5'; they are read as numbers"):
        found = clone(REGRESSOR).fit(X, ["0.5", "-2"] * 10)
    assert_array_equal(found.predict(X), clone(REGRESSOR).fit(X, [0.5, -2] * 10).predict(X))


def test_classes_of_partial_fit():
    for classes, sentence in (([1, "a"], "classes holds text beside"), ([0, 1, None], "classes contains NaN or None")):
        with pytest.raises(ValueError, match=sentence):
            clone(CLASSIFIER).partial_fit(X, Y, classes=classes)
    model = clone(CLASSIFIER).partial_fit(X, Y, classes=pd.Series([2, 1, 0], dtype="Int64"))
    assert model.classes_.tolist() == [0, 1, 2]


# --- Parameters


@pytest.mark.parametrize(
    ("estimator", "sentence"),
    [
        (Autoencoder(True), "n_hidden=True of Autoencoder is no number, but one is expected there"),
        (Autoencoder(2, contraction=False), "contraction=False of Autoencoder is no number"),
        (Autoencoder(2, solver=Adam(batch_size=True)), "batch_size=True of Adam is no number"),
        (AutoencoderImputer(LAYER, n_passes=True), "n_passes=True of AutoencoderImputer is no number"),
        (AutoencoderImputer(LAYER, missing_values=False), "missing_values=False of AutoencoderImputer is no number"),
    ],
)
def test_flags_are_no_numbers(estimator, sentence):
    with pytest.raises(ValueError, match=sentence):
        clone(estimator).fit(X)


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("layers__1__n_hidden", "layer1__n_hidden=3"),
        ("layer_0__solver__max_iter", "layer0__solver__max_iter=3"),
        ("layers1", "layer1=3"),
    ],
)
def test_names_of_parameters_of_layers(name, better):
    with pytest.raises(ValueError, match=f"^{name} names no parameter; say {better}$"):
        StackedAutoencoder([5, 4]).set_params(**{name: 3})
    with pytest.raises(ValueError, match=f"say {better}$"):
        StackedRegressor(StackedAutoencoder([5, 4])).set_params(**{f"autoencoder__{name}": 3})
