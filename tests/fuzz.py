"""Feed damaged files to the loaders: `python tests/fuzz.py --loader csv --n 1000000 --seed 0`.

Whatever a file holds, a loader may answer with what it read or with a `layerwise.FileError`: anything else is a defect,
and so are a process that dies, a case that takes more than a second, and one that takes much memory. A case is known by
its loader, seed and number: `--case 4711` repeats it and shows what happens.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import mutations as m
import seeds as s

import layerwise
from layerwise import FileError

# What files may ask for here; the memory beyond it, and the seconds, that a case may take.
ROOM, SPARE, SECONDS = 2**26, 2**26, 1.0
# Seconds after which a worker that does not come back is ended, and cases for each.
_HANG, _BATCH = 60, 50_000
# The case at hand, and how many were loaded and refused.
_STATE = struct.Struct("<qqq")
_NOT_YET = -1
_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Loader(NamedTuple):
    """Good files, a way to damage them, and what reads them."""

    ending: str
    seeds: Callable[[], list[Any]]
    mutate: Callable[[random.Random, Any, list[Any]], Any]
    load: Callable[[Path], Any]
    seconds: float = SECONDS


def load_model(folder: Path) -> None:
    """Load a model; what loads must answer, or refuse rows with a ValueError."""
    model = layerwise.load(folder, device="cpu")
    try:
        s.use(model)
    except FileError:
        raise
    except ValueError:
        pass


def write(path: Path, content: Any) -> None:
    """Write a case: bytes, or the files of a folder."""
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    for name, part in content.items():
        (path / name).write_bytes(part)


def mutate_model(rng: random.Random, content: dict[str, bytes], others: list[Any]) -> dict[str, bytes]:
    """Change the description of a model, or its numbers, whose hash a stranger can make right."""
    config, tensors = content["config.json"], content["model.safetensors"]
    kind = rng.random()
    if kind < 0.6:
        config = json.dumps(m.mutate_tree(rng, json.loads(config))).encode()
    elif kind < 0.7:
        config = m.mutate_lines(rng, config, [other["config.json"] for other in others])
    else:
        tensors = m.mutate_safetensors(rng, tensors, [other["model.safetensors"] for other in others])
        if rng.random() < 0.8:
            config = config.replace(
                hashlib.sha256(content["model.safetensors"]).hexdigest().encode(),
                hashlib.sha256(tensors).hexdigest().encode(),
            )
    return {"config.json": config, "model.safetensors": tensors}


def mutate_folder(rng: random.Random, content: dict[str, bytes], others: list[Any]) -> dict[str, bytes]:
    """Change the only image of a folder."""
    ((name, image),) = content.items()
    return {name: m.mutate_bytes(rng, image, [next(iter(other.values())) for other in others])}


LOADERS = {
    "idx": Loader("idx", s.idx, m.mutate_bytes, s.rows),
    "idx.gz": Loader("idx.gz", s.idx_gz, m.mutate_gzip, s.rows),
    "npy": Loader("npy", s.npy, m.mutate_npy, s.rows_and_labels),
    "npz": Loader("npz", s.npz, m.mutate_npz, s.rows),
    "csv": Loader("csv", s.csv, m.mutate_lines, s.table),
    "txt": Loader("txt", s.txt, m.mutate_lines, s.table),
    "arff": Loader("arff", s.arff, m.mutate_lines, s.table),
    "svm": Loader("svm", s.svmlight, m.mutate_lines, s.rows_and_labels),
    "json": Loader("json", s.json_list, m.mutate_lines, s.table),
    "sav": Loader("sav", s.sav, m.mutate_bytes, s.table, seconds=10.0),
    "model": Loader("", s.models, mutate_model, load_model),
    "toml": Loader("toml", s.toml, m.mutate_lines, s.recipe),
    "mat": Loader("mat", s.mat, m.mutate_bytes, s.matlab, seconds=5.0),
    "images": Loader("", s.images, mutate_folder, s.image_folder),
    "safetensors": Loader("safetensors", s.safetensors, m.mutate_safetensors, s.rows),
    "csv.gz": Loader("csv.gz", s.csv_gz, m.mutate_gzip, s.table),
    "parquet": Loader("parquet", s.parquet, m.mutate_bytes, s.table),
    "feather": Loader("feather", s.feather, m.mutate_bytes, s.table),
    "metrics": Loader("", s.metrics, s.mutate_run, s.run),
    "broken": Loader("broken", s.broken, s.mutate_broken, s.read_broken),  # to test this program
}


class Bench:
    """One loader with a place to put its cases."""

    def __init__(self, name: str, seed: int, folder: Path):
        self.loader, self.seed = LOADERS[name], seed
        self.seeds = self.loader.seeds()
        self.path = folder / f"case.{self.loader.ending}" if self.loader.ending else folder / "case"
        if not self.loader.ending:
            self.path.mkdir()
        for content in self.seeds:  # good files must load, or nothing is tested
            self._put(content)
            self.loader.load(self.path)

    def run(self, case: int) -> tuple[str, str]:
        """Run a case; return what came of it, and the traceback if that must not be."""
        rng = random.Random((self.seed << 40) + case)
        self._put(self.loader.mutate(rng, rng.choice(self.seeds), self.seeds))
        signal.setitimer(signal.ITIMER_REAL, _HANG / 2)
        try:
            self.loader.load(self.path)
        except FileError:
            return "refused", ""
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return f"raised {type(error).__name__}", "".join(traceback.format_exception(error, limit=-6))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return "loaded", ""

    def _put(self, content: Any) -> None:
        if not self.loader.ending:
            for old in self.path.iterdir():
                old.unlink()
        write(self.path, content)


def give_up(*_: object) -> None:
    """End a case that does not come back."""
    raise TimeoutError("the case took too long")


def work(name: str, seed: int, first: int, end: int, state: Path) -> None:
    """Run cases in this process; the case at hand and the counts stand in the file ``state``, defects go to stdout."""
    warnings.simplefilter("ignore")
    os.environ["LAYERWISE_MAX_BYTES"] = str(ROOM)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # polars tells of panics there
    signal.signal(signal.SIGALRM, give_up)
    counts = Counter[str]()
    with state.open("r+b") as file, mmap.mmap(file.fileno(), _STATE.size) as shared:
        bench = Bench(name, seed, state.parent)
        peak = _peak()
        for case in range(first, end):
            shared[:] = _STATE.pack(case, counts["loaded"], counts["refused"])
            outcome, trace = _time(bench, case)
            if _peak() > peak + ROOM + SPARE:
                outcome, trace, peak = "large", f"{(_peak() - peak) >> 20} MiB more", _peak()
            counts[outcome] += 1
            if outcome not in ("loaded", "refused"):
                print(json.dumps([case, outcome, trace]), flush=True)
        shared[:] = _STATE.pack(end, counts["loaded"], counts["refused"])


def _time(bench: Bench, case: int) -> tuple[str, str]:
    """Run a case; once more if it was slow, as something may have been loaded for the first time."""
    for _ in range(2):
        start = _seconds()
        outcome, trace = bench.run(case)
        seconds = _seconds() - start
        if seconds <= bench.loader.seconds:
            return outcome, trace
    return "slow", f"{seconds:.1f} s, {outcome}\n{trace}"


def _seconds() -> float:
    """Return the time of the processor that was used, in all threads and ended children: the machine may be busy."""
    return sum(os.times()[:4])


def _peak() -> int:
    """Return the most memory that this program has had; getrusage counts that of the parent too, before exec."""
    _, _, rest = Path("/proc/self/status").read_bytes().partition(b"VmHWM:")
    return int(rest[:20].split()[0]) << 10


def fuzz(name: str, n: int, seed: int, first: int = 0) -> tuple[Counter[str], list[tuple[int, str, str]]]:
    """Run cases in workers that may die; return how often what came of them, and the defects."""
    outcomes, defects, end = Counter[str](), [], first + n
    while first < end:
        stop = min(end, first + _BATCH)
        with tempfile.TemporaryDirectory(dir=_FAST, prefix="layerwise-fuzz-") as folder:
            state = Path(folder) / "state"
            state.write_bytes(_STATE.pack(first, _NOT_YET, 0))
            command = [sys.executable, __file__, "--work", name, str(seed), str(first), str(stop), str(state)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
                lines = _watch(worker, state)
            case, loaded, refused = _STATE.unpack(state.read_bytes())
        found = [tuple(json.loads(line)) for line in lines]
        if case < stop:
            found.append((case, "died", f"the worker ended with {worker.returncode}"))
        if loaded == _NOT_YET:
            raise RuntimeError(f"the worker for {name} could not start: run a --case to see why")
        outcomes += Counter({"loaded": loaded, "refused": refused}) + Counter(outcome for _, outcome, _ in found)
        defects += found
        first = case + (case < stop)
    return outcomes, defects


def _watch(worker: subprocess.Popen, state: Path) -> list[str]:
    """Return what a worker prints; end it if it does not come back from a case."""

    def end_if_stuck() -> None:
        before = None
        while worker.poll() is None:
            time.sleep(0.5)
            now = state.read_bytes()
            if now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > (600 if _STATE.unpack(now)[1] == _NOT_YET else _HANG):
                worker.kill()

    watcher = threading.Thread(target=end_if_stuck)
    watcher.start()
    assert worker.stdout is not None
    lines = worker.stdout.readlines()
    watcher.join()
    return lines


def main() -> None:
    """Fuzz one loader, or repeat a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loader", choices=LOADERS, required=True)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--case", type=int, help="run this case alone, here, and leave its file in fuzz-case/")
    arguments = parser.parse_args()
    if arguments.case is not None:
        folder = Path("fuzz-case")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        signal.signal(signal.SIGALRM, give_up)
        print(*Bench(arguments.loader, arguments.seed, folder).run(arguments.case), sep="\n")
        return
    start, share = time.perf_counter(), -(-arguments.n // arguments.jobs)
    firsts = range(arguments.first, arguments.first + arguments.n, share)
    outcomes, defects, end = Counter[str](), [], arguments.first + arguments.n
    with ThreadPoolExecutor(arguments.jobs) as pool:
        parts = [pool.submit(fuzz, arguments.loader, min(share, end - k), arguments.seed, k) for k in firsts]
        for part in parts:
            found, more = part.result()
            outcomes += found
            defects += more
    wall, used = ((1e3 * t / arguments.n) for t in (time.perf_counter() - start, sum(os.times()[2:4])))
    for case, outcome, trace in defects[:100]:
        print(f"--- case {case}: {outcome}\n{trace}")
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    each = f"{wall:.2f} ms each, {used:.2f} of a processor"
    print(f"{arguments.loader}: {arguments.n} cases, {each}: {counts}; {len(defects)} defects")
    sys.exit(bool(defects))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], *map(int, sys.argv[3:6]), Path(sys.argv[6]))
    else:
        main()
