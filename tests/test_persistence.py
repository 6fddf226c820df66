"""Models and runs on disk."""

import errno
import hashlib
import json
import os
import stat

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

import layerwise
from layerwise import (
    LBFGS,
    SGD,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    EarlyStopping,
    Gaussian,
    KLSparsity,
    L1Sparsity,
    Masking,
    SaltAndPepper,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    TopK,
)
from layerwise.atomic import atomic

SHORT = LBFGS(max_iter=4)


@pytest.fixture(scope="module")
def small(digits):
    return digits.X_train[:100], digits.y_train[:100]


@pytest.fixture(scope="module")
def stack(small):
    sparse = Autoencoder(7, sparsity=KLSparsity(0.1), solver=SHORT)
    return StackedAutoencoder([sparse, 3], random_state=np.random.RandomState(0), callbacks=[print]).fit(small[0])


@pytest.fixture
def model(small, tmp_path):
    layerwise.save(StackedClassifier(Autoencoder(5, solver=SHORT), solver=SHORT).fit(*small), tmp_path / "model")
    return tmp_path / "model"


def test_transformers_round_trip(small, stack, tmp_path):
    for estimator in (stack, Autoencoder(4, solver=SHORT, dtype="float64", random_state=3).fit(small[0])):
        folder = tmp_path / type(estimator).__name__
        layerwise.save(estimator, folder)
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
        again = layerwise.load(folder)
        assert type(again) is type(estimator)
        assert_array_equal(again.transform(small[0]), estimator.transform(small[0]))
        assert again.score(small[0]) == estimator.score(small[0])
        assert again.n_features_in_ == 784
    assert again.loss_curve_ == estimator.loss_curve_
    assert again.random_state == 3


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("names", [False, True])
def test_classifier_round_trip(small, stack, tmp_path, frozen, names):
    X, y = small
    y = np.array(list("abcdefghij"))[y] if names else y
    autoencoder = FrozenEstimator(stack) if frozen else Autoencoder(5, solver=SHORT)
    classifier = StackedClassifier(autoencoder, solver=SHORT, fit_intercept=names).fit(X, y)
    layerwise.save(classifier, tmp_path / "model")
    again = layerwise.load(tmp_path / "model")
    assert_array_equal(again.predict(X), classifier.predict(X))
    assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))
    assert again.classes_.dtype == classifier.classes_.dtype
    assert_array_equal(again.autoencoder_.transform(X), classifier.autoencoder_.transform(X))
    layerwise.save(again, tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "model" / "config.json").read_text()


@pytest.mark.parametrize("scale", ["minmax", "standard"])
def test_scale_is_saved_with_the_model(tmp_path, scale):
    X = np.random.default_rng(0).random((40, 3)) * [1, 1000, 1e-3] + [0, 5, -1]
    stack = StackedAutoencoder([Autoencoder(2, output_activation="identity", scale=scale, solver=SHORT)]).fit(X)
    layerwise.save(stack, tmp_path / "model")
    again = layerwise.load(tmp_path / "model")
    assert_array_equal(again.transform(X), stack.transform(X))
    assert_array_equal(again.inverse_transform(again.transform(X)), stack.inverse_transform(stack.transform(X)))
    assert again.score(X) == stack.score(X)
    assert again.history_ == stack.history_
    assert again.explained_variance_ratio_ == stack.explained_variance_ratio_


def test_detector_and_imputer_round_trip(tmp_path):
    X = np.random.default_rng(0).random((40, 3))
    detector = AutoencoderOutlierDetector(contamination=0.2, random_state=0).fit(X)
    layerwise.save(detector, tmp_path / "detector")
    assert_array_equal(layerwise.load(tmp_path / "detector").decision_function(X), detector.decision_function(X))
    X[::3, 1] = np.nan
    imputer = AutoencoderImputer(Autoencoder(3, corruption=Masking(), solver=SHORT)).fit(X)
    layerwise.save(imputer, tmp_path / "imputer")
    assert_array_equal(layerwise.load(tmp_path / "imputer").transform(X), imputer.transform(X))


def test_every_kind_of_part_round_trips(small, tmp_path):
    X, y = small
    stack = StackedAutoencoder(
        [
            Autoencoder(9, tied=True, loss="binary_cross_entropy", corruption=Masking(0.2, emphasis=(2, 1))),
            Autoencoder(8, activation="tanh", contraction=0.1, corruption=SaltAndPepper(0.1)),
            Autoencoder(
                7, activation="relu", output_activation="tanh", sparsity=L1Sparsity(), corruption=Gaussian(0.1)
            ),
            Autoencoder(6, activation="elu", output_activation="identity", solver=SGD(2, momentum=0.5)),
            Autoencoder(6, activation=TopK(3), output_activation="identity", solver=Adam(2)),
            Autoencoder(5, output_activation="identity", solver=Adam(2), early_stopping=EarlyStopping(0.3)),
        ],
        finetune="reconstruction",
        untie=True,
        solver=Adam(2),
        random_state=0,
    )
    for layer in stack.layers[:3]:
        layer.set_params(solver=SHORT)
    regressor = StackedRegressor(stack, finetune=2, solver=SHORT, unlabeled=float("nan"))
    regressor.fit(X, np.where(y == 0, np.nan, y / 10))
    layerwise.save(regressor, tmp_path / "model")
    again = layerwise.load(tmp_path / "model")
    assert_array_equal(again.predict(X), regressor.predict(X))
    assert_array_equal(
        again.autoencoder_.inverse_transform(again.autoencoder_.transform(X)),
        regressor.autoencoder_.inverse_transform(regressor.autoencoder_.transform(X)),
    )
    for ours, theirs in zip(again.autoencoder.layers, stack.layers, strict=True):
        ours, theirs = ours.get_params(), theirs.get_params()
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            if not hasattr(value, "get_params"):
                assert ours[name] == (list(value) if isinstance(value, tuple) else value)
    assert np.isnan(again.unlabeled)
    assert (
        again.autoencoder_.layers_[5].validation_loss_curve_ == regressor.autoencoder_.layers_[5].validation_loss_curve_
    )


@pytest.mark.parametrize("k", [0, 5, 2.5, None])
def test_more_units_to_keep_than_there_are(small, tmp_path, k):
    autoencoder = Autoencoder(4, activation=TopK(2), output_activation="identity", solver=Adam(1)).fit(small[0])
    layerwise.save(autoencoder, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["estimator"]["params"]["activation"]["params"]["k"] = k
    path.write_text(json.dumps(config))
    with pytest.raises(layerwise.FileError, match="is damaged"):
        layerwise.load(tmp_path / "model")


def test_loading_can_be_trained_again(small, model):
    again = layerwise.load(model, device="cpu")
    assert again.fit(*small).loss_ < np.log(10)


def test_random_state_of_any_integer_type_is_saved(small, tmp_path):
    layerwise.save(Autoencoder(4, solver=SHORT, random_state=np.int64(7)).fit(small[0]), tmp_path / "model")
    assert layerwise.load(tmp_path / "model").random_state == 7


def test_wrong_device_is_not_called_damage(model):
    with pytest.raises(ValueError, match=r"^device='abacus' is not known"):
        layerwise.load(model, device="abacus")


def test_loading_draws_no_random_numbers(model):
    before = torch.get_rng_state()
    layerwise.load(model)
    assert torch.equal(before, torch.get_rng_state())


def test_config_is_readable(model):
    config = json.loads((model / "config.json").read_text())
    assert config["format_version"] == 4
    assert config["sha256"] == hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert config["estimator"]["class"] == "StackedClassifier"
    assert config["estimator"]["params"]["autoencoder"]["params"]["n_hidden"] == 5


def test_existing_model_is_not_replaced_unless_asked(small, stack, model):
    before = (model / "config.json").read_bytes()
    with pytest.raises(FileExistsError, match="exists; choose another place"):
        layerwise.save(stack, model)
    assert (model / "config.json").read_bytes() == before
    layerwise.save(stack, model, overwrite=True)
    assert isinstance(layerwise.load(model), StackedAutoencoder)
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_folder_of_something_else_is_never_replaced(stack, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is not a run of layerwise"):
        layerwise.save(stack, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_failure_leaves_what_was_there(stack, model, monkeypatch):
    before = (model / "model.safetensors").read_bytes()

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("layerwise.persistence.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        layerwise.save(stack, model, overwrite=True)
    assert (model / "model.safetensors").read_bytes() == before
    assert [path.name for path in model.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken", "run"), KeyboardInterrupt("broken")])
@pytest.mark.parametrize("can_exchange", [True, False])
def test_failure_of_the_last_rename_brings_the_old_one_back(can_exchange, failure, tmp_path, monkeypatch):
    target = tmp_path / "run"
    target.mkdir()
    (target / "run.json").write_text('{"layerwise_version": "0"}')
    rename, failures = os.replace, []

    def broken(source, other):
        if other != target or failures:
            return rename(source, other)
        failures.append(other)
        raise failure

    def rename2(source, other, flag):
        if can_exchange:
            raise failure
        return False

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", broken)
        patch.setattr("layerwise.atomic._rename2", rename2)
        with pytest.raises(type(failure), match="broken"), atomic(target, folder=True, overwrite=True):
            pass
    assert (target / "run.json").read_text() == '{"layerwise_version": "0"}'
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_only_estimators_of_layerwise_are_saved(tmp_path):
    with pytest.raises(TypeError, match="a PCA cannot be saved"):
        layerwise.save(PCA(), tmp_path / "pca")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(stack, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError):
        layerwise.save(stack, tmp_path / "model")


def damage_config(model, change):
    config = json.loads((model / "config.json").read_text())
    change(config)
    (model / "config.json").write_text(json.dumps(config))


def forge(model, tensors):
    """Put other tensors into a model, with their hash."""
    save_file(tensors, model / "model.safetensors")
    sha256 = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    damage_config(model, lambda config: config.update(sha256=sha256))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="pickle"), "does not describe a layerwise model"),
        (lambda c: c.update(format_version=99), "format_version=99, but this layerwise reads 3 and 4"),
        (lambda c: c["estimator"].update({"class": "Popen"}), "damaged"),
        (lambda c: c["estimator"].pop("params"), "damaged"),
        (lambda c: c["estimator"]["params"].update(shell=True), "damaged"),
        (lambda c: c["estimator"]["fitted"].update(predict="mine"), "predict is no fitted attribute"),
        (lambda c: c["estimator"]["fitted"].update(_relay_="mine"), "_relay_ is no fitted attribute"),
        (lambda c: c["estimator"]["fitted"].update(n_features_in_="784"), "n_features_in_ of StackedClassifier is not"),
        (lambda c: c["estimator"]["fitted"].update(n_features_in_=783), "autoencoder_ has another n_features_in_"),
        (lambda c: c["estimator"]["fitted"].pop("classes_"), "lacks classes_"),
        (lambda c: c["estimator"]["params"].update(alpha=-1.0), "'alpha' parameter"),
        (lambda c: c["estimator"]["params"].update(solver=[]), "'solver' parameter"),
        (lambda c: c["estimator"]["params"].update(callbacks=[]), "callbacks are never read"),
        (lambda c: c["estimator"]["params"].update(checkpoint="/tmp/else"), "checkpoint is never read"),
        (
            lambda c: c["estimator"]["params"]["autoencoder"]["params"].update(checkpoint="else"),
            "checkpoint is never read",
        ),
        (lambda c: c["estimator"]["params"]["autoencoder"]["params"].update(n_hidden="x"), "'n_hidden' parameter"),
        (lambda c: c["estimator"].update(path="elsewhere"), "in a way that layerwise does not write"),
        (lambda c: c["estimator"].update(extra=1), "in a way that layerwise does not write"),
        (lambda c: c.update(extra=1), "has not the keys"),
        (lambda c: c.pop("sha256"), "has not the keys"),
        (lambda c: c.update(sha256="0" * 64), "does not hold the numbers that were saved"),
        (lambda c: c.update(estimator=c["estimator"]["params"]["solver"]), "damaged"),
        (lambda c: c["estimator"]["fitted"]["autoencoder_"]["params"].update(n_hidden=10**12), "damaged"),
        (lambda c: c.update(estimator=None), "damaged"),
    ],
)
def test_damaged_config_is_refused(model, change, message):
    damage_config(model, change)
    with pytest.raises(layerwise.FileError, match=message) as error:
        layerwise.load(model)
    assert str(model) in str(error.value)


def test_damaged_files_are_refused(model):
    tensors = load_file(model / "model.safetensors")
    name = next(key for key in tensors if key.endswith("encoder_weight"))

    save_file(tensors | {name: tensors[name] + 1}, model / "model.safetensors")
    with pytest.raises(layerwise.FileError, match="does not hold the numbers that were saved"):
        layerwise.load(model)
    for changed, message in (
        ({name: torch.full_like(tensors[name], torch.nan)}, "not finite"),
        ({name: tensors[name].T.contiguous()}, "but the parameters demand shape"),
        ({name: tensors[name].int()}, "but the parameters demand shape"),
        ({"estimator.more": tensors[name] + 1}, "'estimator.more' belongs to nothing"),
    ):
        forge(model, tensors | changed)
        with pytest.raises(layerwise.FileError, match=message):
            layerwise.load(model)
    forge(model, {key: tensor for key, tensor in tensors.items() if key != name})
    with pytest.raises(layerwise.FileError, match="damaged"):
        layerwise.load(model)
    (model / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="damaged"):
        layerwise.load(model)
    (model / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"is not a model: it holds no model\.safetensors"):
        layerwise.load(model)
    (model / "config.json").write_text("{")
    (model / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        layerwise.load(model)


def test_folder_of_the_version_before_is_read_without_a_hash(model, small):
    expected = layerwise.load(model).predict(small[0])
    damage_config(model, lambda config: config.update(format_version=3))
    with pytest.raises(layerwise.FileError, match="has not the keys"):
        layerwise.load(model)
    damage_config(model, lambda config: config.pop("sha256"))
    assert_array_equal(layerwise.load(model).predict(small[0]), expected)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_link_that_leaves_the_folder_is_refused(model, tmp_path, name):
    (model / name).rename(tmp_path / name)
    (model / name).symlink_to(tmp_path / name)
    with pytest.raises(layerwise.FileError, match="is a link that leaves its folder"):
        layerwise.load(model)


def test_link_to_itself_is_refused(model):
    (model / "config.json").unlink()
    (model / "config.json").symlink_to("config.json")
    with pytest.raises(layerwise.FileError, match=r"config\.json is a link that leads back to itself"):
        layerwise.load(model)
    (model / "config.json").unlink()
    (model / "config.json").symlink_to("absent.json")
    with pytest.raises(FileNotFoundError, match=r"it holds no config\.json"):
        layerwise.load(model)


def test_folder_behind_a_link_is_read(model, tmp_path):
    (tmp_path / "latest").symlink_to(model)
    assert isinstance(layerwise.load(tmp_path / "latest"), StackedClassifier)


def test_pipeline_never_keeps_results_as_pickles(small, tmp_path):
    imputer = AutoencoderImputer(Autoencoder(3, solver=SHORT)).fit(small[0])
    layerwise.save(Pipeline([("imputer", imputer)], memory=str(tmp_path / "cache")), tmp_path / "model")
    assert layerwise.load(tmp_path / "model").memory is None
    damage_config(tmp_path / "model", lambda config: config["estimator"]["params"].update(memory="/tmp/cache"))
    with pytest.raises(layerwise.FileError, match="memory and transform_input must be null"):
        layerwise.load(tmp_path / "model")


def test_imputer_that_would_never_end_is_refused(tmp_path):
    imputer = AutoencoderImputer(Autoencoder(2, solver=LBFGS(max_iter=2))).fit(np.random.default_rng(0).random((9, 3)))
    layerwise.save(imputer, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["estimator"]["params"]["n_passes"] = 10**9
    path.write_text(json.dumps(config))
    with pytest.raises(layerwise.FileError, match="'n_passes' parameter"):
        layerwise.load(tmp_path / "model")
