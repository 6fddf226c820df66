"""The stacked denoising autoencoder on MNIST: 784-1000-1000-1000-10, masking noise .1, .2, .3.

References
----------
P. Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010; the deep learning tutorial of the Theano project,
chapter "Stacked denoising autoencoders (SdA)".
"""

from __future__ import annotations

from collections.abc import Sequence

from layerwise.corruptions import Masking
from layerwise.data import Digits, load_mnist
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.reproduce.experiment import Outcome, Session, classify, percent
from layerwise.solvers import Adam

ERROR = "test error (%)"
LEVELS = (0.1, 0.2, 0.3)
PUBLISHED = {
    "Theano tutorial": {
        "units": "sigmoid",
        "solver": "SGD, batches of 1",
        "pre-training epochs a layer": 15,
        "fine-tuning epochs": 36,
        ERROR: 1.3,
        "seconds": (585 + 444) * 60,
    },
    "Vincent 2010 (SDAE-3)": {ERROR: 1.28},
}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    levels: Sequence[float] = LEVELS,
    n_hidden: int = 1000,
    pretrain_epochs: int = 5,
    finetune_epochs: int = 20,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    levels : sequence of float, default=(0.1, 0.2, 0.3)
        Masking noise of each layer.
    n_hidden : int, default=1000
        Units of each of the three layers.
    pretrain_epochs, finetune_epochs : int, default=5, 20
    """
    classifier, error = train(levels, digits, session, n_hidden, pretrain_epochs, finetune_epochs)
    obtained: dict[str, float | str] = {
        "units": "relu",
        "solver": "Adam, batches of 128",
        "pre-training epochs a layer": pretrain_epochs,
        "fine-tuning epochs": finetune_epochs,
        ERROR: percent(error),
    }
    return Outcome(classifier, obtained, digits.X_test)


def train(
    levels: Sequence[float],
    digits: Digits,
    session: Session,
    n_hidden: int,
    pretrain_epochs: int,
    finetune_epochs: int,
) -> tuple[StackedClassifier, float]:
    """Pre-train a layer with masking noise of each level, then fine-tune.

    Parameters
    ----------
    levels : sequence of float
        From the input up; 0 is an ordinary autoencoder.
    digits : Digits
    session : Session
    n_hidden, pretrain_epochs, finetune_epochs : int

    Returns
    -------
    classifier : StackedClassifier
    error : float
        Share of the test images that are classified wrongly.
    """
    first, *upper = (
        Autoencoder(
            n_hidden,
            activation="relu",
            output_activation="identity",
            tied=True,
            alpha=0.0,
            corruption=Masking(level) if level else None,
            solver=Adam(pretrain_epochs, learning_rate="cosine"),
        )
        for level in levels
    )
    first.set_params(output_activation="sigmoid", loss="binary_cross_entropy")
    stack = StackedAutoencoder([first, *upper], **session.common).fit(digits.X_train)
    return classify(stack, digits, session, finetune_epochs)
