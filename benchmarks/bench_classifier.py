"""Does pre-training with fine-tuning end at a better classifier than plain training, in at most twice its time?

784-200-200-10 on all labels of MNIST; the seconds until 97.8 % of the test images are right, and the accuracy in the
end. Every contestant runs in a process of its own and is measured after every epoch, which does not count in its time.
The rivals are the loop that users write in PyTorch (ReLU units, Adam at rate 0.001, batches of 256) and scikit-learn's
MLPClassifier with the same units; layerwise pre-trains two denoising layers, and fine-tunes all with the labels.

    python benchmarks/bench_classifier.py [--level 97.8] [--epochs 20] [--seeds 0 1 2]
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from common import Clock, Figures, alone, answer, data_folder, medians, parser, seconds_until, show, write
from rivals import CLASSIFIERS, N_CLASSES, N_FEATURES, N_HIDDEN, accuracy, on_arrays, rival

from layerwise.callbacks import Step
from layerwise.corruptions import Masking
from layerwise.data import Rows, load_mnist
from layerwise.losses import cross_entropy
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.objective import LayerObjective
from layerwise.solvers import Adam
from layerwise.stacking import finetune, pretrain
from layerwise.stages import Training

OURS = "layerwise"
OUTPUTS = ("sigmoid", "identity")
PROBLEMS = [
    partial(LayerObjective, loss="binary_cross_entropy", corruption=Masking(0.2)),
    partial(LayerObjective, corruption=Masking(0.2)),
]
PRETRAINING = Adam(3, batch_size=256, learning_rate="cosine")
FINETUNING = Adam(15, batch_size=256, learning_rate="cosine")
HEAD_EPOCHS = 1  # of training the head alone


def ours(n_rows: int, seed: int) -> Figures:
    digits = load_mnist(data_folder())
    X_test = digits.X_test / np.float32(255)
    rows, targets = Rows(digits.X_train[:n_rows]), torch.from_numpy(digits.y_train[:n_rows].astype(np.int64))
    generator = torch.Generator().manual_seed(seed)
    clock = Clock(lambda: accuracy(on_arrays(network), X_test, digits.y_test))

    def watch(step: Step) -> bool:
        if step.status is None:
            clock.lap()
        return step.stage == "head" and step.iteration >= HEAD_EPOCHS

    layers = [
        AutoencoderLayer(width, N_HIDDEN, activation="relu", output_activation=output, tied=True, generator=generator)
        for width, output in zip((N_FEATURES, N_HIDDEN), OUTPUTS, strict=True)
    ]
    network = StackedNetwork(layers, linear_head(N_HIDDEN, N_CLASSES))
    training = Training(callback=watch, seed=seed)
    pretrain(layers, rows, [PRETRAINING] * len(layers), problems=PROBLEMS, training=training)
    finetune(network, rows, targets, FINETUNING, cross_entropy, training=training)
    return {"curve": clock.curve}


def describe(figures: Figures, level: float) -> Figures:
    curve = figures["curve"]
    return {
        f"s to {level:g} %": seconds_until(curve, lambda percent: percent >= level),
        "epochs": len(curve),
        "s in all": curve[-1][0],
        "final accuracy (%)": curve[-1][1],
        "best accuracy (%)": max(percent for _, percent in curve),
        "peak memory MB": figures["peak memory MB"],
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--level", type=float, default=97.8, help="accuracy to reach, in percent")
    options.add_argument("--epochs", type=int, default=20, help="epochs of the rivals")
    options.add_argument("--seeds", type=int, nargs="+", default=[0], help="figures are medians over them")
    options.add_argument("--rows", type=int, default=60_000, help="training images; fewer to try this out")
    arguments = options.parse_args()

    runs: dict[str, list[Figures]] = {name: [] for name in (OURS, *CLASSIFIERS)}
    for seed in arguments.seeds:
        found = {OURS: alone(__file__, OURS, arguments.rows, seed)}
        found |= {name: rival(name, arguments.epochs, arguments.rows, seed) for name in CLASSIFIERS}
        for name, figures in found.items():
            runs[name].append(describe(figures, arguments.level))
    figures = {name: medians(described) for name, described in runs.items()}
    show(f"784-200-200-10, {arguments.rows} labels, seeds {arguments.seeds}", figures)
    write(arguments.json, {"medians": figures, "runs": runs})


if __name__ == "__main__" and not answer({OURS: ours}):
    main()
