"""Functions: what they compute with beside their arguments, their pullbacks, and references that are called by name."""
