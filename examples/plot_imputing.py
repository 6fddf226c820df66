"""
Gaps filled in
==============

Half of the pixels are missing. The mean of a column knows nothing of the pixels that are there; an
autoencoder fills in what goes with them.

See :doc:`the page on outliers and missing values </concepts/outliers>`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from sklearn.datasets import load_digits
from sklearn.impute import KNNImputer, SimpleImputer

from layerwise import AutoencoderImputer

X = load_digits().data / 16
missing = np.random.default_rng(0).random(X.shape) < 0.5
gaps = np.where(missing, np.nan, X)

imputers = {
    "column means": SimpleImputer(),
    "nearest rows": KNNImputer(),
    "autoencoder": AutoencoderImputer(random_state=0),
}
filled = {name: imputer.fit_transform(gaps) for name, imputer in imputers.items()}

# %%
# Gaps are red. Behind each name stands the root of the mean squared error of the pixels filled in; they go from 0 to 1.
lines = {"digits": X, "with gaps": gaps}
for name, rows in filled.items():
    error = np.sqrt(((rows - X)[missing] ** 2).mean())
    lines[f"{name}: {error:.3f}"] = rows
grey = colormaps["gray"].with_extremes(bad="tab:red")
fig, axes = plt.subplots(len(lines), 12, figsize=(9, 3.2))
fig.subplots_adjust(left=0.21, right=0.99, bottom=0.01, top=0.99, wspace=0.06, hspace=0.06)
for line, (name, rows) in zip(axes, lines.items(), strict=True):
    for ax, row in zip(line, rows, strict=False):
        ax.imshow(row.reshape(8, 8), cmap=grey, vmin=0, vmax=1)
        ax.set_xticks([])
        ax.set_yticks([])
    line[0].set_ylabel(name, rotation="horizontal", ha="right", va="center")
plt.show()
