"""The deep autoencoder of `deep_autoencoder` without pre-training: trained as a whole from random weights.

References
----------
I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, table 1.
"""

from __future__ import annotations

from layerwise.comparison import untrained
from layerwise.data import Digits, load_mnist
from layerwise.estimators import StackedAutoencoder
from layerwise.reproduce import deep_autoencoder
from layerwise.reproduce.experiment import Outcome, Session

PUBLISHED = {
    "Sutskever 2013": {"fine-tuning": "Nesterov, 750,000 batches of 200", deep_autoencoder.TRAIN: 0.73},
    "Sutskever 2013, Hessian-free": {deep_autoencoder.TRAIN: 0.69},
}
load = load_mnist


def run(digits: Digits, session: Session, *, finetune_epochs: int = 80) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    finetune_epochs : int, default=80
    """
    stack = untrained(StackedAutoencoder(deep_autoencoder.layers(0), **session.common)).fit(digits.X_train)
    deep, figures = deep_autoencoder.finetune(stack, digits, session, finetune_epochs)
    return Outcome(deep, {"pre-training": "none"} | figures, digits.X_test)
