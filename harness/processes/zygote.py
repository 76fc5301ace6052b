"""A process that has torch loaded and forks: a child starts in milliseconds, also after another has crashed.

The protocol, over one socket: (job, descriptors) in, pid out; the child's wait status out, and one byte in. Where that
byte comes first, it kills the child. Where the parent goes, the socket closes, and the child with it.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection

NUMBER = 8
"""Bytes of a number on the socket."""

TICK = 0.02
"""Seconds between two looks at the child and the socket."""


def serve(channel: socket.socket) -> None:
    """Answer every request until the other end is gone."""
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # whether there is a GPU is found out without touching it
    from harness.processes import worker  # what takes its time, once

    worker.warm()
    channel.sendall(b"!")
    while True:
        head, descriptors, *_ = socket.recv_fds(channel, NUMBER, 3)
        if len(head) < NUMBER:
            break
        packed = _exactly(channel, int.from_bytes(head))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's threads, which know of forks
            pid = os.fork()
        if pid == 0:
            channel.close()
            _child(packed, *descriptors)
        for d in descriptors:
            os.close(d)
        channel.sendall(pid.to_bytes(NUMBER))
        status = _watched(pid, channel)
        channel.sendall(status.to_bytes(NUMBER))
        channel.recv(1)
    channel.close()


def _exactly(channel: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (part := channel.recv(count - len(data))):
        data += part
    return data


def _watched(pid: int, channel: socket.socket) -> int:
    """The wait status of the child, which is killed at the other end's word, or where there is no other end."""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _kill(os.killpg, pid)  # what it has started and left behind
            return status
        if select.select([channel], [], [], TICK)[0]:  # the byte stays until the status is out
            _kill(os.kill, pid)
            _kill(os.killpg, pid)
            return os.waitpid(pid, 0)[1]


def _kill(kill: Callable[[int, int], None], number: int) -> None:
    try:
        kill(number, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # gone, or no group yet
        return


def _child(packed: bytes, results: int, out: int, err: int) -> None:
    """The life of a child: one job, then an end without the zygote's clean-up."""
    status = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        _first_to_go()
        folder, sys.path[:], environment, job = pickle.loads(packed)  # our own parent's bytes
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os.environ.setdefault("MPLBACKEND", "Agg")  # a figure must not wait for someone to close it
        from harness.processes.worker import work

        work(job, Connection(results, readable=False).send)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _flush()
        os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue


def _first_to_go() -> None:
    """Where the machine itself runs out of memory, the system takes this process."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:  # not Linux
        return
