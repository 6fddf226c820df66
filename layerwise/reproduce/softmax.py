"""UFLDL's softmax regression on the raw pixels of MNIST: the simplest network, to compare all others with.

References
----------
A. Ng et al., "UFLDL tutorial", exercise "Softmax regression", 2011.
"""

from __future__ import annotations

import torch

from layerwise import stacking
from layerwise.callbacks import call_all
from layerwise.data import Digits, Rows, load_mnist
from layerwise.estimators._checks import check_device
from layerwise.losses import cross_entropy
from layerwise.modules import StackedNetwork, linear_head
from layerwise.reproduce.experiment import Outcome, Session, percent
from layerwise.solvers import LBFGS
from layerwise.stages import Training

ACCURACY = "test accuracy (%)"
PUBLISHED = {
    "UFLDL": {"iterations": 100, "alpha": 1e-4, ACCURACY: 92.6},
    "2014 port": {"iterations": 100, ACCURACY: 92.2},
}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    max_iter: int = 100,
    alpha: float = 1e-4,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    max_iter : int, default=100
        Iterations of L-BFGS.
    alpha : float, default=1e-4
        Decay of the weights.

    Returns
    -------
    outcome : Outcome
        Without an estimator: there is no layer to be learned.
    """
    place = check_device(session.device)
    network = StackedNetwork([], linear_head(digits.X_train.shape[1], 10, bias=False)).to(place)
    stacking.finetune(
        network,
        Rows(digits.X_train, device=place),
        torch.from_numpy(digits.y_train).long(),
        LBFGS(max_iter=max_iter),
        cross_entropy,
        alpha=alpha,
        training=Training(callback=call_all(session.watchers)),
    )
    classes = stacking.apply(network, Rows(digits.X_test, device=place)).argmax(dim=1).cpu().numpy()
    accuracy = float((classes == digits.y_test).mean())
    session.announce(f"accuracy of softmax regression on raw pixels: {accuracy:.2%}")
    return Outcome(None, {"iterations": max_iter, "alpha": alpha, ACCURACY: percent(accuracy)}, digits.X_test)
