"""The deep k-sparse autoencoder on MNIST: two layers of 1000 units, pre-trained greedily, then fine-tuned.

References
----------
A. Makhzani and B. Frey, "k-Sparse autoencoders", 2013, section 4. arXiv:1312.5663.
"""

from __future__ import annotations

from functools import partial

from layerwise.data import load_mnist
from layerwise.reproduce import k_sparse

PUBLISHED = {"Makhzani 2013": {k_sparse.ERROR: 0.97}}
load = load_mnist
# Its other settings are those of `k_sparse`.
run = partial(k_sparse.run, n_layers=2)
