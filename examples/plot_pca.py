"""
A linear autoencoder finds the subspace of PCA
==============================================

With linear units and squared error the best codes are those of the principal components, up to a change of basis
(P. Baldi and K. Hornik, "Neural networks and principal component analysis", Neural Networks 2, 1989).

So there is an exact answer to compare with: the loss can be no lower than that of PCA, and the angles between the two
subspaces must go to 0. See :doc:`the page on autoencoders </concepts/autoencoder>`.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from layerwise import LBFGS, Autoencoder
from layerwise.plotting import plot_filters

X = StandardScaler().fit_transform(load_digits().data)
pca = PCA(9).fit(X)
lowest = 0.5 * ((pca.inverse_transform(pca.transform(X)) - X) ** 2).sum(axis=1).mean()

# %%
# The same fit again and again, ended after more and more iterations; the same seed makes them one path.
iterations = [1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100, 120]
losses, angles = [], []
for max_iter in iterations:
    autoencoder = Autoencoder(
        9,
        activation="identity",
        output_activation="identity",
        alpha=0,
        scale=None,
        solver=LBFGS(max_iter=max_iter, tol=0),
        dtype="float64",
        random_state=0,
    ).fit(X)
    losses.append(autoencoder.loss_)
    decoder = autoencoder.coefs_[1].T
    angles.append(np.degrees(subspace_angles(decoder, pca.components_.T)).max())

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.semilogy(iterations, np.array(losses) / lowest - 1, marker="o")
left.set(xlabel="iteration", ylabel="loss above that of PCA, relative", title="the loss")
right.semilogy(iterations, angles, marker="o")
right.set(xlabel="iteration", ylabel="largest angle in degrees", title="the subspace")
for ax in (left, right):
    ax.grid(visible=True, alpha=0.3)

# %%
# The subspace is the same, but the axes in it are not: nothing tells the autoencoder to make its units uncorrelated or
# to sort them. Each of its units is a mixture of principal components.
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.8), layout="constrained", gridspec_kw={"wspace": 0.1})
for ax, weights, title in zip(
    axes, (pca.components_, decoder.T), ("principal components", "linear units"), strict=True
):
    plot_filters(weights, ax=ax)
    ax.set_title(title)
plt.show()
