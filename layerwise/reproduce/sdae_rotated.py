"""Stacked autoencoders with and without masking noise on rotated digits: 10,000 to train on, 50,000 to test.

Each image of `sdae_basic` is turned by an angle drawn from the whole circle, as those of the published set were; its
own files are not needed.

References
----------
P. Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010, table 3; H. Larochelle et al., "An empirical
evaluation of deep architectures on problems with many factors of variation", ICML 2007.
"""

from __future__ import annotations

from os import PathLike

import numpy as np
from scipy import ndimage

from layerwise.data import Digits
from layerwise.reproduce import sdae_basic

PUBLISHED = {
    "Vincent 2010": {sdae_basic.SAE: 10.30, sdae_basic.SDAE: 9.53},
    "Vincent 2010 (DBN-3)": {"DBN-3: test error (%)": 10.30},
}
run = sdae_basic.run


def load(folder: str | PathLike[str]) -> Digits:
    """Load the part of MNIST that `sdae_basic` draws, each image turned by a random angle."""
    digits = sdae_basic.load(folder)
    random = np.random.RandomState(0)
    return digits._replace(X_train=rotate(digits.X_train, random), X_test=rotate(digits.X_test, random))


def rotate(X: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Turn each image about its middle by an angle of its own, from 0 to 360 degrees.

    Parameters
    ----------
    X : ndarray of shape (n_images, 784), uint8
    random : RandomState

    Returns
    -------
    X : ndarray of shape (n_images, 784), uint8
        Interpolated linearly; what comes in from outside is 0.
    """
    turned = np.empty_like(X)
    for image, angle, out in zip(X.reshape(-1, 28, 28), random.uniform(0, 360, len(X)), turned, strict=True):
        out[:] = ndimage.rotate(image.astype(float), angle, reshape=False, order=1).round().ravel()
    return turned
