"""A normal member of scikit-learn: parameters of parts, searches, going on, weights, what pipelines need."""

import copy
import pickle
import runpy
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from layerwise import (
    LBFGS,
    SGD,
    Adam,
    Autoencoder,
    AutoencoderOutlierDetector,
    KLSparsity,
    L1Sparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    load,
    save,
)
from layerwise.export import export_numpy, to_module

SHORT = LBFGS(8)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def classifier(digits):
    stack = StackedAutoencoder([Autoencoder(20, sparsity=KLSparsity(0.1), solver=SHORT), Autoencoder(10, solver=SHORT)])
    return StackedClassifier(stack, solver=SHORT, random_state=0).fit(*digits)


# Parameters of parts.


def test_parameters_of_layers_and_parts():
    stack = StackedAutoencoder([Autoencoder(30, sparsity=KLSparsity()), 20], solver="adam")
    params = stack.get_params()
    assert params["layer0__sparsity__weight"] == 3
    assert params["layer1__n_hidden"] == params["layer1"] == 20
    assert params["layer1__solver__max_iter"] == 200
    assert params["solver__batch_size"] == 128
    stack.set_params(layer0__sparsity__weight=1, layer1__solver__max_iter=7, solver__max_iter=9)
    assert stack.layers[0].sparsity.weight == 1
    assert (stack.layers[1].n_hidden, stack.layers[1].solver.max_iter) == (20, 7)
    assert (type(stack.solver), stack.solver.max_iter) == (Adam, 9)
    classifier = StackedClassifier().set_params(autoencoder__layer1__alpha=0.5, solver="sgd", solver__max_iter=3)
    assert classifier.autoencoder.layers[1].alpha == 0.5
    assert (type(classifier.solver), classifier.solver.max_iter) == (SGD, 3)
    assert clone(classifier).get_params()["autoencoder__layer1__alpha"] == 0.5


def test_layers_that_were_passed_stay_as_they_are():
    recipe = Autoencoder(30)
    layers = [recipe, recipe]
    stack = StackedAutoencoder(layers).set_params(layer0__n_hidden=5, layer1=7)
    assert [recipe.n_hidden, layers] == [30, [recipe, recipe]]
    assert [stack.layers[0].n_hidden, stack.layers[1]] == [5, 7]


@pytest.mark.parametrize(
    ("estimator", "params", "message"),
    [
        (Autoencoder(), {"sparsity__weight": 1}, "sparsity__weight=1 cannot be set: sparsity=None of Autoencoder has"),
        (StackedAutoencoder([3]), {"layer1__alpha": 1}, "layer1__alpha names no parameter: layers has 1 entries"),
        (Autoencoder(), {"sparsty": None}, "Invalid parameter 'sparsty'"),
        (Autoencoder(), {"solver__max_itr": 3}, "Invalid parameter 'max_itr'"),
    ],
)
def test_parameters_that_are_not_there(estimator, params, message):
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**params)


# Searches, on many processes.


SPARSE = Autoencoder(100, sparsity=KLSparsity(0.1, 0.3), alpha=1e-4, solver=LBFGS(100))
SEMI = StackedClassifier(
    StackedAutoencoder([SPARSE]), finetune="head", alpha=1e-3, unlabeled=-1, solver=LBFGS(50), random_state=0
)


def few_labels(seed):
    """Return digits: 100 rows with labels and then 900 without (-1); 797 rows to test with."""
    X, y = load_digits(return_X_y=True)
    labelled, rest = train_test_split(np.arange(len(X)), train_size=100, stratify=y, random_state=seed)
    train, test = np.concatenate([labelled, rest[:900]]), rest[900:]
    return X[train], np.where(np.arange(1000) < 100, y[train], -1), X[test], y[test]


def test_hundred_labels_are_enough_to_beat_raw_pixels():
    gains = []
    for seed in range(3):
        X, y, X_test, y_test = few_labels(seed)
        raw = LogisticRegression(max_iter=5000).fit(X[:100], y[:100])
        gains.append(clone(SEMI).fit(X, y).score(X_test, y_test) - raw.score(X_test, y_test))
    assert np.mean(gains) > 0.01


def test_search_is_the_same_on_two_processes():
    X, y, X_test, y_test = few_labels(0)
    cv = [(np.setdiff1d(np.arange(1000), fold), fold) for fold in np.array_split(np.arange(100), 3)]
    grid = {"autoencoder__layer0__sparsity__weight": [0.3, 1.0], "autoencoder__layers": [[SPARSE], [SPARSE, SPARSE]]}
    searches = [GridSearchCV(SEMI, grid, cv=cv, n_jobs=n).fit(X, y) for n in (1, 2)]
    for name in ("split0_test_score", "split1_test_score", "split2_test_score"):
        assert_array_equal(searches[0].cv_results_[name], searches[1].cv_results_[name])
    assert_array_equal(searches[0].predict_proba(X_test), searches[1].predict_proba(X_test))
    assert searches[0].score(X_test, y_test) > LogisticRegression(max_iter=5000).fit(X[:100], y[:100]).score(
        X_test, y_test
    )
    scores = [cross_val_score(SEMI, X, y, cv=cv, n_jobs=n) for n in (1, 2)]
    assert_array_equal(scores[0], scores[1])


def count_threads(estimator, X, y):
    return torch.get_num_threads()


@pytest.mark.skipif(joblib.cpu_count() < 2, reason="needs two processors")
def test_processes_share_the_processors(digits):
    small = Autoencoder(3, solver=LBFGS(1))
    assert max(cross_val_score(small, *digits, cv=2, n_jobs=2, scoring=count_threads)) <= joblib.cpu_count() // 2


@pytest.mark.parametrize("n_threads", [2, 4])
def test_small_problems_do_not_depend_on_the_number_of_threads(digits, n_threads):
    fits = []
    for n in (1, n_threads):
        torch.set_num_threads(n)
        fits.append(StackedClassifier(Autoencoder(20, solver=LBFGS(30)), solver=LBFGS(30), random_state=0).fit(*digits))
        assert torch.get_num_threads() == n
    assert_array_equal(fits[0].predict_proba(digits[0]), fits[1].predict_proba(digits[0]))


# Going on.


@pytest.mark.parametrize("params", [{"corruption": Masking(0.1)}, {"sparsity": KLSparsity(0.2)}])
@pytest.mark.parametrize("solver", [LBFGS(6), Adam(6), SGD(6)])
def test_warm_start_goes_on_as_if_it_had_not_stopped(digits, solver, params):
    X, _ = digits
    common = {**params, "dtype": "float64", "random_state": 0}
    whole = Autoencoder(8, solver=clone(solver).set_params(max_iter=12), **common).fit(X)
    halves = Autoencoder(8, solver=solver, warm_start=True, **common).fit(X).fit(X)
    parts = Autoencoder(8, solver=solver, **common)
    for _ in range(12):
        parts.partial_fit(X)
    for other in (halves, parts, copy.deepcopy(halves), pickle.loads(pickle.dumps(parts))):
        assert_array_equal(other.components_, whole.components_)
        assert other.loss_curve_ == whole.loss_curve_
        assert other.n_iter_ == 12
    assert_array_equal(halves.mean_activations_, whole.mean_activations_)
    restored = pickle.loads(pickle.dumps(Autoencoder(8, solver=solver, warm_start=True, **common).fit(X))).fit(X)
    assert_array_equal(copy.deepcopy(restored).components_, whole.components_)
    again = Autoencoder(8, solver=solver, **common).fit(X).fit(X)
    assert again.n_iter_ == 6


@pytest.mark.parametrize("solver", [LBFGS(4), Adam(4)])
def test_stacks_and_predictors_go_on(digits, solver):
    X, y = digits
    stack = StackedAutoencoder([Autoencoder(8, solver=solver), Autoencoder(4, solver=solver)], random_state=0)
    stack.set_params(warm_start=True).fit(X)
    before = [layer.loss_ for layer in stack.layers_]
    assert [layer.n_iter_ for layer in stack.fit(X).layers_] == [8, 8]
    assert stack.layers_[0].loss_ < before[0]
    deep = clone(stack).set_params(finetune="reconstruction", solver=solver).fit(X)
    components = deep.layers_[0].components_.copy()
    assert [record["n_iter"] for record in deep.fit(X).history_] == [4, 4, 8]
    assert not np.array_equal(deep.layers_[0].components_, components)
    classifier = StackedClassifier(clone(stack), solver=solver, warm_start=True, random_state=0).fit(X, y)
    pretrained, loss = classifier.autoencoder_.layers_[0].components_, classifier.loss_
    assert [record["n_iter"] for record in classifier.fit(X, y).history_] == [4, 4, 8, 8]
    assert classifier.loss_ < loss
    assert_array_equal(classifier.autoencoder_.layers_[0].components_, pretrained)


def test_partial_fit_of_predictors(digits):
    X, y = digits
    stack = FrozenEstimator(Autoencoder(20, solver=LBFGS(30), random_state=0).fit(X))
    classifier = StackedClassifier(stack, solver=Adam(learning_rate_init=0.01, batch_size=20), random_state=0)
    classifier.partial_fit(X[:50], y[:50] % 3, classes=range(10))
    assert classifier.classes_.tolist() == list(range(10))
    for _ in range(10):
        for place in range(0, 300, 100):
            classifier.partial_fit(X[place : place + 100], y[place : place + 100])
    assert classifier.score(X, y) > 0.9
    regressor = StackedRegressor(stack, solver=Adam(learning_rate_init=0.01, batch_size=20), random_state=0)
    for _ in range(20):
        regressor.partial_fit(X, y / 10)
    assert regressor.score(X, y / 10) > 0.5
    with pytest.raises(ValueError, match="y holds 77, which is none of the classes"):
        classifier.partial_fit(X[:2], [1, 77])


def test_other_weights_cannot_be_gone_on_with(digits):
    autoencoder = Autoencoder(5, solver=SHORT, warm_start=True).fit(digits[0])
    with pytest.raises(ValueError, match="n_hidden=6 and tied=False do not go with the weights to go on with"):
        autoencoder.set_params(n_hidden=6).fit(digits[0])
    stack = StackedAutoencoder([5], warm_start=True).set_params(layer0__solver__max_iter=2).fit(digits[0])
    with pytest.raises(ValueError, match="layers has 2 entries, but the stack to go on with has 1"):
        stack.set_params(layers=[5, 5]).fit(digits[0])


# Weights.


@pytest.mark.parametrize(
    "layer",
    [
        Autoencoder(5, sparsity=KLSparsity(0.2), solver=LBFGS(15), dtype="float64"),
        Autoencoder(5, sparsity=L1Sparsity(0.1), contraction=0.1, solver=LBFGS(15), dtype="float64"),
        Autoencoder(5, loss="binary_cross_entropy", solver=LBFGS(15), dtype="float64"),
        Autoencoder(5, corruption=Masking(0.2, emphasis=(1, 0.5)), solver=Adam(10, batch_size=7)),
    ],
    ids=["kl", "l1", "cross-entropy", "noise"],
)
def test_weights_are_repetition(digits, layer):
    X, y = digits[0][:60], digits[1][:60]
    weights = np.random.default_rng(0).integers(0, 4, 60)
    repeated = np.repeat(np.arange(60), weights)
    model = StackedClassifier(layer, solver=layer.solver, random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    assert_allclose(weighted.predict_proba(X), model.fit(X[repeated], y[repeated]).predict_proba(X), rtol=1e-4)
    assert weighted.loss_ == pytest.approx(model.loss_, rel=1e-6)


def test_fractional_weights_under_batches(digits):
    """On average a row of weight 0.5 comes half as often as one of weight 1."""
    X = np.array([[0.0], [1.0]]).repeat(500, axis=0)
    weights = np.array([0.5, 1.0]).repeat(500)
    linear = Autoencoder(1, activation="identity", output_activation="identity", scale=None, alpha=1e6, random_state=0)
    linear.set_params(solver=SGD(60, learning_rate_init=0.05, batch_size=100))  # the decay leaves the bias alone
    assert linear.set_params(alpha=10.0).fit(X, sample_weight=weights).intercepts_[-1][0] == pytest.approx(
        2 / 3, abs=0.02
    )


def test_rows_may_come_in_any_order(digits):
    X, _ = digits
    order = np.random.default_rng(0).permutation(len(X))
    autoencoder = Autoencoder(6, corruption=Masking(0.3), solver=Adam(5), random_state=0)
    assert_array_equal(clone(autoencoder).fit(X[order]).components_, autoencoder.fit(X).components_)


# Outliers.


@pytest.mark.filterwarnings("ignore:X holds values far from all others")
def test_an_outlier_in_training_is_found():
    """It must not be learnt by heart, however large it is."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(300, 6))
        X[7, 2] = 30
        detector = AutoencoderOutlierDetector(contamination=0.01, random_state=0).fit(X)
        assert detector.predict(X)[7] == -1
        assert detector.score_samples(X).argmin() == 7
        assert detector.reconstruction_error(X[[7]], per_feature=True).argmax() == 2
        assert (detector.predict(X) == -1).sum() == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "contamination"), [(207, 0.07), (150, 0.02), (90, 0.5), (60, 0.01)])
def test_the_threshold_lies_between_two_training_rows(dtype, n, contamination):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(n, 5))
    layer = Autoencoder(3, activation="tanh", output_activation="identity", dtype=dtype, solver=SHORT)
    detector = AutoencoderOutlierDetector(layer, contamination=contamination, random_state=0).fit(X)
    scores, wanted = np.sort(detector.score_samples(X)), int(n * contamination + 1e-9)
    if wanted:
        assert detector.offset_ == scores[wanted - 1 : wanted + 1].mean()
    else:
        assert scores[0] * 1.01 < detector.offset_ < scores[0]
    verdicts = detector.predict(X)
    assert (verdicts == -1).sum() == wanted
    for rows in (X.astype(np.float32), torch.from_numpy(X[::-1].copy()).flip(0)):
        assert_array_equal(detector.predict(rows), verdicts)
    assert_array_equal([detector.predict(X[[k]])[0] for k in range(n)], verdicts)


def test_the_threshold_does_not_part_rows_that_are_the_same():
    """Thirty copies of one row lie at the share; single rows and batches differ in their last bits."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 6))
    scores = AutoencoderOutlierDetector(random_state=0).fit(X).score_samples(X)
    copied = X[scores.argsort()[15]]
    X = np.concatenate([X, copied + 1e-9 * rng.normal(size=(30, 6))])
    detector = AutoencoderOutlierDetector(contamination=0.1, random_state=0).fit(X)
    verdicts = detector.predict(X)
    copies = np.flatnonzero(np.abs(X - copied).max(axis=1) < 1e-6)
    assert len(copies) == 31
    assert len(set(verdicts[copies])) == 1
    assert 0 < (verdicts == -1).sum() <= 23
    scores = detector.score_samples(X)
    middle = (scores[verdicts == -1].max() + scores[verdicts == 1].min()) / 2
    assert detector.offset_ == pytest.approx(middle, rel=1e-12)


def test_the_threshold_counts_weights():
    """Rows of weight 0 are as if absent, also as neighbours of the threshold."""
    X = np.random.default_rng(2).normal(size=(101, 4))
    weights = np.arange(101) % 3
    frozen = FrozenEstimator(Autoencoder(2, output_activation="identity", solver=SHORT, random_state=0).fit(X))
    detector = AutoencoderOutlierDetector(frozen, contamination=0.21)
    weighted = clone(detector).fit(X, sample_weight=weights)
    assert weighted.offset_ == detector.fit(np.repeat(X, weights, axis=0)).offset_
    below = weights[weighted.predict(X) == -1].sum()
    assert below <= 0.21 * weights.sum() < below + 2


def test_rows_that_are_all_the_same_are_no_outliers():
    detector = AutoencoderOutlierDetector(random_state=0).fit(np.ones((20, 3)))
    assert_array_equal(detector.predict(np.ones((7, 3))), 1)
    assert detector.predict([[1.0, 2.0, 1.0]]) == -1


# Fitted attributes.


def test_coefs_and_intercepts_are_the_network(digits, classifier):
    X = digits[0] / 16
    scaled = classifier.autoencoder_.coder_.scaling(torch.from_numpy(digits[0])).numpy()
    assert X.shape == scaled.shape
    h = scaled
    for weight, bias in list(zip(classifier.coefs_, classifier.intercepts_, strict=True))[:-1]:
        h = 1 / (1 + np.exp(-(h @ weight + bias)))
    logits = h @ classifier.coefs_[-1] + classifier.intercepts_[-1]
    assert_array_equal(classifier.classes_[logits.argmax(axis=1)], classifier.predict(digits[0]))
    stack = classifier.autoencoder_
    assert [weight.shape for weight in stack.coefs_] == [(64, 20), (20, 10), (10, 20), (20, 64)]
    assert [len(bias) for bias in stack.intercepts_] == [20, 10, 20, 64]


def test_history_of_every_stage(classifier):
    assert [record["stage"] for record in classifier.history_] == ["layer 0", "layer 1", "head", "finetune"]
    assert classifier.history_[-1]["loss"] == classifier.loss_
    assert classifier.history_[0]["loss_curve"] == classifier.autoencoder_.layers_[0].loss_curve_
    assert classifier.n_iter_ == len(classifier.loss_curve_)


def test_explained_variance_beside_that_of_pca(digits):
    X = digits[0] / 16 - (digits[0] / 16).mean(axis=0)
    linear = Autoencoder(
        6,
        activation="identity",
        output_activation="identity",
        scale=None,
        alpha=0.0,
        solver=LBFGS(3000, tol=1e-8, ftol=1e-15),
        dtype="float64",
    ).fit(X)
    assert linear.pca_explained_variance_ratio_ == pytest.approx(
        PCA(6).fit(X).explained_variance_ratio_.sum(), rel=1e-4
    )
    assert linear.explained_variance_ratio_ == pytest.approx(linear.pca_explained_variance_ratio_, abs=2e-3)


def test_dead_units(digits):
    X = digits[0]
    autoencoder = Autoencoder(6, activation="relu", solver=LBFGS(20), random_state=0, warm_start=True).fit(X)
    with torch.no_grad():
        autoencoder.layer_.encoder_bias[[1, 4]] = -1e6
    assert {1, 4} <= set(autoencoder.set_params(solver=LBFGS(0)).fit(X).dead_units_)


# Among others.


def test_to_torch(digits, classifier):
    rows = torch.from_numpy(digits[0])
    network = classifier.to_torch()
    assert_allclose(network(rows.double()).softmax(dim=1).detach(), classifier.predict_proba(digits[0]), rtol=1e-4)
    stack = classifier.autoencoder_
    network = stack.to_torch()
    assert_allclose(network.encode(rows.double()).detach(), stack.transform(digits[0]), rtol=1e-4)
    again = stack.inverse_transform(stack.transform(digits[0]))
    assert_allclose(network(rows.double()).detach(), again, rtol=1e-3, atol=1e-3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    (network(rows.double()) - rows.double()).square().mean().backward()
    optimizer.step()
    assert not np.allclose(stack.inverse_transform(stack.transform(digits[0])), again)


def test_tensors_in_tensors_out(digits, classifier):
    rows = torch.from_numpy(digits[0]).float()
    for method in (classifier.transform, classifier.predict_proba, classifier.predict):
        assert isinstance(method(rows), torch.Tensor)
    assert classifier.transform(rows).dtype == torch.float32
    assert_allclose(classifier.transform(rows), classifier.transform(digits[0]), rtol=1e-4)


def test_pipelines_columns_and_calibration(digits):
    X, y = load_iris(return_X_y=True, as_frame=True)
    X = X.assign(kind=np.where(X.iloc[:, 0] > 5, "long", "short"))
    columns = ColumnTransformer(
        [
            ("codes", Autoencoder(3, solver=SHORT, random_state=0), list(X.columns[:4])),
            ("kind", OneHotEncoder(), ["kind"]),
        ]
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(X, y)
    assert pipeline.score(X, y) > 0.8
    assert columns.fit(X).get_feature_names_out()[:2].tolist() == ["codes__autoencoder0", "codes__autoencoder1"]
    model = StackedClassifier(Autoencoder(10, solver=SHORT), solver=SHORT, random_state=0)
    calibrated = CalibratedClassifierCV(model, cv=2).fit(*digits)
    assert_allclose(calibrated.predict_proba(digits[0]).sum(axis=1), 1)
    assert calibrated.score(*digits) > 0.7


def test_metadata_routing(digits):
    X, y = digits
    weights = np.where(y < 5, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        encoder = Autoencoder(6, solver=SHORT, random_state=0).set_fit_request(sample_weight=True)
        head = StackedClassifier(Autoencoder(6, solver=SHORT), solver=SHORT, random_state=0)
        pipeline = make_pipeline(encoder, head.set_fit_request(sample_weight=True))
        assert pipeline.fit(X, y, sample_weight=weights)[-1].classes_.tolist() == [0, 1, 2, 3, 4]
        assert_array_equal(
            pipeline[0].components_, Autoencoder(6, solver=SHORT, random_state=0).fit(X[y < 5]).components_
        )


@pytest.mark.skipif(not hasattr(Autoencoder, "set_callbacks"), reason="scikit-learn before 1.9 has no callbacks")
def test_callbacks_of_scikit_learn(digits, capsys):
    from sklearn.callback import ProgressBar, ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    model = StackedClassifier(Autoencoder(8, solver=SHORT), solver=SHORT, random_state=0).set_callbacks(monitor)
    model.fit(*digits)
    curve = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    assert len(curve) == 16  # of the head and of fine-tuning; nothing can be predicted before
    assert curve[-1] == model.score(*digits) > curve[0]
    assert model.autoencoder_.callbacks is None
    Autoencoder(3, solver=SHORT).set_callbacks(ProgressBar()).fit(digits[0])
    assert "layer 0" in capsys.readouterr().out


def test_callbacks_of_scikit_learn_can_stop(digits):
    if not hasattr(Autoencoder, "set_callbacks"):
        pytest.skip("scikit-learn before 1.9 has no callbacks")

    class Stop:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "iteration" and context.task_id == 2

    assert Autoencoder(3, solver=SHORT).set_callbacks(Stop()).fit(digits[0]).n_iter_ == 3


def test_example_of_pruning():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = Path(__file__).parents[1] / "examples" / "optuna_pruning.py"
    study = runpy.run_path(str(path))["main"](n_trials=12)
    states = {trial.state.name for trial in study.trials}
    assert states == {"COMPLETE", "PRUNED"}


def test_features_of_a_group_count_as_one(tmp_path):
    """The error is the sum over groups of the mean over their features; saved and exported models agree."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 6, 300)
    X = np.column_stack([np.eye(6)[kind], rng.normal(size=(300, 2))])
    groups = [*["kind"] * 6, "a", "b"]
    plain = AutoencoderOutlierDetector(Autoencoder(3, solver=LBFGS(10)), random_state=0).fit(X)
    grouped = clone(plain).set_params(feature_groups=groups).fit(X)
    terms = plain.reconstruction_error(X, per_feature=True)
    expected = terms[:, :6].mean(axis=1) + terms[:, 6] + terms[:, 7]
    np.testing.assert_allclose(grouped.reconstruction_error(X), expected, rtol=1e-12)
    np.testing.assert_allclose(grouped.reconstruction_error(X, per_feature=True).sum(axis=1), expected, rtol=1e-12)
    assert (grouped.predict(X) == -1).sum() == 30
    save(grouped, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").decision_function(X), grouped.decision_function(X))
    export_numpy(grouped, tmp_path / "detector.py")
    program = runpy.run_path(str(tmp_path / "detector.py"))
    np.testing.assert_allclose(program["decision_function"](X), grouped.decision_function(X), rtol=1e-9, atol=1e-12)
    module = to_module(grouped)
    errors = module(torch.from_numpy(X).float())["errors"].numpy(force=True)
    np.testing.assert_allclose(errors, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="feature_groups has 2 names, but X has 8 features"):
        clone(grouped).set_params(feature_groups=["a", "b"]).fit(X)
