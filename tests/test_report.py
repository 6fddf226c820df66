"""The report of a run: what stands in it, whatever the model and the rows are; nothing from outside."""

import itertools
import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    KLSparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.callbacks import History
from layerwise.report import coding, importance, write_report
from layerwise.report.columns import Column
from layerwise.report.figures import chart, picture, shrink
from layerwise.report.filters import excite
from layerwise.report.metrics import draw_probabilities, measure_classes
from layerwise.report.profile import profile_column
from layerwise.report.section import number
from layerwise.report.subject import Subject, find_classes
from layerwise.report.summary import _note_stages
from layerwise.report.training import StageRecord

SHORT = LBFGS(max_iter=5)
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """Reads a page: its elements, and whether each is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module", autouse=True)
def fewer_rows_in_the_map():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coding, "_MAP_ROWS", 60)
        yield


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def browser_data(path):
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="browser-data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


@pytest.fixture(scope="module")
def digits_data():
    X, y = load_digits(return_X_y=True)
    return (X * 15.9375).astype(np.uint8), y


@pytest.fixture(scope="module")
def trained(digits_data):
    X, y = digits_data
    layers = [Autoencoder(n, sparsity=KLSparsity(0.1), solver=SHORT) for n in (16, 9)]
    history = History()
    model = StackedClassifier(StackedAutoencoder(layers), solver=SHORT, random_state=0, callbacks=[history])
    model.fit(X[:300], y[:300])
    return model, [step.as_dict() for step in history.steps]


@pytest.fixture(scope="module")
def page(trained, digits_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_page(path, trained, digits_data)
    return path


def write_page(path, trained, digits_data):
    model, history = trained
    X, y = digits_data
    run = {
        "command": "layerwise fit digits.npy --layers 16 9",
        "n_rows": 300,
        "seconds": 1.5,
        "gpu": None,
        "ignore": [],
        "random_state": 12345,
    }
    write_report(path, model, X[:300], y=y[:300], history=history, run=run, image_shape=(8, 8))


def test_needs_nothing_from_outside(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[\w-]+\.|@import|url\((?![#$])", re.sub(r"base64,[\w+/=]+", "", text))
    for name, attributes in read(page).elements:
        for attribute in ("src", "href"):
            if attribute in attributes:
                assert attributes[attribute].startswith(("data:", "#")), (name, attributes[attribute][:80])


def test_structure(page):
    read_page = read(page)
    ids = [attributes["id"] for _, attributes in read_page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [len(read_page.all(tag)) for tag in ("h1", "main", "nav", "header", "footer")] == [1] * 5
    levels = [int(tag[1]) for tag, _ in read_page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all("scope" in attributes for attributes in read_page.all("th"))
    assert all(image["alt"] for image in read_page.all("img"))
    charts = [svg for svg in read_page.all("svg") if svg.get("id") != "browser-bars"]
    assert len(charts) >= 8
    assert all(svg["role"] == "img" and re.search(r"\d", svg["aria-label"]) for svg in charts)
    for link in read_page.all("a"):
        assert link["href"].removeprefix("#") in ids


def test_tells_what_was_run_and_what_came_of_it(page):
    words = read(page).words
    for expected in (
        "StackedClassifier",
        "layerwise fit digits.npy --layers 16 9",
        "Seed 12345",
        "Seconds 1.5",
        "300 rows of 64 features",
        "accuracy",
        "PCA of the same width keeps",
        "Stopped by max_iter before converging: layer 0 (5)",
        "raise max_iter",
        "taken for",
        "By excitement",
        "By projection",
    ):
        assert expected in words, expected


def test_nothing_is_told_of_settings_that_are_not_set(page):
    text = page.read_text(encoding="utf-8")
    assert "<dt>gpu" not in text
    assert "<dt>Ignored columns" not in text


def test_says_which_sections_are_from_before_labels_changed_the_layers(page, trained, digits_data, tmp_path):
    words = read(page).words
    note = "Of the layers as pre-training left them, before labels changed them."
    assert words.count(note) == 5
    for title in ("What the units look for", "Unit browser", "Reconstructions", "Explained variance"):
        assert f"{title} {note}" in words
    assert words.count("before labels changed the layers") >= 2
    assert "after fine-tuning" in words
    X, y = digits_data
    head_only = StackedClassifier(SMALL, finetune="head", solver=SHORT, random_state=0).fit(X[:60], y[:60])
    words = report_of(head_only, X[:60], y[:60], tmp_path / "r.html")
    assert "before labels" not in words
    assert "after fine-tuning" not in words


def test_accuracy_is_that_of_the_model(page, trained, digits_data):
    X, y = digits_data
    accuracy = trained[0].score(X[:300], y[:300])
    assert f"accuracy on these rows {100 * accuracy:.1f} %" in read(page).words.replace("\N{NO-BREAK SPACE}", " ")


def test_browser_data(page, trained, digits_data):
    model, X = trained[0], digits_data[0][:300]
    data = browser_data(page)
    assert [len(layer["units"]) for layer in data["layers"]] == [16, 9]
    codes = model.autoencoder_.transform(X)
    for unit, activations in zip(data["layers"][1]["units"], codes.T, strict=True):
        assert sum(unit["counts"]) == 300
        best = data["rows"]["names"][unit["rows"][0][0]]
        strongest = int(re.match(r"row (\d+) ", best)[1])
        assert activations[strongest] == pytest.approx(activations.max(), abs=1e-6)


def test_same_seed_same_page(page, trained, digits_data, tmp_path):
    write_page(tmp_path / "again.html", trained, digits_data)
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_small_and_leaves_no_figures(tmp_path, digits):
    plt.close("all")
    rng = np.random.default_rng(0)
    stack = StackedAutoencoder([Autoencoder(200, solver=LBFGS(max_iter=1)) for _ in range(2)])
    model = StackedClassifier(stack, solver=LBFGS(max_iter=1), random_state=0).fit(digits.X_train, digits.y_train)
    noise = rng.integers(0, 256, digits.X_train.shape, dtype=np.uint8)  # does not compress
    write_report(tmp_path / "report.html", model, noise, y=digits.y_train, image_shape=(28, 28))
    assert (tmp_path / "report.html").stat().st_size < 5e6
    assert plt.get_fignums() == []


def test_memory_maps_are_sampled(tmp_path, trained, digits_data):
    X = np.tile(digits_data[0], (4, 1))  # more than are looked at
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    write_report(tmp_path / "report.html", trained[0], mapped, image_shape=(8, 8))
    assert "of 2,000 of them, drawn at random" in read(tmp_path / "report.html").words


def test_rows_with_labels_are_the_first_to_be_looked_at(tmp_path, trained, digits_data):
    X, y = digits_data
    X, labels = np.tile(X, (4, 1)), np.full(4 * len(X), -1)
    labels[: len(y) : 10] = y[::10]
    assert len(X) > 2000
    words = report_of(trained[0].set_params(unlabeled=-1), X, labels, tmp_path / "r.html")
    trained[0].set_params(unlabeled=None)
    assert f"of {len(y[::10])} labelled rows are right" in words
    assert "drawn at random, those with labels first" in words


TABLE = load_breast_cancer()
SMALL = Autoencoder(6, activation="tanh", output_activation="identity", solver=SHORT)


def report_of(model, X, y, path, **others):
    write_report(path, model, X, y=y, random_state=0, **others)
    return read(path).words.replace("\N{NO-BREAK SPACE}", " ")


def test_classifier_of_a_table(tmp_path):
    y = TABLE.target_names[TABLE.target].astype(object)
    model = StackedClassifier(SMALL, solver=LBFGS(max_iter=2), random_state=0).fit(TABLE.data, y)
    y[::5] = None
    words = report_of(model, TABLE.data, y, tmp_path / "r.html", feature_names=TABLE.feature_names)
    assert "of 455 labelled rows are right" in words
    assert "Most unlike the mean" in words
    assert "worst concave points" in words
    assert "images" not in words
    unit = browser_data(tmp_path / "r.html")["layers"][0]["units"][0]
    assert len(unit["weights"]) == 12
    assert len(unit["values"]) == 5


def test_figures_of_the_rows_of_the_training_say_so(tmp_path):
    X, y = TABLE.data[:200], TABLE.target[:200]
    model = StackedClassifier(SMALL, solver=LBFGS(max_iter=2), random_state=0).fit(X, y)
    words = report_of(model, X, y, tmp_path / "r.html", trained_on=True)
    assert f"accuracy on the rows it was trained on {100 * model.score(X, y):.1f} %" in words
    assert "layerwise evaluate MODEL OTHER_ROWS" in words
    words = report_of(model, X, y, tmp_path / "r.html")
    assert f"accuracy on these rows {100 * model.score(X, y):.1f} %" in words
    words = report_of(model, X, y, tmp_path / "r.html", trained_on=False)
    assert f"accuracy on other rows than it was trained on {100 * model.score(X, y):.1f} %" in words
    assert "Figures are of other rows than the model was trained on." in words
    X, y = load_diabetes(return_X_y=True)
    model = StackedRegressor(SMALL, solver=SHORT, random_state=0).fit(X, y)
    words = report_of(model, X, y, tmp_path / "r.html", trained_on=True)
    assert f"R² on the rows it was trained on {model.score(X, y):.4g}" in words


def test_max_iter_is_no_alarm(page):
    text = page.read_text(encoding="utf-8")
    assert "Stopped by max_iter" in text
    assert "Stopped by max_iter" not in "".join(re.findall(r'<ul class="warnings">.*?</ul>', text, re.DOTALL))


def test_trials_of_alpha_that_max_iter_stopped_are_counted_not_listed():
    cut = {"n_iter": 7, "status": "stopped: max_iter iterations were made"}
    trials = [StageRecord(f"finetune (alpha={alpha}, {k} of 3)", **cut) for alpha in (0.1, 1) for k in (2, 3)]
    (both,) = _note_stages([StageRecord("layer 0", **cut), *trials])
    assert both.startswith("Stopped by max_iter before converging: layer 0 (7), 4 trials of alpha (7) iterations.")
    (one,) = _note_stages([trials[0], StageRecord("finetune", n_iter=3, status="converged")])
    assert one.startswith("Stopped by max_iter before converging: 1 trial of alpha (7) iterations.")


@pytest.mark.parametrize("largest", [0.003, 0.04, 0.3, 1.7])
def test_ticks_of_the_share_that_is_missed_are_told_apart(largest):
    figure, ax = plt.subplots()
    coding._draw_shares(np.array([largest, largest / 2, largest / 5]), ["a", "b", "c"], ax)
    figure.canvas.draw()
    ticks = [label.get_text() for label in ax.get_xticklabels()]
    plt.close(figure)
    assert len(ticks) > 2
    assert len(set(ticks)) == len(ticks)
    assert all(
        float(tick.rstrip("%")) == pytest.approx(100 * at) for tick, at in zip(ticks, ax.get_xticks(), strict=True)
    )


def test_pca_is_no_scale_where_it_keeps_all(tmp_path):
    X = TABLE.data[:100, :5]
    wide = Autoencoder(6, output_activation="identity", solver=SHORT, random_state=0).fit(X)
    words = report_of(wide, X, None, tmp_path / "r.html")
    assert "codes of this width can keep all" in words
    assert "PCA of the same width keeps" not in words


def cells(path, label):
    """The cells of a table, by row."""
    text = path.read_text(encoding="utf-8")
    table = re.search(rf'aria-label="{label}">(.*?)</table>', text, re.DOTALL)[1].replace("\N{NO-BREAK SPACE}", " ")
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]
    return rows[0], rows[1:]


def test_mistakes_stand_in_the_order_of_what_is_shown(tmp_path, digits_data):
    X, y = digits_data
    model = StackedClassifier(SMALL, solver=SHORT, random_state=0).fit(X[:300] / 255, y[:300])
    report_of(model, X / 255, y, tmp_path / "r.html")
    names, rows = cells(tmp_path / "r.html", "The worst mistakes")
    sure = [float(row[names.index("How sure")].removesuffix(" %")) for row in rows]
    assert len(set(sure)) > 1
    assert sure == sorted(sure, reverse=True)
    X, y = load_diabetes(return_X_y=True)
    report_of(StackedRegressor(SMALL, solver=SHORT, random_state=0).fit(X, y), X, y, tmp_path / "r.html")
    names, rows = cells(tmp_path / "r.html", "The worst predictions")
    true, predicted, off = ([float(row[names.index(name)]) for row in rows] for name in ("True", "Predicted", "Off by"))
    np.testing.assert_allclose(off, np.abs(np.subtract(true, predicted)), atol=0.1)
    assert off == sorted(off, reverse=True)


def test_columns_of_text_are_told_as_such(tmp_path):
    """Of the features that a column of text was made into, a reader knows nothing."""
    rng = np.random.default_rng(0)
    towns = np.where(rng.random(200) < 0.5, "Basel", "Bern")
    towns[7] = "Ulm"
    X = np.column_stack([rng.normal(size=(200, 2)), *(towns == town for town in ("Basel", "Bern", "Ulm"))])
    y = (X[:, 0] > 0).astype(int)
    y[7] = 1 - y[7]
    columns = {
        "feature_names": ["size", "age", "town=Basel", "town=Bern", "town=Ulm"],
        "feature_columns": ["size", "age", "town", "town", "town"],
    }
    model = AutoencoderOutlierDetector(Autoencoder(2, solver=LBFGS(max_iter=50)), random_state=0).fit(X)
    report_of(model, X, None, tmp_path / "r.html", **columns)
    _, rows = cells(tmp_path / "r.html", "The most unusual rows")
    assert rows[0][0] == "row 7"
    value, expected, _ = next(row[-3:] for row in rows[:3] if "town" in row)
    assert value == "Ulm"
    assert re.fullmatch(r"(Basel|Bern) \(0\.\d\d\)", expected)
    assert not any("town=" in cell for row in rows for cell in row)

    head = LBFGS(max_iter=50)
    model = StackedClassifier(Autoencoder(4, solver=head), solver=head, alpha=1.0, random_state=0).fit(X, y)
    words = report_of(model, X, y, tmp_path / "r.html", **columns)
    assert re.search("row 7 .*? town Ulm \\(0.5 % of the rows\\) *, ", words)
    assert "of the rows) , town" not in words


def section_names(path):
    return [attributes["id"] for attributes in read(path).all("section")]


def test_tables_begin_with_results_and_end_with_units(tmp_path, page):
    model = StackedClassifier(SMALL, solver=LBFGS(max_iter=2), random_state=0).fit(TABLE.data, TABLE.target)
    report_of(model, TABLE.data, TABLE.target, tmp_path / "r.html")
    assert section_names(tmp_path / "r.html") == [
        *("summary", "classes", "importance", "columns", "run", "losses", "reconstructions", "variance"),
        *("codes", "activations", "filters", "browser"),
    ]
    assert (tmp_path / "r.html").stat().st_size < 5e5
    test_structure(tmp_path / "r.html")
    test_needs_nothing_from_outside(tmp_path / "r.html")
    assert section_names(page) == [
        *("summary", "run", "losses", "classes", "filters", "browser", "reconstructions", "variance", "activations"),
        "codes",
    ]


def test_figures_by_class_are_those_of_scikit_learn(tmp_path, digits_data):
    X, y = digits_data[0][:300] / 255, digits_data[1][:300]
    model = StackedClassifier(SMALL, solver=SHORT, random_state=0).fit(X, y)
    report_of(model, X, y, tmp_path / "r.html")
    _, rows = cells(tmp_path / "r.html", "By class")
    expected = precision_recall_fscore_support(y, model.predict(X), zero_division=np.nan)
    words = [[f"{value:.3f}".replace("nan", "\N{EN DASH}") for value in line] for line in np.transpose(expected[:3])]
    assert rows == [[str(k), *line, str(count)] for k, line, count in zip(range(10), words, expected[3], strict=True)]
    assert "ROC" not in read(tmp_path / "r.html").words


def test_of_many_classes_those_that_do_worst_are_shown():
    true = np.repeat(np.arange(40), 2)
    predicted = np.where(true < 8, (true + 1) % 8, true)
    found = measure_classes(true, predicted, [f"class {k}" for k in range(40)])
    assert [row["name"] for row in found] == [f"class {k}" for k in range(30)]
    assert [row["f1"] for row in found] == [0.0] * 8 + [1.0] * 22


def test_curves_of_two_classes(tmp_path):
    model = StackedClassifier(SMALL, solver=LBFGS(max_iter=2), random_state=0).fit(TABLE.data, TABLE.target)
    words = report_of(model, TABLE.data, TABLE.target, tmp_path / "r.html")
    assert f"ROC curve of 1: AUC {roc_auc_score(TABLE.target, model.predict_proba(TABLE.data)[:, 1]):.4g};" in words
    true = np.array([0, 0, 0, 1, 0, 1, 1, 1, 1, 1])
    sure = np.repeat([0.1, 0.9], 5)
    (_, roc), (_, calibration) = draw_probabilities(true, np.column_stack([1 - sure, sure]), ["no", "yes"])
    assert "ROC curve of yes against no on 10 rows; the area under it (AUC) is 0.9167." in roc
    assert "10.0 % predicted, 20.0 % true; 90.0 % predicted, 100.0 % true." in calibration.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert draw_probabilities(true[:3], np.column_stack([1 - sure, sure])[:3], ["no", "yes"]) == []


def planted(n_rows=400):
    """Rows whose label is in a column of text; two columns of noise."""
    rng = np.random.default_rng(0)
    towns = rng.integers(0, 3, n_rows)
    X = np.column_stack([rng.normal(size=(n_rows, 2)), np.eye(3)[towns]])
    columns = {
        "feature_names": ["size", "age", "town=Basel", "town=Bern", "town=Ulm"],
        "feature_columns": ["size", "age", "town", "town", "town"],
    }
    return X, towns, columns


def test_the_column_that_matters_comes_first(tmp_path):
    X, towns, columns = planted()
    layer = Autoencoder(5, activation="tanh", output_activation="identity", solver=LBFGS(max_iter=30))
    model = StackedClassifier(layer, solver=LBFGS(max_iter=50), random_state=0).fit(X, towns == 2)
    words = report_of(model, X, towns == 2, tmp_path / "r.html", **columns)
    _, rows = cells(tmp_path / "r.html", "Which columns matter")
    assert [row[0] for row in rows[:1]] == ["town"]
    assert {row[0] for row in rows} == {"town", "size", "age"}
    fall, others = float(rows[0][1].split()[0]), [float(row[1].split()[0]) for row in rows[1:]]
    share = np.mean(towns == 2)
    assert fall == pytest.approx(2 * share * (1 - share), abs=0.05)  # of two rows drawn apart, one is of the class
    assert max(others) < 0.02
    assert f"the accuracy, {model.score(X, towns == 2):.3f} on 400 rows" in words

    y = 3 * X[:, 1] + X[:, 0]
    regressor = StackedRegressor(layer, solver=LBFGS(max_iter=50), random_state=0).fit(X, y)
    words = report_of(regressor, X, y, tmp_path / "r.html", **columns)
    _, rows = cells(tmp_path / "r.html", "Which columns matter")
    assert [row[0] for row in rows] == ["age", "size", "town"]
    assert float(rows[0][1].split()[0]) == pytest.approx(2 * 0.9, abs=0.25)  # twice its share of the variance
    assert f"the R², {regressor.score(X, y):.3f} on 400 rows" in words


def test_all_features_of_a_column_are_shuffled_together():
    X, _, _ = planted(100)
    seen = []

    def score(rows):
        seen.append(rows.copy())
        return 0.0

    columns = [Column("town", [2, 3, 4], ["Basel", "Bern", "Ulm"]), Column("size", [0], None)]
    importance.permute_columns(score, X, columns, 2, np.random.RandomState(0))
    assert len(seen) == 5
    for rows in seen[1:3]:
        np.testing.assert_array_equal(rows[:, 2:].sum(axis=1), 1)  # still one town a row
        np.testing.assert_array_equal(rows[:, :2], X[:, :2])
        assert (rows != X).any()
    for rows in seen[3:]:
        np.testing.assert_array_equal(rows[:, 1:], X[:, 1:])
        np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(X[:, 0]))


def test_where_there_is_no_time_for_all_columns_the_page_says_so(tmp_path, monkeypatch):
    X, towns, columns = planted(300)
    layer = Autoencoder(5, activation="tanh", output_activation="identity", solver=SHORT)
    model = StackedClassifier(layer, solver=LBFGS(max_iter=50), random_state=0).fit(X, towns)
    monkeypatch.setattr(importance, "_WORK", 2.5 * importance._PASS)
    words = report_of(model, X, towns, tmp_path / "r.html", **columns)
    assert "Of 3 columns, the 2 with the largest weights were tried." in words
    _, rows = cells(tmp_path / "r.html", "Which columns matter")
    assert rows[0][0] == "town"
    assert "±" not in rows[0][1]


def test_columns_of_an_outlier_detector_share_the_error(tmp_path):
    X, _, columns = planted(200)
    model = AutoencoderOutlierDetector(Autoencoder(2, solver=SHORT), random_state=0).fit(X)
    report_of(model, X, None, tmp_path / "r.html", **columns)
    terms = model.reconstruction_error(X, per_feature=True)
    terms = terms / terms.sum(axis=1, keepdims=True)
    expected = {"size": terms[:, 0].mean(), "age": terms[:, 1].mean(), "town": terms[:, 2:].sum(axis=1).mean()}
    _, rows = cells(tmp_path / "r.html", "Which columns matter")
    assert dict(rows) == {name: f"{100 * share:.1f} %" for name, share in expected.items()}
    assert [row[0] for row in rows] == sorted(expected, key=lambda name: -expected[name])


def test_one_of_two_texts_is_told_as_it_is(tmp_path):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(100, 2)), rng.random(100) < 0.9])
    X[4] = [0.0, 0.0, 0.0]
    X[5, 2] = 0.5
    columns = {"feature_names": ["size", "age", "sex=m"], "feature_columns": ["size", "age", "sex"]}
    model = AutoencoderOutlierDetector(Autoencoder(2, solver=SHORT), random_state=0).fit(X)
    report_of(model, X[:6], None, tmp_path / "r.html", **columns)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert '<td>sex</td><td class="number">not m</td>' in text
    assert '<td>sex</td><td class="number">unknown</td>' in text
    flag = Column("sex", [2], ["m"])
    assert (flag.tell(X[4]), flag.certainty(X[4]), flag.holds(X[4]), flag.holds(X[5])) == ("not m", 1.0, True, False)
    assert flag.certainty(np.array([0, 0, 0.2])) == pytest.approx(0.8)


def test_rows_that_are_reconstructed_bear_their_names(tmp_path, digits_data):
    X, _, columns = planted(100)
    X[17, 1] = 12.0
    layer = Autoencoder(3, output_activation="identity", solver=SHORT, random_state=0).fit(X)
    names = [f"patient {k}" for k in range(100)]
    report_of(layer, X, None, tmp_path / "r.html", row_names=names, **columns)
    _, rows = cells(tmp_path / "r.html", "The rows that are reconstructed worst")
    differences = np.asarray(layer.inverse_transform(layer.transform(X))) - X
    errors = ((differences / layer.coder_.scaling.scale.numpy()) ** 2).sum(axis=1)
    assert [row[0] for row in rows] == [f"patient {k}" for k in np.argsort(-errors)[:5]]
    model = Autoencoder(3, solver=SHORT, random_state=0).fit(digits_data[0][:100])
    words = report_of(model, digits_data[0][:12], None, tmp_path / "r.html", image_shape=(8, 8), row_names=names[:12])
    assert f"From left to right: {', '.join(names[:10])}." in words


def test_profile_of_the_columns(tmp_path):
    nan = np.nan
    number_of = profile_column(Column("size", [0], None), np.array([[1.5], [2.0], [nan], [4.5]]))
    assert number_of["type"] == "number"
    assert number_of["missing"] == 0.25
    assert number_of["words"] == "1.5 to 4.5, mean 2.667"
    assert sum(number_of["counts"]) == 3
    assert profile_column(Column("n", [0], None), np.array([[1.0], [3], [2]]))["type"] == "whole number"
    truth = profile_column(Column("ill", [0], None), np.array([[1.0], [0], [0], [0]]))
    assert [value[::2] for value in truth["values"]] == [("no", 0.75), ("yes", 0.25)]
    assert profile_column(Column("n", [0], None), np.full((3, 1), 7.0))["words"] == "always 7"
    assert profile_column(Column("n", [0], None), np.full((3, 1), nan))["words"] == "no values"
    for values in ([-1e308, 1.0, 1e308], [1e16, 1e16 + 2, 1e16 + 4], [0.1, 0.1 + 2**-56, 0.1 + 2**-55]):
        counts = profile_column(Column("odd", [0], None), np.array(values)[:, None])["counts"]
        assert (counts[0], counts[8], counts[-1], sum(counts)) == (1, 1, 1, 3)
    flag = profile_column(Column("sex", [0], ["m"]), np.array([[1.0], [0], [1], [nan]]))
    assert [value[::2] for value in flag["values"]] == [("m", 0.5), ("not m", 0.25)]
    assert flag["missing"] == 0.25
    town = Column("town", [0, 1, 2, 3, 4], ["Basel", "Bern", "Chur", "Ulm", "missing"])
    text = profile_column(town, np.eye(5)[[0, 0, 0, 1, 1, 2, 3, 4, 4, 4]])
    assert text["missing"] == pytest.approx(0.3)
    assert text["words"] == "4 values"
    assert [value[::2] for value in text["values"]] == [("Basel", 0.3), ("Bern", 0.2), ("Chur", 0.1)]

    X, towns, columns = planted(100)
    model = StackedClassifier(SMALL, solver=SHORT, random_state=0).fit(X, towns)
    gaps = X.copy()
    gaps[:30, 1] = nan
    report_of(model, X, towns, tmp_path / "r.html", unfilled=gaps, **columns)
    _, rows = cells(tmp_path / "r.html", "The columns")
    assert [row[:3] for row in rows] == [
        ["size", "number", "0.0 %"],
        ["age", "number", "30.0 %"],
        ["town", "text", "0.0 %"],
    ]
    with pytest.raises(ValueError, match=r"unfilled has shape \(99, 5\), but X has shape \(100, 5\)"):
        report_of(model, X, towns, tmp_path / "r.html", unfilled=gaps[1:])


def test_regressor(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    model = StackedRegressor(SMALL, solver=SHORT, random_state=0).fit(X, y)
    words = report_of(model, X, y, tmp_path / "r.html")
    assert f"R² on these rows {model.score(X, y):.4g}" in words
    both = np.column_stack([y, -y])
    model = StackedRegressor(SMALL, solver=SHORT, random_state=0).fit(X, both)
    both[3] = np.nan
    words = report_of(model, X, both, tmp_path / "r.html")
    assert "target 1" in words
    assert "values of 441 rows" in words


@pytest.mark.filterwarnings("ignore:X holds values far from all others")
def test_outliers(tmp_path):
    X = TABLE.data.copy()
    X[7, 3] = 1e5
    model = AutoencoderOutlierDetector(SMALL, contamination=0.05, random_state=0).fit(X)
    names = [f"patient {index}" for index in range(len(X))]
    words = report_of(model, X, None, tmp_path / "r.html", row_names=names, feature_names=TABLE.feature_names)
    assert re.search(r"The most unusual rows .* Share of the error patient 7 \S+ mean area 100,000", words)
    n_outliers = (model.predict(X) == -1).sum()
    assert f"{n_outliers} of {len(X)} rows are outliers" in words


def test_outliers_among_images(tmp_path, digits_data):
    X, y = digits_data
    model = AutoencoderOutlierDetector(SMALL, random_state=0).fit(X[:200])
    words = report_of(model, X[:200], y[:200], tmp_path / "r.html", image_shape=(8, 8))
    assert "The row, its reconstruction, and where the two differ." in words


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_imputer(tmp_path):
    X = load_diabetes(scaled=False).data
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    X[:, 9] = np.nan
    small = Autoencoder(9, output_activation="identity", corruption=Masking(0.1), solver=Adam(max_iter=20))
    with pytest.warns(UserWarning, match="hold no values"):
        model = AutoencoderImputer(small, random_state=0).fit(X)
    words = report_of(model, X, None, tmp_path / "r.html")
    assert "feature 9 100.0 %" in words
    assert "were hidden and filled in" in words


def test_stacks_say_what_the_noise_is(tmp_path, digits_data):
    X, _ = digits_data
    layers = [
        Autoencoder(9, corruption=Masking(0.4), solver=SHORT),
        Autoencoder(2, activation="identity", solver=SHORT),
    ]
    layers[1].output_activation = "identity"
    stack = StackedAutoencoder(layers, finetune="reconstruction", solver=SHORT, random_state=0).fit(X[:200])
    words = report_of(stack, X[:200], None, tmp_path / "r.html", image_shape=(8, 8))
    assert "inputs, corrupted inputs, reconstructions" in words
    assert "Masking(level=0.4)" in words
    words = report_of(stack.layers_[0], X[:200] / 255, None, tmp_path / "r.html", image_shape=(8, 8))
    assert "layer 1" not in words


def test_colour_images_and_large_ones(tmp_path):
    X = np.random.default_rng(0).random((40, 100 * 60 * 3))
    model = Autoencoder(3, solver=LBFGS(max_iter=1), random_state=0).fit(X)
    report_of(model, X, None, tmp_path / "r.html", image_shape=(100, 60, 3))
    assert (tmp_path / "r.html").stat().st_size < 2e6


@pytest.mark.parametrize("n_rows", [1, 2])
def test_few_rows_that_are_all_the_same(tmp_path, trained, n_rows):
    X = np.full((n_rows, 64), 128, dtype=np.uint8)
    words = report_of(trained[0], X, [1] * n_rows, tmp_path / "r.html", image_shape=(8, 8))
    assert "nan" not in words.lower().split()
    browser_data(tmp_path / "r.html")


def test_history_is_optional_and_may_be_broken_off(tmp_path, trained, digits_data):
    model, history = trained
    X, y = digits_data
    words = report_of(model, X[:50], y[:50], tmp_path / "r.html", image_shape=(8, 8))
    assert "Stopped by max_iter before converging" in words
    broken = [step | {"value": None} for step in history[:3]]
    words = report_of(model, X[:50], y[:50], tmp_path / "r.html", image_shape=(8, 8), history=broken)
    assert "unfinished: no end was recorded" in words


HOSTILE = "</script><img src=x onerror=alert(1)>\u2028\x00'\"&{{ 7 * 7 }}\ud800"


def test_words_from_data_stay_words(tmp_path):
    X = TABLE.data[:200]
    y = np.array(["plain", HOSTILE], dtype=object)[TABLE.target[:200]]
    model = StackedClassifier(SMALL, solver=LBFGS(max_iter=1), random_state=0).fit(X, y)
    names = [f"{HOSTILE} {k}" for k in range(30)]
    rows = [f"{HOSTILE} {k}" for k in range(200)]
    run = {HOSTILE: HOSTILE, "command": HOSTILE}
    report_of(model, X, y, tmp_path / "r.html", feature_names=names, row_names=rows, run=run)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "onerror" in text
    assert "<img src=x" not in text
    assert "49" not in re.findall(r"&amp;(.{2})", text)
    parsed = read(tmp_path / "r.html")
    assert len(parsed.all("script")) == 2
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert "<" not in re.search(r'id="browser-data">(.*?)</script>', text, re.DOTALL)[1]
    assert "\u2028" not in re.search(r'id="browser-data">(.*?)</script>', text, re.DOTALL)[1]


def test_refusals(tmp_path, trained, digits_data):
    X, y = digits_data
    model, path = trained[0], tmp_path / "r.html"
    with pytest.raises(ValueError, match=r"image_shape=\(8, 9\) does not fit 64 features"):
        write_report(path, model, X, image_shape=(8, 9))
    with pytest.raises(ValueError, match="y has 3 entries, but X has shape"):
        write_report(path, model, X, y=y[:3])
    with pytest.raises(ValueError, match="feature_names has 1 entries"):
        write_report(path, model, X, feature_names=["a"])
    with pytest.raises(ValueError, match="row_names has 2 entries"):
        write_report(path, model, X, row_names=["a", "b"])
    with pytest.raises(ValueError, match="n_rows >= 1"):
        write_report(path, model, X[:0])
    with pytest.raises(ValueError, match="features"):
        write_report(path, model, X[:, :5])
    with pytest.raises(ValueError, match="y holds none of the classes that the model knows, such as 0, 1"):
        write_report(path, model, X, y=y + 100)
    with pytest.raises(ValueError, match="a classifier has one label a row"):
        write_report(path, model, X, y=np.column_stack([y, y]))
    with pytest.raises(TypeError, match=r"model=LogisticRegression\(\) is no fitted estimator of layerwise"):
        write_report(path, LogisticRegression(), X)
    with pytest.raises(ValueError, match="NaN"):
        write_report(path, model, np.full((3, 64), np.nan))
    assert not path.exists()


NOTHING_ELSE = dict.fromkeys(("image_shape", "feature_names", "row_names"))


def test_labels_of_other_types(trained, digits_data):
    X, y = digits_data
    without_3 = [None if label == 3 else label for label in y[:60]]
    for labels in (np.where(y[:60] == 3, np.nan, y[:60]), without_3, [str(label) for label in without_3]):
        subject = Subject(trained[0], X[:60], y=labels, random_state=0, **NOTHING_ELSE)
        np.testing.assert_array_equal(subject.known, y[:60] != 3)
        np.testing.assert_array_equal(
            find_classes(subject.labels[subject.known], trained[0].classes_), y[:60][subject.known]
        )


def test_rows_of_other_types(trained, digits_data):
    X = digits_data[0][:60]
    expected = Subject(trained[0], X, y=None, random_state=0, **NOTHING_ELSE)
    for rows in (torch.as_tensor(X), sparse.csr_array(X)):
        subject = Subject(trained[0], rows, y=None, random_state=0, **NOTHING_ELSE)
        torch.testing.assert_close(subject.reconstruction, expected.reconstruction)


def test_replaces_a_report_and_nothing_else(tmp_path, trained, digits_data):
    X, _ = digits_data
    path = tmp_path / "new" / "report.html"
    write_report(path, trained[0].autoencoder_.layers_[0], X[:20])
    first = path.read_bytes()
    write_report(path, trained[0], X[:20], image_shape=(8, 8))
    assert path.read_bytes() != first
    with pytest.raises(OSError, match="new"):
        write_report(path.parent, trained[0].autoencoder_.layers_[0], X[:20])
    assert [child.name for child in path.parent.iterdir()] == ["report.html"]


def test_excitement_of_one_layer_is_its_weights(digits_data):
    X = torch.as_tensor(digits_data[0][:100] / 255, dtype=torch.float32)
    layer = Autoencoder(7, solver=SHORT, random_state=0).fit(X)
    weights = layer.components_ / np.linalg.norm(layer.components_, axis=1, keepdims=True)
    np.testing.assert_allclose(excite([layer], X, 7), weights, atol=1e-5)


def test_excitement_beats_projection_and_rows(digits_data):
    X = torch.as_tensor(digits_data[0][:200] / 255, dtype=torch.float32)
    stack = StackedAutoencoder(
        [Autoencoder(16, solver=LBFGS(max_iter=30)), Autoencoder(5, solver=SHORT)], random_state=0
    )
    stack.fit(X)
    centre = X.mean(dim=0)
    radius = (X - centre).norm(dim=1).mean()
    modules = stack.coder_.modules

    def activations(directions):
        with torch.no_grad():
            return modules[1].encode(modules[0].encode(centre + radius * torch.as_tensor(directions))).diagonal()

    found = activations(excite(stack.layers_, X, 5))
    product = torch.as_tensor(stack.layers_[1].components_ @ stack.layers_[0].components_)
    projected = activations(torch.nn.functional.normalize(product, dim=1))
    assert (found >= projected - 1e-5).all()


def test_saturated_and_dead_units():
    X = np.random.default_rng(0).random((100, 3))
    layer = Autoencoder(3, solver=SHORT, random_state=0).fit(X)
    with torch.no_grad():
        layer.layer_.encoder_weight[:] = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0, 8.0, 0]])
        layer.layer_.encoder_bias[:] = torch.tensor([0.0, 4.5, -4.0])
    subject = Subject(layer, X, y=None, random_state=0, **NOTHING_ELSE)
    assert subject.dead_units(0).tolist() == [0, 1] or subject.dead_units(0).tolist() == [0]
    assert 2 not in subject.saturated_units(0)
    with torch.no_grad():
        layer.layer_.encoder_weight[1] = torch.tensor([3.0, 0, 0])
    subject = Subject(layer, X, y=None, random_state=0, **NOTHING_ELSE)
    assert subject.saturated_units(0).tolist() == [1]


def test_charts_follow_the_page():
    svg = chart(lambda ax: ax.plot([1, 2], [3, 4], label="<b>") and ax.legend(), "A line.")
    assert svg.startswith("<svg ")
    assert "http" not in svg
    assert "var(--c0)" in svg
    assert "currentColor" in svg
    assert "&lt;b&gt;" in svg
    assert 'aria-label="A line."' in svg
    assert "<style" not in svg


def test_pictures():
    image = picture(np.array([[0.0, 1.0, np.nan]]), 'a "quoted" <thing>', name="here")
    assert 'id="here"' in image
    assert "&lt;thing&gt;" in image
    assert shrink(np.ones((2, 100, 60, 3))).shape == (2, 33, 20, 3)
    assert shrink(np.ones((1, 1, 200))).shape == (1, 1, 40)
    assert shrink(np.ones((1, 48, 48))).shape == (1, 48, 48)


@pytest.mark.parametrize(
    ("value", "words"),
    [(float("nan"), "not finite"), (True, "yes"), ({"a": 1.5}, "a: 1.5"), ([], "none"), (12345.6, "12,346")],
)
def test_numbers_in_words(value, words):
    assert number(value) == words
