"""Commands that show a model or carry it away: inspect, report, export."""

from __future__ import annotations

import glob
import warnings
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from typing import Any

from rich.table import Table

import layerwise
from layerwise import runs
from layerwise.atomic import atomic
from layerwise.cli.common import Anywhere, InSection, Labels, Model, Overwrite, Reply, Shown, as_command, render
from layerwise.cli.opening import name_rows, open_model
from layerwise.cli.trained_rows import digest_rows
from layerwise.data.table_encoder import TableEncoder
from layerwise.export import export_matlab, export_numpy, export_onnx
from layerwise.inspection import inspect_model, layers_of, step_of
from layerwise.report import write_report
from layerwise.section import WHOLE
from layerwise.urls import as_place


def inspect(model: Model) -> Reply:
    """Tell what is in the folder of a model: its layers, how training went, how it was made.

    Example: layerwise inspect runs/digits
    """
    loaded = layerwise.load(model, device="cpu")
    facts = {**inspect_model(loaded), "run": runs.read_facts(model), "files": sorted(p.name for p in model.iterdir())}
    lines = [
        f"{facts['model']} of {facts['n_features']:,} features, {facts['n_parameters']:,} parameters",
        *([f"classes: {', '.join(map(str, facts['classes']))}"] if facts["classes"] else []),
        render(_table(facts["layers"], "Layers")),
        render(_table(facts["stages"], "Training")),
        *(f"{name}: {value}" for name, value in facts["run"].items() if value not in (None, [])),
        f"files: {', '.join(facts['files'])}",
    ]
    return Reply(facts, "\n".join(lines), as_command("report", model))


def report(
    run: Model,
    data: Anywhere | None = None,
    *,
    labels: Labels = None,
    section: InSection = WHOLE,
    out: Path | None = None,
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Write the page of a run anew, on its own data or on other rows: curves, filters, codes, mistakes.

    Example: layerwise report runs/digits t10k-images.gz --labels t10k-labels.gz --out test.html

    Parameters
    ----------
    data
        Rows, in any form that fit takes; those of the training if not given.
    out
        The .html file to write; for the rows of the training report.html in the folder of the run if not given.
    """
    facts = runs.read_facts(run)
    if data is None and facts.get("data") is None:
        raise ValueError(f"{run} does not say what it was trained on; give rows: {as_command('report', run, 'DATA')}")
    known_as = data if data is not None else as_place(facts["data"])
    if data is None and isinstance(known_as, Path) and not (known_as.exists() or glob.glob(facts["data"])):
        raise ValueError(
            f"{run} was trained on {facts['data']}, which is not here; give rows: {as_command('report', run, 'DATA')}"
        )
    if data is not None and out is None:
        raise ValueError(
            f"rows of your own make another report; name a file for it: --out {quote(f'{data.stem}.html')}"
        )
    labels = labels or (facts.get("labels") if data is None else None)
    place = out or run / runs.REPORT
    if place.suffix != ".html":
        raise ValueError(f"out={place} must end in .html")
    with atomic(place, overwrite=overwrite or out is None) as staging:
        opened = open_model(run, known_as, labels=labels, section=section)
        source = opened.source
        known = facts.get("digest_of_rows")
        trained_on = None if known is None else digest_rows(source.X) == known
        if data is None and trained_on is False:
            warnings.warn(
                f"{facts['data']} has changed since {run} was trained on it, so the figures are on other rows than it "
                f"was trained on",
                stacklevel=2,
            )
        display.say(f"writing {place.name} ...")
        write_report(
            staging,
            opened.estimator,
            opened.X,
            y=source.y,
            history=runs.read_metrics(run),
            run=facts if data is None else facts | {"report on": str(data)},
            image_shape=source.image_shape,
            feature_names=source.feature_names,
            feature_columns=source.feature_columns,
            row_names=name_rows(source),
            trained_on=trained_on,
            unfilled=source.X,
        )
    return Reply({"out": str(place)}, f"The report is in {place}", f"open {place} in a browser")


def export(
    model: Model,
    *,
    onnx: Path | None = None,
    numpy: Path | None = None,
    matlab: Path | None = None,
    overwrite: Overwrite = False,
) -> Reply:
    """Write a model as ONNX, as a program that needs NumPy alone, or as a function of MATLAB.

    Example: layerwise export runs/digits --onnx digits.onnx --numpy digits.py

    Parameters
    ----------
    onnx
        The .onnx file to write; it is compared with the model before it is kept.
    numpy
        The .py file to write; its weights go into a .npz file beside it.
    matlab
        The .m file to write, a function for MATLAB and Octave; its weights go into a .mat file beside it.
    """
    if onnx is None and numpy is None and matlab is None:
        raise ValueError(
            "nothing is asked for; give --onnx FILE.onnx, --numpy FILE.py, --matlab FILE.m, or several of them"
        )
    loaded = layerwise.load(model, device="cpu")
    written = [] if onnx is None else [onnx]
    written += [] if numpy is None else [numpy, numpy.with_suffix(".npz")]
    written += [] if matlab is None else [matlab, matlab.with_suffix(".mat")]
    with ExitStack() as stack:  # all files, or none
        staging = {path: stack.enter_context(atomic(path, overwrite=overwrite)) for path in written}
        if numpy is not None:
            export_numpy(loaded, staging[numpy])
            staging[numpy].with_suffix(".npz").rename(staging[numpy.with_suffix(".npz")])
        if matlab is not None:
            export_matlab(loaded, staging[matlab])
            staging[matlab].with_suffix(".mat").rename(staging[matlab.with_suffix(".mat")])
        if onnx is not None:
            export_onnx(loaded, staging[onnx])
    names = [str(path) for path in written]
    notes = [f"Written: {', '.join(names)}"]
    if onnx is not None and layers_of(loaded)[0].intensities_:
        notes.append(f"{onnx} takes intensities from 0 to 1: bytes divided by 255")
    encoder = step_of(loaded, TableEncoder)
    if encoder is not None:
        columns = encoder.get_feature_names_out()
        notes.append(f"To give to it: {len(columns)} columns of numbers, as the table is encoded: {', '.join(columns)}")
    return Reply({"files": names}, "\n".join(notes), f"python {quote(str(numpy))} --help" if numpy else "")


def _table(rows: list[dict[str, Any]], title: str) -> Table:
    """Return rows of the same keys as a table: a line a key, as there are more keys than rows."""
    table = Table("", *(str(row.get("stage", place)) for place, row in enumerate(rows)), title=title)
    for name in rows[0] if rows else ():
        table.add_row(name, *(_short(row[name]) for row in rows))
    return table


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
