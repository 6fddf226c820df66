"""What the benchmarks share: MNIST, timing in turn, contestants in processes of their own, a table and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
# A Python that has PyOD and ClustPy; `make bench` installs it.
RIVAL_PYTHON = HERE.parent / ".venv-rivals" / "bin" / "python"

Figures = dict[str, Any]
# Seconds before a timing, so that the other side's threads go to sleep: NumPy and torch each keep a pool of their own.
PAUSE = 0.3


def data_folder() -> Path:
    """Return the folder that holds MNIST, or leave with a sentence."""
    folder = Path(os.environ.get("LAYERWISE_DATA", HERE.parents[1] / "shared" / "data")) / "mnist"
    if not folder.is_dir():
        sys.exit(f"no MNIST at {folder}; set LAYERWISE_DATA to the folder that holds mnist/")
    return folder


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    time.sleep(PAUSE)
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def in_turn(functions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Time functions one after the other, ``rounds`` times after one warm-up; return the seconds of each."""
    times = [[seconds(function) for function in functions] for _ in range(rounds + 1)][1:]
    return [list(column) for column in zip(*times, strict=True)]


def median_ratio(numerator: Iterable[float], denominator: Iterable[float]) -> float:
    """Return the median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def alone(script: str, name: str, *words: object, python: Path | str = sys.executable) -> Figures:
    """Run ``python script --contestant name words``, and return the figures that it prints as its last line."""
    command = [str(python), str(script), "--contestant", name, *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def answer(contestants: Mapping[str, Callable[..., Figures]]) -> bool:
    """Be the process that `alone` started, if this is one: run the contestant with its numbers, print its figures."""
    if sys.argv[1:2] != ["--contestant"]:
        return False
    name, *numbers = sys.argv[2:]
    figures = contestants[name](*map(int, numbers))
    print(json.dumps(figures | {"peak memory MB": peak_memory_mb()}))
    return True


def peak_memory_mb() -> float | None:
    """Return the peak resident memory of this process in MB; None where there is no /proc."""
    status = Path("/proc/self/status")
    peaks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")] if status.exists() else []
    return int(peaks[0].split()[1]) / 2**10 if peaks else None


class Clock:
    """Takes the seconds of training and the quality reached, epoch by epoch; measuring the quality does not count.

    The clock runs from when it is made. ``curve`` holds a pair (seconds, quality) for every call of `lap`.
    """

    def __init__(self, quality: Callable[[], float]):
        import torch

        torch.optim.Adam([torch.zeros(1)])  # the first one imports half of torch, which is no part of anyone's training
        self.quality = quality
        self.curve: list[tuple[float, float]] = []
        self._began = time.perf_counter()

    def lap(self) -> None:
        seconds = time.perf_counter() - self._began
        self.curve.append((seconds, self.quality()))
        self._began = time.perf_counter() - seconds


def seconds_until(curve: Iterable[tuple[float, float]], reached: Callable[[float], bool]) -> float | None:
    """Return the seconds after which the quality was first good enough, None if it never was."""
    return next((seconds for seconds, quality in curve if reached(quality)), None)


def medians(runs: Sequence[Figures]) -> Figures:
    """Return the median of each figure over runs that differ in their seed; None if one of them has none."""
    columns = {name: [run[name] for run in runs] for name in runs[0]}
    return {name: None if None in values else statistics.median(values) for name, values in columns.items()}


def matrix_products(n_rows: int, n_features: int, n_hidden: int, chunk_rows: int) -> tuple[Callable[[], None], int]:
    """Return a function that does the five products of an autoencoder's gradients in float32, and its operations."""
    import torch

    x, h = torch.rand(chunk_rows, n_features), torch.rand(chunk_rows, n_hidden)
    w1, w2 = torch.rand(n_hidden, n_features), torch.rand(n_features, n_hidden)
    r, g1, g2 = torch.empty_like(x), torch.empty_like(w1), torch.empty_like(w2)

    def run() -> None:
        for _ in range(n_rows // chunk_rows):
            torch.mm(x, w1.T, out=h)
            torch.mm(h, w2.T, out=r)
            torch.mm(r.T, h, out=g2)
            torch.mm(r, w2, out=h)
            torch.mm(h.T, x, out=g1)

    return run, 10 * (n_rows // chunk_rows * chunk_rows) * n_features * n_hidden


def machine() -> Figures:
    """Return what the figures depend on."""
    import torch  # a contestant of another environment may be without

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--json", type=Path, help="write the figures here")
    return made


def show(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table: a line a contestant, a column a figure."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(title=title)
    table.add_column(no_wrap=True)
    for column in columns:
        table.add_column(column)
    for name, row in rows.items():
        table.add_row(name, *(_format(row.get(column)) for column in columns))
    Console().print(table)


def _format(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(path: Path | None, figures: Figures) -> None:
    """Write the figures with the machine that they come from, if a path was given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"machine": machine()} | figures, indent=2) + "\n")
