"""SIGINT and SIGTERM, noted while a fit keeps a checkpoint: it ends at a place from where it can go on."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

# What a shell calls a process that SIGTERM has ended: 128 + 15.
TERMINATED = 143
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds until a signal that was lost comes again.
_MOMENT = 0.02


def end_by(number: int, sentence: str = "") -> BaseException:
    """Return the exception that ends a program by a signal.

    Parameters
    ----------
    number : int
        ``SIGINT`` or ``SIGTERM``.
    sentence : str, default=""
        What is to be said.

    Returns
    -------
    exception : KeyboardInterrupt or SystemExit
        Of exit code 143 the latter.

    Examples
    --------
    >>> end_by(signal.SIGTERM, "terminated").code
    143
    """
    if number == signal.SIGINT:
        return KeyboardInterrupt(sentence)
    exit_ = SystemExit(sentence)
    exit_.code = TERMINATED
    return exit_


class Noted:
    """The signal that asks for an end, once there was one.

    Attributes
    ----------
    number : int or None
    """

    number: int | None = None


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end a program by an exception, so that what was begun is cleaned up.

    They do so whatever becomes of that exception on its way: if a library makes another error of it, or if Python must
    ignore it because it comes in the midst of a destructor.
    """
    noted, unraisable_before = Noted(), sys.unraisablehook

    def end(number: int, frame: Any) -> None:
        noted.number = number
        raise end_by(number)

    def repeat(unraisable: Any) -> None:
        """Have a signal come again, some moments later, whose exception was lost."""
        number = _number_of(unraisable.exc_value)
        if number is None:
            unraisable_before(unraisable)
        else:
            threading.Timer(_MOMENT, _send, [number]).start()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if before[signal.SIGINT] in (None, signal.SIG_IGN):  # in the background
        del before[signal.SIGINT]
    for number in before:
        signal.signal(number, end)
    sys.unraisablehook = repeat
    try:
        yield
    except Exception as error:
        if noted.number is None:
            raise
        raise _with_notes(end_by(noted.number), getattr(error, "__notes__", ())) from error
    finally:
        sys.unraisablehook = unraisable_before
        for number, handler in before.items():
            signal.signal(number, handler)
    if noted.number is not None:
        raise _with_notes(end_by(noted.number), ["what was asked for is done"])


def _send(number: int) -> None:
    """Send a signal to the main thread, which it wakes."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:  # on Windows
        signal.raise_signal(number)


def _with_notes(end: BaseException, notes: Iterable[str]) -> BaseException:
    for note in notes:
        end.add_note(note)
    return end


def _number_of(end: BaseException | None) -> int | None:
    """Return the signal that an exception stands for; None if it stands for none."""
    if isinstance(end, KeyboardInterrupt):
        return signal.SIGINT
    return signal.SIGTERM if isinstance(end, SystemExit) and end.code == TERMINATED else None


@contextmanager
def noting() -> Iterator[Noted]:
    """Note the first SIGINT or SIGTERM instead of ending by it; a second one ends at once.

    Only the main thread of a process is told of signals; elsewhere, and where signals are ignored, nothing changes. A
    signal that nobody has answered when the block ends (``number`` is not None then) is raised again.

    Yields
    ------
    noted : Noted
    """
    noted = Noted()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: Any) -> None:
        if noted.number is not None:
            raise end_by(number)
        noted.number = number

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    changed = [number for number, handler in before.items() if handler not in (None, signal.SIG_IGN)]
    for number in changed:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number in changed:
            signal.signal(number, before[number])
    if noted.number is not None:
        signal.raise_signal(noted.number)
