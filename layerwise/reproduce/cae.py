"""The contractive autoencoder on MNIST: one layer of 1000 tied sigmoid units, cross-entropy, then fine-tuning.

References
----------
S. Rifai et al., "Contractive auto-encoders: explicit invariance during feature extraction", ICML 2011, table 1.
"""

from __future__ import annotations

from layerwise.data import Digits, load_mnist
from layerwise.estimators import Autoencoder
from layerwise.reproduce.experiment import Outcome, Session, classify, percent
from layerwise.solvers import Adam

ERROR = "test error (%)"
PUBLISHED = {"Rifai 2011": {"solver": "SGD, chosen by validation", ERROR: 1.14}}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    n_hidden: int = 1000,
    contraction: float = 1.0,
    pretrain_epochs: int = 20,
    finetune_epochs: int = 30,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    n_hidden : int, default=1000
    contraction : float, default=1.0
        Factor of the penalty (lambda).
    pretrain_epochs, finetune_epochs : int, default=20, 30
    """
    autoencoder = Autoencoder(
        n_hidden,
        loss="binary_cross_entropy",
        tied=True,
        alpha=0.0,
        contraction=contraction,
        solver=Adam(pretrain_epochs, learning_rate="cosine"),
        **session.common,
    ).fit(digits.X_train)
    classifier, error = classify(autoencoder, digits, session, finetune_epochs)
    obtained: dict[str, float | str] = {
        "solver": "Adam, batches of 128",
        "contraction": contraction,
        "pre-training epochs": pretrain_epochs,
        "fine-tuning epochs": finetune_epochs,
        ERROR: percent(error),
    }
    return Outcome(classifier, obtained, digits.X_test)
