"""The page of evidence: Markdown made of what runs and controls have left as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cases import CASES, CONTROLS, Case, Claim
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from layerwise.atomic import atomic, write_file
from layerwise.comparison import Comparison, mean_interval
from layerwise.plotting import plot_published
from layerwise.reproduce.experiment import PROCESSOR
from layerwise.runs import save_picture
from layerwise.strict_json import read_json

Runs = Sequence[Mapping[str, Any]]


def write_page(folder: Path) -> None:
    """Write the page about the JSON files of a folder beside it, and the picture of all figures into it.

    Parameters
    ----------
    folder : Path
        What `collecting.collect` has filled; the page is this path with ``.md``.
    """
    cases = [(case, read_json(path)) for case in CASES if (path := folder / f"{case.name}.json").is_file()]
    controls = [
        {
            "control": control,
            "command": f"layerwise compare {control.words.format(mnist='mnist', tables='tables')}",
            **_tabulate(read_json(path)),
        }
        for control in CONTROLS
        if (path := folder / f"{control.name}.json").is_file()
    ]
    claims = [_hold_against(case, claim, runs) for case, runs in cases for claim in case.claims]
    shown = [claim for claim in claims if claim["is_share"]]
    if shown:
        ax = plot_published(
            [claim["what"] for claim in shown],
            [claim["published_error"] for claim in shown],
            np.array([claim["error"] for claim in shown]),
        )
        save_picture(ax, folder / "published.png")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    page = environment.get_template("evidence.md.j2").render(
        folder=folder.name,
        claims=claims,
        cases=[_describe(case, runs, folder) for case, runs in cases],
        controls=controls,
        machines=sorted({_machine(run) for _, runs in cases for run in runs}),
        has_picture=bool(shown),
        missing=[entry.name for entry in (*CASES, *CONTROLS) if not (folder / f"{entry.name}.json").is_file()],
    )
    with atomic(folder.with_suffix(".md"), overwrite=True) as staging:
        write_file(staging, page)


def _hold_against(case: Case, claim: Claim, runs: Runs) -> dict[str, Any]:
    """Return a published figure beside what was obtained: its mean over the runs with its interval, and the verdict."""
    published = runs[0]["published"][claim.source][claim.figure]
    mean, low, high = mean_interval(np.array([[run["obtained"][claim.figure] for run in runs]]))[0].tolist()
    more_is_better = "accuracy" in claim.figure
    gain = (mean - published) * (1 if more_is_better else -1)
    verdict = "reached" if gain >= -1e-9 else f"short by {-gain:.2f}"
    if verdict != "reached" and np.isfinite(low) and low <= published <= high:
        verdict += ", within the interval"
    unit = " %" if "(%)" in claim.figure else ""
    ends = np.array([mean, low, high])
    return {
        "case": case.name,
        "what": claim.what,
        "source": claim.source,
        "published": f"{published:g}{unit}",
        "obtained": f"{mean:.2f}{unit}" + (f" [{low:.2f}, {high:.2f}]" if len(runs) > 1 else ""),
        "n_runs": len(runs),
        "seconds": f"{np.mean([run['obtained'][PROCESSOR] for run in runs]):,.0f}",
        "verdict": verdict,
        "is_share": unit != "",
        "published_error": 100 - published if more_is_better else published,
        "error": 100 - ends[[0, 2, 1]] if more_is_better else ends,
    }


def _describe(case: Case, runs: Runs, folder: Path) -> dict[str, Any]:
    """Return what the page says of a case: its command and its table, published beside every run."""
    published = dict(runs[0]["published"])
    columns = {source: dict(figures) for source, figures in published.items()}
    columns |= {f"seed {run['obtained']['seed']}": _without_clock(run["obtained"]) for run in runs}
    names = dict.fromkeys(name for values in columns.values() for name in values if name != "seed")
    return {
        "name": case.name,
        "command": " ".join(["layerwise", *case.arguments("S", "mnist")]),
        "remark": case.remark,
        "columns": list(columns),
        "rows": [[name, *(_format(values.get(name)) for values in columns.values())] for name in names],
        "picture": case.picture is not None and (folder / f"{case.name}.png").is_file(),
    }


def _without_clock(obtained: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures without seconds by the clock, in which whatever else the machine did is counted."""
    return {name: value for name, value in obtained.items() if name == PROCESSOR or not name.endswith("seconds")}


def _tabulate(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracies of a comparison in percent, a row a number of labels and method; the best line of each."""
    comparison = Comparison(facts["budgets"], facts["starts"], facts["methods"], np.array(facts["accuracies"]))
    verdicts = {(row["budget"], row["method"], row["start"]): row["verdict"] for row in comparison.rows()}
    signs = {"pre-training helps": " +", "pre-training hurts": " -"}
    rows = []
    for place, budget in enumerate(comparison.budgets):
        means = 100 * comparison.accuracies[:, :, place].mean(axis=2)
        for method, shares in zip(comparison.methods, means.T, strict=True):
            cells = [
                f"{share:.1f}{signs.get(verdicts.get((budget, method, start), ''), '')}"
                for start, share in zip(comparison.starts, shares, strict=True)
            ]
            best = [f"**{cell}**" if share == means.max() else cell for cell, share in zip(cells, shares, strict=True)]
            rows.append([f"{budget:,}", method, *best])
    return {"starts": comparison.starts, "rows": rows, "n_seeds": comparison.accuracies.shape[-1]}


def _machine(run: Mapping[str, Any]) -> str:
    machine = run["machine"]
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return f"{machine['processor']}, {threads}, Python {machine['python']}, torch {machine['torch']}"


def _format(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.7g}"
