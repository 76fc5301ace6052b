"""Most tests of the core ask for a verdict alone; those of what is said of a failure ask for `diagnosed`."""

from verdicts import diagnosed, without_diagnosis

__all__ = ["diagnosed", "without_diagnosis"]
