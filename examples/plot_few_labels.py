"""
Few labels, many rows
=====================

All rows have taught the autoencoder something; only a few of them have labels. Does it help to have seen the others?

The same network with and without pre-training, on the same labels and from the same initial weights. See
:doc:`the page on fine-tuning </concepts/finetuning>`.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from layerwise import LBFGS, Autoencoder, KLSparsity, StackedClassifier
from layerwise.comparison import compare, mean_interval
from layerwise.plotting import plot_comparison

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=500, random_state=0)

sparse = Autoencoder(64, sparsity=KLSparsity(target=0.05, weight=1.0), alpha=1e-3, solver=LBFGS(max_iter=100))
classifier = StackedClassifier(sparse, solver=LBFGS(max_iter=40))
comparison = compare(classifier, X_train, y_train, X_test, y_test, budgets=[20, 50, 150], n_seeds=6)

# %%
# Bands are 95 % confidence intervals of the mean over six draws of the labels. They overlap even where the gain is
# certain: both networks see the same draws, so that their difference scatters less. Its interval is printed below, for
# each network at the better of its two methods.
fig, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, method, accuracies in zip(axes, comparison.methods, comparison.accuracies.swapaxes(0, 1), strict=True):
    series = {
        "no pre-training" if name == "none" else name: line
        for name, line in zip(comparison.starts, accuracies, strict=True)
    }
    plot_comparison(comparison.budgets, {name: mean_interval(line) for name, line in series.items()}, ax=ax)
    ax.set_title("the head alone" if method == "head" else "all layers")
    ax.label_outer()
for row in comparison.rows():
    if row["method"] == "best":
        gain, low, high = (100 * end for end in row["gain"])
        print(f"{row['budget']:>4} labels: {gain:+.1f} points [{low:+.1f}, {high:+.1f}], {row['verdict']}")
plt.show()
