"""
Digits in ten lines
===================

A stack of two sparse layers learns features from handwritten digits, then a classifier from the labels.

On the left is what the 64 units of the first layer look for; on the right how the objective fell in each stage of the
training.
"""

import matplotlib.pyplot as plt

from layerwise import LBFGS, Autoencoder, KLSparsity, StackedAutoencoder, StackedClassifier
from layerwise.data import load_mnist_small
from layerwise.displays import FiltersDisplay, LossCurveDisplay

X_train, y_train, X_test, y_test = load_mnist_small()
solver = LBFGS(max_iter=100)
sparse = Autoencoder(64, sparsity=KLSparsity(target=0.1), alpha=3e-3, solver=solver)
stack = StackedAutoencoder([sparse, sparse])
classifier = StackedClassifier(stack, solver=solver, random_state=0)
classifier.fit(X_train[::3], y_train[::3])
print(f"{classifier.score(X_test, y_test):.1%} of new digits are read right")

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
FiltersDisplay.from_estimator(classifier, ax=left)
left.set_title("what the units of the first layer look for")
LossCurveDisplay.from_estimator(classifier, ax=right)
right.set_title("how the loss fell, stage by stage")
plt.show()
