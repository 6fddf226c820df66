"""`kill -9` at random moments, then `layerwise fit --resume`: does it end with the same model, to the last bit?

A moment is some milliseconds after a random iteration of pre-training or fine-tuning; half of the kills then wait for a
checkpoint that is being written (its unfinished folder is seen). How many hit one is counted by what is left on disk.
Others follow the last iteration, some milliseconds after one of the files of the run appears or the run itself does.
Checkpoints are written after every
iteration, and a run that goes on is killed again, up to three times. Processes are forked from this one, which has
imported everything and computed nothing, because importing torch takes seconds; several ranks get the environment that
torchrun would give them.

    python benchmarks/kill_and_resume.py [--runs 200] [--ranks 1 2] [--json figures.json]
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import torch

from layerwise import cli
from layerwise.cli.unfinished import unfinished_of

PHASES = {"pre-training": ("layer 0", "layer 1"), "fine-tuning": ("head", "finetune"), "publication": ()}
# What is there, one after the other, while a run that is trained is written and published.
PUBLISHING = ("run.json", "loss.png", "model.safetensors", "config.json", "MODEL_CARD.md", "OUT", "no lock")
# A kill follows at most so many seconds after a line or a write was seen, or after the start of a run that goes on.
_WITHIN, _STARTING = 0.01, 0.5


def write_data(folder):
    """More rows than a sample of L-BFGS, so that it is killed on growing samples too."""
    rng = np.random.default_rng(0)
    X = rng.random((2500, 8))
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", (X[:, 0] + X[:, 1] > 1).astype(int))


def command(data, solver, out):
    flags = {"labels": data / "y.npy", "solver": solver, "max_iter": 60 if solver == "lbfgs" else 20, "out": out}
    flags |= {"sparsity_target": 0.2, "corruption": "masking", "random_state": 0, "checkpoint_seconds": 0}
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
    words += ["--batch-size", 500] if solver == "adam" else []
    return ["fit", data / "X.npy", *words, "--layers", 6, 4, "--no-report", "--resume", "--quiet"]


def start(words, n_ranks, log):
    """Start a run in processes of its own; return their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [pid for rank in range(n_ranks) if (pid := os.fork()) or run(words, rank, n_ranks, port, log)]


def run(words, rank, n_ranks, port, log):
    """Be one rank of a run; never returns."""
    code = 1
    try:
        if n_ranks > 1:
            ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n_ranks, "LOCAL_WORLD_SIZE": n_ranks}
            os.environ.update({name: str(value) for name, value in ranks.items()})
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["layerwise", *map(str, words)]
        cli.main()
        code = 0
    except SystemExit as exit_:
        code = exit_.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pids):
    """Return the exit statuses of processes, once they have ended."""
    return [os.waitpid(pid, 0)[1] for pid in pids]


def has_ended(pids):
    return any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) for pid in pids)


def kill_within(pids, folder, lines, rng):
    """Kill a run once its metrics have so many lines, and some milliseconds later or when it writes a checkpoint.

    Return whether it was still running, whether a checkpoint was left unfinished, and the stage that it was in.
    """
    metrics, checkpoints = folder / "metrics.jsonl", folder / "checkpoint" / "model"
    already = count_lines(metrics) >= lines

    def wait_until(seen):
        while not has_ended(pids) and not seen():
            time.sleep(0.0002)

    def is_writing():
        return any(name.endswith(".unfinished") for name in list_names(checkpoints))

    wait_until(lambda: count_lines(metrics) >= lines)
    time.sleep(rng.uniform(0, _STARTING if already else _WITHIN))
    if rng.random() < 0.5:
        wait_until(is_writing)
        time.sleep(rng.uniform(0, _WITHIN))
    rng.shuffle(pids)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        time.sleep(rng.uniform(0, 0.1) if len(pids) > 1 else 0)
    killed = [os.WIFSIGNALED(status) for status in wait(pids)]
    return any(killed), is_writing(), last_stage(metrics)


def kill_in_publication(pids, folder, out, rng):
    """Kill a run some milliseconds after one of its files is there; return which."""
    place = rng.choice(PUBLISHING)
    seen = {"OUT": lambda: out.exists(), "no lock": lambda: out.exists() and not (out / "checkpoint").exists()}
    is_there = seen.get(place, lambda: (folder / place).exists() or out.exists())
    while not has_ended(pids) and not is_there():
        time.sleep(0.0002)
    time.sleep(rng.uniform(0, _WITHIN))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    killed = [os.WIFSIGNALED(status) for status in wait(pids)]
    return place if any(killed) else None


def count_lines(path):
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def list_names(folder):
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def last_stage(metrics):
    lines = metrics.read_text().splitlines() if metrics.is_file() else []
    return json.loads(lines[-1])["stage"] if lines else None


def outcome(out):
    """Return the sha256 of a model, and every iteration without its time."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
    files = sorted(path.name for path in out.iterdir())
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(), steps, files


def kill_and_resume(words, out, n_ranks, phase, steps, rng, log, counts):
    """Kill a run one to three times, then let it end."""
    folder, left = unfinished_of(out), rng.choice([1, 1, 2, 3])
    places = [place for place, step in enumerate(steps) if step["stage"] in PHASES[phase]]
    while left and phase == "publication":
        place = kill_in_publication(start(words, n_ranks, log), folder, out, rng)
        counts["published before a kill"] += out.exists()
        left -= 1
        if place is not None:
            counts.update(["kills", f"killed after {place} was there"])
    while left:
        killed, unfinished, stage = kill_within(start(words, n_ranks, log), folder, rng.choice(places), rng)
        if out.exists():  # it was faster
            shutil.rmtree(out)
        elif killed:
            left -= 1
            counts.update(kills=1, inside_a_write=unfinished)
            counts[f"killed in {stage}"] += 1
    return wait(start(words, n_ranks, log))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng, began = random.Random(arguments.seed), time.perf_counter()
    counts, same = Counter(), 0
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        write_data(data)
        log, cells = data / "log.txt", list(product(("lbfgs", "adam"), arguments.ranks))
        references = {}
        for cell in cells:
            out = data / "-".join(map(str, cell))
            if wait(start(command(data, cell[0], out), cell[1], log)) != [0] * cell[1]:
                sys.exit(f"a run that nobody kills fails:\n{log.read_text()}")
            references[cell] = outcome(out)
        for number in range(arguments.runs):
            (solver, n_ranks), phase = (cell := cells[number % len(cells)]), rng.choice(list(PHASES))
            out = data / f"run-{number}"
            words = command(data, solver, out)
            statuses = kill_and_resume(words, out, n_ranks, phase, references[cell][1], rng, log, counts)
            counts[f"{solver}, {phase}, {n_ranks} rank(s)"] += 1
            if statuses == [0] * n_ranks and outcome(out) == references[cell]:
                same += 1
                shutil.rmtree(out)
                print(f"{same} of {number + 1}", end="\r", flush=True)
            else:
                print(f"run {number} ({solver}, {phase}, {n_ranks} ranks) differs: {statuses}", flush=True)
    figures = {"runs": arguments.runs, "same": same, **dict(sorted(counts.items()))}
    figures["seconds"] = round(time.perf_counter() - began)
    print("", *(f"{name}: {value}" for name, value in figures.items()), sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(same != arguments.runs)


if __name__ == "__main__":
    main()
