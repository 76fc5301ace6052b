"""Tests of conventions ask which tensor is failed, and not what its gradient looks like."""

from verdicts import diagnosed, without_diagnosis

__all__ = ["diagnosed", "without_diagnosis"]
