"""How well does a deep autoencoder reconstruct MNIST, in how many seconds, beside a library that does the same?

Both sides train 784-500-250-30: so many epochs a layer, then as many of the whole. The figure is the squared error
summed over the 784 pixels (scaled to [0, 1]) of a test image, averaged over the 10,000 images; PCA with 30 components
has 13.87. The rival is ClustPy's StackedAutoencoder with its default settings, in a Python of its own that has clustpy
installed; without it only ours is measured.

    python benchmarks/bench_deep_autoencoder.py [--epochs 10] [--rival /path/to/python]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from layerwise import Adam, Autoencoder, StackedAutoencoder
from layerwise.data import load_mnist

HERE = Path(__file__).parent
WIDTHS = (500, 250, 30)

RIVAL = """
import json, sys, time
import numpy as np, torch
from clustpy.deep.neural_networks import StackedAutoencoder
train, test, epochs = np.load(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])
model = StackedAutoencoder([784, *map(int, sys.argv[4].split(","))], random_state=0)
def error():
    with torch.no_grad():
        x = torch.from_numpy(test)
        return ((model.decode(model.encode(x)) - x) ** 2).sum(dim=1).mean().item()
began = time.perf_counter()
model.layerwise_training(epochs, data=train)
layers, greedy = time.perf_counter() - began, error()
began = time.perf_counter()
super(StackedAutoencoder, model).fit(epochs, data=train)
print(json.dumps({"layers (s)": layers, "greedy": greedy, "whole (s)": time.perf_counter() - began, "error": error()}))
"""


def ours(digits, epochs):
    solver = Adam(epochs, learning_rate="cosine")
    layer = Autoencoder(activation="tanh", output_activation="tanh", tied=True, alpha=0.0, solver=solver)
    layers = [clone(layer).set_params(n_hidden=width) for width in WIDTHS]
    layers[0].set_params(output_activation="sigmoid", loss="binary_cross_entropy")
    layers[-1].set_params(activation="identity")
    began = time.perf_counter()
    stack = StackedAutoencoder(layers, random_state=0).fit(digits.X_train)
    seconds, greedy = time.perf_counter() - began, -2 * stack.score(digits.X_test)
    frozen = [FrozenEstimator(layer) for layer in stack.layers_]
    deep = StackedAutoencoder(frozen, finetune="reconstruction", untie=True, solver=solver, random_state=0)
    began = time.perf_counter()
    deep.fit(digits.X_train)
    whole = time.perf_counter() - began
    return {"layers (s)": seconds, "greedy": greedy, "whole (s)": whole, "error": -2 * deep.score(digits.X_test)}


def theirs(python, digits, epochs, folder):
    for name, X in (("train", digits.X_train), ("test", digits.X_test)):
        np.save(folder / f"{name}.npy", (X / 255).astype(np.float32))
    words = [folder / "train.npy", folder / "test.npy", epochs, ",".join(map(str, WIDTHS))]
    done = subprocess.run([python, "-c", RIVAL, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rival", help="a Python with clustpy")
    arguments = parser.parse_args()
    data = Path(os.environ.get("LAYERWISE_DATA", HERE.parents[1] / "shared" / "data")) / "mnist"
    if not data.is_dir():
        sys.exit(f"no MNIST at {data}; set LAYERWISE_DATA to the folder that holds mnist/")
    digits = load_mnist(data)
    figures = {"layerwise": ours(digits, arguments.epochs)}
    if arguments.rival:
        with tempfile.TemporaryDirectory() as folder:
            figures["ClustPy"] = theirs(arguments.rival, digits, arguments.epochs, Path(folder))
    table = Table(
        "", *next(iter(figures.values())), "in all (s)", title=f"784-500-250-30, {arguments.epochs} epochs each"
    )
    for name, values in figures.items():
        total = values["layers (s)"] + values["whole (s)"]
        table.add_row(name, *(f"{value:.2f}" for value in values.values()), f"{total:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
