"""What a child process does: import the target, find its layers, and tell of each as it goes."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from importlib import import_module
from shlex import quote
from types import ModuleType

from harness.api import check
from harness.checks import selected
from harness.conventions import conventions
from harness.examples.sample import layer_name
from harness.items import unique_names
from harness.options import usable_device
from harness.outcome import SpecError
from harness.processes.job import At, Done, Found, Job, Left, LeftOut, Listed, Message, Over, Said, Unusable
from harness.reading.scalars import node_advice, node_of
from harness.report import Report, ended
from harness.spec import LayerSpec
from harness.spelling import meant
from harness.targets.candidates import Candidate, candidates
from harness.targets.find import load, parted, salvaged, spec_from_words, specs_in
from harness.targets.probe import probe
from harness.targets.rebind import called, rebound
from harness.wanted import OPTION

Send = Callable[[Message], None]
Row = tuple[str, LayerSpec | Candidate]


def warm() -> None:
    """Import all that a check needs, so that a fork has it; no tensor is made, whose threads a fork would lose."""
    import_module("torch._dynamo")  # what torch itself imports at the first evaluation that is looked into
    selected()
    conventions()


class Printed(io.TextIOBase):
    """What layers print in the thousands of forwards of a check: counted, and kept from burying the reports."""

    lines = 0

    def writable(self) -> bool:
        """It takes whatever is printed."""
        return True

    def write(self, text: str) -> int:
        """Count its lines."""
        self.lines += text.count("\n")
        return len(text)

    def of(self, message: Message) -> Message:
        """The message; a report says how much its layer printed."""
        if isinstance(message, At):
            self.lines = 0
        if isinstance(message, Done) and self.lines:
            note = f"it printed {self.lines} lines, left out here"
            message = replace(message, report=replace(message.report, notes=(*message.report.notes, note)))
        return message


def work(job: Job, send: Send) -> None:
    """Do a job and say how it goes."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # the working directory, as under `python -m`
    printed = Printed()

    def tell(message: Message) -> None:
        send(printed.of(message))

    with redirect_stdout(printed):
        for part, option in ((_options, True), (_course if job.specs else _layers, False)):
            try:
                part(job, tell)
            except SpecError as error:
                tell(Unusable(str(error), option))
                break
    send(Over())


def _options(job: Job, _: Send) -> None:
    selected(job.only, job.skip)
    usable_device(job.device)


def _course(job: Job, send: Send) -> None:
    """The specs of one file on the layers of another: a row for each, whatever becomes of it."""
    try:
        specs = _specs_of_course(job)
    except SpecError as error:
        send(Unusable(str(error), option=True))
        return
    _, wanted = parted(job.target)
    chosen = {k: (n, s) for k, (n, s) in enumerate(specs.items()) if k not in job.done and wanted in ("", n)}
    send(Found({k: n for k, (n, _) in chosen.items()}))
    module: ModuleType | None = None
    why = ""
    try:
        module, _ = salvaged(job.target, job.run_all, lambda said: send(LeftOut(said)), job.halted)
    except SpecError as error:
        why = str(error)
    for index, (name, spec) in chosen.items():
        send(At(index, name))
        send(_of_course(index, name, spec, module, why, job, send))


def _specs_of_course(job: Job) -> dict[str, LayerSpec]:
    module, wanted = load(str(job.specs))
    named: dict[str, LayerSpec] = {}
    for k, spec in enumerate(specs_in(module)):
        if (name := called(spec, k)) in named:
            raise SpecError(f"{job.specs}: two specs have the name {name!r}; give one of them another name=")
        named[name] = spec
    if wanted is not None:
        named = {n: s for n, s in named.items() if n == wanted}
    if not named:
        named_so = f" named {wanted!r}" if wanted else ""
        raise SpecError(f"{job.specs} holds no LayerSpec{named_so}: write LayerSpec(build='MyLayer(D)', inputs='B D')")
    return named


def _of_course(
    index: int, name: str, spec: LayerSpec, module: ModuleType | None, why: str, job: Job, send: Send
) -> Message:
    """What becomes of one spec on the layer of a module, which is None where it can't be imported."""
    if module is None:
        return Done(index, ended(name, "import", why))
    try:
        tried, note = rebound(spec, module, name)
        if job.listing:
            return Listed(index, name, f"{tried} ({note})" if note else str(tried))
        report = _report(name, tried, job, send)
        return Done(index, replace(report, notes=(note, *report.notes)) if note else report)
    except SpecError as error:
        return Done(index, ended(name, "build", str(error)))


def _layers(job: Job, send: Send) -> None:
    for index, (name, layer) in _rows(job, send).items():
        send(At(index, name))
        if isinstance(layer, Candidate):
            send(_tried(index, layer, job, send))
        elif job.listing:
            send(Listed(index, name, str(layer)))
        else:
            send(Done(index, _report(name, layer, job, send)))


def _rows(job: Job, send: Send) -> dict[int, Row]:
    """{index: (name, spec or layer without one)} of what is left to do."""
    module, wanted = salvaged(job.target, job.run_all, lambda said: send(LeftOut(said)), job.halted)
    if job.build or job.inputs:
        specs, others = [_of_words(module, wanted, job)], []
        wanted = None
    else:
        specs = specs_in(module)
        others = candidates(module, specs)
    rows: list[Row] = [(label(spec, k), spec) for k, spec in enumerate(specs)] + [(c.name, c) for c in others]
    labels = {k: name for k, (name, _) in enumerate(rows)}
    if wanted in labels.values():  # no other needs to be built for its name
        labels = {k: name for k, name in labels.items() if name == wanted}
    labels = {k: name for k, name in labels.items() if k not in job.done}
    send(Found(labels))
    named: dict[int, Row] = {}
    for index, (name, layer) in enumerate(rows):
        if index in labels:
            if isinstance(layer, LayerSpec):
                send(At(index, name))
                name = layer_name(layer)
            named[index] = (name, layer)
    unique_names(spec for _, spec in named.values() if isinstance(spec, LayerSpec))
    chosen = {k: (name, layer) for k, (name, layer) in named.items() if wanted in (None, name)}
    if not chosen and not job.done:
        raise SpecError(_nothing(job.target, wanted, [name for name, _ in named.values()], module))
    return chosen


def _of_words(module: ModuleType, wanted: str | None, job: Job) -> LayerSpec:
    """The spec of `--build` and `--inputs`; a pair of functions goes by the name under which it is listed."""
    pairs = {c.name: c.source for c in candidates(module, ()) if not hasattr(module, c.name)}
    if wanted not in pairs:
        return spec_from_words(module, wanted, job.build, list(job.inputs))
    return replace(spec_from_words(module, None, job.build or pairs[wanted], list(job.inputs)), name=wanted)


def label(spec: LayerSpec, index: int) -> str:
    """What a spec is called before anything of its is built."""
    built = getattr(spec.build, "__name__", type(spec.build).__name__)
    return spec.name or (f"spec {index + 1}" if built == "<lambda>" else built)


def _nothing(target: str, wanted: str | None, names: list[str], module: ModuleType) -> str:
    """What is said where there is no layer, or none of the name that was asked for."""
    if nodes := _nodes(module, wanted):
        command = f"harness check {quote(f'{parted(target)[0]}:run')} --build run --inputs"
        f = "f = lambda a, *more: a * a  # or yours; import numpy as np"
        said = node_advice(nodes[0], check=lambda shape: f"{f}\n  and then {command} '{shape.replace(',', '')}'")
        return f"{target} holds no layer; {said}"
    if wanted is not None:
        meant_so = meant(wanted, names, "{!r}") or (
            f"to check what has another form write: harness check {quote(target)} --build '{wanted}(D)' --inputs 'B D'"
        )
        return (
            f"{target}: no LayerSpec or layer named {wanted!r} (there are {', '.join(names) or 'none'}); "
            f"{_methods(getattr(module, wanted, None))}{meant_so}"
        )
    return (
        f"{target} holds no LayerSpec, and no layer (a class with forward and backward or a derivative, "
        f"a torch.autograd.Function or operator, functions f_forward and f_backward); "
        f"write: harness check {quote(f'{target}:MyLayer')} --build 'MyLayer(D)' --inputs 'B D'"
    )


def _nodes(module: ModuleType, wanted: str | None) -> list[object]:
    """Nodes of the graphs for which a module has a class, the one of this name if one is asked for."""
    own = [v for n, v in vars(module).items() if wanted in (None, n)]
    made = (node_of(kind) for kind in own if getattr(kind, "__module__", "") == module.__name__)
    return [node for node in made if node is not None]


def _methods(thing: object) -> str:
    """What a class that is no layer has instead of a backward; empty of anything else."""
    if not isinstance(thing, type):
        return ""
    own = [n for n in dir(thing) if not n.startswith("_") and callable(getattr(thing, n, None))]
    return f"the class {thing.__name__} has {' and '.join(own) or 'no method'}, and no backward that is known as such; "


def _tried(index: int, candidate: Candidate, job: Job, send: Send) -> Message:
    """What becomes of a layer without a spec: its report if a way to call it was found, else the command to check it."""
    try:
        probed = probe(candidate, job.device)
    except Exception as error:  # of the layer's own, such as a __getattr__ that raises KeyError
        send(Said(traceback.format_exc()))
        said = f"trying it out raised {type(error).__name__}: {error}"
        return Done(index, ended(candidate.name, "build", said))
    words = probed.guess.words()
    place, _ = parted(job.target)
    command = f"harness check {quote(f'{place}:{candidate.name}')} {words}" + (
        f" {OPTION}" if OPTION in probed.why else ""
    )
    if probed.spec is None:
        return Left(index, candidate.name, probed.why, command)
    if job.listing:
        return Listed(index, candidate.name, words)
    report = _report(candidate.name, probed.spec, job, send)
    notes = [f"no LayerSpec; found by trying: {words}", *report.notes]
    if any("write grads={" in r.reason for r in report.results):  # for which the command line has no option
        notes.insert(
            1, f"grads={{...}} stands in a spec in the file: SPEC = {probed.guess.written(probed.spec, 'grads={...}')}"
        )
    return Done(index, replace(report, notes=tuple(notes)))


def _report(name: str, spec: LayerSpec, job: Job, send: Send) -> Report:
    """The layer's report; what is raised instead is the harness's own error, and costs no other layer its result."""
    try:
        return check(spec, job.examples, job.seed, job.device, only=job.only, skip=job.skip)
    except SpecError:
        raise
    except (Exception, SystemExit) as error:
        send(Said(traceback.format_exc()))
        return ended(name, "check", f"check() raised {type(error).__name__}: {error}")
