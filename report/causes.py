"""Why it may be so: interpretations, marked as such, and only of what this run did show."""

from collections.abc import Sequence

from report.findings import Q7, Q7_BN, Reader, direction
from report.settings import BN, IN, IN_DROPOUT
from report.statistics import earlier
from report.tables import interval, number

HEDGE = "*Why (not isolated by this run).* "


def nobody(*epochs: Sequence[float | None]) -> bool:
    """Whether no run ever got there: what is never reached can't be compared."""
    return all(e is None for values in epochs for e in values)


def norms(r: Reader) -> str:
    """Candidate causes for what Q6 shows without Dropout."""
    a, b = (r.of(e, "epochs_to_95")["values"] for e in (IN, BN))
    if nobody(a, b):
        return "No run of either reached validation accuracy .95, so this run does not say which is the faster."
    if earlier(a, b) <= earlier(b, a):
        return "InstanceNorm was not the faster of the two in this run, so there is no advantage to explain."
    return HEDGE + (
        "InstanceNorm treats each sample by itself: it computes the same function in training and in evaluation, and "
        "its gradient carries no noise from the rest of the batch. BatchNorm normalises by statistics of "
        f"{r.summary['settings']['batch']} points that change from batch to batch. InstanceNorm also divides "
        "out the scale of each sample's activations, which BatchNorm keeps: another family of functions. "
        "The run measures how far the two are apart; it does not separate these causes."
    )


def batch_norm_with_dropout(r: Reader) -> str:
    """Candidate causes for what BatchNorm loses under Dropout, beside what InstanceNorm loses under the same masks."""
    of_in, of_bn = (r.difference(c, "train_accuracy") for c in (Q7, Q7_BN))
    if direction(of_bn) >= 0 or of_in["mean"] is None or of_bn["mean"] is None:
        return "BatchNorm lost no training accuracy under Dropout in this run, so there is no loss to explain."
    costs = (
        f"The same masks change the training accuracy of InstanceNorm by {number(of_in['mean'], 'train_accuracy')} "
        f"(95 % CI {interval(of_in, 'train_accuracy')}) and that of BatchNorm by "
        f"{number(of_bn['mean'], 'train_accuracy')} ({interval(of_bn, 'train_accuracy')})"
    )
    if of_bn["mean"] > 2 * of_in["mean"] and of_in["mean"] < 0:
        return f"{HEDGE}{costs}: a loss of like size, so it need not be the norm's."
    return (
        HEDGE
        + costs
        + (
            ": masks alone do not explain it, the two together do. Known candidates: the masks add variance to the "
            "second block's input that is absent in evaluation, so that running statistics fit it less well; and the "
            "noise of the masks adds to that of the batch statistics in a model that learns slowly to begin with. "
            "The section *What tells the causes apart* has the measurements."
        )
    )


def instance_norm_with_dropout(r: Reader) -> str:
    """Candidate causes for what Dropout does to InstanceNorm."""
    a, b = (r.of(e, "epochs_to_95")["values"] for e in (IN, IN_DROPOUT))
    if nobody(a, b):
        return (
            "No run of either reached validation accuracy .95, so this run does not say what Dropout costs in epochs."
        )
    if earlier(a, b) <= earlier(b, a):
        return "Dropout did not slow InstanceNorm in this run, so there is no delay to explain."
    return HEDGE + (
        "In each step only a random part of the units carries the signal and the gradient, so the same boundary takes "
        "more steps. A boundary that has to hold under many masks cannot lean on single units; that would narrow the "
        "gap and make runs more alike. Where a model hardly overfits, there is little accuracy for Dropout to win."
    )
