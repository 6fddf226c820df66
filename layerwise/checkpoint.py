"""Checkpoints: a fit is kept on disk while it runs, so that it can go on, bit for bit, where it was interrupted."""

from __future__ import annotations

import json
import platform
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layerwise import distributed, products
from layerwise.checkpoint_files import FILES, CheckpointFolder, decode
from layerwise.interruption import Noted, end_by, noting
from layerwise.locks import locked


class Checkpoint:
    """Where a fit is kept so that it can go on.

    Given to an estimator, it is written at the end of every stage, and now and then within one. A later `fit` of an
    estimator with the same parameters, on the same rows, goes on from it and ends with the same bits as without the
    interruption; one that had ended gives the fitted model at once. Other parameters and other rows, weights or labels,
    to train or to validate with, are refused: a digest of every value and its place is kept, which reads all rows once
    more. So each fold of a cross-validation needs a folder of its own. Ctrl-C and SIGTERM end such a fit after the
    iteration, with a checkpoint; a second one ends it at once. A checkpoint that cannot be written is warned of, and
    training goes on. It is that of the outermost estimator that counts.

    Parameters
    ----------
    folder : str or path-like
        For this fit alone; made if it is not there. Holds the last two checkpoints: numbers as JSON, tensors as
        safetensors.
    seconds : float, default=60.0
        Time after which one is written at the end of an iteration.
    n_iter : int or None, default=None
        Iterations (epochs of stochastic solvers) after which one is written, however soon.

    Examples
    --------
    >>> import tempfile
    >>> from layerwise import Autoencoder, Checkpoint, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:100]
    >>> checkpoint = Checkpoint(tempfile.mkdtemp(), n_iter=2)
    >>> first = Autoencoder(5, solver=LBFGS(max_iter=5), checkpoint=checkpoint).fit(X)
    >>> again = Autoencoder(5, solver=LBFGS(max_iter=5), checkpoint=checkpoint).fit(X)  # nothing is left to do
    >>> bool((again.components_ == first.components_).all())
    True
    """

    def __init__(self, folder: str | PathLike[str], *, seconds: float = 60.0, n_iter: int | None = None):
        self.folder = folder
        self.seconds = seconds
        self.n_iter = n_iter

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.folder)!r}, seconds={self.seconds!r}, n_iter={self.n_iter!r})"

    @contextmanager
    def open(self, fit: Mapping[str, Any]) -> Iterator[KeptFit]:
        """Keep a fit while the block runs; go on with the one that is there.

        Parameters
        ----------
        fit : mapping
            Describes it, with what JSON can hold: that of another one is refused.

        Yields
        ------
        kept : KeptFit

        Raises
        ------
        ValueError
            If the folder holds another fit, or another process is in it.
        """
        if not self.seconds >= 0:
            raise ValueError(f"seconds={self.seconds!r} must be at least 0")
        if self.n_iter is not None and self.n_iter < 1:
            raise ValueError(f"n_iter={self.n_iter!r} must be at least 1, or None")
        checkpoints, files = CheckpointFolder(Path(self.folder)), {}
        with ExitStack() as stack:
            with distributed.agreed():
                if distributed.rank() == 0:  # the only one that reads and writes
                    stack.enter_context(locked(checkpoints.folder))
                    files = checkpoints.read()
            files = {name: distributed.broadcast_bytes(files.get(name)) for name in FILES}
            before = decode(files) if any(files.values()) else None
            kept = KeptFit(self, checkpoints, before, stack.enter_context(noting()))
            kept.match(**fit)
            yield kept


class KeptFit:
    """A fit while it runs: gives back the stages that were kept, and keeps those that come.

    Parameters
    ----------
    settings : Checkpoint
    files : CheckpointFolder
    before : mapping or None
        What the checkpoint holds that it goes on from.
    noted : Noted
        A signal that asks for the end.
    """

    def __init__(self, settings: Checkpoint, files: CheckpointFolder, before: Mapping[str, Any] | None, noted: Noted):
        self._settings, self._files, self._noted = settings, files, noted
        self._goes_on = before is not None
        before = before or {"software": {}, "facts": {}, "seeds": [], "stages": [], "running": None}
        self._before: dict[str, Any] = before["software"]
        self._software: dict[str, Any] = {}
        self._compare(_describe_software())
        self._facts: dict[str, Any] = before["facts"]
        self._seeds: list[int] = before["seeds"]
        self._stages: list[Any] = before["stages"]  # those that have ended
        self._running: Any = before["running"]
        self._n_seeds = self._n_begun = 0
        self._stage, self._reached, self._written = "", "before the first iteration", ""
        self._failures: set[int | None] = set()
        self._last_write, self._last_iter = time.monotonic(), 0

    def match(self, **facts: Any) -> None:
        """Note facts that tell this fit from others; refuse to go on where they differ from what they were.

        Parameters
        ----------
        **facts : what JSON can hold
            The same in every process of a fit.
        """
        facts = json.loads(json.dumps(facts))
        untold = [_add_untold(name, fact, self._facts) for name, fact in facts.items()]
        if self._goes_on and any(untold):
            self._goes_on = False  # it is said once
            if distributed.rank() == 0:
                warnings.warn(
                    f"the checkpoint in {self._settings.folder} was written by an earlier version of layerwise, which "
                    f"kept no digest of all rows and weights; the fit goes on, but nothing tells whether they are the "
                    f"same",
                    UserWarning,
                    stacklevel=2,
                )
        for name, fact in facts.items():
            self._match(name, fact)

    def _match(self, name: str, fact: Any) -> None:
        difference = _find_difference(name, fact, self._facts.setdefault(name, fact))
        if difference is not None:
            place, now, then = difference
            raise ValueError(
                f"checkpoint={str(self._settings.folder)!r} belongs to another fit: {place} is {now}, but was "
                f"{then} there; go on with what it was, or choose another folder"
            )

    def seed(self, drawn: int) -> int:
        """Return the seed that this place of the fit had; that which was drawn now if it is new.

        Parameters
        ----------
        drawn : int

        Returns
        -------
        seed : int
        """
        self._n_seeds += 1
        if self._n_seeds > len(self._seeds):
            self._seeds.append(drawn)
        return self._seeds[self._n_seeds - 1]

    def begin(self, name: str, device: torch.device) -> dict[str, Any] | None:
        """Return what was kept of the next stage: ``ended`` and ``theta`` if it had, or ``running``; None if it begins.

        Parameters
        ----------
        name : str
        device : torch.device
            For its tensors.

        Returns
        -------
        kept : dict or None
        """
        self._compare({"device": device.type})
        place = self._n_begun
        self._n_begun += 1
        self._stage, self._reached, self._last_iter = name, f"before the first iteration of stage {name}", 0
        self._match(f"stage {place}", name)
        if place < len(self._stages):
            return _to(device, self._stages[place])
        if self._running is None:
            return None
        self._last_iter = self._running["solver"]["n_iter"]
        return {"running": _to(device, self._running)}

    def follow(self, n_iter: int, capture: Callable[[], Mapping[str, Any]]) -> None:
        """Keep the stage that runs if it is time, or if a signal asks for the end.

        Parameters
        ----------
        n_iter : int
            Iterations of this stage.
        capture : callable
            Returns all that it needs to go on.
        """
        self._reached = f"in stage {self._stage} at iteration {n_iter}"
        settings, waited = self._settings, time.monotonic() - self._last_write
        often = settings.n_iter is not None and n_iter - self._last_iter >= settings.n_iter
        number = self._ask_for_signals()
        if often or waited >= settings.seconds or number:
            self._running, self._last_iter = capture(), n_iter
            self._write()
        if number:
            self._end_by_signal(number)

    def end(self, record: Mapping[str, Any]) -> None:
        """Keep a stage that has ended.

        Parameters
        ----------
        record : mapping
            What `begin` shall return.
        """
        self._reached = f"at the end of stage {self._stage}"
        self._stages.append(record)
        self._running = None
        self._write()
        number = self._ask_for_signals()
        if number:
            self._end_by_signal(number)

    def _write(self) -> None:
        """Write a checkpoint; training goes on if it cannot be written."""
        self._last_write = time.monotonic()
        if distributed.rank() > 0:
            self._written = self._reached
            return
        document = {
            "software": self._software,
            "facts": self._facts,
            "seeds": self._seeds,
            "stages": self._stages,
            "running": self._running,
        }
        try:
            self._files.write(document)
            self._written = self._reached
        except OSError as error:
            if error.errno not in self._failures:
                self._failures.add(error.errno)
                warnings.warn(
                    f"no checkpoint is written {self._reached} ({error}); the last one is whole", stacklevel=2
                )

    def _ask_for_signals(self) -> int:
        """Return the signal that any rank has had; 0 if none has."""
        return max(distributed.gather_counts([self._noted.number or 0]))

    def _end_by_signal(self, number: int) -> None:
        """End the fit, once rank 0 has written what there is to go on from."""
        distributed.any_rank(False)  # a launcher kills the others when one ends
        self._noted.number = None  # it is answered
        where = "there" if self._written == self._reached else "the last checkpoint"
        what = f"interrupted {self._reached}" if number == signal.SIGINT else f"terminated {self._reached}"
        sentence = f"{what}; the same fit with checkpoint={str(self._settings.folder)!r} goes on from {where}"
        if number == signal.SIGTERM and distributed.rank() == 0:  # of which Python tells nothing
            warnings.warn(sentence, UserWarning, stacklevel=2)
        raise end_by(number, sentence)

    def _compare(self, software: Mapping[str, Any]) -> None:
        """Take note of what the last bits depend on, and warn once of what was different."""
        self._software |= software
        before = self._before
        changed = [name for name, now in software.items() if before.get(name, now) != now]
        if changed and distributed.rank() == 0:
            words = ", ".join(f"{name} {software[name]} (was {before.pop(name)})" for name in changed)
            warnings.warn(
                f"the checkpoint in {self._settings.folder} was written by other software or another machine: {words}; "
                f"the fit goes on, but its last bits may differ",
                UserWarning,
                stacklevel=2,
            )


def _describe_software() -> dict[str, Any]:
    """Return what the last bits of a fit depend on besides its parameters and rows."""
    return {
        "layerwise": version("layerwise"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "products": products.kernel(),
        "shards of rows": distributed.world_size() * distributed.n_shards(),
        "deterministic": distributed.is_deterministic(),
    }


def _find_difference(place: str, now: Any, then: Any) -> tuple[str, Any, Any] | None:
    """Return where two facts differ first, and both values there; None if they are the same."""
    if now == then:
        return None
    if isinstance(now, dict) and isinstance(then, dict):
        for name in {**now, **then}:
            found = _find_difference(f"{place}.{name}", now.get(name), then.get(name))
            if found is not None:
                return found
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        for index, pair in enumerate(zip(now, then, strict=True)):
            found = _find_difference(f"{place}[{index}]", *pair)
            if found is not None:
                return found
    return place, now, then


def _add_untold(name: str, fact: Any, facts: dict[str, Any]) -> bool:
    """Add to the facts of a checkpoint what it does not tell of this one; return whether there was something."""
    then = facts.setdefault(name, fact)
    if then is fact:
        return fact is not None
    if not (isinstance(fact, dict) and isinstance(then, dict)):
        return False
    untold = {each: fact[each] for each in fact.keys() - then.keys() if each.startswith("digest of ")}
    then |= untold
    return bool(untold)


def _to(device: torch.device, value: Any) -> Any:
    """Return the same with its tensors on a device, copied: training changes them in place."""
    if isinstance(value, torch.Tensor):
        return value.to(device, copy=True)
    if isinstance(value, dict):
        return {name: _to(device, item) for name, item in value.items()}
    return [_to(device, item) for item in value] if isinstance(value, list) else value
