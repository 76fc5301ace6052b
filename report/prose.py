"""The parts of report.md that say what was run and how it was kept honest; all numbers are the summary's."""

from typing import Any

from report.settings import EXPERIMENTS, SPIRAL
from report.summary import Summary

QUICK = """\
> **A quick run**: {seeds} seeds of {epochs} epochs. It shows that everything works; its numbers are not the study's.
> Leave out `--quick` for those."""


def banner(summary: Summary) -> str:
    """What a quick run says of itself; nothing for a full one."""
    return QUICK.format(**summary["settings"]) if summary["settings"]["quick"] else ""


def setting(summary: Summary) -> str:
    """What was run, for someone who wants to run it again."""
    s, d = summary["settings"], summary["settings"]["dataset"]
    return f"""\
{_data(summary)} Each run splits the {d["points"]} points afresh, stratified by class, into {d["train"]} for training \
and {d["validation"]} for validation.

The model has 2 hidden blocks of width {s["width"]}, each Linear → norm → Tanh → Dropout, then a Linear to the \
{d["classes"]} classes; softmax cross entropy; plain SGD with learning rate {s["lr"]:g}, no weight decay, batches of \
{s["batch"]} (what does not fill a batch sits the epoch out), {s["epochs"]} epochs, float32. "InstanceNorm" normalises \
each sample over its features. Q5 asks for Dropout without giving p: {s["dropout"]:g} is used. Everything is computed \
by the hand-written layers of `layers/`, forward and backward.

{s["seeds"]} seeds from {s["seed0"]} up. A seed fixes the split, the initial weights, the order of the batches and the \
masks, each from a random stream of its own; these streams are the same for all four models, so differences between \
models are paired by seed. Accuracy and loss are measured in evaluation mode, at the last epoch. Tables give \
mean ± sample sd over the seeds, and 95 % confidence intervals of the mean by Student's t, \
not corrected for their number; the tests are. The mean of "epochs to \
validation ≥ .95" is over the runs that got there; the medians count the others as later than any."""


def _data(summary: Summary) -> str:
    s, d = summary["settings"], summary["settings"]["dataset"]
    fresh = f"test accuracy is on {d['test']} fresh points" if d["test"] else "there are no fresh points to test on"
    if s["data"] != SPIRAL:
        return f"The data come from `--data {s['data']}`, in place of the built-in spiral; {fresh}."
    return f"""\
The assignment names the signature `generate_spiral(n_per_class=150, n_classes=2, noise=0.05, rotations=1.5, \
seed={s["data_seed"]})` but not its body. Assumed here: t = linspace(0, 1, n), radius t, angle 2π·rotations·t + 2πc/K \
for class c of K, plus normal noise of sd 0.05 on both coordinates. `--data FILE.npz` or `--data module:function` \
puts other data in its place. The dataset is the same in all runs; {fresh}, of the same generator with seed \
{s["test_seed"]}. On these the best possible classifier, which knows the generator, scores {d["bayes_accuracy"]:.3f}: \
near the centre the arms run into each other, so 1 cannot be had."""


def independence(summary: Summary, control: dict[str, Any]) -> str:
    """How it was verified that a seed's run does not depend on its neighbours."""
    text = (
        "All seeds of a group train in one pass, as one leading axis of every tensor. That a seed's result does not "
        "depend on which others it ran beside is a test (a group of three against each alone, every parameter and "
        "measure bit for bit), and was tried again in this run: "
    )
    if control["seed"] is None:
        return text + "not with a single seed, there being no others."
    astray = [e.title for e in EXPERIMENTS if not control["same"][e.name]]
    tried = f"seed {control['seed']} was trained once more alone for {control['epochs']} epochs with each model"
    if astray:
        return text + f"{tried}; **its learning curves differ for {', '.join(astray)}**."
    return text + f"{tried}, and its accuracies and losses are the same bits at every recorded epoch."
