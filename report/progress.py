"""How far the training has come, on stderr: a bar on a terminal, a line for each tenth elsewhere."""

import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
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


class Sender:
    """What a job in another process calls; it goes there with the job."""

    def __init__(self, queue: "Queue[int | None]") -> None:
        self.queue = queue

    def __call__(self, n: int) -> None:
        """`n` more are done."""
        self.queue.put(n)


@contextmanager
def across_processes(update: Callable[[int], object]) -> Iterator[Sender]:
    """Something picklable that calls `update` here, from whichever process it is called in."""
    with multiprocessing.get_context("spawn").Manager() as manager:
        queue: Queue[int | None] = manager.Queue()
        reader = threading.Thread(target=_read, args=(queue, update), daemon=True)
        reader.start()
        try:
            yield Sender(queue)
        finally:
            queue.put(None)
            reader.join()


def _read(queue: "Queue[int | None]", update: Callable[[int], object]) -> None:
    while (n := queue.get()) is not None:
        update(n)
