"""The published experiments: each runs, small; the tables; all of MNIST where it is at hand (slow)."""

import json

import numpy as np
import pytest

from layerwise import runs
from layerwise.callbacks import MetricsFile
from layerwise.data import Digits, load_images
from layerwise.reproduce import EXPERIMENTS, experiment

# Settings that make a run short.
SMALL = {
    "ufldl-patches": {"n_patches": 300, "max_iter": 3},
    "ufldl-mnist-filters": {"n_images": 100, "max_iter": 3},
    "softmax": {"max_iter": 3},
    "self-taught": {"n_hidden": 10, "max_iter": 3},
    "ufldl-stacked": {"max_iter": 2},
    "sda": {"n_hidden": 10, "pretrain_epochs": 1, "finetune_epochs": 1},
    "sae": {"n_hidden": 10, "pretrain_epochs": 1, "finetune_epochs": 1},
    "sdae-basic": {"n_hidden": 10, "pretrain_epochs": 1, "finetune_epochs": 1},
    "sdae-rotated": {"n_hidden": 10, "pretrain_epochs": 1, "finetune_epochs": 1},
    "cae": {"n_hidden": 10, "pretrain_epochs": 1, "finetune_epochs": 1},
    "k-sparse": {"n_hidden": 10, "k": 3, "k_codes": 5, "pretrain_epochs": 1, "finetune_epochs": 1},
    "k-sparse-deep": {"n_hidden": 10, "k": 3, "k_codes": 5, "pretrain_epochs": 1, "finetune_epochs": 1},
    "deep-autoencoder": {"pretrain_epochs": 1, "finetune_epochs": 1},
    "deep-autoencoder-random": {"finetune_epochs": 1},
}


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_every_experiment_runs(name, digits, tmp_path):
    module = EXPERIMENTS[name]
    small = Digits(digits.X_train[:300], digits.y_train[:300], digits.X_test[:60], digits.y_test[:60])
    lines = []
    session = experiment.Session(seed=1, device="cpu", announce=lines.append)
    data = load_images() if name == "ufldl-patches" else small
    outcome = module.run(data, session, **SMALL[name])
    assert lines
    figures = json.loads(json.dumps(experiment.report(name, module.PUBLISHED, outcome, session)))
    published = {figure for values in figures["published"].values() for figure in values}
    measured = {figure for figure, value in figures["obtained"].items() if not isinstance(value, str)}
    assert measured & published, "at least one figure stands beside a published one"
    assert all(np.isfinite(value) for value in figures["obtained"].values() if not isinstance(value, str))
    assert experiment.table(figures).row_count == len(published | set(figures["obtained"]))
    with MetricsFile(tmp_path / "metrics.jsonl") as metrics:
        for step in session.history.steps:
            metrics(step)
    runs.write_run(
        tmp_path, outcome.estimator, outcome.examples, facts={}, image_shape=outcome.image_shape, report=False
    )
    assert (tmp_path / "loss.png").stat().st_size > 0
    if name != "softmax":
        assert (tmp_path / "filters.png").stat().st_size > 0


@pytest.mark.slow
def test_softmax_on_all_of_mnist(mnist):
    outcome = EXPERIMENTS["softmax"].run(mnist, experiment.Session())
    assert outcome.obtained[EXPERIMENTS["softmax"].ACCURACY] >= 92.2


def test_basic_and_rotated_digits(mnist_folder):
    basic, rotated = (EXPERIMENTS[name].load(mnist_folder) for name in ("sdae-basic", "sdae-rotated"))
    for digits in (basic, rotated):
        assert [array.shape for array in digits] == [(10_000, 784), (10_000,), (50_000, 784), (50_000,)]
        assert digits.X_train.dtype == np.uint8
    rows = np.unique(np.concatenate([basic.X_train, basic.X_test]), axis=0)
    assert len(rows) > 59_900, "no image is drawn twice"
    np.testing.assert_array_equal(basic.y_test, rotated.y_test)
    brightness = [digits.X_test.mean(axis=1, dtype=float) for digits in (basic, rotated)]
    assert np.corrcoef(*brightness)[0, 1] > 0.999
    assert np.abs(basic.X_test.astype(float) - rotated.X_test).mean() > 20
