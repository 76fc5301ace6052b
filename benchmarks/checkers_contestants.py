"""Who is compared: ours twice, PyTorch's twice, JAX's. Each is prepared on a trial and then called again and again."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import torch

from benchmarks.checkers_trials import Trial
from benchmarks.peers import Evaluate, of_layer, of_subject, torch_check, with_fault
from harness import gradcheck
from harness.case import Case
from harness.judgement.judge import Judge
from harness.outcome import Outcome
from layers import Layer

Word = Literal["pass", "fail", "open", "raised"]
Contest = Callable[[], Word]


def core(trial: Trial) -> Contest:
    """The judge on a prepared subject; nothing that it computed is kept from one call to the next."""
    subject, leaves = trial.subject, trial.subject.values()

    def call() -> Word:
        case = Case(subject, leaves, subject.buffers, trial.mode)
        outcomes = {verdict.outcome for verdict in Judge(case).verdicts.values()}
        return "fail" if Outcome.FAIL in outcomes else "pass" if outcomes == {Outcome.PASS} else "open"

    return call


def public(trial: Trial) -> Contest:
    """`gradcheck(layer, x)` as a user calls it: discovery, the redraw of constants, the report."""
    layer, inputs = trial.public, trial.inputs

    def call() -> Word:
        report = gradcheck(layer, *inputs, raise_exception=False)
        return "fail" if report.failures else "pass" if report.ok else "open"

    return call


def torch_peer(fast_mode: bool) -> Callable[[Trial], Contest]:
    """`torch.autograd.gradcheck`."""

    def prepare(trial: Trial) -> Contest:
        evaluate = _evaluate(trial)
        leaves = [trial.right.leaves[n].value for n in trial.right.wanted()]
        return lambda: _word(lambda: torch_check(evaluate, leaves, fast_mode))

    return prepare


def _evaluate(trial: Trial) -> Evaluate:
    """By the shortest way: one of layers/ directly, anything else as the subject that ours judges."""
    if not isinstance(trial.layer, Layer):
        return of_subject(trial.subject, trial.mode)
    direct = of_layer(trial.layer, trial.inputs[1:])
    return direct if trial.fault is None else with_fault(trial.right, direct, trial.fault)


def jax_peer(trial: Trial) -> Contest:
    """`jax.test_util.check_grads`, compiled: the first call compiles."""
    from benchmarks.checkers_jax import jax_check

    check = jax_check(trial)
    return lambda: _word(check)


def _word(check: Callable[[], bool]) -> Word:
    """A checker that can't answer because the function leaves its domain says nothing about the layer."""
    try:
        return "pass" if check() else "fail"
    except (RuntimeError, ValueError, FloatingPointError):
        return "raised"


CONTESTANTS: dict[str, Callable[[Trial], Contest]] = {
    "core": core,
    "public": public,
    "fast": torch_peer(True),
    "slow": torch_peer(False),
}
if find_spec("jax") is not None:
    CONTESTANTS["jax"] = jax_peer
OURS = ("core", "public")
PEERS = tuple(name for name in CONTESTANTS if name not in OURS)


def admitted(name: str, trial: Trial) -> bool:
    """Slow mode's two Jacobians of outputs × entries outgrow memory: up to (32, 128), of an MLP up to (16, 32)."""
    outputs = trial.inputs[0].numel() if trial.name != "SoftmaxCrossEntropy" else 1
    return name != "slow" or (outputs <= 32 * 128 and (trial.name != "MLP" or outputs <= 16 * 32))


def single_thread() -> None:
    """One thread for every side; to be called before JAX is first imported."""
    torch.set_num_threads(1)
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
