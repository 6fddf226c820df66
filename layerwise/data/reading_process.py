"""A process of its own that reads a file which is not trusted: a hostile file harms only that one."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerwise.errors import FileError

# The longest answer, and the longest reason why something cannot be read, in bytes.
MAX_ANSWER, MAX_REASON = 2**23, 2**16


class ReadingProcess:
    """A Python process that reads a file, and answers each question with a line; it goes with this object.

    It works in ``folder``, which is new, and goes too.

    Its program exits with status 1 and a reason on standard error where a file is refused, and with status 3 where a
    package is missing. Each answer may take ``timeout`` seconds.
    """

    no_package = ""

    def __init__(
        self, path: Path, program: str, arguments: Sequence[object], *, timeout: float, pass_fds: Sequence[int] = ()
    ):
        self.path, self.timeout = path, timeout
        self.folder = tempfile.TemporaryDirectory()
        pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(
            _command(program, arguments), env=_environment(), cwd=self.folder.name, pass_fds=pass_fds, **pipes
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_pass_lines, args=(self.process, self._lines), daemon=True).start()
        weakref.finalize(self, _end, self.process, self.folder)

    def ask(self, question: Any) -> bytes:
        """Send a line of JSON, and return the answer."""
        with contextlib.suppress(BrokenPipeError):  # what it died of, `hear` says
            self.process.stdin.write(json.dumps(question).encode() + b"\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        return self.hear()

    def hear(self) -> bytes:
        """Wait for an answer, empty at a good end; raise the reason why there is none."""
        try:
            line = self._lines.get(timeout=self.timeout)
            code = None if line else self.process.wait(timeout=self.timeout)
        except (queue.Empty, subprocess.TimeoutExpired) as error:
            message = f"{self.path} was not read within timeout={self.timeout:g} seconds; raise timeout if you trust it"
            raise FileError(message) from error
        if code == 3:
            raise ImportError(f"{self.path} {self.no_package}")
        if code == 1:
            reason = self.process.stderr.read(MAX_REASON).decode(errors="replace")  # type: ignore[union-attr]
            raise FileError(f"{self.path} {reason.strip()}")
        if code:
            raise FileError(
                f"{self.path} is damaged or made to do harm: the process that read it broke down (exit status {code})"
            )
        return line

    def as_text(self, line: bytes) -> str:
        """Return an answer that is a text."""
        try:
            return str(json.loads(line))
        except ValueError:
            return "cannot be trusted: the process that read it gave no answer"


def run_reader(path: Path, program: str, arguments: Sequence[object], *, seconds: float) -> tuple[int, bytes]:
    """Let a process read a table to files; return its exit status, and what it says on standard error."""
    try:
        ended = subprocess.run(
            _command(program, arguments),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FileError(f"{path} was not read within {seconds:.0f} seconds; save it as Parquet or CSV") from error
    return ended.returncode, ended.stderr


def _command(program: str, arguments: Sequence[object]) -> list[str]:
    # -P keeps modules in the working directory from being imported.
    return [sys.executable, "-P", program, *map(str, arguments)]


def _environment() -> dict[str, str]:
    """Without threads of NumPy's matrix products, and their heaps: they take address space, nothing is multiplied."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


def _pass_lines(process: subprocess.Popen, lines: queue.SimpleQueue[bytes]) -> None:
    """Hand on what a process says, line by line, and an empty one at its end."""
    with process.stdout as answers:  # type: ignore[union-attr]
        while line := answers.readline(MAX_ANSWER):
            lines.put(line)
    lines.put(b"")


def _end(process: subprocess.Popen, folder: tempfile.TemporaryDirectory) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stderr):  # that of its answers is closed by the thread that reads them
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]
    folder.cleanup()
