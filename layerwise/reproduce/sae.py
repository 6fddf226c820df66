"""The stacked autoencoder without noise on MNIST: what masking noise adds to it is the difference to `sda`.

References
----------
P. Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010, table 3.
"""

from __future__ import annotations

from typing import Any

from layerwise.data import Digits, load_mnist
from layerwise.reproduce import sda
from layerwise.reproduce.experiment import Outcome, Session

PUBLISHED = {"Vincent 2010 (SAE-3)": {sda.ERROR: 1.40}, "Vincent 2010 (DBN-3)": {sda.ERROR: 1.24}}
load = load_mnist


def run(digits: Digits, session: Session, **settings: Any) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    digits : Digits
    session : Session
    **settings : dict
        Further ones of `layerwise.reproduce.sda.run`.

    Returns
    -------
    outcome : Outcome
    """
    return sda.run(digits, session, levels=(0, 0, 0), **settings)
