"""What a child process does: import the target, find its layers, and tell of each as it goes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from importlib import import_module

from harness.api import check
from harness.checks import selected
from harness.conventions import conventions
from harness.find import load, spec_from_words, specs_in
from harness.items import unique_names
from harness.job import At, Done, Found, Job, Listed, Message, Over, Said, Unusable
from harness.options import usable_device
from harness.outcome import Outcome, SpecError
from harness.report import Report, Result
from harness.sample import layer_name
from harness.spec import LayerSpec

Send = Callable[[Message], None]


def warm() -> None:
    """Import all that a check needs, so that a fork has it; no tensor is made, whose threads a fork would lose."""
    import_module("torch._dynamo")  # what torch itself imports at the first evaluation that is looked into
    selected()
    conventions()


def work(job: Job, send: Send) -> None:
    """Do a job and say how it goes."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # the working directory, as under `python -m`
    for part, option in ((_options, True), (_layers, False)):
        try:
            part(job, send)
        except SpecError as error:
            send(Unusable(str(error), option))
            break
    send(Over())


def _options(job: Job, _: Send) -> None:
    selected(job.only, job.skip)
    usable_device(job.device)


def _layers(job: Job, send: Send) -> None:
    specs = _specs(job, send)
    for index, (name, spec) in specs.items():
        send(At(index, name))
        send(Listed(index, name, str(spec)) if job.listing else Done(index, _report(name, spec, job, send)))


def _specs(job: Job, send: Send) -> dict[int, tuple[str, LayerSpec]]:
    """{index: (name, spec)} of what is left to do."""
    module, wanted = load(job.target, job.run_all)
    words = bool(job.build or job.inputs)
    found = [spec_from_words(module, wanted, job.build, list(job.inputs))] if words else specs_in(module)
    send(Found(tuple(label(spec, k) for k, spec in enumerate(found))))
    named: dict[int, tuple[str, LayerSpec]] = {}
    for index, spec in enumerate(found):
        if index not in job.done:
            send(At(index, label(spec, index)))
            named[index] = (layer_name(spec), spec)
    unique_names(spec for _, spec in named.values())
    if words:
        return named
    return _chosen(job.target, wanted, named)


def label(spec: LayerSpec, index: int) -> str:
    """What a spec is called before anything of its is built."""
    built = getattr(spec.build, "__name__", type(spec.build).__name__)
    return spec.name or (f"spec {index + 1}" if built == "<lambda>" else built)


def _chosen(
    target: str, wanted: str | None, named: dict[int, tuple[str, LayerSpec]]
) -> dict[int, tuple[str, LayerSpec]]:
    names = [name for name, _ in named.values()]
    if wanted is not None and wanted not in names:
        raise SpecError(
            f"{target}: no LayerSpec named {wanted!r} (there are {', '.join(names) or 'none'}); to check a "
            f"layer without one write: harness check {target} --build '{wanted}(D)' --inputs 'B D'"
        )
    if not named:
        raise SpecError(
            f"{target} holds no LayerSpec; write: harness check {target}:MyLayer --build 'MyLayer(D)' --inputs 'B D'"
        )
    return {k: (name, spec) for k, (name, spec) in named.items() if wanted in (None, name)}


def _report(name: str, spec: LayerSpec, job: Job, send: Send) -> Report:
    """The layer's report; what is raised instead is the harness's own error, and costs no other layer its result."""
    try:
        return check(spec, job.examples, job.seed, job.device, only=job.only, skip=job.skip)
    except SpecError:
        raise
    except (Exception, SystemExit) as error:
        send(Said(traceback.format_exc()))
        why = f"check() raised {type(error).__name__}: {error}"
        return Report(name, (Result(name, "check", None, Outcome.ERROR, reason=why),))
