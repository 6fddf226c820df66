"""The folder of a run that is not finished: in sight, beside the run that it becomes, and there to go on with."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from layerwise import distributed, recipes, runs
from layerwise.atomic import LOCK, check_replaceable, discard, is_written, naming, publish
from layerwise.cli.common import as_command
from layerwise.cli.recipe_flags import overlay
from layerwise.locks import locked
from layerwise.recipes import DATA_KEYS, HELD_OUT_KEYS

CHECKPOINTS, SCRATCH = "checkpoint", "scratch"


def unfinished_of(place: Path) -> Path:
    """Return where a run is made before it is finished."""
    place = place.absolute()
    return place.with_name(f"{place.name}.partial")


@contextmanager
def unfinished_run(place: Path, *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Give the folder to make a run in; it becomes the run, by one rename, if the block ends well.

    Otherwise it stays once it holds a checkpoint; and always if it was there before. That is so on rank 0; other ranks
    get a temporary folder.

    Parameters
    ----------
    place : Path
        Of the run.
    resume : bool
        Whether to go on with an unfinished run that is there.
    overwrite : bool
        Whether the run may replace one that is there, and an unfinished one be discarded.

    Yields
    ------
    folder : Path
        Holds ``checkpoint/`` and ``scratch/``, which do not become parts of the run.
    """
    folder, goes_on = unfinished_of(place), False
    with ExitStack() as stack:
        with distributed.agreed():
            if distributed.rank() > 0:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            else:
                finish_publication(place)
                check_replaceable(place, overwrite, folder=True)
                _check_ours(folder)
                stack.enter_context(locked(folder))  # before anything is said of a run that others may be making
                goes_on = _check_unfinished(folder, resume, overwrite)
        try:
            with naming(folder, reads=True):
                with distributed.agreed():
                    _empty(folder, ".*" if goes_on else "*")
                    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
                    (folder / SCRATCH).mkdir()
                yield folder
                shutil.rmtree(folder / SCRATCH)
                if distributed.rank() == 0:
                    publish(folder, place, overwrite=overwrite)
        except BaseException as error:
            _keep_or_remove(folder, place, goes_on, error)
            raise
        if distributed.rank() == 0:  # after the rename: whoever dies before it can still go on
            tidy(place)


def finish_publication(place: Path) -> None:
    """Do what is left to do after the rename, in the stead of a process that died just then.

    What the run has replaced stands in place of the unfinished run then, without a lock, and goes; see `tidy`.
    """
    replaced = unfinished_of(place)
    if (place / LOCK).is_file() and is_written(place):
        with locked(place):
            if is_written(replaced) and not (replaced / LOCK).is_file():
                discard(replaced)
            tidy(place)


def tidy(place: Path) -> None:
    """Remove from a run that has ended what served to go on with it; whoever died after the rename has left it."""
    shutil.rmtree(place / CHECKPOINTS, ignore_errors=True)
    (place / LOCK).unlink(missing_ok=True)


def _keep_or_remove(folder: Path, place: Path, goes_on: bool, error: BaseException) -> None:
    """Leave what an error has left unfinished if there is something to go on from, and say so."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    if distributed.rank() > 0:
        error.add_note("rank 0 tells how to go on")
    elif not (goes_on or any((folder / CHECKPOINTS).glob("*/[0-9]*"))):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        error.add_note(f"{as_command('fit', '--resume', '--out', place)} goes on from there")


def read_begun(place: Path, *, overwrite: bool) -> tuple[dict[str, Any] | None, bool]:
    """Return the settings of a run that has begun, and whether it has ended too.

    Parameters
    ----------
    place : Path
        Of the run, or that an unfinished one is to become.
    overwrite : bool
        Whether one that has ended does not matter, because another shall replace it.

    Returns
    -------
    settings : dict or None
        None if there is no run, or none that had begun to train.
    ended : bool
    """
    settings, ended = None, False
    with distributed.agreed():
        if distributed.rank() == 0:
            finish_publication(place)
            path = unfinished_of(place) / runs.SETTINGS
            ended = not overwrite and not path.is_file() and (place / runs.SETTINGS).is_file()
            if ended or path.is_file():
                settings = recipes.read_toml(place / runs.SETTINGS if ended else path)
    return tuple(json.loads(distributed.broadcast_bytes(json.dumps([settings, ended]).encode())))


def refuse_changes(settings: Mapping[str, Any], given: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    """Refuse to go on with a run in another way than it began.

    Parameters
    ----------
    settings : mapping
        Of the run that has begun.
    given : mapping
        What was given now, by TOML or flags.
    flags : mapping
        The other flags that were given.

    Raises
    ------
    ValueError
        If something differs, by its name.
    """
    for name in (*DATA_KEYS, *HELD_OUT_KEYS, "impute", "library_size", "log1p", "deterministic"):
        if name in given and given[name] != settings.get(name) and not _may_have_moved(name, settings, given):
            _refuse(name, given[name], settings.get(name))
    then = recipes.describe(recipes.build(settings))
    for name, value in flags.items():
        if recipes.describe(recipes.build(overlay(settings, {name: value}))) != then:
            _refuse(name, value)
    now = recipes.describe(recipes.build(overlay({**settings, **given}, flags)))
    for name, value in now.items():
        if value != then.get(name):
            _refuse(name, value, then.get(name))


def _may_have_moved(name: str, settings: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether a place may be named anew: checkpoints know the rows and labels that were there."""
    if name == "labels" and name in settings:
        return Path(given[name]).name == Path(settings[name]).name
    return name in ("data", "out")


def _refuse(name: str, now: Any, then: Any = None) -> None:
    before = "" if then is None else f", which was {then!r}"
    raise ValueError(
        f"{name}={now!r} is not how the run began{before}; leave it out to go on with that run, or begin "
        f"anew with --overwrite and without --resume"
    )


def _check_ours(folder: Path) -> None:
    """Refuse a folder that is no unfinished run, but in its place."""
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / LOCK).is_file())):
        raise FileExistsError(f"{folder} is no unfinished run of layerwise, but in its place; move it away")


def _check_unfinished(folder: Path, resume: bool, overwrite: bool) -> bool:
    """Return whether there is an unfinished run to go on with; refuse one that nobody has asked for."""
    if all(entry.name in (LOCK, SCRATCH) for entry in folder.iterdir()):
        return False
    if not (resume or overwrite):
        raise FileExistsError(f"{folder} is an unfinished run; go on with it by --resume, or discard it by --overwrite")
    return resume


def _empty(folder: Path, pattern: str) -> None:
    """Remove what an unfinished run has left, but for its lock; hidden is what was being written when it died."""
    for entry in folder.glob(pattern):
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
