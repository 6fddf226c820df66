"""Stacked autoencoders with and without masking noise on few digits: 10,000 to train on, 50,000 to test.

The published set, ``basic``, is such a part of MNIST; its own files are not needed, the part is drawn anew. Its 2,000
validation images are left out of the training, for settings to be chosen by.

References
----------
P. Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010, table 3; H. Larochelle et al., "An empirical
evaluation of deep architectures on problems with many factors of variation", ICML 2007.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from layerwise.data import Digits, load_mnist
from layerwise.reproduce import sda
from layerwise.reproduce.experiment import Outcome, Session, percent

N_TRAIN, N_VALIDATION, N_TEST = 10_000, 2_000, 50_000
SAE, SDAE = "SAE-3: test error (%)", "SDAE-3: test error (%)"
PUBLISHED = {"Vincent 2010": {SAE: 3.46, SDAE: 2.84}, "Vincent 2010 (DBN-3)": {"DBN-3: test error (%)": 3.11}}


def load(folder: str | PathLike[str]) -> Digits:
    """Load MNIST and draw 10,000 images to train on and 50,000 others to test on."""
    digits = load_mnist(folder)
    X = np.concatenate([digits.X_train, digits.X_test])
    y = np.concatenate([digits.y_train, digits.y_test])
    order = np.random.RandomState(0).permutation(len(X))
    train, _, test, _ = np.split(order, np.cumsum([N_TRAIN, N_VALIDATION, N_TEST]))
    return Digits(X[train], y[train], X[test], y[test])


def run(
    digits: Digits,
    session: Session,
    *,
    n_hidden: int = 1000,
    level: float = 0.25,
    pretrain_epochs: int = 20,
    finetune_epochs: int = 40,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    n_hidden : int, default=1000
        Units of each of the three layers.
    level : float, default=0.25
        Masking noise of each layer of SDAE-3.
    pretrain_epochs, finetune_epochs : int, default=20, 40
    """
    obtained: dict[str, float | str] = {
        "units": "relu",
        "masking noise of SDAE-3": level,
        "solver": "Adam, batches of 128",
        "pre-training epochs a layer": pretrain_epochs,
        "fine-tuning epochs": finetune_epochs,
    }
    for figure, noise in ((SAE, 0), (SDAE, level)):
        classifier, error = sda.train((noise,) * 3, digits, session, n_hidden, pretrain_epochs, finetune_epochs)
        obtained[figure] = percent(error)
    return Outcome(classifier, obtained, digits.X_test)
