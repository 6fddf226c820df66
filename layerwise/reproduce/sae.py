"""The stacked autoencoder without noise on MNIST: what masking noise adds to it is the difference to `sda`.

References
----------
P. Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010, table 3.
"""

from __future__ import annotations

from layerwise.data import Digits, load_mnist
from layerwise.reproduce import sda
from layerwise.reproduce.experiment import Outcome, Session, percent

PUBLISHED = {"Vincent 2010 (SAE-3)": {sda.ERROR: 1.40}, "Vincent 2010 (DBN-3)": {sda.ERROR: 1.24}}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    n_hidden: int = 1000,
    pretrain_epochs: int = 5,
    finetune_epochs: int = 20,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    digits : Digits
    session : Session
    n_hidden : int, default=1000
        Units of each of the three layers.
    pretrain_epochs, finetune_epochs : int, default=5, 20

    Returns
    -------
    outcome : Outcome
    """
    classifier, error = sda.train((0, 0, 0), digits, session, n_hidden, pretrain_epochs, finetune_epochs)
    obtained: dict[str, float | str] = {
        "units": "relu",
        "solver": "Adam, batches of 128",
        "pre-training epochs a layer": pretrain_epochs,
        "fine-tuning epochs": finetune_epochs,
        sda.ERROR: percent(error),
    }
    return Outcome(classifier, obtained, digits.X_test)
