"""
Edges from photographs
======================

A sparse autoencoder that sees small patches of photographs learns what edge detectors are: bars and edges of many
places, lengths and directions.

It is the first exercise of many courses: 64 pixels, 25 units, 64 pixels (A. Ng, "Sparse autoencoder", CS294A lecture
notes, 2011). See :doc:`the page on sparse autoencoders </concepts/sparse>`.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_sample_images

from layerwise import LBFGS, Autoencoder, KLSparsity
from layerwise.data import extract_patches, normalize_patches, whiten_images
from layerwise.displays import FiltersDisplay
from layerwise.plotting import plot_filters

# %%
# Neighbouring pixels of a photograph are nearly equal, and a unit that copies a pixel knows most of the next one.
# Whitening takes that out, so that only what is not obvious is left to be learned. Brightness is no edge either: each
# patch loses its mean.
photographs = [image.mean(axis=2) / 255 for image in load_sample_images().images]
patches = extract_patches(whiten_images(photographs), (8, 8), 10_000, random_state=0)
patches = normalize_patches(patches - patches.mean(axis=1, keepdims=True))

autoencoder = Autoencoder(
    25, sparsity=KLSparsity(target=0.01, weight=3.0), solver=LBFGS(max_iter=400, progressive=False), random_state=0
).fit(patches)

# %%
# On the left what goes in, on the right what the units look for.
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.8), layout="constrained", gridspec_kw={"wspace": 0.1})
plot_filters(patches[:25] - 0.5, ax=left)
left.set_title("patches")
FiltersDisplay.from_estimator(autoencoder, ax=right)
right.set_title("units")
plt.show()
