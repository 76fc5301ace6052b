"""Layers in a child process with limits: one that hangs, exhausts memory or crashes has that as its verdict.

This isolates faults. It is no sandbox: the child may do whatever the user may. Loads no torch.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import ClassVar

from harness.processes.job import At, Done, Found, Job, Left, Listed, Message, Over, Unusable
from harness.processes.zygote import NUMBER
from harness.report import ended

LOOK = 0.02
"""Seconds between two looks at a child's memory."""


@dataclass(frozen=True)
class Limits:
    """What one layer may take, and the import of its file."""

    seconds: float
    megabytes: int
    importing: float = 0.0
    """Seconds for that, where they are others."""


def several(jobs: Sequence[Job], limits: Limits, at_once: int = 1) -> Iterator[Iterator[Message]]:
    """For each job in order what its children say: as they say it, or where several run at once, when all is said."""
    if min(at_once, len(jobs)) < 2 or not hasattr(os, "fork"):  # without children there is one process for all
        yield from (results(job, limits) for job in jobs)
        return
    # each thread has a zygote of its own, and waits for what that answers
    pool = ThreadPoolExecutor(min(at_once, len(jobs)))
    try:
        for said in [pool.submit(lambda job: list(results(job, limits)), job) for job in jobs]:
            yield iter(said.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        _Zygote.end_all()


def results(job: Job, limits: Limits) -> Iterator[Message]:
    """What the children of a job say; of a child that ends before its time, the verdict is the layer's that it was at.

    Another child then goes on with the next layer.
    """
    done: set[int] = set()
    labels: Mapping[int, str] = {}
    while True:
        at: At | None = None
        why = ""
        for message in _child(replace(job, done=frozenset(done)), limits):
            if isinstance(message, str):
                why = message
                break
            if isinstance(message, Found):
                labels = message.labels
            elif isinstance(message, At):
                at = message
            elif isinstance(message, (Done, Left, Listed)):
                done.add(message.index)
            if isinstance(message, Unusable) and job.halted:  # nor can it be used without the rest
                why = job.halted
                break
            yield message
            if isinstance(message, Unusable):
                return
        if not why:
            return
        if at is None and not job.halted and job.is_script and (labels or not job.specs):
            # it was importing the target: what that defines may do
            job = replace(job, halted=why)
        elif at is None:
            left = {k: label for k, label in labels.items() if k not in done} or {0: job.target}
            yield from (Done(k, ended(label, "import", why)) for k, label in left.items())
            return
        else:
            done.add(at.index)
            yield Done(at.index, ended(at.label, "run", why))


def _child(job: Job, limits: Limits) -> Iterator[Message | str]:
    """The messages of one child; last, where it ended before its time, why."""
    if not hasattr(os, "fork"):  # Windows: the limits can't be held
        yield from _here(job)
        return
    child = Child(job)
    try:
        yield from child.messages(limits)
    finally:
        child.end()


def _here(job: Job) -> list[Message]:
    from harness.processes.worker import work

    said: list[Message] = []
    work(job, said.append)
    return said


class Child:
    """A forked process at work on a job."""

    def __init__(self, job: Job) -> None:
        self.channel = _zygote.asked()
        self.status: int | None = None
        receiving, sending = os.pipe()
        packed = pickle.dumps((os.getcwd(), sys.path, dict(os.environ), job))
        try:
            _flush()
            socket.send_fds(self.channel, [len(packed).to_bytes(NUMBER)], [sending, 1, 2])
            self.channel.sendall(packed)
            self.pid = int.from_bytes(_number(self.channel))
        finally:
            os.close(sending)
        self.connection = Connection(receiving, writable=False)

    def messages(self, limits: Limits) -> Iterator[Message | str]:
        """What it says; last, where it ended before its time or had to be ended, why."""
        seconds = limits.importing or limits.seconds
        deadline = time.monotonic() + seconds
        sources: list[Connection | socket.socket] = [self.connection, self.channel]
        over = False
        while self.status is None:
            ready = wait(sources, LOOK)
            if self.connection in ready:
                message = self._next()
                if message is None:  # it may have closed the pipe and go on
                    sources.remove(self.connection)
                    continue
                over = over or isinstance(message, Over)
                if isinstance(message, At):
                    seconds = limits.seconds
                    deadline = time.monotonic() + seconds
                yield message
            elif self.channel in ready:
                self.status = int.from_bytes(_number(self.channel))
            elif why := self._beyond(limits, seconds, deadline):
                yield why
                return
        if not over:
            yield _ending(self.status)

    def _beyond(self, limits: Limits, seconds: float, deadline: float) -> str:
        """Which limit it has passed; empty where it keeps both."""
        if time.monotonic() > deadline:
            return f"timed out after {seconds:g} s (for more time: --timeout SECONDS)"
        if resident(self.pid) > limits.megabytes << 20:
            return f"took more than {limits.megabytes} MB of memory (for more: --memory MB)"
        return ""

    def _next(self) -> Message | None:
        """The next message, None where there will be none."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return None
        return message

    def end(self) -> None:
        """Kill it unless it has ended, and take its status."""
        self.channel.sendall(b".")
        if self.status is None:
            self.status = int.from_bytes(_number(self.channel))
        self.connection.close()


def _ending(status: int) -> str:
    """What a wait status says of an end that came before its time."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"crashed the interpreter ({name})"
    return f"ended the process with exit status {os.WEXITSTATUS(status)}"


def resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where the system doesn't tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


class _Zygote(threading.local):
    """The process that a thread's children are forked from; it lives as long as this one, or until all are ended."""

    channels: ClassVar[list[tuple[socket.socket, subprocess.Popen[bytes]]]] = []

    def __init__(self) -> None:
        self.channel: socket.socket | None = None

    def asked(self) -> socket.socket:
        """Its channel; started where there is none.

        Raises:
            RuntimeError: it could not be started.
        """
        if self.channel is None or self.channel.fileno() < 0:
            ours, process = _started()
            self.channels.append((ours, process))
            if not ours.recv(1):
                raise RuntimeError("the process that runs layers could not be started")
            self.channel = ours
        return self.channel

    @classmethod
    def end_all(cls) -> None:
        """End every thread's, and with it the child that it has."""
        while cls.channels:
            ours, process = cls.channels.pop()
            ours.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for an answer
            process.wait()
            ours.close()


_zygote = _Zygote()
atexit.register(_Zygote.end_all)


def _started() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    root = str(Path(__file__).parents[2])
    code = (
        f"import sys, socket; sys.path.append({root!r}); from harness.processes.zygote import serve; "
        f"serve(socket.socket(fileno={theirs.fileno()}))"
    )
    # -P: a file of the user's named like a module of the standard library must not be taken for it
    command = [sys.executable, "-P", *(f"-W{w}" for w in sys.warnoptions), "-c", code]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
    theirs.close()
    return ours, process


def _number(channel: socket.socket) -> bytes:
    data = channel.recv(NUMBER, socket.MSG_WAITALL)
    if len(data) < NUMBER:
        _zygote.channel = None
        raise RuntimeError("the process that runs layers is gone")
    return data


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
