"""A fit that is interrupted and goes on ends with the same bits; what is on disk is whole, whatever happens."""

import errno
import functools
import os
import random
import shutil
import signal
import threading
import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_val_score

from layerwise import (
    LBFGS,
    SGD,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    Checkpoint,
    EarlyStopping,
    KLSparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    atomic,
    checkpoint_files,
    distributed,
    load,
    save,
)
from layerwise import checkpoint as checkpoint_module
from layerwise.callbacks import History, MetricsFile, Watcher
from layerwise.checkpoint_files import CheckpointFolder, decode
from layerwise.data.rows import Rows
from layerwise.estimators._checkpointing import _AT_ONCE, digest_of_rows
from layerwise.inspection import layers_of, stack_of
from layerwise.locks import locked
from layerwise.solvers import GradientCheck

RNG = np.random.default_rng(0)
X = RNG.random((90, 6))
MANY = RNG.random((2500, 6))
WEIGHTS = RNG.integers(1, 4, 90) / 2
LABELS = (X[:, 0] + X[:, 1] > 1).astype(int)
GAPS = np.where(RNG.random(X.shape) < 0.1, np.nan, X)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Very small problems are faster on one thread; and nothing here has to survive a loss of power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


class Interrupted(Exception):
    pass


class At(Watcher):
    """Does something at a step, counted from the start of the fit."""

    def __init__(self, count, action):
        self.count, self.action = count, action

    def __call__(self, step):
        self.count -= 1
        if self.count == 0:
            self.action()


def interrupt():
    raise Interrupted


def layer(solver, **params):
    return Autoencoder(4, sparsity=KLSparsity(0.2), corruption=Masking(0.3), solver=solver, **params)


SOLVERS = {
    "lbfgs": LBFGS(7),
    "sgd": SGD(4, batch_size=32, learning_rate_init=0.1),
    "adam": Adam(4, batch_size=32, learning_rate_init=0.02, learning_rate="cosine"),
}
# With these they converge within some iterations.
LOOSE = {
    "lbfgs": {"ftol": 1e-2},
    "sgd": {"tol": 0.5, "n_iter_no_change": 3},
    "adam": {"tol": 0.5, "n_iter_no_change": 3},
}
SMALL = Autoencoder(3, solver=LBFGS(4))
KINDS = {
    "layer": lambda solver: layer(solver),
    "early": lambda solver: layer(clone(solver).set_params(max_iter=9), early_stopping=EarlyStopping(patience=2)),
    "stack": lambda solver: StackedAutoencoder([layer(solver), SMALL], finetune="reconstruction", solver=solver),
    "classifier": lambda solver: StackedClassifier(layer(solver), solver=solver, early_stopping=EarlyStopping(0.2)),
    "regressor": lambda solver: StackedRegressor(StackedAutoencoder([layer(solver), SMALL]), solver=solver),
    "detector": lambda solver: AutoencoderOutlierDetector(layer(solver)),
    "imputer": lambda solver: AutoencoderImputer(layer(solver)),
}


def train(estimator, rows=X, y=LABELS, weights=None, **session):
    estimator = clone(estimator).set_params(random_state=0, **session)
    return estimator.fit(rows, y, sample_weight=weights)


def outcome(model):
    """All that a fit has found, the time it took left out."""
    parts = [model, stack_of(model), *layers_of(model)]
    arrays = [array for part in parts if hasattr(part, "coefs_") for array in [*part.coefs_, *part.intercepts_]]
    arrays += [part.mean_activations_ for part in parts if hasattr(part, "mean_activations_")]
    histories = [record for part in parts for record in getattr(part, "history_", ())]
    return arrays, [{name: value for name, value in record.items() if name != "seconds"} for record in histories]


def assert_same(model, reference):
    arrays, history = outcome(model)
    expected, expected_history = outcome(reference)
    assert history == expected_history
    assert len(arrays) == len(expected) > 0
    for array, other in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, other)


def goes_on(estimator, folder, places, *, every=1, **data):
    """Interrupt a fit at each of these steps, go on with it in another estimator, and compare with one left alone."""
    reference = train(estimator, **data)
    for place in places:
        checkpoint = Checkpoint(folder / str(place), n_iter=every)
        with pytest.raises(Interrupted):
            train(estimator, callbacks=[At(place, interrupt)], checkpoint=checkpoint, **data)
        history = History()
        assert_same(train(estimator, callbacks=[history], checkpoint=checkpoint, **data), reference)
        if place > every:
            first = history.steps[0]
            assert (first.stage, first.iteration) != ("layer 0", 1), "it began anew"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_goes_on_bit_for_bit(solver, kind, tmp_path):
    estimator = KINDS[kind](SOLVERS[solver])
    data = {"rows": GAPS} if kind == "imputer" else {}
    history = History()
    train(estimator, callbacks=[history], **data)
    n_steps = len(history.steps)
    goes_on(estimator, tmp_path, sorted({1, 2, 3, n_steps // 2, n_steps - 2, n_steps - 1, n_steps}), **data)


@pytest.mark.parametrize("solver", SOLVERS)
def test_goes_on_from_some_iterations_before(solver, tmp_path):
    estimator = StackedClassifier(layer(SOLVERS[solver]), solver=SOLVERS[solver])
    goes_on(estimator, tmp_path, [3, 6, 7, 10], every=3, weights=WEIGHTS)


def test_goes_on_within_growing_samples(tmp_path):
    """On a sample of 1,000 rows, at the test whether it is outgrown (after 50 steps), and on all rows."""
    estimator = Autoencoder(4, sparsity=KLSparsity(0.2), solver=LBFGS(110, tol=0, ftol=0))
    history = History()
    train(estimator, MANY, callbacks=[history])
    sizes = [step.n_rows for step in history.steps]
    assert set(sizes) == {1000, 2500}
    change = sizes.index(2500)
    goes_on(estimator, tmp_path, [20, 49, 50, 51, change, change + 1, change + 2, len(sizes) - 1], rows=MANY)


@pytest.mark.parametrize("solver", SOLVERS)
def test_ends_where_it_would_have_ended(solver, tmp_path):
    """At convergence there is nothing left to do: neither one iteration more nor one less."""
    estimator = layer(clone(SOLVERS[solver]).set_params(max_iter=50, **LOOSE[solver]))
    reference = train(estimator)
    assert reference.converged_
    goes_on(estimator, tmp_path, range(1, reference.n_iter_ + 2))


def test_goes_on_after_several_interruptions(tmp_path):
    estimator = StackedClassifier(layer(LBFGS(6)), solver=LBFGS(6))
    reference = train(estimator)
    for _ in range(4):
        with pytest.raises(Interrupted):
            train(estimator, callbacks=[At(4, interrupt)], checkpoint=Checkpoint(tmp_path, seconds=0))
    assert_same(train(estimator, checkpoint=tmp_path), reference)


def test_on_a_frozen_stack(tmp_path):
    stack = StackedAutoencoder([layer(LBFGS(5))], random_state=0).fit(X)
    goes_on(StackedClassifier(FrozenEstimator(stack), solver=LBFGS(5)), tmp_path, [1, 4, 8])
    other = StackedAutoencoder([layer(LBFGS(5))], random_state=1).fit(X).set_params(random_state=0)
    with pytest.raises(ValueError, match=r"another fit: estimator.autoencoder.weights is"):
        train(StackedClassifier(FrozenEstimator(other), solver=LBFGS(5)), checkpoint=tmp_path / "4")


@pytest.mark.parametrize("seed", [None, np.random.RandomState(5)])
def test_draws_the_seeds_of_the_first_beginning(seed, tmp_path):
    estimator = StackedClassifier(layer(SOLVERS["adam"]), solver=SOLVERS["adam"], random_state=seed)
    estimator.set_params(checkpoint=Checkpoint(tmp_path / "a", seconds=0), callbacks=[At(7, interrupt)])
    with pytest.raises(Interrupted):
        estimator.fit(X, LABELS)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    estimator.set_params(callbacks=None)
    fits = [clone(estimator).set_params(checkpoint=tmp_path / name).fit(X, LABELS) for name in "ab"]
    assert_same(*fits)


def test_one_that_ended_is_there_at_once(tmp_path):
    estimator = KINDS["regressor"](LBFGS(5))
    first = train(estimator, checkpoint=tmp_path)
    history = History()
    assert_same(train(estimator, checkpoint=str(tmp_path), callbacks=[history]), first)
    assert history.steps == []


def test_time_adds_up_and_metrics_are_not_doubled(tmp_path):
    estimator = StackedAutoencoder([layer(LBFGS(6)), layer(LBFGS(6))])
    path, reference = tmp_path / "metrics.jsonl", History()
    train(estimator, callbacks=[reference])
    with MetricsFile(path) as metrics, pytest.raises(Interrupted):
        train(estimator, callbacks=[metrics, At(12, interrupt)], checkpoint=Checkpoint(tmp_path / "c", n_iter=2))
    with path.open("a") as file:
        file.write('{"stage": "lay')
    again = History()
    with MetricsFile(path, resume=True) as metrics:
        train(estimator, callbacks=[metrics, again], checkpoint=Checkpoint(tmp_path / "c", n_iter=2))
    lines = [checkpoint_files.json.loads(line) for line in path.read_text().splitlines()]
    places = [(step.stage, step.iteration, step.value, step.n_rows_seen, step.status) for step in reference.steps]
    found = [tuple(line[n] for n in ("stage", "iteration", "value", "n_rows_seen", "status")) for line in lines]
    assert found == places
    seconds = [line["seconds"] for line in lines if line["stage"] == "layer 1"]
    assert seconds == sorted(seconds)


# What is refused, and what is warned of.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.5}, r"estimator.alpha is 0.5, but was 0.0001 there"),
        ({"autoencoder": layer(LBFGS(6))}, r"estimator.autoencoder.solver.max_iter is 6, but was 5 there"),
        ({"random_state": 1}, "estimator.random_state is 1, but was 0 there"),
        ({"rows": X[:80], "y": LABELS[:80]}, "y.rows with a label is 80, but was 90 there"),
        ({"rows": X[:, :5]}, "X.columns is 5, but was 6"),
        ({"rows": X / 2}, "X.digest of column ranges is"),
        ({"weights": WEIGHTS}, "X.rows is"),
        ({"y": 1 - LABELS}, "y.digest is"),
    ],
)
def test_another_fit_is_refused(change, message, tmp_path):
    estimator = StackedClassifier(layer(LBFGS(5)), solver=LBFGS(5), random_state=0)
    data = {"rows": X, "y": LABELS, "weights": None}
    estimator.set_params(checkpoint=tmp_path).fit(X, LABELS)
    data |= {name: value for name, value in change.items() if name in data}
    params = {name: value for name, value in change.items() if name not in data}
    with pytest.raises(ValueError, match=f"belongs to another fit: {message}"):
        clone(estimator).set_params(**params).fit(data["rows"], data["y"], sample_weight=data["weights"])


# As many rows with the same ranges of columns, which nothing but a look at all values tells apart.
BITS = (X > 0.5).astype(np.uint8)
TURNED = X[::-1].copy()
SWAPPED = X[[1, 0, *range(2, 90)]]
HELD_OUT = RNG.random((20, 6))
OTHER_ROWS = {
    "values": (Autoencoder(4), {"X": X}, {"X": TURNED}, "X.digest of values"),
    "two rows": (Autoencoder(4), {"X": torch.tensor(X)}, {"X": torch.tensor(SWAPPED)}, "X.digest of values"),
    "bytes": (Autoencoder(4), {"X": BITS}, {"X": BITS[::-1]}, "X.digest of values"),
    "sparse": (Autoencoder(4), {"X": sparse.csr_array(BITS * 1.0)}, {"X": BITS[::-1] * 1.0}, "X.digest of values"),
    "type": (Autoencoder(4), {"X": BITS * 1.0}, {"X": BITS.astype(np.float32)}, "X.digest of values"),
    "weights": (Autoencoder(4), {"X": X, "sample_weight": WEIGHTS}, {"sample_weight": WEIGHTS[::-1]}, "X.digest of w"),
    "ones": (Autoencoder(4), {"X": X}, {"sample_weight": np.ones(90)}, "X.digest of weights"),
    "validation": (Autoencoder(4), {"X": X, "X_val": HELD_OUT}, {"X_val": HELD_OUT[::-1]}, "X_val.digest of values"),
    "no validation": (StackedAutoencoder([Autoencoder(4)]), {"X": X, "X_val": HELD_OUT}, {"X_val": None}, "X_val"),
    "gaps": (AutoencoderImputer(Autoencoder(4)), {"X": GAPS}, {"X": GAPS[::-1]}, "X.digest of values"),
    "detector": (AutoencoderOutlierDetector(Autoencoder(4)), {"X": X}, {"X": TURNED}, "X.digest of values"),
    "labels": (StackedClassifier(Autoencoder(4)), {"X": X, "y": LABELS}, {"y": LABELS[::-1]}, "y.digest"),
    "validation labels": (
        StackedRegressor(Autoencoder(4)),
        {"X": X, "y": X[:, 0], "X_val": HELD_OUT, "y_val": HELD_OUT[:, 0]},
        {"y_val": HELD_OUT[:, 1]},
        "y_val",
    ),
}


@pytest.mark.parametrize("case", OTHER_ROWS)
def test_other_rows_are_refused(case, tmp_path):
    estimator, data, change, place = OTHER_ROWS[case]
    part = estimator.autoencoder if hasattr(estimator, "autoencoder") else estimator
    for each in getattr(part, "layers", [part]):
        each.set_params(solver=LBFGS(2))
    estimator = clone(estimator).set_params(random_state=0, checkpoint=tmp_path)
    if hasattr(estimator, "solver"):
        estimator.set_params(solver=LBFGS(2))
    first = estimator.fit(**data)
    with pytest.raises(ValueError, match=f"belongs to another fit: {place}.* is .*, but was .* there"):
        clone(estimator).fit(**data | change)
    assert_same(clone(estimator).fit(**data), first)


def test_other_rows_on_a_frozen_stack_are_refused(tmp_path):
    stack = StackedAutoencoder([layer(LBFGS(3))], random_state=0).fit(X)
    estimator = StackedClassifier(FrozenEstimator(stack), solver=LBFGS(5), random_state=0, checkpoint=tmp_path)
    estimator.fit(X, LABELS, X_val=HELD_OUT, y_val=LABELS[:20])
    for change in ({"X": TURNED}, {"X_val": HELD_OUT[::-1]}, {"sample_weight": WEIGHTS}):
        data = {"X": X, "y": LABELS, "X_val": HELD_OUT, "y_val": LABELS[:20]} | change
        with pytest.raises(ValueError, match=r"belongs to another fit: X(_val)?\.(rows|digest of)"):
            clone(estimator).fit(**data)


def test_folds_do_not_share_a_fit(tmp_path):
    """Each would have had the weights of the first."""
    estimator = StackedClassifier(Autoencoder(4, solver=LBFGS(2)), solver=LBFGS(2), random_state=0)
    estimator.set_params(checkpoint=tmp_path)
    with pytest.warns(FitFailedWarning, match="3 fits failed"):
        scores = cross_val_score(estimator, BITS, LABELS, cv=4)
    assert np.isnan(scores).tolist() == [False, True, True, True]


def test_the_digest_is_of_values_and_places_alone(monkeypatch, tmp_path):
    """Not of where or how rows are kept; and no change is too small."""
    values = RNG.integers(0, 2, (50, 5)).astype(np.float64)
    np.save(tmp_path / "X.npy", values)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    whole = digest_of_rows(Rows(values))
    columns = np.asfortranarray(values)
    for same in (columns, values[::-1].copy()[::-1], mapped, torch.tensor(values), sparse.csr_array(values)):
        assert digest_of_rows(Rows(same)) == whole
    assert digest_of_rows(Rows(values, dtype=torch.float64).scaled(lambda block: 2 * block)) == whole
    with distributed.joint(deterministic=True):
        assert digest_of_rows(Rows(values)) == whole
    with monkeypatch.context() as patch:
        patch.setattr("layerwise.data.rows._SMALL", 1)
        patch.setitem(_AT_ONCE, "cpu", 200)
        assert digest_of_rows(Rows(mapped)) == whole
    others = {whole}
    for place in range(50):
        for column in range(5):
            other = values.copy()
            other[place, column] = 1 - other[place, column]
            others.add(digest_of_rows(Rows(other)))
    assert len(others) == 251
    for dtype in (np.uint8, np.float16, np.float32):  # 5 columns fill no whole words
        others |= {digest_of_rows(Rows(kept.astype(dtype))) for kept in (values, values[::-1], values[:, ::-1])}
    assert len(others) == 260


def test_one_of_an_earlier_version_is_taken_with_a_warning(tmp_path):
    estimator = StackedClassifier(layer(LBFGS(3)), solver=LBFGS(3))
    first = train(estimator, checkpoint=tmp_path)
    checkpoints = CheckpointFolder(tmp_path)
    document = decode(checkpoints.read())
    facts = document["facts"]
    facts["X"] = {name: fact for name, fact in facts["X"].items() if not name.endswith(("values", "weights"))}
    del facts["X_val"], facts["y_val"]
    checkpoints.write(document)
    with pytest.warns(UserWarning, match="by an earlier version of layerwise, which kept no digest of all") as said:
        assert_same(train(estimator, checkpoint=tmp_path), first)
    assert len([warning for warning in said if "earlier version" in str(warning.message)]) == 1


def test_session_parameters_may_differ(tmp_path):
    estimator = Autoencoder(4, solver=LBFGS(4), random_state=0, checkpoint=tmp_path).fit(X)
    again = clone(estimator).set_params(cache_size=0, device="cpu", callbacks=[History()])
    assert_same(again.fit(X), estimator)


def test_other_software_is_named(monkeypatch, tmp_path):
    train(layer(LBFGS(4)), checkpoint=tmp_path)
    monkeypatch.setattr(checkpoint_module.torch, "get_num_threads", lambda: 7)
    with pytest.warns(UserWarning, match=r"other software or another machine: threads 7 \(was 1\); the fit goes on"):
        train(layer(LBFGS(4)), checkpoint=tmp_path)


def test_deterministic_sums_are_named(tmp_path):
    with distributed.joint(deterministic=True):
        train(layer(LBFGS(4)), checkpoint=tmp_path)
        train(layer(LBFGS(4)), checkpoint=tmp_path)  # of which there is nothing to say
    with pytest.warns(UserWarning, match=r"shards of rows 1 \(was 8\), deterministic False \(was True\); the fit goes"):
        train(layer(LBFGS(4)), checkpoint=tmp_path)


def test_refusals(tmp_path):
    estimator = Autoencoder(4, solver=LBFGS(4), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="warm_start=True do not go together"):
        clone(estimator).set_params(warm_start=True).fit(X)
    with locked(tmp_path), pytest.raises(ValueError, match="in use by another process"):
        estimator.fit(X)
    with pytest.raises(ValueError, match="seconds=-1"):
        clone(estimator).set_params(checkpoint=Checkpoint(tmp_path, seconds=-1)).fit(X)
    with pytest.raises(ValueError, match="n_iter=0"):
        clone(estimator).set_params(checkpoint=Checkpoint(tmp_path, n_iter=0)).fit(X)
    with pytest.raises(ValueError, match=r"layer 0: solver=GradientCheck.* has no method restore"):
        clone(estimator).set_params(solver=GradientCheck(), checkpoint=tmp_path / "c").fit(X)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        clone(estimator).set_params(checkpoint=tmp_path / "file").fit(X)
    with pytest.raises(ValueError, match="'checkpoint' parameter"):
        clone(estimator).set_params(checkpoint=3).fit(X)


def test_partial_fit_keeps_nothing_and_saved_models_know_no_checkpoint(tmp_path):
    estimator = Autoencoder(4, solver=LBFGS(4), checkpoint=Checkpoint(tmp_path / "c")).partial_fit(X)
    assert not (tmp_path / "c").exists()
    save(estimator, tmp_path / "model")
    assert load(tmp_path / "model").checkpoint is None


# What is on disk.


class FaultyOS:
    """The calls of the operating system that write, one of which fails; writes are short."""

    def __init__(self, fails, names=("mkdir", "open", "write", "fsync", "rename")):
        self.calls, self.fails, self.names = 0, fails, names

    def __getattr__(self, name):
        return functools.partial(self.call, name) if name in self.names else getattr(os, name)

    def call(self, name, *arguments):
        self.calls += 1
        if name == "write":
            arguments = arguments[0], arguments[1][: max(1, len(arguments[1]) // 2)]
        if name == "close":
            os.close(*arguments)
        number = self.fails(self.calls)
        if number:
            raise OSError(number, os.strerror(number))
        return None if name == "close" else getattr(os, name)(*arguments)

    def install(self, monkeypatch):
        for module in (checkpoint_files, atomic):
            monkeypatch.setattr(module, "os", self)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_fault_at_every_call_leaves_a_whole_checkpoint(number, monkeypatch, tmp_path):
    first, second = ({"n": n, "x": torch.full((50,), float(n))} for n in (1, 2))
    n_calls, n_new = 0, 0
    while True:
        n_calls += 1
        folder = tmp_path / str(n_calls)
        folder.mkdir()
        checkpoints = CheckpointFolder(folder)
        checkpoints.write(first)
        with monkeypatch.context() as patch:
            fails = lambda call, place=n_calls: number * (call == place)  # noqa: E731
            FaultyOS(fails, ("mkdir", "open", "write", "fsync", "rename", "close")).install(patch)
            failed = False
            try:
                checkpoints.write(second)
            except OSError:
                failed = True
        if not failed:
            break
        found = decode(CheckpointFolder(folder).read())
        n_new += found["n"] == 2  # it was in its place already
        assert found["x"].eq(found["n"]).all()
        assert not list(folder.glob("*.unfinished"))
        checkpoints.write(second)
        assert decode(CheckpointFolder(folder).read())["n"] == 2
    assert n_calls > 20
    assert 0 < n_new < n_calls / 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_training_goes_on_without_room(number, monkeypatch, tmp_path):
    estimator = StackedClassifier(layer(LBFGS(6)), solver=LBFGS(6))
    reference = train(estimator)
    with monkeypatch.context() as patch:
        FaultyOS(lambda call: number * (call > 90)).install(patch)
        with pytest.warns(UserWarning, match="no checkpoint is written") as caught:
            model = train(estimator, checkpoint=Checkpoint(tmp_path, seconds=0))
    assert len([warning for warning in caught if "checkpoint" in str(warning.message)]) == 1
    assert os.strerror(number) in str(caught[0].message)
    assert_same(model, reference)
    assert_same(train(estimator, checkpoint=tmp_path), reference)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_checkpoint_falls_back(damage, name, seed, tmp_path):
    estimator = StackedClassifier(layer(LBFGS(6)), solver=LBFGS(6))
    with pytest.raises(Interrupted):
        train(estimator, callbacks=[At(9, interrupt)], checkpoint=Checkpoint(tmp_path, seconds=0))
    newest = max(tmp_path.glob("[0-9]*"))
    path = newest / name
    content = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(len(content))
    if damage == "remove":
        path.unlink()
    else:
        content[place] ^= 1
        path.write_bytes(content[:place] if damage == "cut" else content)
    with pytest.warns(UserWarning, match=f"{newest} is damaged .*; the one before it is taken"):
        model = train(estimator, checkpoint=tmp_path)
    assert_same(model, train(estimator))

    for path in tmp_path.glob("[0-9]*/state.json"):
        path.write_text("{")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(ValueError, match=r"no checkpoint in .* is whole; remove the folder to begin anew"),
    ):
        train(estimator, checkpoint=tmp_path)


def test_the_last_two_are_kept_and_leftovers_removed(tmp_path):
    (tmp_path / "000001.unfinished").mkdir()
    (tmp_path / "000001.unfinished" / "state.json").write_text("{")
    train(layer(LBFGS(6)), checkpoint=Checkpoint(tmp_path, n_iter=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000006", "000007", "lock"]


# Signals.


@pytest.mark.filterwarnings("default:terminated")
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
@pytest.mark.parametrize("place", [1, 5, 6, 8])
def test_a_signal_ends_the_fit_with_a_checkpoint(place, number, kind, tmp_path):
    estimator = StackedClassifier(layer(LBFGS(5)), solver=LBFGS(5))
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what was started in the background ignores it
    callbacks = [At(place, lambda: signal.raise_signal(number))]
    try:
        with warnings.catch_warnings(record=True) as said, pytest.raises(kind) as ended:
            train(estimator, callbacks=callbacks, checkpoint=tmp_path)
        told = [str(warning.message) for warning in said if warning.category is UserWarning]
        assert told == ([str(ended.value)] if number == signal.SIGTERM else [])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert signal.getsignal(signal.SIGTERM) == before[1]
    assert f"the same fit with checkpoint='{tmp_path}' goes on from there" in str(ended.value)
    assert getattr(ended.value, "code", 143) == 143
    history = History()
    model = train(estimator, callbacks=[history], checkpoint=tmp_path)
    assert history.steps[0].iteration == {1: 2, 5: 5, 6: 1, 8: 3}[place]
    assert_same(model, train(estimator))


def test_a_second_signal_ends_at_once(tmp_path):
    def twice():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        train(layer(LBFGS(5)), callbacks=[At(2, twice)], checkpoint=tmp_path)
    assert ended.value.code == 143
    assert not list(tmp_path.glob("0*"))


def test_a_signal_too_late_is_not_lost(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with Checkpoint(tmp_path).open({}):
            signal.raise_signal(signal.SIGTERM)
            assert heard == []
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_fits_in_other_threads_leave_signals_alone(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    seen = []
    callbacks = [lambda step: seen.append(signal.getsignal(signal.SIGINT))]
    thread = threading.Thread(
        target=train, args=[layer(LBFGS(3))], kwargs={"callbacks": callbacks, "checkpoint": tmp_path}
    )
    thread.start()
    thread.join()
    assert set(seen) == {before}
    assert list(tmp_path.glob("0*"))
