"""What several ranks compute together, to be compared with what one process computes: run by tests/test_distributed.py.

`python ranks.py SCENARIO ...` is one rank; WORLD_SIZE, RANK and the address of rank 0 are in the environment, as
torchrun puts them there.
"""

import hashlib
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from problems import new_layer

from layerwise import (
    LBFGS,
    SGD,
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
    distributed,
)
from layerwise.activations import get_activation
from layerwise.data.rows import Rows
from layerwise.losses import cross_entropy, reconstruction_loss
from layerwise.modules import AutoencoderLayer, StackedNetwork, UnrolledAutoencoder, linear_head
from layerwise.objective import reconstruction_objective, supervised_objective

N_ROWS, N_FEATURES = 60, 7
SQUARED_ERROR = reconstruction_loss("squared_error", get_activation("sigmoid"))


def all_rows():
    """Rows, classes, targets, weights, and rows with gaps."""
    random = np.random.default_rng(0)
    X = random.random((N_ROWS, N_FEATURES))
    gaps = np.where(random.random(X.shape) < 0.1, np.nan, X)
    return X, (X[:, 0] > X[:, 1]).astype(int), X[:, :2] @ [[1.0, 2.0], [3.0, -1.0]], random.random(N_ROWS) + 0.5, gaps


def layer():
    return AutoencoderLayer(N_FEATURES, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def layer_objective(rows, **settings):
    return new_layer(rows, 5, **{"alpha": 0.01, "generator": torch.Generator().manual_seed(1)} | settings)


def objectives(part):
    """Training problems over a part of the rows, in float64."""
    X, y, _, weights, gaps = (values[part] for values in all_rows())
    rows = Rows(X, dtype=torch.float64)
    weighted = Rows(X, dtype=torch.float64, weights=weights)
    missing = Rows(gaps, dtype=torch.float64)
    missing.has_missing = True
    kl = {"sparsity": KLSparsity(0.1, weight=3.0)}
    network = StackedNetwork([layer()], linear_head(5, 2, dtype=torch.float64))
    with torch.no_grad():
        network.head.weight.copy_(torch.linspace(-1, 1, 10).view(2, 5))
    return {
        "kl": layer_objective(rows, **kl, chunk_rows=7),
        "kl, codes not kept": layer_objective(rows, **kl, chunk_rows=7, cache_bytes=0),
        "kl, weights": layer_objective(weighted, **kl),
        "kl, missing": layer_objective(missing, **kl),
        "l1, contraction": layer_objective(rows, sparsity=L1Sparsity(0.1), contraction=0.2),
        "k-sparse": layer_objective(rows, activation=TopK(2), chunk_rows=7),
        "tied": layer_objective(rows, tied=True),
        "network": supervised_objective(network, rows, torch.from_numpy(y), cross_entropy, alpha=0.1),
        "network, weights": supervised_objective(network, weighted, torch.from_numpy(y), cross_entropy, alpha=0.1),
        "unrolled": reconstruction_objective(UnrolledAutoencoder([layer()]), rows, SQUARED_ERROR, alpha=0.1),
    }


def gradients(part):
    """Value and gradient of each, over all rows and as one batch of all rows."""
    found = {}
    for name, objective in objectives(part).items():
        theta = objective.vector.read()
        value, gradient = objective(theta)
        found[name] = np.array([value, objective.value(theta), *gradient.tolist()])
        if "weights" not in name:  # which batches round to whole rows
            ((value, gradient, n_rows),) = objective.epoch(theta.clone(), 10 * N_ROWS, 0)
            found[f"{name}, batch"] = np.array([n_rows, value, *gradient.tolist()])
    return found


def steps(part):
    """The mean gradient of an epoch at one point: each row counts once, whatever the batches are."""
    objective = objectives(part)["network"]
    theta = objective.vector.read()
    total, seen = 0, 0
    for _, gradient, n_rows in objective.epoch(theta, 16, 3):
        total, seen = total + n_rows * gradient, seen + n_rows
    return {"steps": (total / seen).numpy(), "seen": np.array([seen])}


def estimators():
    """Of every kind; few iterations of either kind of solver."""
    lbfgs, adam = LBFGS(15), Adam(4, batch_size=16, learning_rate_init=0.01)
    sparse = Autoencoder(5, sparsity=KLSparsity(0.1), solver=lbfgs)
    noisy = Autoencoder(
        5,
        sparsity=KLSparsity(0.2),
        corruption=Masking(0.3),
        solver=adam,
        scale="standard",
        activation="sigmoid",
        output_activation="identity",
    )
    common = {"random_state": 0}
    elu = {"activation": "elu", "output_activation": "identity", "solver": lbfgs}
    chosen = {
        "solver": lbfgs,
        "alpha": [0.01, 1.0],
        "decay": "start",
        "early_stopping": EarlyStopping(0.3, patience=5, refit=True),
        **common,
    }
    code = Autoencoder(2, activation="identity", output_activation="elu")
    return {
        "pca": StackedAutoencoder([Autoencoder(4, **elu), code], init="pca", finetune="reconstruction", **chosen),
        "linear": StackedClassifier(
            Autoencoder(4, **elu), init="linear", decay="start", alpha=1.0, solver=lbfgs, **common
        ),
        "stack": StackedAutoencoder([sparse, Autoencoder(3, solver=lbfgs)], dtype="float64", **common),
        "unrolled": StackedAutoencoder([sparse, 3], finetune="reconstruction", solver=lbfgs, dtype="float64", **common),
        "adam": StackedAutoencoder([noisy, Autoencoder(3, solver=adam)], **common),
        "classifier": StackedClassifier(StackedAutoencoder([sparse, 4], dtype="float64"), solver=lbfgs, **common),
        "adam classifier": StackedClassifier(noisy, solver=SGD(4, batch_size=8), unlabeled=-1, **common),
        "regressor": StackedRegressor(noisy, solver=lbfgs, **common),
        "early": Autoencoder(5, solver=adam, early_stopping=EarlyStopping(0.3, patience=1), **common),
        "detector": AutoencoderOutlierDetector(contamination=0.2, **common),
        "imputer": AutoencoderImputer(Autoencoder(5, corruption=Masking(0.2), solver=adam), **common),
    }


def fitted(part):
    """Parameters and losses after fits to a part of the rows."""
    X, y, targets, weights, gaps = (values[part] for values in all_rows())
    found = {}
    for name, estimator in estimators().items():
        rows = gaps if name == "imputer" else X
        labels = {
            "classifier": y,
            "linear": y,
            "adam classifier": np.where(X[:, 2] > 0.8, -1, y),
            "regressor": targets,
        }.get(name)
        estimator.fit(rows, labels, **{"sample_weight": weights} if name == "regressor" else {})
        inner = getattr(estimator, "autoencoder_", estimator)
        tensors = [*inner.to_torch().state_dict().values()]
        if hasattr(estimator, "network_"):
            tensors += [*estimator.network_.state_dict().values()]
        numbers = [np.ravel(tensor.double().numpy()) for tensor in tensors]
        history = estimator.history_ if hasattr(estimator, "history_") else inner.history_
        found[f"fit {name}"] = np.concatenate([*numbers, [stage["loss"] for stage in history]])
        if name == "detector":
            found["offset"] = np.array([estimator.offset_])
    return found


def compute(part):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    return gradients(part) | steps(part) | fitted(part)


# Scenarios


def share_rows(folder, *lengths):
    """Compute everything with so many rows on each rank, and again with equal shares, deterministically."""
    dist.init_process_group("gloo")  # as the program of a user may do
    ends = np.cumsum([0, *map(int, lengths)])
    rank = dist.get_rank()
    with distributed.joint(timeout=60):
        save(folder, "free", compute(slice(ends[rank], ends[rank + 1])))
    if len(lengths) in (2, 4):
        with distributed.joint(timeout=60, deterministic=True):
            save(folder, "deterministic", compute(slice(*distributed.share_bounds(N_ROWS))))
    dist.destroy_process_group()


def sums_on_gpu(part):
    """Value and gradient in float64, on a GPU."""
    X, y, *_ = (values[part] for values in all_rows())
    rows = Rows(X, dtype=torch.float64, device="cuda")
    network = StackedNetwork([layer()], linear_head(5, 2, dtype=torch.float64)).cuda()
    found = {}
    for name, objective in {
        "kl": layer_objective(rows, sparsity=KLSparsity(0.1, weight=3.0), device="cuda", chunk_rows=7),
        "network": supervised_objective(network, rows, torch.from_numpy(y), cross_entropy, alpha=0.1),
    }.items():
        value, gradient = objective(objective.vector.read())
        ((of_batch, by_batch, _),) = objective.epoch(objective.vector.read(), 10 * N_ROWS, 0)
        found[name] = np.array([value, *gradient.tolist(), of_batch.item(), *by_batch.tolist()])
    return found


def on_gpu(folder):
    """Sums and fits of ranks whose rows are on GPUs."""
    warnings.simplefilter("ignore")
    X, y, *_ = all_rows()
    with distributed.joint(timeout=60):
        part = slice(*distributed.share_bounds(N_ROWS))
        save(folder, "gpu", sums_on_gpu(part))
        classifier = StackedClassifier(
            Autoencoder(4, sparsity=KLSparsity(0.1), device="cuda", solver=Adam(3, batch_size=16)),
            solver=LBFGS(10),
            random_state=0,
        ).fit(X[part], y[part])
        save(folder, "fit on gpu", {str(place): matrix for place, matrix in enumerate(classifier.coefs_)})
        print(distributed._backend(), classifier.network_.head.weight.device)


class Crowd(int):
    """A number of ranks that is 1 but not taken for being alone, so that every message is sent."""

    def __eq__(self, other):
        return False

    def __gt__(self, other):
        return True

    __hash__ = int.__hash__


def over_nccl(folder):
    """All messages of sums and fits through NCCL, from the only rank to itself."""
    warnings.simplefilter("ignore")
    X, y, *_ = all_rows()
    dist.init_process_group("cpu:gloo,cuda:nccl")
    assert type(dist.group.WORLD._get_backend(torch.device("cuda"))).__name__ == "ProcessGroupNCCL"
    for deterministic in (False, True):
        shards = distributed.VIRTUAL_SHARDS if deterministic else 1
        alone = distributed._World(n_shards=shards, deterministic=deterministic)
        crowd = distributed._World(0, Crowd(1), shards, deterministic, dist.group.WORLD)
        answers = []
        for world in (alone, crowd):
            distributed._world = world
            sums = sums_on_gpu(slice(None))
            autoencoder = Autoencoder(4, sparsity=KLSparsity(0.1), device="cuda", solver=Adam(3, batch_size=16))
            classifier = StackedClassifier(autoencoder, solver=LBFGS(10), random_state=0).fit(X, y)
            detector = AutoencoderOutlierDetector(Autoencoder(3, device="cuda"), random_state=0).fit(X)
            answers.append([*sums.values(), *classifier.coefs_, np.array([detector.offset_])])
        distributed._world = alone
        for one, other in zip(*answers, strict=True):
            assert one.tobytes() == other.tobytes(), deterministic
    dist.destroy_process_group()
    print("the same bits")


def save(folder, name, found):
    digest = hashlib.sha256(b"".join(value.tobytes() for value in found.values())).digest()
    assert len(set(distributed.gather_bytes(digest))) == 1, "the ranks differ"
    if distributed.rank() == 0:
        np.savez(Path(folder) / f"{name}.npz", **found)


def disagree(folder):
    """Everything that can be wrong on one rank alone; say on each rank how it ends."""
    X, y, *_ = all_rows()
    wild = X.copy()
    wild[-1, 2] = np.inf
    seen = []
    warnings.simplefilter("ignore")
    with distributed.joint(timeout=60):
        rank = distributed.rank()
        part = slice(*distributed.share_bounds(N_ROWS))

        def stop(step):
            seen.append(step.iteration)
            return rank == 1 and step.iteration == 3

        def drift(step):
            if rank == 1 and step.iteration == 2 and step.status is None:
                trained[0].mul_(1.0000001)

        trained = []

        class Drifting(SGD):
            def _make_optimizer(self, x):
                trained[:] = [x]
                return super()._make_optimizer(x)

        for fit in (
            lambda: Autoencoder(3, solver=LBFGS(5)).fit((wild if rank == 1 else X)[part]),
            lambda: Autoencoder(3, solver=LBFGS(5)).fit(X[part, : 7 - rank]),
            lambda: Autoencoder(3, solver=LBFGS(5)).fit(X[:0]),
            lambda: StackedClassifier(Autoencoder(3, solver=LBFGS(5))).fit(X[part], y[part][rank:]),
            lambda: Autoencoder(3, solver=LBFGS(9), callbacks=[stop]).fit(X[part]) and None,
            lambda: Autoencoder(3, solver=Drifting(5), callbacks=[drift]).fit(X[part]),
        ):
            try:
                fit()
                print(f"went on to iteration {seen[-1]}")
            except (ValueError, ConnectionError) as error:
                print(f"{type(error).__name__}: {error}")


def hurry(seed):
    """Fit a little, with rows dealt out at random, by both kinds of solver; print a digest of the parameters."""
    X, y, *_ = all_rows()
    warnings.simplefilter("ignore")
    with distributed.joint(timeout=60):
        cuts = np.random.default_rng(int(seed)).integers(0, N_ROWS + 1, distributed.world_size() - 1)
        ends = [0, *sorted(cuts.tolist()), N_ROWS]
        part = slice(ends[distributed.rank()], ends[distributed.rank() + 1])
        autoencoder = Autoencoder(4, sparsity=KLSparsity(0.1), solver=Adam(3, batch_size=16))
        classifier = StackedClassifier(autoencoder, solver=LBFGS(10), random_state=0).fit(X[part], y[part])
    coefficients = b"".join(matrix.tobytes() for matrix in classifier.coefs_)
    print(hashlib.sha256(coefficients).hexdigest())


def lose_a_rank(folder):
    """One rank dies in the middle of a fit."""
    X, *_ = all_rows()

    def die(step):
        if distributed.rank() == 1 and step.iteration == 5:
            os._exit(9)

    began = time.perf_counter()
    with distributed.joint(timeout=20):
        try:
            Autoencoder(3, solver=LBFGS(10_000, tol=0, ftol=0), callbacks=[die]).fit(distributed.share(X))
        except ConnectionError as error:
            print(f"{time.perf_counter() - began:.0f} s: {error}")


def keep_classifier(part, **session):
    """Fit with a checkpoint, perhaps."""
    X, y, *_ = all_rows()
    autoencoder = Autoencoder(
        4, sparsity=KLSparsity(0.1), corruption=Masking(0.2), solver=Adam(6, batch_size=16, learning_rate_init=0.01)
    )
    return StackedClassifier(autoencoder, solver=LBFGS(8), random_state=0, **session).fit(X[part], y[part])


def interrupt(folder):
    """A signal to one rank ends all with a checkpoint, twice, and then they go on to the end."""
    warnings.simplefilter("ignore")
    with distributed.joint(timeout=60):
        part = slice(*distributed.share_bounds(N_ROWS))
        reference = keep_classifier(part)
        for place in (("layer 0", 3), ("finetune", 2)):

            def terminate(step, place=place):
                if distributed.rank() == 1 and (step.stage, step.iteration) == place:
                    signal.raise_signal(signal.SIGTERM)

            try:
                keep_classifier(part, checkpoint=folder, callbacks=[terminate])
            except SystemExit as end:
                print(end.code, end)
        resumed = keep_classifier(part, checkpoint=folder)
        for matrix, other in zip(resumed.coefs_, reference.coefs_, strict=True):
            assert matrix.tobytes() == other.tobytes()
        assert [stage["loss_curve"] for stage in resumed.history_] == [s["loss_curve"] for s in reference.history_]
        save(Path(folder).parent, "resumed", {str(place): matrix for place, matrix in enumerate(resumed.coefs_)})


def refuse_pickles(event, arguments):
    """Let no message between ranks be unpickled: an audit hook."""
    assert event != "pickle.find_class", arguments


if __name__ == "__main__":
    sys.addaudithook(refuse_pickles)
    scenario, *words = sys.argv[1:]
    globals()[scenario](*words)
