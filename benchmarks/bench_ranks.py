"""How much faster are several processes of one thread each than one, and does a model of the time say so?

Value and gradient of the sparse layer over all rows, an epoch in batches of 256, and the messages alone, with 1, 2 and
4 ranks that share the rows; the first size is all of MNIST, the others are random bytes. Ranks of each number are
started in turn, round after round. The model of docs/scaling.md has three constants, fitted to one rank and to the
messages: operations a second, bytes a second of a sum over ranks, seconds of a small message. More ranks than cores
share them.

    python benchmarks/bench_ranks.py [--rounds 3] [--json figures.json]
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import Figures, data_folder, median_ratio, parser, peak_memory_mb, show, write
from reference import ALPHA, BETA, RHO

from layerwise import distributed
from layerwise.data import Rows, load_mnist
from layerwise.modules import AutoencoderLayer
from layerwise.objective import LayerObjective
from layerwise.penalties import KLSparsity

RANKS = (1, 2, 4)
# Rows, features, units.
SIZES = ((60_000, 784, 200), (60_000, 784, 50), (15_000, 784, 200), (240_000, 100, 50), (6_000, 2_000, 500))
BATCH = 256


def launch(n_ranks: int, size: tuple[int, int, int]) -> Figures:
    """Start ranks of one thread, and return what the first one measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": n_ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--rank", *map(str, size)],
            env=os.environ
            | {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(n_ranks)
    ]
    answers = [process.communicate()[0] for process in processes]
    return json.loads(answers[0].splitlines()[-1])


def be_a_rank(n_rows: int, n_features: int, n_hidden: int) -> None:
    """Measure as one of the ranks, and print the figures."""
    torch.set_num_threads(1)
    if (n_rows, n_features) == (60_000, 784):
        X = load_mnist(data_folder()).X_train
    else:
        X = np.random.default_rng(0).integers(0, 256, (n_rows, n_features), dtype=np.uint8)
    with distributed.joint():
        generator = torch.Generator().manual_seed(0)
        layer = AutoencoderLayer(n_features, n_hidden, generator=generator)
        objective = LayerObjective(layer, Rows(distributed.share(X)), terms=[KLSparsity(RHO, BETA)], alpha=ALPHA)
        theta = objective.vector.read()
        objective(theta)
        before = sent_mb()
        figures = {
            "evaluation s": measure(lambda: objective(theta), 5),
            "sent MB": (sent_mb() - before) / 6,
            "memory MB": peak_memory_mb(),
            "sum ms": 1e3 * measure(lambda: distributed.sum_shards([torch.zeros_like(theta)]), 20),
            "small sum ms": 1e3 * measure(lambda: distributed.sum_shards([torch.zeros(n_hidden).double()]), 100),
        }
        start = theta.float()
        figures["epoch s"] = measure(lambda: [None for _ in objective.epoch(start.clone(), BATCH, 0)], 2)
    print(json.dumps(figures))


def measure(call: Callable[[], object], times: int) -> float:
    """Return the median of the seconds that a call takes, after one to warm up; ranks begin together."""
    taken = []
    for _ in range(times + 1):
        distributed.gather_counts([0])
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def sent_mb() -> float:
    """Return how much all processes of this machine have sent to each other so far."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[9]) for line in lines if line.split()[0] == "lo:") / 1e6


def predict(size: tuple[int, int, int], n_ranks: int, rate: float, bandwidth: float, latency: float) -> float:
    """Return the seconds of an evaluation by the model of docs/scaling.md."""
    n_rows, n_features, n_hidden = size
    cores = min(n_ranks, os.cpu_count() or 1)
    products = 10 * n_rows * n_features * n_hidden / (cores * rate)
    return products + 1e6 * predict_sent_mb(size, n_ranks) / n_ranks / bandwidth + 2 * latency * (n_ranks > 1)


def predict_sent_mb(size: tuple[int, int, int], n_ranks: int) -> float:
    """Return what all ranks together send for an evaluation, by the same model."""
    _, n_features, n_hidden = size
    n_parameters = 2 * n_features * n_hidden + n_features + n_hidden
    return 2 * (n_ranks - 1) * 8 * (n_parameters + n_hidden) / 1e6


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--rows", type=int, default=240_000, help="at most so many of each size, to try this out")
    options = arguments.parse_args()
    rows, report = {}, {}
    for size in [(min(n_rows, options.rows), *widths) for n_rows, *widths in SIZES]:
        rounds = [{n_ranks: launch(n_ranks, size) for n_ranks in RANKS} for _ in range(options.rounds)]
        median = {
            n_ranks: {name: statistics.median(one[n_ranks][name] for one in rounds) for name in rounds[0][1]}
            for n_ranks in RANKS
        }
        n_parameters = 2 * size[1] * size[2] + size[1] + size[2]
        rate = 10 * size[0] * size[1] * size[2] / median[1]["evaluation s"]
        latency = median[2]["small sum ms"] / 1e3
        bandwidth = 8 * n_parameters / max(1e-9, median[2]["sum ms"] / 1e3 - latency)
        for n_ranks in RANKS:
            figures = median[n_ranks]
            first = [one[1] for one in rounds]
            these = [one[n_ranks] for one in rounds]
            rows["{} x {}, {}; {}".format(*size, n_ranks)] = {
                "s": figures["evaluation s"],
                "model": predict(size, n_ranks, rate, bandwidth, latency),
                "times": median_ratio([one["evaluation s"] for one in first], [one["evaluation s"] for one in these]),
                "MB sent": figures["sent MB"],
                "by model": predict_sent_mb(size, n_ranks),
                "peak MB": figures["memory MB"],
                "sum ms": figures["sum ms"] if n_ranks > 1 else None,
                "small": figures["small sum ms"] if n_ranks > 1 else None,
                "epoch s": figures["epoch s"],
                "epoch times": median_ratio([one["epoch s"] for one in first], [one["epoch s"] for one in these]),
            }
        report["{} x {}, {} units".format(*size)] = {"GFLOP/s": rate / 1e9, "GB/s of sums": bandwidth / 1e9}
    show("Rows x features, units; ranks of one thread each", rows)
    show("Constants of the model", report)
    write(options.json, {"ranks": rows, "model": report})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        be_a_rank(*map(int, sys.argv[2:]))
    else:
        main()
