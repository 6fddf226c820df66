"""Read the next part on a thread while the one before it is in use."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Read = TypeVar("Read")


def read_ahead(read: Callable[[Part], Read], parts: Iterable[Part]) -> Generator[Read, None, None]:
    """Yield what ``read`` returns for one part after the other, always one part ahead.

    The thread lives as long as the iterator: it ends with the last part, with an error, and when the iterator is closed
    or forgotten; a part that is being read then is waited for. What ``read`` raises reaches the caller in the place of
    its part. At most three are in memory: the one in use, the next one and the one that is being read.

    Examples
    --------
    >>> list(read_ahead(lambda number: number**2, [1, 2, 3]))
    [1, 4, 9]
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="layerwise-read-ahead")
    try:
        waiting: Future[Read] | None = None
        for part in parts:
            following = thread.submit(read, part)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
    finally:
        thread.shutdown(cancel_futures=True)
