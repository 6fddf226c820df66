"""The rivals: what users train without layerwise, epoch by epoch, with the quality on the test images after each.

The autoencoders are 784-200-784 with sigmoid units and minimise the squared error by Adam, without decay or noise. The
loss of scikit-learn, PyOD and ClustPy is averaged over the pixels too, which hardly matters to Adam; the outputs of
scikit-learn and PyOD are linear, they offer no others. Nothing here imports layerwise: PyOD and ClustPy run in an
environment of their own, that of `common.RIVAL_PYTHON`. The peak memory of scikit-learn's holds some 250 MB for the
torch that this file imports.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from unittest.mock import MagicMock

import numpy as np
import torch
from common import RIVAL_PYTHON, Clock, Figures, alone, answer, data_folder
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

N_FEATURES, N_HIDDEN, N_CLASSES = 784, 200, 10
BATCH_SIZE = 256
LEARNING_RATE = 1e-3
ELSEWHERE = ("PyOD", "ClustPy", "ClustPy stack")

Predict = Callable[[np.ndarray], np.ndarray]


def rival(name: str, *numbers: int) -> Figures | None:
    """Run a rival in a process of its own; None, and a sentence, if it is not installed or fails."""
    os.environ["TQDM_DISABLE"] = "1"  # no progress bars
    if name not in ELSEWHERE:
        return alone(__file__, name, *numbers)
    try:
        return alone(__file__, name, *numbers, python=RIVAL_PYTHON)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{name} is left out, `make .venv-rivals/installed` installs it: {error}")
        return None


# MNIST, and the quality on its test part.


def images(part: str) -> np.ndarray:
    return _read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, N_FEATURES) / np.float32(255)


def labels(part: str) -> np.ndarray:
    return _read(f"{part}-labels-idx1-ubyte.gz", 8).astype(np.int64)


def _read(name: str, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress((data_folder() / name).read_bytes()), np.uint8, offset=header)


def on_arrays(model: nn.Module) -> Predict:
    """Return a torch model as a function of arrays."""

    def predict(X: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(X)).numpy()

    return predict


def squared_error(reconstruct: Predict, X: np.ndarray) -> float:
    """Return the squared error summed over the pixels and averaged over the images."""
    return float(((reconstruct(X) - X) ** 2).sum(axis=1).mean())


def accuracy(classify: Predict, X: np.ndarray, y: np.ndarray) -> float:
    """Return the share of images, in percent, whose class has the highest output."""
    return 100 * float((classify(X).argmax(axis=1) == y).mean())


# The idiomatic loops: each function returns the model and what trains it for an epoch.

Loop = tuple[nn.Module, Callable[[], None]]


def tensor_loop(X: Tensor) -> Loop:
    model, step = _autoencoder()

    def epoch() -> None:
        for positions in torch.randperm(len(X)).split(BATCH_SIZE):
            step(X[positions])

    return model, epoch


def loader_loop(X: Tensor) -> Loop:
    model, step = _autoencoder()
    loader = DataLoader(TensorDataset(X), batch_size=BATCH_SIZE, shuffle=True)

    def epoch() -> None:
        for (x,) in loader:
            step(x)

    return model, epoch


def _autoencoder() -> tuple[nn.Module, Callable[[Tensor], None]]:
    model = nn.Sequential(nn.Linear(N_FEATURES, N_HIDDEN), nn.Sigmoid(), nn.Linear(N_HIDDEN, N_FEATURES), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        loss = 0.5 * F.mse_loss(model(x), x, reduction="sum") / len(x)
        loss.backward()
        optimizer.step()

    return model, step


def classifier_loop(X: Tensor, y: Tensor) -> Loop:
    model = nn.Sequential(
        nn.Linear(N_FEATURES, N_HIDDEN),
        nn.ReLU(),
        nn.Linear(N_HIDDEN, N_HIDDEN),
        nn.ReLU(),
        nn.Linear(N_HIDDEN, N_CLASSES),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def epoch() -> None:
        for positions in torch.randperm(len(X)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(X[positions]), y[positions])
            loss.backward()
            optimizer.step()

    return model, epoch


# Contestants: (epochs, training images, seed) -> the curve of seconds and quality.


def torch_autoencoder(make_loop: Callable[[Tensor], Loop], epochs: int, n_rows: int, seed: int) -> Figures:
    torch.manual_seed(seed)
    X_test = images("t10k")
    model, epoch = make_loop(torch.from_numpy(images("train")[:n_rows]))
    return train(epoch, lambda: squared_error(on_arrays(model), X_test), epochs)


def torch_classifier(epochs: int, n_rows: int, seed: int) -> Figures:
    torch.manual_seed(seed)
    X_test, y_test = images("t10k"), labels("t10k")
    X, y = torch.from_numpy(images("train")[:n_rows]), torch.from_numpy(labels("train")[:n_rows])
    model, epoch = classifier_loop(X, y)
    return train(epoch, lambda: accuracy(on_arrays(model), X_test, y_test), epochs)


def sklearn_autoencoder(epochs: int, n_rows: int, seed: int) -> Figures:
    X, X_test = images("train")[:n_rows], images("t10k")
    model = MLPRegressor(
        hidden_layer_sizes=(N_HIDDEN,), activation="logistic", alpha=0, batch_size=BATCH_SIZE, random_state=seed
    )
    # partial_fit makes one epoch, and keeps Adam's running means from call to call.
    return train(lambda: model.partial_fit(X, X), lambda: squared_error(model.predict, X_test), epochs)


def sklearn_classifier(epochs: int, n_rows: int, seed: int) -> Figures:
    X, y, X_test, y_test = images("train")[:n_rows], labels("train")[:n_rows], images("t10k"), labels("t10k")
    model = MLPClassifier((N_HIDDEN, N_HIDDEN), batch_size=BATCH_SIZE, random_state=seed)
    return train(
        lambda: model.partial_fit(X, y, classes=range(N_CLASSES)),
        lambda: accuracy(model.predict_proba, X_test, y_test),
        epochs,
    )


def train(epoch: Callable[[], object], quality: Callable[[], float], epochs: int) -> Figures:
    clock = Clock(quality)
    for _ in range(epochs):
        epoch()
        clock.lap()
    return {"curve": clock.curve}


def pyod_autoencoder(epochs: int, n_rows: int, seed: int) -> Figures:
    from pyod.models.auto_encoder import AutoEncoder

    class Watched(AutoEncoder):
        def epoch_update(self) -> None:  # PyOD's hook for what is to happen after every epoch
            clock.lap()

    X, X_test = images("train")[:n_rows], images("t10k")
    model = Watched(
        preprocessing=False,
        lr=LEARNING_RATE,
        epoch_num=epochs,
        batch_size=BATCH_SIZE,
        random_state=seed,
        verbose=0,
        optimizer_params={},
        hidden_neuron_list=[N_HIDDEN],
        hidden_activation_name="sigmoid",
        batch_norm=False,
        dropout_rate=0.0,
    )
    clock = Clock(lambda: squared_error(on_arrays(model.model), X_test))
    model.fit(X)
    return {"curve": clock.curve}


def clustpy_autoencoder(epochs: int, n_rows: int, seed: int) -> Figures:
    _prepare_clustpy()
    from clustpy.deep.neural_networks import FeedforwardAutoencoder
    from clustpy.deep.neural_networks._abstract_autoencoder import FullyConnectedBlock

    class Lap:
        """A schedule that leaves the learning rate as it is: ClustPy calls its step after every epoch."""

        def __init__(self, optimizer: torch.optim.Optimizer):
            self.step = clock.lap

    X, X_test = images("train")[:n_rows], images("t10k")
    units = {"activation_fn": nn.Sigmoid, "decoder_output_fn": nn.Sigmoid}
    model = FeedforwardAutoencoder([N_FEATURES, N_HIDDEN], **units, random_state=seed)
    # ClustPy leaves its codes linear; here they are sigmoid, as everywhere else.
    model.encoder = FullyConnectedBlock([N_FEATURES, N_HIDDEN], activation_fn=nn.Sigmoid, output_fn=nn.Sigmoid)
    clock = Clock(lambda: squared_error(on_arrays(model), X_test))
    model.fit(epochs, {"lr": LEARNING_RATE}, BATCH_SIZE, data=X, scheduler=Lap)
    return {"curve": clock.curve}


def clustpy_stack(epochs: int, n_rows: int, *widths: int) -> Figures:
    """Train a deep autoencoder with the default settings: layer by layer, then the whole."""
    _prepare_clustpy()
    from clustpy.deep.neural_networks import StackedAutoencoder

    X, X_test = images("train")[:n_rows], images("t10k")
    model = StackedAutoencoder([N_FEATURES, *widths], random_state=0)
    clock = Clock(lambda: squared_error(on_arrays(model), X_test))
    model.layerwise_training(epochs, data=X)
    clock.lap()
    super(StackedAutoencoder, model).fit(epochs, data=X)
    clock.lap()
    return {"curve": clock.curve}


def _prepare_clustpy() -> None:
    # ClustPy imports torchvision, for data sets and augmentation that are not used here, and PyPI's torchvision does
    # not load beside the CPU build of torch.
    sys.modules |= dict.fromkeys(("torchvision", "torchvision.models", "torchvision.models._api"), MagicMock())


AUTOENCODERS = {
    "PyTorch, tensors": lambda *numbers: torch_autoencoder(tensor_loop, *numbers),
    "PyTorch, DataLoader": lambda *numbers: torch_autoencoder(loader_loop, *numbers),
    "MLPRegressor": sklearn_autoencoder,
    "ClustPy": clustpy_autoencoder,
    "PyOD": pyod_autoencoder,
}
CLASSIFIERS = {"PyTorch": torch_classifier, "MLPClassifier": sklearn_classifier}

if __name__ == "__main__":
    answer(AUTOENCODERS | CLASSIFIERS | {"ClustPy stack": clustpy_stack})
