"""How much sooner is the work of the 2014 code done: its cost of layer 1, and its accuracy after fine-tuning?

The rival is the UFLDL experiment in plain float64 NumPy with SciPy's L-BFGS-B (reference.py). Its seconds are those of
its evaluations, measured here before and after our runs, times their number in 2014 (205, 210, 33 and 208), which
leaves out what SciPy itself takes; --full trains its layer 1 instead (10 to 20 minutes). Ours runs in processes of its
own: layer 1 until the cost over all rows is 12.680, with growing samples and without (every fifth iteration the cost
over all rows is measured, off the clock); then both layers, the softmax layer and fine-tuning.

    python benchmarks/bench_ufldl.py [--full] [--json figures.json]
"""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
import torch
from common import Clock, Figures, alone, answer, data_folder, in_turn, parser, seconds_until, show, write
from reference import ALPHA, BETA, N_CLASSES, N_HIDDEN, RHO, network_cost, softmax_cost, sparse_cost, start, train_layer
from sklearn.exceptions import ConvergenceWarning

from layerwise import LBFGS, Adam, Autoencoder, KLSparsity, StackedAutoencoder, StackedClassifier
from layerwise.data import Digits, Rows, load_mnist
from layerwise.modules import AutoencoderLayer
from layerwise.objective import LayerObjective
from layerwise.reproduce.ufldl_stacked import FINETUNED, PUBLISHED, STAGES

PORT = PUBLISHED["2014 port"]
COST, ACCURACY = PORT["layer 0: cost"], PORT[FINETUNED]
# Of the whole run: iterations of L-BFGS for each layer; epochs of Adam for the softmax layer, and again for all.
LAYERS = LBFGS(max_iter=100)
FINETUNING = Adam(10, batch_size=256, learning_rate_init=4e-3, learning_rate="cosine")


def layer_until_cost(progressive: int, n_rows: int) -> Figures:
    """Train layer 1 until its cost over all rows is that of 2014."""
    rows = Rows(load_mnist(data_folder()).X_train[:n_rows])
    layer = AutoencoderLayer(784, N_HIDDEN, generator=torch.Generator().manual_seed(0))
    problem = {"terms": [KLSparsity(RHO, BETA)], "alpha": ALPHA}
    objective, probe = (LayerObjective(layer, rows, **problem) for _ in range(2))
    clock = Clock(lambda: probe.value(probe.vector.read()))

    def reached(state: object) -> bool:
        if state.n_iter % 5:
            return False
        clock.lap()
        return clock.curve[-1][1] <= COST

    solver = LBFGS(400, tol=0, ftol=0, progressive=bool(progressive))
    solver.minimize(objective, objective.vector.read(), callback=reached)
    return {"seconds": seconds_until(clock.curve, lambda cost: cost <= COST), "cost": clock.curve[-1][1]}


def whole_run(seed: int, n_rows: int) -> Figures:
    """Train 784-200-200-10 as in 2014, but with growing samples and Adam."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    digits = load_mnist(data_folder())
    layer = Autoencoder(N_HIDDEN, sparsity=KLSparsity(RHO, BETA), alpha=ALPHA, solver=LAYERS)
    stack = StackedAutoencoder([layer, layer])
    classifier = StackedClassifier(stack, alpha=ALPHA, fit_intercept=False, solver=FINETUNING, random_state=seed)
    began = time.perf_counter()
    classifier.fit(digits.X_train[:n_rows], digits.y_train[:n_rows])
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "accuracy (%)": 100 * classifier.score(digits.X_test, digits.y_test)}


def reference_seconds(digits: Digits) -> dict[str, float]:
    """Return the seconds of one evaluation of each stage of the reference."""
    rng = np.random.default_rng(0)
    X, y, codes = digits.X_train / 255, digits.y_train.astype(np.int64), rng.random((len(digits.X_train), N_HIDDEN))
    layers = {stage: start(rows.shape[1], rng) for stage, rows in (("layer 0", X), ("layer 1", codes))}
    head = rng.normal(size=N_CLASSES * N_HIDDEN)
    sizes = [(784 + 1) * N_HIDDEN, (N_HIDDEN + 1) * N_HIDDEN]
    network = np.concatenate([head, *(theta[:size] for theta, size in zip(layers.values(), sizes, strict=True))])
    evaluations = {
        "layer 0": lambda: sparse_cost(layers["layer 0"], X, N_HIDDEN),
        "layer 1": lambda: sparse_cost(layers["layer 1"], codes, N_HIDDEN),
        "head": lambda: softmax_cost(head, codes, y),
        "finetune": lambda: network_cost(network, X, y, N_HIDDEN),
    }
    times = in_turn(list(evaluations.values()), 2)
    return {stage: statistics.median(taken) for stage, taken in zip(evaluations, times, strict=True)}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--full", action="store_true", help="train layer 1 of the reference too")
    options.add_argument("--rows", type=int, default=60_000, help="training images; fewer to try this out")
    arguments = options.parse_args()
    n_rows, digits = arguments.rows, load_mnist(data_folder())
    digits = digits._replace(X_train=digits.X_train[:n_rows], y_train=digits.y_train[:n_rows])
    before = reference_seconds(digits)
    ours = {
        "growing samples": alone(__file__, "layer", 1, n_rows),
        "exact from the first step": alone(__file__, "layer", 0, n_rows),
        "whole run": alone(__file__, "whole", 0, n_rows),
    }
    after = reference_seconds(digits)
    reckoned = {stage: PORT[f"{stage}: evaluations"] * (before[stage] + after[stage]) / 2 for stage in STAGES}
    layer = {"reference (205 evaluations)": {"seconds": reckoned["layer 0"], "cost": COST}}
    if arguments.full:
        layer = {"reference, trained": train_layer(digits.X_train / 255, 200)}
    rival = next(iter(layer.values()))["seconds"]
    for name, seconds in [(name, ours[name]["seconds"]) for name in list(ours)[:2]]:
        layer[name] = ours[name] | {"times faster": seconds and rival / seconds}
    show(f"Layer 1 until its cost is {COST:.3f}", layer)
    whole = {
        "reference (evaluations alone)": {"seconds": sum(reckoned.values()), "accuracy (%)": ACCURACY},
        "layerwise": ours["whole run"] | {"times faster": sum(reckoned.values()) / ours["whole run"]["seconds"]},
    }
    show("The whole run, 784-200-200-10", whole)
    write(arguments.json, {"layer 1": layer, "whole run": whole, "reference seconds a stage": reckoned})


if __name__ == "__main__" and not answer({"layer": layer_until_cost, "whole": whole_run}):
    main()
