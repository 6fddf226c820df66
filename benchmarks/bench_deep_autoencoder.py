"""How well does a deep autoencoder reconstruct MNIST, in how many seconds, beside a library that does the same?

Both sides train 784-500-250-30, each in a process of its own: so many epochs a layer, then as many of the whole. The
figure is the squared error summed over the 784 pixels (scaled to [0, 1]) of a test image, averaged over the 10,000
images; PCA with 30 components has 13.87. The rival is ClustPy's StackedAutoencoder with its default settings; where it
is not installed only ours is measured.

    python benchmarks/bench_deep_autoencoder.py [--epochs 10]
"""

from __future__ import annotations

from common import Clock, Figures, alone, answer, data_folder, parser, show, write
from rivals import rival
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from layerwise import Adam, Autoencoder, StackedAutoencoder
from layerwise.data import load_mnist

OURS = "layerwise"
WIDTHS = (500, 250, 30)


def ours(epochs: int, n_rows: int, *widths: int) -> Figures:
    digits = load_mnist(data_folder())
    X = digits.X_train[:n_rows]
    solver = Adam(epochs, learning_rate="cosine")
    layer = Autoencoder(activation="tanh", output_activation="tanh", tied=True, alpha=0.0, solver=solver)
    layers = [clone(layer).set_params(n_hidden=width) for width in widths]
    layers[0].set_params(output_activation="sigmoid", loss="binary_cross_entropy")
    layers[-1].set_params(activation="identity")
    clock = Clock(lambda: -2 * stack.score(digits.X_test))
    stack = StackedAutoencoder(layers, random_state=0).fit(X)
    clock.lap()
    frozen = [FrozenEstimator(layer) for layer in stack.layers_]
    stack = StackedAutoencoder(frozen, finetune="reconstruction", untie=True, solver=solver, random_state=0).fit(X)
    clock.lap()
    return {"curve": clock.curve}


def describe(figures: Figures) -> Figures:
    (layers, greedy), (seconds, error) = figures["curve"]
    return {
        "layers (s)": layers,
        "error after them": greedy,
        "whole (s)": seconds - layers,
        "error": error,
        "in all (s)": seconds,
        "peak memory MB": figures["peak memory MB"],
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--rows", type=int, default=60_000, help="training images; fewer to try this out")
    arguments = options.parse_args()
    numbers = (arguments.epochs, arguments.rows, *WIDTHS)
    found = {OURS: alone(__file__, OURS, *numbers), "ClustPy": rival("ClustPy stack", *numbers)}
    figures = {name: describe(values) for name, values in found.items() if values is not None}
    show(f"784-500-250-30, {arguments.epochs} epochs each", figures)
    write(arguments.json, figures)


if __name__ == "__main__" and not answer({OURS: ours}):
    main()
