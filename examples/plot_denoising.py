"""
Digits out of noise
===================

A denoising autoencoder sees damaged rows and has to reconstruct the clean ones.

None of the digits below was seen in training, nor was their noise. See
:doc:`the page on denoising autoencoders </concepts/denoising>`.
"""

import matplotlib.pyplot as plt
import numpy as np

from layerwise import Adam, Autoencoder, Masking
from layerwise.data import load_mnist_small
from layerwise.plotting import plot_reconstructions

digits = load_mnist_small()
X_train, X_test = digits.X_train[::2], digits.X_test / 255

fitted = {
    level: Autoencoder(
        100,
        activation="relu",
        loss="binary_cross_entropy",
        corruption=Masking(level),
        solver=Adam(max_iter=15, learning_rate_init=5e-3),
        random_state=0,
    ).fit(X_train)
    for level in (0, 0.25, 0.5, 0.75)
}


def mask(rows: np.ndarray, level: float) -> np.ndarray:
    """Return rows with a share of their entries set to 0."""
    return np.where(np.random.default_rng(0).random(rows.shape) < level, 0, rows)


def clean(autoencoder: Autoencoder, rows: np.ndarray) -> np.ndarray:
    """Return the reconstructions of rows."""
    return autoencoder.inverse_transform(autoencoder.transform(rows))


# %%
# 60 % of the pixels are set to 0. From top to bottom: the digits, what is left of them, and what the autoencoder
# makes of that. The plain one has learned to copy, and copies the damage; the other one has learned what digits look
# like.
shown = X_test[::77]
damaged = mask(shown, 0.6)
fig, axes = plt.subplots(2, 1, figsize=(9, 5.2), layout="constrained")
for ax, (level, name) in zip(
    axes, {0.5: "trained on damaged digits", 0: "trained on whole digits"}.items(), strict=True
):
    plot_reconstructions(shown, clean(fitted[level], damaged), corrupted=damaged, ax=ax)
    ax.set_title(name)

# %%
# Which level of noise to train with? About as much as is to be taken away, each curve is lowest, against the others,
# near its own level. The price of a high one is paid on clean rows, at the left.
levels = np.linspace(0, 0.8, 9)
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for level, autoencoder in fitted.items():
    errors = [0.5 * ((clean(autoencoder, mask(X_test, x)) - X_test) ** 2).sum(axis=1).mean() for x in levels]
    ax.plot(levels, errors, marker="o", label=f"trained with Masking({level:g})")
ax.set(xlabel="share of pixels set to 0 in the test digits", ylabel="squared error against the clean digit")
ax.grid(visible=True, alpha=0.3)
ax.legend()
plt.show()
