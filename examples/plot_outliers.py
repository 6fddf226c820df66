"""
Rows that are unlike the others
===============================

An autoencoder that was trained on benign tumours reconstructs malignant ones badly; and the features that it gets wrong
say why a row is called unusual.

See :doc:`the page on outliers and missing values </concepts/outliers>`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from layerwise import AutoencoderOutlierDetector
from layerwise.plotting import plot_feature_errors, plot_scores

data = load_breast_cancer()
benign, malignant = data.data[data.target == 1], data.data[data.target == 0]
train, test = benign[:200], benign[200:]

detector = AutoencoderOutlierDetector(contamination=0.05, random_state=0).fit(train)

# %%
# None of these rows was trained on. The threshold lies where 5 % of the *training* rows are beyond it; other rows are
# reconstructed a little worse than those, so rather more than 5 % of the benign ones are called outliers.
fig, axes = plt.subplots(2, 1, figsize=(7, 5.6), sharex=True, layout="constrained")
for ax, (name, rows) in zip(axes, {"benign": test, "malignant": malignant}.items(), strict=True):
    plot_scores(detector.reconstruction_error(rows), -detector.offset_, ax=ax)
    share = (detector.predict(rows) == -1).mean()
    ax.set_title(f"{len(rows)} {name} tumours: {share:.0%} are called outliers")
axes[0].set_xlabel("")

is_malignant = np.repeat([0, 1], [len(test), len(malignant)])
errors = detector.reconstruction_error(np.concatenate([test, malignant]))
print(f"area under the ROC curve: {roc_auc_score(is_malignant, errors):.3f}")

# %%
# The error of a row is a sum over its features. For the malignant tumour with the largest error it says which
# measurements do not go with the others.
worst = malignant[[detector.reconstruction_error(malignant).argmax()]]
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
plot_feature_errors(detector.reconstruction_error(worst, per_feature=True), data.feature_names, ax=ax)
ax.set(title="why this tumour is unusual", xlabel="its part of the error")
plt.show()
