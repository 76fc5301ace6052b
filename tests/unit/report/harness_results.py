"""What the harness returns, as far as the report looks at it."""

from types import SimpleNamespace

from report.verification import rows


def result(layer, check, mode, outcome, tensors=None, reason=""):
    return SimpleNamespace(
        layer=layer,
        check=check,
        mode=mode,
        outcome=SimpleNamespace(name=outcome),
        tensors=tensors or {},
        reason=reason,
    )


RESULTS = [
    result("Linear", "input_gradient", None, "PASS", {"z": 2e-12}),
    result("Linear", "parameter_gradient", None, "PASS", {"W": 3e-12, "b": 4e-13}),
    result("Linear", "mask", None, "SKIP", reason="draws no random numbers"),
    result("Dropout", "input_gradient", "train", "PASS", {"z": 5e-12}),
    result("Dropout", "input_gradient", "eval", "PASS", {"z": 6e-12}),
    result("Dropout", "mask", "train", "PASS"),
    result("Dropout", "mask", "eval", "SKIP", reason="evaluation draws nothing"),
]
FAILURE = result("Tanh", "input_gradient", "eval", "FAIL", {"z": 1e-11}, "3 of 8 entries are out")


def verify(examples, seed):
    """In the place of report.command.verify, also in other processes."""
    return rows(RESULTS)
