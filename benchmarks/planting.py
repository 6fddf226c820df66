"""Outliers planted in tables: how well do errors tell them, beside an isolation forest and PCA?

`bench_outliers.py --tables FOLDER` calls this. A twentieth of the rows of a table are replaced by copies that are made
wrong in one of three ways, so that nothing but the way is unusual about them:

- swapped: one or two values are those of another row, which breaks what they have to do with the others;
- far: a number is moved by 4 to 6 standard deviations;
- category: a text is another one of its column, each as likely, so that rare ones are drawn more often than they come.

Either all rows are trained on and scored, as `layerwise fit` and `layerwise score` do with one file; or half of the
rows, as they were, are trained on, and the outliers are among the others, which are scored.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from bench_tables import COLUMNS, evenly, read
from common import Figures, show
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from layerwise.cli.recipe_flags import begin_as_table
from layerwise.data import TableEncoder
from layerwise.recipes import build

SHARE, FEWEST_ROWS, FEWEST_COLUMNS = 0.05, 200, 3
KINDS = ("swapped", "far", "category")
WAYS = ("in training", "held out")
OURS, FOREST, PCA_ERROR = "layerwise", "IsolationForest", "PCA"


def is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column)


def tables_of(folder: Path, n_tables: int, first: int) -> dict[str, pd.DataFrame]:
    """Return tables of enough rows with the columns that layerwise uses, half of them with text if there are enough."""
    found: dict[tuple[int, ...], tuple[str, pd.DataFrame]] = {}
    for path in sorted(folder.glob("*.csv")):
        table = read(path)
        if table is None or len(table) < FEWEST_ROWS or table.shape[1] < FEWEST_COLUMNS:
            continue
        table = table.reset_index(drop=True)
        encoder = TableEncoder().fit(table)
        table = table[[name for name in encoder.feature_names_in_ if table[name].nunique() > 1]]
        width = encode(table, table).shape[1]
        if table.shape[1] >= FEWEST_COLUMNS and COLUMNS[0] <= width <= COLUMNS[1]:
            found.setdefault((len(table), width), (path.stem, table))
    tables = dict(found.values())
    with_text = [name for name, table in tables.items() if any(is_text(table[column]) for column in table)]
    others = [name for name in tables if name not in with_text]
    chosen = [*evenly(with_text, n_tables - n_tables // 2, first), *evenly(others, n_tables // 2, first)]
    return {name: tables[name] for name in chosen}


def encode(table: pd.DataFrame, like: pd.DataFrame) -> np.ndarray:
    """Return text as one column a value of another table, all columns in standard scores of that."""
    made = pd.get_dummies(like, dtype=float).astype(float)
    X = pd.get_dummies(table, dtype=float).astype(float).reindex(columns=made.columns, fill_value=0)
    deviation = made.std(ddof=0)
    return ((X - made.mean()) / deviation.where(deviation > 0, 1)).to_numpy()


def plant(table: pd.DataFrame, kind: str, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray] | None:
    """Return a copy of a table with outliers of a kind, and which rows they are; None where no column can have them."""
    planted = table.copy()
    numbers = [name for name in table if not is_text(table[name])]
    planted[numbers] = planted[numbers].astype(float)
    names = {"swapped": list(table), "far": numbers, "category": [n for n in table if n not in numbers]}[kind]
    if not names:
        return None
    rows = rng.permutation(len(table))[: round(SHARE * len(table))]
    for row in rows:
        for name in rng.choice(names, 1 if kind != "swapped" else rng.integers(1, 3), replace=False):
            planted.loc[row, name] = _another(table[name], table.loc[row, name], kind, rng)
    return planted, np.isin(np.arange(len(table)), rows)


def _another(column: pd.Series, value: object, kind: str, rng: np.random.Generator) -> object:
    if kind == "far":
        return float(value) + rng.choice([-1, 1]) * rng.uniform(4, 6) * column.std()
    others = column[column != value]
    return rng.choice(others.unique() if kind == "category" else others.to_numpy())


def ours(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> np.ndarray:
    """Return the errors of the detector that `layerwise fit --model outliers` trains."""
    encoder = TableEncoder().fit(train)
    X = encoder.transform(train)
    settings = begin_as_table({"model": "outliers", "random_state": seed}, {}, *X.shape)
    detector = build(settings).set_params(feature_groups=encoder.get_feature_columns()).fit(X)
    return detector.reconstruction_error(encoder.transform(test))


def isolation_forest(X: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    return -IsolationForest(random_state=seed).fit(X).score_samples(X_test)


def pca_error(X: np.ndarray, X_test: np.ndarray) -> np.ndarray:
    pca = PCA(max(1, round(X.shape[1] / 3))).fit(X)  # as many as the recipe for tables has codes
    return np.square(X_test - pca.inverse_transform(pca.transform(X_test))).sum(axis=1)


def scores_of(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> tuple[dict[str, np.ndarray], float]:
    """Return the scores of all contestants, the higher the more unusual; seconds that ours took."""
    began = time.process_time()
    own = ours(train, test, seed)
    seconds = time.process_time() - began
    X, X_test = encode(train, train), encode(test, train)
    others = {FOREST: isolation_forest(X, X_test, seed), PCA_ERROR: pca_error(X, X_test)}
    return {OURS: own, **others}, seconds


def ways(table: pd.DataFrame, kind: str, seed: int) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame, np.ndarray]]:
    """Yield how outliers come, rows to train on and to score, and which of the latter are outliers."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    found = plant(table, kind, rng)
    if found is None:
        return
    yield WAYS[0], found[0], found[0], found[1]
    order = rng.permutation(len(table))
    halves = [table.iloc[np.sort(part)].reset_index(drop=True) for part in np.array_split(order, 2)]
    found = plant(halves[1], kind, rng)
    yield WAYS[1], halves[0], found[0], found[1]


def measure(table: pd.DataFrame, seeds: list[int]) -> dict[str, Figures]:
    """Return the areas of one table by how the outliers come, each a mean over seeds, and over kinds."""
    found: dict[str, dict[str, list[float]]] = {}
    for kind in KINDS:
        for seed in seeds:
            for way, train, test, wrong in ways(table, kind, seed):
                scores, seconds = scores_of(train, test, seed)
                lists = found.setdefault(way, {})
                for name, values in scores.items():
                    lists.setdefault(f"{kind} {name}", []).append(roc_auc_score(wrong, values))
                for name in (FOREST, PCA_ERROR):
                    lists.setdefault(f"rank {name}", []).append(spearmanr(scores[OURS], scores[name]).statistic)
                lists.setdefault("seconds", []).append(seconds)
    means = {way: {name: float(np.mean(values)) for name, values in lists.items()} for way, lists in found.items()}
    for figures in means.values():
        for name in (OURS, FOREST, PCA_ERROR):
            figures[f"all {name}"] = float(np.mean([figures[f"{k} {name}"] for k in KINDS if f"{k} {name}" in figures]))
    return means


def summarise(tables: Mapping[str, dict[str, Figures]], way: str) -> dict[str, Figures]:
    """Return the median areas by kind, and how far ours is from the better of the others in each table."""
    rows: dict[str, Figures] = {}
    for kind in (*KINDS, "all"):
        areas = np.array(
            [
                [figures[way][f"{kind} {name}"] for name in (OURS, FOREST, PCA_ERROR)]
                for figures in tables.values()
                if f"{kind} {OURS}" in figures[way]
            ]
        )
        own, forest, pca = np.median(areas, axis=0).tolist()
        gains = areas[:, 0] - areas[:, 1:].max(axis=1)
        rows[kind] = {"tables": len(areas), OURS: own, FOREST: forest, PCA_ERROR: pca}
        rows[kind] |= {"to the best": float(np.median(gains)), "worst": float(gains.min())}
    return rows


def correlate(tables: Mapping[str, dict[str, Figures]], way: str) -> Figures:
    """Return the median rank correlations of our scores with those of the others, and the median seconds."""
    names = [f"rank {name}" for name in (FOREST, PCA_ERROR)] + ["seconds"]
    return {name: float(np.median([figures[way][name] for figures in tables.values()])) for name in names}


def compare(folder: Path, n_tables: int, first: int, seeds: list[int]) -> Figures:
    """Return a summary for each way in which outliers come, after it has been shown, and the figures of each table."""
    warnings.simplefilter("ignore")
    tables = {name: measure(table, seeds) for name, table in tables_of(folder, n_tables, first).items()}
    summary = {way: summarise(tables, way) for way in WAYS}
    for way, rows in summary.items():
        show(f"outliers {way}, median area", rows)
    beside = {way: correlate(tables, way) for way in WAYS}
    show("rank correlations with our scores", beside)
    return {"summary": summary, "beside": beside, "tables": tables}
