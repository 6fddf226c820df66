"""Weights of classes: what they do in fine-tuning, where they are kept, and what is refused."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import recall_score
from sklearn.utils import compute_class_weight, estimator_checks

from layerwise import LBFGS, Adam, Autoencoder, Checkpoint, EarlyStopping, StackedClassifier, load, recipes, save

SHORT = LBFGS(15)


@pytest.fixture(scope="module")
def rare():
    """Rows of three classes, the last of which is rare and lies among the others."""
    rng = np.random.default_rng(0)
    y = np.repeat([3, 5, 8], [150, 100, 12])
    X = rng.normal(size=(262, 6)) + np.eye(6)[[0, 1, 2]].repeat([150, 100, 12], axis=0) * 1.2
    return X, y


@pytest.fixture(scope="module")
def frozen(rare):
    return FrozenEstimator(Autoencoder(5, solver=SHORT, dtype="float64", random_state=0).fit(rare[0]))


def parameters(classifier):
    return [*classifier.coefs_, *classifier.intercepts_]


@pytest.mark.parametrize("solver", [SHORT, Adam(5, batch_size=32)])
@pytest.mark.parametrize("given", [None, "weights"])
def test_a_weight_of_a_class_is_that_of_its_rows(rare, frozen, solver, given):
    X, y = rare
    weights = None if given is None else np.random.default_rng(1).integers(0, 3, len(y))
    classifier = StackedClassifier(frozen, solver=solver, random_state=0)
    by_class = {3: 0.5, 8: np.float32(4)}  # 1 for class 5
    product = np.array([by_class.get(label, 1) for label in y]) * (1 if weights is None else weights)
    expected = clone(classifier).fit(X, y, sample_weight=product)
    found = classifier.set_params(class_weight=by_class).fit(X, y, sample_weight=weights)
    for one, other in zip(parameters(found), parameters(expected), strict=True):
        assert_array_equal(one, other)
    assert found.loss_ == expected.loss_


def test_balanced_is_what_scikit_learn_computes_of_the_rows_with_a_label(rare, frozen):
    X, y = rare
    part = np.where(np.arange(len(y)) % 3 > 0, y, -1)
    weights = compute_class_weight("balanced", classes=np.array([3, 5, 8]), y=part[part >= 0])
    classifier = StackedClassifier(frozen, class_weight="balanced", unlabeled=-1, solver=SHORT, random_state=0)
    balanced = clone(classifier).fit(X, part)
    named = classifier.set_params(class_weight=dict(zip([3, 5, 8], weights, strict=True))).fit(X, part)
    assert_allclose(balanced.predict_proba(X), named.predict_proba(X), rtol=1e-9)
    repeats = np.arange(len(y)) % 4  # a weight is a repetition here too
    weighted = clone(balanced).set_params(unlabeled=None).fit(X, y, sample_weight=repeats)
    repeated = clone(weighted).fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-6)


def test_rare_classes_are_found_and_pre_training_is_the_same(rare):
    X, y = rare
    plain = StackedClassifier(Autoencoder(5, solver=SHORT), solver=LBFGS(60), random_state=0)
    balanced = clone(plain).set_params(class_weight="balanced").fit(X, y)
    plain.fit(X, y)
    assert_array_equal(balanced.autoencoder_.components_, plain.autoencoder_.components_)
    found = [recall_score(y, each.predict(X), labels=[8], average=None)[0] for each in (balanced, plain)]
    assert found[0] > found[1] + 0.1


def test_a_class_of_weight_0_is_not_learned(rare, frozen):
    X, y = rare
    classifier = StackedClassifier(frozen, class_weight={8: 0}, solver=SHORT, random_state=0).fit(X, y)
    nearly = StackedClassifier(frozen, class_weight={8: 1e-12}, solver=SHORT, random_state=0).fit(X, y)
    assert_allclose(classifier.predict_proba(X)[:, :2], nearly.predict_proba(X)[:, :2], rtol=1e-5)
    assert classifier.classes_.tolist() == [3, 5, 8]
    assert 8 not in classifier.predict(X)


def test_validation_rows_are_weighted_too(rare, frozen):
    X, y = rare
    classifier = StackedClassifier(
        frozen, finetune="head", class_weight={3: 2, 5: 1, 8: 20}, early_stopping=EarlyStopping(), solver=SHORT
    ).fit(X, y, X_val=X, y_val=y)
    p = classifier.predict_proba(X)[np.arange(len(y)), np.searchsorted([3, 5, 8], y)]
    weights = np.array([{3: 2, 5: 1, 8: 20}[label] for label in y])
    best = min(classifier.validation_loss_curve_)
    assert best == pytest.approx(np.average(-np.log(p), weights=weights), rel=1e-6)


@pytest.mark.parametrize(
    ("class_weight", "sentence"),
    [
        ({3: -1}, r"class_weight\[3\]=-1 must be a finite number that is not negative"),
        ({5: float("nan")}, r"class_weight\[5\]=nan must be a finite"),
        ({"5": 2}, "class_weight has '5', which is none of the classes: 3, 5, 8"),
        (dict.fromkeys([3, 5, 8], 0), "gives all rows of y the weight 0"),
        (dict.fromkeys([3, 5, 8], 1e308), "the sum of sample_weight times class_weight overflows"),
        ("balance", "The 'class_weight' parameter of StackedClassifier must be"),
        ([1, 2, 3], "The 'class_weight' parameter of StackedClassifier must be"),
    ],
)
def test_weights_that_are_refused(rare, frozen, class_weight, sentence):
    with pytest.raises(ValueError, match=sentence):
        StackedClassifier(frozen, class_weight=class_weight).fit(*rare)


def test_validation_rows_without_weight_are_refused(rare, frozen):
    X, y = rare
    with pytest.raises(ValueError, match=r"class_weight=\{8: 0\} gives all rows of y_val the weight 0"):
        StackedClassifier(frozen, class_weight={8: 0}, solver=SHORT).fit(X, y, X_val=X[y == 8], y_val=y[y == 8])


def test_partial_fit(rare, frozen):
    X, y = rare
    classifier = StackedClassifier(frozen, class_weight="balanced", solver=Adam(5), random_state=0)
    with pytest.raises(ValueError, match="class_weight 'balanced' is not supported for partial_fit"):
        classifier.partial_fit(X, y)
    by_class = {3: 1, 5: 1, 8: 30, 9: 1}  # class 9 may come later, as in scikit-learn
    weights = np.where(y == 8, 30, 1)
    weighted = clone(classifier).set_params(class_weight=None).partial_fit(X, y, sample_weight=weights)
    classifier.set_params(class_weight=by_class).partial_fit(X, y)
    for one, other in zip(parameters(classifier), parameters(weighted), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        ([3, 5, 8], {3: 1, np.int64(5): 2.5, 8: 4}),
        ([1.0, 2.0, 3.0], {1.0: 2.0}),
        (["low", "new york", "a.b"], {"new york": 2, "a.b": 0.5}),
        ([3, 5, 8], "balanced"),
        ([3, 5, 8], None),
    ],
)
def test_saved_and_loaded(rare, frozen, tmp_path, names, weights):
    X, y = rare[0], np.array(names)[np.searchsorted([3, 5, 8], rare[1])]
    classifier = StackedClassifier(frozen, class_weight=weights, solver=LBFGS(3), random_state=0).fit(X, y)
    save(classifier, tmp_path / "model")
    read = load(tmp_path / "model")
    assert read.class_weight == weights
    assert_array_equal(read.predict_proba(X), classifier.predict_proba(X))
    assert_array_equal(read.fit(X, y).predict_proba(X), classifier.predict_proba(X))


def test_a_checkpoint_of_other_weights_is_refused(rare, tmp_path):
    X, y = rare

    def stop(step):
        if step.stage == "finetune":
            raise KeyboardInterrupt

    classifier = StackedClassifier(
        Autoencoder(3, solver=LBFGS(2)), class_weight={3: 1, 5: 2}, solver=LBFGS(4), random_state=0
    ).set_params(checkpoint=Checkpoint(tmp_path / "c", seconds=0), callbacks=[stop])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    classifier.set_params(callbacks=None)
    with pytest.raises(ValueError, match=r"belongs to another fit: estimator\.class_weight"):
        clone(classifier).set_params(class_weight={3: 1, 5: 3}).fit(X, y)
    whole = clone(classifier).set_params(checkpoint=None).fit(X, y)
    assert_array_equal(classifier.fit(X, y).predict_proba(X), whole.predict_proba(X))


def test_command_line_and_recipe(rare, tmp_path, run):
    X, y = rare
    names = np.array(["plain", "new york", "a.b"])[np.searchsorted([3, 5, 8], y)]
    for name, labels in (("numbers", y), ("texts", names)):
        rows = [",".join([*map(str, row), str(label)]) for row, label in zip(X, labels, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b,c,d,e,f,kind", *rows]) + "\n")
    words = ["--labels", "kind", "--layers", 4, "--max-iter", 8, "--random-state", 0, "--no-report"]
    code, _, error = run("fit", tmp_path / "numbers.csv", *words, "--class-weight", "balanced", "--out", tmp_path / "b")
    assert code == 0, error
    assert last(load(tmp_path / "b")).class_weight == "balanced"
    assert 'class_weight = "balanced"' in (tmp_path / "b" / "run.toml").read_text()
    for name, table, weights in (
        ("numbers", "{ 3 = 1, 8 = 20 }", {3: 1, 8: 20}),
        ("texts", '{ "new york" = 2, "a.b" = 20.5 }', {"new york": 2, "a.b": 20.5}),
    ):
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(f'model = "classifier"\n[finetuning]\nclass_weight = {table}\n')
        out = tmp_path / name
        code, _, error = run("fit", tmp_path / f"{name}.csv", *words, "--config", recipe, "--out", out)
        assert code == 0, error
        assert last(load(out)).class_weight == weights
        again = recipes.read_toml(out / "run.toml")["finetuning"]["class_weight"]
        assert again == {str(label): weight for label, weight in weights.items()}
    recipe.write_text('model = "classifier"\n[finetuning]\nclass_weight = { other = 2 }\n')
    code, _, error = run("fit", tmp_path / "texts.csv", *words, "--config", recipe, "--out", tmp_path / "x")
    assert code == 2
    assert "class_weight='other' stands nowhere in the labels" in error
    code, _, error = run(
        "fit", tmp_path / "texts.csv", "--ignore", "kind", "--class-weight", "balanced", "--out", tmp_path / "x"
    )
    assert code == 2
    assert "class_weight=balanced has no meaning without classes" in error


def last(model):
    return model.steps[-1][1] if hasattr(model, "steps") else model


@pytest.mark.filterwarnings("ignore")
def test_check_of_scikit_learn():
    classifier = StackedClassifier(Autoencoder(4, solver=LBFGS(10)), solver=LBFGS(40), random_state=0)
    estimator_checks.check_class_weight_classifiers("StackedClassifier", classifier)
