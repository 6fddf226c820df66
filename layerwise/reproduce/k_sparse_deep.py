"""The deep k-sparse autoencoder on MNIST: two layers of 1000 units, pre-trained greedily, then fine-tuned.

References
----------
A. Makhzani and B. Frey, "k-Sparse autoencoders", 2013, section 4. arXiv:1312.5663.
"""

from __future__ import annotations

from typing import Any

from layerwise.data import Digits, load_mnist
from layerwise.reproduce import k_sparse
from layerwise.reproduce.experiment import Outcome, Session

PUBLISHED = {"Makhzani 2013": {k_sparse.ERROR: 0.97}}
load = load_mnist


def run(digits: Digits, session: Session, *, n_layers: int = 2, **settings: Any) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    digits : Digits
    session : Session
    n_layers : int, default=2
    **settings : dict
        Further ones of `layerwise.reproduce.k_sparse.run`.

    Returns
    -------
    outcome : Outcome
    """
    return k_sparse.run(digits, session, n_layers=n_layers, **settings)
