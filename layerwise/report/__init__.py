"""One HTML page of a trained model: what was run, what it learnt, what it does with rows."""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import jinja2
from markupsafe import Markup
from sklearn.base import BaseEstimator

from layerwise.atomic import atomic
from layerwise.report import browser, coding, errors, filters, importance, predictions, profile, summary, training
from layerwise.report.section import Section
from layerwise.report.subject import Subject

__all__ = ["write_report"]

# Sections of a table in their order: what people look for first, units last. Images begin with how they were made.
_ORDER_OF_TABLES = (
    *("summary", "classes", "targets", "outliers", "missing", "importance", "columns", "run", "losses"),
    *("reconstructions", "variance", "codes", "activations", "filters", "browser"),
)


def write_report(
    path: str | PathLike[str],
    model: BaseEstimator,
    X: Any,
    *,
    y: Any = None,
    history: Sequence[Mapping[str, Any]] | None = None,
    run: Mapping[str, Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[Any] | None = None,
    feature_columns: Sequence[Any] | None = None,
    row_names: Sequence[Any] | None = None,
    trained_on: bool | None = None,
    unfilled: Any = None,
    random_state: Any = 0,
) -> None:
    """Write a page about a fitted model and what it makes of rows: one HTML file that needs nothing else.

    At most 2,000 rows, drawn at random, those with labels first, are looked at.

    Parameters
    ----------
    path : str or path-like
        The file to write; one that is there is replaced.
    model : fitted estimator of layerwise, or Pipeline that ends in one
        Of a pipeline only the last step is looked at.
    X : array-like or sparse matrix of shape (n_rows, n_features)
        Rows as the estimator takes them, a memory map too; NaN, where values are missing, for an imputer only.
    y : array-like of shape (n_rows,) or (n_rows, n_outputs), default=None
        Labels or targets; None or NaN for rows that have none.
    history : sequence of dict, default=None
        The lines of ``metrics.jsonl``, as `layerwise.callbacks.Step.as_dict` gives them; None takes what the model
        remembers of its training.
    run : mapping of str to object, default=None
        What was run, to show: numbers, text, lists. ``command`` is shown as what to run to have it again.
    image_shape : tuple of (height, width) or (height, width, 3), default=None
        Shape of a row as an image; None is a table.
    feature_names : sequence of str of length n_features, default=None
        None takes the model's ``feature_names_in_``, or numbers.
    feature_columns : sequence of str of length n_features, default=None
        The column of a table that each feature was made of, as `layerwise.data.TableEncoder.get_feature_columns` gives
        them: what is told of rows is told of these. None tells of features.
    row_names : sequence of str of length n_rows, default=None
        None numbers them.
    trained_on : bool or None, default=None
        Whether the model was trained on these very rows, so that figures say so; None if that is not known.
    unfilled : array-like of shape (n_rows, n_features), default=None
        The rows before missing values were filled in, of which the profile of the columns tells; None takes ``X``.
    random_state : int, RandomState instance or None, default=0
        Draws the rows and the noise.

    Raises
    ------
    TypeError
        If the model is none of layerwise.
    ValueError
        If ``X`` does not go with the model, or the others with ``X``.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from layerwise import Autoencoder, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:50]
    >>> model = Autoencoder(4, solver=LBFGS(max_iter=5), random_state=0).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(path, model, X, run={"command": "layerwise fit digits.npy"}, image_shape=(28, 28))
    >>> "layerwise fit digits.npy" in path.read_text(encoding="utf-8")
    True
    """
    with warnings.catch_warnings():
        # Names of columns come apart from the rows.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        subject = Subject(
            model,
            X,
            y=y,
            image_shape=image_shape,
            feature_names=feature_names,
            feature_columns=feature_columns,
            row_names=row_names,
            trained_on=trained_on,
            unfilled=unfilled,
            random_state=random_state,
        )
        page = _render(subject, _make_sections(subject, history, run or {}), run or {})
    with atomic(path, overwrite=True) as staging:
        staging.write_bytes(page.encode("utf-8", errors="replace"))


def _make_sections(
    subject: Subject, history: Sequence[Mapping[str, Any]] | None, run: Mapping[str, Any]
) -> list[Section]:
    """Return the sections of the page, in order; what does not go with the model is left out."""
    stages = training.read_stages(subject, history)
    ratios = coding.measure_variance(subject)
    layers = filters.show_filters(subject)
    results = [
        predictions.predictions_section(subject),
        errors.outliers_section(subject),
        errors.missing_section(subject),
    ]
    sections = [
        summary.summary_section(
            subject, stages, ratios, {found.name: found for found in results if found}, run.get("doubts", ())
        ),
        training.describe_run(subject, stages, run),
        training.draw_losses(stages),
        *results,
        filters.filters_section(layers, images=subject.image_shape is not None),
        browser.browser_section(subject, layers),
        coding.reconstructions_section(subject),
        coding.variance_section(ratios),
        coding.activations_section(subject),
        coding.codes_section(subject),
        importance.importance_section(subject),
        profile.columns_section(subject, run.get("descriptions") or {}),
    ]
    found = [section for section in sections if section is not None]
    if subject.image_shape is None:
        found.sort(key=lambda section: _ORDER_OF_TABLES.index(section.name))
    return found


def _render(subject: Subject, sections: Sequence[Section], run: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("layerwise.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def read(name: str) -> Markup:
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, name)[0])

    script = read("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        model=type(subject.model).__name__,
        n_rows=subject.n_rows,
        n_sampled=len(subject.rows),
        n_features=subject.width,
        sections=sections,
        finetuned_with=subject.finetuned_with,
        trained_on=subject.trained_on,
        held_out=run.get("held_out"),
        labelled_first=subject.known.any() and not subject.known.all(),
        version=run.get("layerwise_version"),
        style=read("report.css"),
        script=script,
        script_hash=Markup("'sha256-{}'").format(digest),
    )
