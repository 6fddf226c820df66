"""What was published beside what layerwise gives, over several seeds."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from cases import CASES, CONTROLS, Case, Control
from page import write_page
from sklearn import datasets

from layerwise.atomic import atomic, write_file
from layerwise.reproduce.experiment import PROCESSOR
from layerwise.strict_json import as_strict, read_json

# A run that takes longer, of the time of a processor for each thread, is made with one seed.
LONG_SECONDS = 600


def collect(
    mnist: Path,
    out: Path,
    runs: Path,
    *,
    seeds: int = 3,
    only: Sequence[str] = (),
) -> None:
    """Run what has not been run, and write the page anew after each run.

    Parameters
    ----------
    mnist : Path
        Folder of MNIST.
    out : Path
        Folder for what the runs gave: a JSON file for each of `CASES` and `CONTROLS`, and pictures. The page lies
        beside it and has its name, with ``.md``.
    runs : Path
        Folder for the folders of the runs.
    seeds : int, default=3
        How often to run what takes less than ten minutes; the first seed of all before the second of any.
    only : sequence of str, default=()
        Names of cases and controls; empty takes all.

    Raises
    ------
    ValueError
        If a name is not known, or there is no seed.
    CalledProcessError
        If a run fails.
    """
    known = [entry.name for entry in (*CASES, *CONTROLS)]
    for name in only:
        if name not in known:
            raise ValueError(f"only={name!r} is not known; choose of {', '.join(known)}")
    if seeds < 1:
        raise ValueError(f"seeds={seeds} leaves nothing to run; give at least 1, better 3")
    out.mkdir(parents=True, exist_ok=True)
    runs.mkdir(parents=True, exist_ok=True)
    chosen = only or known
    for seed in range(seeds):
        for case in CASES:
            if case.name in chosen:
                _run_case(case, seed, mnist, out, runs)
                write_page(out)
        for control in CONTROLS:
            if seed == 0 and control.name in chosen:
                _run_control(control, mnist, out, runs)
                write_page(out)


def _run_case(case: Case, seed: int, mnist: Path, out: Path, runs: Path) -> None:
    kept = out / f"{case.name}.json"
    figures = read_json(kept) if kept.exists() else []
    if seed in [run["obtained"]["seed"] for run in figures]:
        return
    if any(run["obtained"][PROCESSOR] / run["machine"]["threads"] > LONG_SECONDS for run in figures):
        return
    folder = runs / f"{case.name}-{seed}"
    if not folder.exists():
        _layerwise([*case.arguments(seed, mnist), "--out", str(folder)])
    figures.append(read_json(folder / "figures.json"))
    _write(kept, sorted(figures, key=lambda run: run["obtained"]["seed"]))
    if case.picture is not None and seed == 0:
        shutil.copyfile(folder / case.picture, out / f"{case.name}.png")


def _run_control(control: Control, mnist: Path, out: Path, runs: Path) -> None:
    kept = out / f"{control.name}.json"
    if kept.exists():
        return
    folder = runs / control.name
    if not folder.exists():
        words = control.words.format(mnist=mnist, tables=_write_tables(runs / "tables"))
        _layerwise(["compare", *shlex.split(words), "--out", str(folder)])
    _write(kept, read_json(folder / "comparison.json"))
    shutil.copyfile(folder / "comparison.png", out / f"{control.name}.png")


def _write_tables(folder: Path) -> Path:
    """Write the tables that scikit-learn ships as CSV."""
    folder.mkdir(exist_ok=True)
    for name in ("breast_cancer", "wine", "digits"):
        getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def _layerwise(words: Sequence[str]) -> None:
    print(shlex.join(["layerwise", *words]), file=sys.stderr)
    threads = ["--n-threads", str(torch.get_num_threads())]
    subprocess.run(
        [sys.executable, "-m", "layerwise", "--quiet", *threads, *words], check=True, stdout=subprocess.DEVNULL
    )


def _write(path: Path, content: Any) -> None:
    with atomic(path, overwrite=True) as staging:
        write_file(staging, json.dumps(as_strict(content), indent=1) + "\n")
