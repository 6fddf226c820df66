"""What a GPU computes is what the processor computes; skipped where there is none.

Noise and the order of batches are drawn on the device, which draws others than the processor: they are left out of what
is compared, and the same fit on the same device has the same bits.
"""

import copy
import itertools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import ranks
import torch
from numpy.testing import assert_allclose
from test_distributed import PROGRAM, launch

import layerwise
from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    EarlyStopping,
    KLSparsity,
    L1Sparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    TopK,
)
from layerwise.data.rows import Rows
from layerwise.losses import cross_entropy
from layerwise.modules import StackedNetwork, UnrolledAutoencoder, linear_head
from layerwise.objective import reconstruction_objective, supervised_objective

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
X, CLASSES, TARGETS, WEIGHTS, GAPS = ranks.all_rows()
SHORT = LBFGS(15)
FEW = LBFGS(5)  # rounding grows from iteration to iteration
EPOCHS = Adam(4, batch_size=16, learning_rate_init=0.01)

LAYERS = [
    {"activation": activation, "output_activation": output, "loss": loss, "tied": tied, "sparsity": sparsity}
    for activation, (output, loss), tied, sparsity in itertools.product(
        ("sigmoid", "tanh", "relu", "softplus"),
        (("sigmoid", "squared_error"), ("sigmoid", "binary_cross_entropy"), ("identity", "squared_error")),
        (False, True),
        (None, KLSparsity(0.1, 3.0), L1Sparsity(0.1)),
    )
    if not isinstance(sparsity, KLSparsity) or activation in ("sigmoid", "tanh")
] + [
    {"activation": TopK(2)},
    {"contraction": 0.2},
    {"contraction": 0.2, "tied": True, "activation": "tanh"},
]


def on(device, rows, **settings):
    return Rows(rows, dtype=torch.float64, device=device, **settings)


def compare(make, rtol=1e-12):
    """Value and gradient of an objective, over all rows and over one batch of all rows, on both."""
    found = []
    for device in ("cpu", "cuda"):
        objective = make(device)
        theta = objective.vector.read()
        assert theta.device.type == device
        value, gradient = objective(theta)
        numbers = [value, objective.value(theta), *gradient.tolist()]
        if objective.rows.weights is None:
            ((value, gradient, _),) = objective.epoch(theta.clone(), 10 * len(X), 0)
            numbers += [value.item(), *gradient.tolist()]
        found.append(np.array(numbers))
    assert_allclose(found[1], found[0], rtol=rtol, atol=rtol * np.abs(found[0]).max())


@pytest.mark.parametrize("settings", LAYERS, ids=lambda settings: ", ".join(map(str, settings.values())))
def test_layers(settings):
    compare(lambda device: ranks.layer_objective(on(device, X), **settings, device=device, chunk_rows=7))


@pytest.mark.parametrize("cache_bytes", [0, 2**30])
def test_weights_and_missing_values(cache_bytes):
    settings = {"sparsity": KLSparsity(0.1)}

    def weighted(device):
        rows = on(device, X, weights=WEIGHTS)
        return ranks.layer_objective(rows, **settings, device=device, cache_bytes=cache_bytes)

    def missing(device):
        rows = on(device, GAPS)
        rows.has_missing = True
        return ranks.layer_objective(rows, **settings, device=device, cache_bytes=cache_bytes)

    compare(weighted)
    compare(missing)


def test_networks():
    def supervised(device):
        network = StackedNetwork([ranks.layer()], linear_head(5, 2, dtype=torch.float64)).to(device)
        with torch.no_grad():
            network.head.weight.copy_(torch.linspace(-1, 1, 10).view(2, 5))
        return supervised_objective(network, on(device, X), torch.from_numpy(CLASSES), cross_entropy, alpha=0.1)

    def unrolled(device):
        return reconstruction_objective(
            UnrolledAutoencoder([ranks.layer()]).to(device), on(device, X), ranks.SQUARED_ERROR, alpha=0.1
        )

    compare(supervised)
    compare(unrolled)


def estimators(device, dtype="float64", solver=SHORT):
    common = {"random_state": 0}
    own = {"device": device, "dtype": dtype}
    sparse = Autoencoder(5, sparsity=KLSparsity(0.1), solver=solver)
    stack = StackedAutoencoder([sparse, Autoencoder(3, solver=solver)], **own)
    return {
        "autoencoder": Autoencoder(5, solver=solver, **own, **common),
        "stack": StackedAutoencoder([sparse, Autoencoder(3, solver=solver)], **own, **common),
        "unrolled": StackedAutoencoder(
            stack.layers, finetune="reconstruction", untie=True, solver=solver, **own, **common
        ),
        "classifier": StackedClassifier(stack, solver=solver, **common),
        "head": StackedClassifier(stack, finetune="head", solver=solver, **common),
        "regressor": StackedRegressor(stack, solver=solver, **common),
        "detector": AutoencoderOutlierDetector(Autoencoder(3, tied=True, solver=solver, **own), **common),
        "imputer": AutoencoderImputer(Autoencoder(5, solver=solver, **own), **common),
    }


def fit(name, estimator, **session):
    rows = GAPS if name == "imputer" else X
    y = {"classifier": CLASSES, "head": CLASSES, "regressor": TARGETS}.get(name)
    return estimator.fit(rows, y, **session)


def answers(name, estimator, rows=None):
    rows = (GAPS if name == "imputer" else X) if rows is None else rows
    methods = ("transform", "predict_proba", "predict", "score_samples", "decision_function")
    found = {method: getattr(estimator, method)(rows) for method in methods if hasattr(estimator, method)}
    if name in ("autoencoder", "stack", "unrolled"):
        found["inverse_transform"] = estimator.inverse_transform(found["transform"])
        found["score"] = estimator.score(rows)
    return found


@pytest.mark.parametrize("name", estimators("cpu"))
def test_estimators_equal_those_of_the_processor(name):
    found = {device: answers(name, fit(name, estimators(device, solver=FEW)[name])) for device in ("cpu", "cuda")}
    for method, values in found["cpu"].items():
        assert_allclose(found["cuda"][method], values, rtol=1e-4, atol=1e-6, err_msg=method)


@pytest.mark.parametrize("name", estimators("cpu"))
def test_models_move_between_devices(name, tmp_path):
    trained = fit(name, estimators("cuda")[name])
    layerwise.save(trained, tmp_path / "model")
    for device in ("cpu", "cuda"):
        again = layerwise.load(tmp_path / "model", device=device)
        expected = answers(name, trained)
        for method, values in answers(name, again).items():
            assert_allclose(values, expected[method], rtol=1e-9, atol=1e-12, err_msg=f"{device} {method}")


@pytest.mark.parametrize("name", ["stack", "classifier", "regressor"])
def test_tensors_of_the_gpu_give_tensors_of_the_gpu(name):
    trained = fit(name, estimators("cuda")[name])
    rows = torch.from_numpy(X).cuda()
    for method, values in answers(name, trained, rows).items():
        if method != "score":
            assert values.device.type == "cuda", method
            assert_allclose(values.cpu(), answers(name, trained)[method], err_msg=method)
    labels = {"classifier": torch.from_numpy(CLASSES).cuda(), "regressor": torch.from_numpy(TARGETS).cuda()}.get(name)
    again = estimators("cuda")[name].fit(rows, labels)
    assert_allclose(answers(name, again)["transform"], answers(name, trained)["transform"], rtol=1e-9)


NOISY = {
    "sparse": lambda: Autoencoder(5, sparsity=KLSparsity(0.2), corruption=Masking(0.3), solver=EPOCHS),
    "stopped": lambda: Autoencoder(5, solver=EPOCHS, early_stopping=EarlyStopping(0.3, patience=2)),
    "exact": lambda: Autoencoder(5, corruption=Masking(0.3), contraction=0.1, solver=SHORT),
    "k-sparse": lambda: Autoencoder(5, activation=TopK(2), solver=EPOCHS),
}


@pytest.mark.parametrize("kind", NOISY)
def test_same_seed_same_bits(kind):
    first, second = (
        StackedClassifier(NOISY[kind]().set_params(device="cuda"), solver=EPOCHS, random_state=0).fit(X, CLASSES)
        for _ in range(2)
    )
    for a, b in zip(first.coefs_, second.coefs_, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("kind", NOISY)
@pytest.mark.parametrize("place", [("layer 0", 2), ("finetune", 2)])
def test_resume_on_the_gpu_has_the_same_bits(kind, place, tmp_path):
    def make(**session):
        return StackedClassifier(NOISY[kind]().set_params(device="cuda"), solver=EPOCHS, random_state=0, **session)

    def interrupt(step):
        if (step.stage, step.iteration) == place:
            raise KeyboardInterrupt

    whole = make().fit(X, CLASSES)
    with pytest.raises(KeyboardInterrupt):
        make(checkpoint=layerwise.Checkpoint(tmp_path / "c", n_iter=1), callbacks=[interrupt]).fit(X, CLASSES)
    again = make(checkpoint=tmp_path / "c").fit(X, CLASSES)
    for a, b in zip(again.coefs_, whole.coefs_, strict=True):
        assert a.tobytes() == b.tobytes()


def test_streamed_rows_train_to_the_same_bits(monkeypatch):
    def train():
        return StackedAutoencoder([NOISY["sparse"](), 3], device="cuda", random_state=0).fit(X.astype(np.float32))

    resident = train()
    monkeypatch.setattr("layerwise.data.rows._room", lambda device: 0)
    streamed = train()
    for a, b in zip(streamed.coefs_, resident.coefs_, strict=True):
        assert a.tobytes() == b.tobytes()


def test_two_halves_of_a_fit_are_the_whole():
    def make(epochs):
        solver = Adam(epochs, batch_size=16, learning_rate_init=0.01)
        return Autoencoder(5, corruption=Masking(0.3), solver=solver, device="cuda", random_state=0, warm_start=True)

    for a, b in zip(make(2).fit(X).fit(X).coefs_, make(4).fit(X).coefs_, strict=True):
        assert a.tobytes() == b.tobytes()


def test_gradients_are_those_of_differences():
    for name in ("stack", "classifier", "regressor"):
        y = {"classifier": CLASSES, "regressor": TARGETS}.get(name)
        assert max(layerwise.check_gradient(estimators("cuda")[name], X, y).values()) < 1e-6


def test_copies_and_float32():
    trained = fit("classifier", estimators("cuda", dtype="float32")["classifier"])
    assert copy.deepcopy(trained).predict(X).tolist() == trained.predict(X).tolist()


def test_ranks_that_share_a_gpu(tmp_path):
    """Two ranks on the GPUs there are: the same bits on each, and what one rank computes."""
    for code, out, err in launch(2, PROGRAM, "on_gpu", tmp_path):
        assert code == 0, err
        assert "cuda" in out
    together, alone = np.load(tmp_path / "gpu.npz"), ranks.sums_on_gpu(slice(None))
    for name, value in alone.items():
        assert np.abs(together[name] - value).max() <= 1e-12 * max(1, np.abs(value).max()), name


def test_messages_through_nccl_change_no_bit(tmp_path):
    ((code, out, err),) = launch(1, PROGRAM, "over_nccl", tmp_path)
    assert code == 0, err
    assert out.strip() == "the same bits"


READ = """
import pickle, sys
import numpy as np, torch
assert not torch.cuda.is_available()
models, X, expected = pickle.load(open(sys.argv[1], "rb"))
for model, scores in zip(models, expected):
    found = model.transform(X)
    np.testing.assert_allclose(found, scores, rtol=1e-3, atol=1e-4)
    if hasattr(model, "partial_fit"):
        model.partial_fit(X, X[:, 0] > X[:, 0].mean())
print("done")
"""


def test_what_is_pickled_on_a_gpu_is_read_without_one(tmp_path):
    y = X[:, 0] > X[:, 0].mean()
    stack = StackedAutoencoder([Autoencoder(4, solver=EPOCHS), 3], warm_start=True, random_state=0)
    models = [stack.fit(X), StackedClassifier(stack, solver=SHORT, warm_start=True, random_state=0).fit(X, y)]
    models.append(AutoencoderImputer(stack, random_state=0).fit(X))
    assert models[0].layers_[0].layer_.encoder_weight.is_cuda
    assert copy.deepcopy(models[1]).network_.head.weight.is_cuda
    (tmp_path / "models").write_bytes(pickle.dumps((models, X, [model.transform(X) for model in models])))
    command = [sys.executable, "-W", "ignore", "-c", READ, str(tmp_path / "models")]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout == "done\n", done.stderr
    here = pickle.loads((tmp_path / "models").read_bytes())[0]
    for one, other in zip(here, models, strict=True):
        assert_allclose(one.transform(X), other.transform(X), rtol=1e-6)


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
def test_gradients_that_the_caller_switched_off(switch):
    y = X[:, 0] > X[:, 0].mean()
    classifier = StackedClassifier(Autoencoder(4, solver=SHORT), solver=SHORT, class_weight="balanced", random_state=0)
    expected = classifier.fit(X, y).predict_proba(X)
    with switch():
        assert (classifier.fit(torch.from_numpy(X) + 0, y).predict_proba(X) == expected).all()
