"""How far the training has come, on stderr: a bar on a terminal, a line for each tenth elsewhere."""

import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from typing import TextIO

from tqdm import tqdm


class Lines:
    """For logs and pipes: a line for each tenth, nothing that moves the cursor."""

    def __init__(self, total: int, label: str, stream: TextIO) -> None:
        self.total, self.label, self.stream = total, label, stream
        self.done = 0

    def update(self, n: int) -> None:
        """`n` more are done."""
        before, self.done = self.done, self.done + n
        tenths = 10 * self.done // self.total
        if tenths > 10 * before // self.total:
            print(f"{self.label}: {10 * tenths} %", file=self.stream, flush=True)


@contextmanager
def bar(total: int, label: str) -> Iterator[Callable[[int], object]]:
    """A function to call with every step forward."""
    if not sys.stderr.isatty():
        yield Lines(total, label, sys.stderr).update
        return
    with tqdm(total=total, desc=label, unit=" seed-epochs", unit_scale=True, file=sys.stderr) as shown:
        yield shown.update


_queue: "SimpleQueue[int | None] | None" = None  # of a pool's process: a queue can only be handed over at its start


def joined(queue: "SimpleQueue[int | None]") -> None:
    """In a new process: what `send` sends goes into this queue, and the process ends with the one that started it."""
    _use(queue)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _use(queue: "SimpleQueue[int | None] | None") -> None:
    global _queue  # noqa: PLW0603
    _queue = queue


def send(n: int) -> None:
    """`n` more are done: what a job calls that may run in another process."""
    assert _queue is not None
    _queue.put(n)


def _end_with_parent() -> None:
    """A parent that is killed can't stop its pool, whose processes would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def heard(queue: "SimpleQueue[int | None]", update: Callable[[int], object]) -> Iterator[None]:
    """Calls `update` here for what is sent, here or elsewhere."""
    _use(queue)
    reader = threading.Thread(target=_read, args=(queue, update), daemon=True)
    reader.start()
    try:
        yield
    finally:
        queue.put(None)
        reader.join()
        _use(None)


def _read(queue: "SimpleQueue[int | None]", update: Callable[[int], object]) -> None:
    while (n := queue.get()) is not None:
        update(n)
