"""SIGINT and SIGTERM, noted while a fit keeps a checkpoint: it ends at a place from where it can go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What a shell calls a process that SIGTERM has ended: 128 + 15.
TERMINATED = 143
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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


@contextmanager
def ending_by_terminate() -> Iterator[None]:
    """Let SIGTERM end a program as Ctrl-C does: by an exception, so that what was begun is cleaned up."""

    def end(number: int, frame: Any) -> None:
        raise end_by(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Noted:
    """The signal that asks for an end, once there was one.

    Attributes
    ----------
    number : int or None
    """

    number: int | None = None


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
