"""Is an epoch of batches faster than the loop that users write in PyTorch, and a given error reached sooner?

An autoencoder 784-200-784 with sigmoid units on MNIST; all sides minimise half the squared error of an image by Adam
at rate 0.001 in batches of 256. First the seconds of an epoch, the sides in turn in one process; then the seconds until
the squared error of the test images (summed over the pixels) has come down to each level, every contestant in a
process of its own, where measuring the error does not count.

    python benchmarks/bench_minibatch.py [--levels 8 6 4.5] [--epochs 15] [--seeds 0]
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from common import (
    Clock,
    Figures,
    alone,
    answer,
    data_folder,
    in_turn,
    matrix_products,
    median_ratio,
    medians,
    parser,
    seconds_until,
    show,
    write,
)
from rivals import (
    AUTOENCODERS,
    BATCH_SIZE,
    LEARNING_RATE,
    N_HIDDEN,
    Loop,
    loader_loop,
    on_arrays,
    rival,
    squared_error,
    tensor_loop,
)

from layerwise.data import Digits, Rows, load_mnist
from layerwise.modules import AutoencoderLayer
from layerwise.objective import LayerObjective
from layerwise.solvers import Adam
from layerwise.stacking import pretrain
from layerwise.stages import Training

OURS = "layerwise"
# As MLPRegressor and PyOD have it; all others have sigmoid outputs, which take longer to any error.
OURS_LINEAR = "layerwise, linear output"
SOLVER = {"batch_size": BATCH_SIZE, "learning_rate_init": LEARNING_RATE}


def digits_of(n_rows: int) -> Digits:
    digits = load_mnist(data_folder())
    return digits._replace(X_train=digits.X_train[:n_rows], X_test=digits.X_test / np.float32(255))


def new_layer(n_features: int, seed: int, output: str = "sigmoid") -> AutoencoderLayer:
    generator = torch.Generator().manual_seed(seed)
    return AutoencoderLayer(n_features, N_HIDDEN, output_activation=output, generator=generator)


def our_loop(X: np.ndarray) -> Loop:
    """Return a layer and what trains it for one more epoch."""
    layer = new_layer(X.shape[1], seed=0)
    objective, solver = LayerObjective(layer, Rows(X)), Adam(0, **SOLVER)
    start, state = objective.vector.read(), None

    def epoch() -> None:
        nonlocal state
        solver.max_iter += 1
        state = solver.minimize(objective, start, state=state).state

    return layer, epoch


def ours(epochs: int, n_rows: int, seed: int, output: str = "sigmoid") -> Figures:
    digits = digits_of(n_rows)
    layer = new_layer(digits.X_train.shape[1], seed, output)
    clock = Clock(lambda: squared_error(on_arrays(layer), digits.X_test))
    training = Training(callback=lambda step: clock.lap() if step.status is None else None, seed=seed)
    pretrain([layer], Rows(digits.X_train), [Adam(epochs, **SOLVER)], training=training)
    return {"curve": clock.curve}


CONTESTANTS = {OURS: ours, OURS_LINEAR: functools.partial(ours, output="identity")}


def measure_epochs(digits: Digits, rounds: int) -> Figures:
    """Time an epoch of each side in turn; return its seconds, how they compare, and the error after all of them."""
    torch.manual_seed(0)
    X = torch.from_numpy(digits.X_train / np.float32(255))
    loops = {OURS: our_loop(digits.X_train), "PyTorch, tensors": tensor_loop(X), "PyTorch, DataLoader": loader_loop(X)}
    products, _ = matrix_products(*X.shape, N_HIDDEN, BATCH_SIZE)
    epochs: list[Callable[[], None]] = [epoch for _, epoch in loops.values()]
    times = dict(zip([*loops, "matrix products alone"], in_turn([*epochs, products], rounds), strict=True))
    errors = {name: squared_error(on_arrays(model), digits.X_test) for name, (model, _) in loops.items()}
    return {
        name: {
            "s an epoch": statistics.median(seconds),
            "ours / this": median_ratio(times[OURS], seconds),
            f"error after {rounds + 1} epochs": errors.get(name),
        }
        for name, seconds in times.items()
    }


def describe(figures: Figures, levels: Sequence[float]) -> Figures:
    curve = figures["curve"]
    laps = np.diff([0.0, *(seconds for seconds, _ in curve)])
    return {
        **{f"s to {level:g}": seconds_until(curve, lambda error, level=level: error <= level) for level in levels},
        "s an epoch": float(np.median(laps)),
        f"error after {len(curve)} epochs": curve[-1][1],
        "peak memory MB": figures["peak memory MB"],
    }


def race(epochs: int, n_rows: int, seeds: Sequence[int], levels: Sequence[float]) -> Figures:
    """Run every contestant alone, seed by seed; return the medians of their figures, those not installed left out."""
    runs: dict[str, list[Figures]] = {}
    for seed in seeds:
        for name in (*CONTESTANTS, *AUTOENCODERS):
            numbers = epochs, n_rows, seed
            figures = alone(__file__, name, *numbers) if name in CONTESTANTS else rival(name, *numbers)
            if figures is not None:
                runs.setdefault(name, []).append(describe(figures, levels))
    return {name: medians(figures) for name, figures in runs.items()}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--levels", type=float, nargs="+", default=[8, 6, 4.5], help="test errors to reach")
    options.add_argument("--epochs", type=int, default=15, help="the most epochs to reach them in")
    options.add_argument("--seeds", type=int, nargs="+", default=[0], help="figures are medians over them")
    options.add_argument("--rounds", type=int, default=7, help="epochs in turn")
    options.add_argument("--rows", type=int, default=60_000, help="training images; fewer to try this out")
    arguments = options.parse_args()

    figures = {"epochs in turn": measure_epochs(digits_of(arguments.rows), arguments.rounds)}
    show(f"{arguments.rows} x 784, {N_HIDDEN} hidden, batches of {BATCH_SIZE}", figures["epochs in turn"])
    figures["race"] = race(arguments.epochs, arguments.rows, arguments.seeds, arguments.levels)
    show(f"seconds to a test error; -: not in {arguments.epochs} epochs", figures["race"])
    write(arguments.json, figures)


if __name__ == "__main__" and not answer(CONTESTANTS):
    main()
