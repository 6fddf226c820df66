"""The stacked autoencoder without noise on MNIST: what masking noise adds to it is the difference to `sda`.

References
----------
P. Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010, table 3.
"""

from __future__ import annotations

from functools import partial

from layerwise.data import load_mnist
from layerwise.reproduce import sda

PUBLISHED = {"Vincent 2010 (SAE-3)": {sda.ERROR: 1.40}, "Vincent 2010 (DBN-3)": {sda.ERROR: 1.24}}
load = load_mnist
# Its other settings are those of `sda`.
run = partial(sda.run, levels=(0, 0, 0))
