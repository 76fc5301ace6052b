"""Torch and NumPy at the border: arrays of both, nests of them, where they lie in memory."""
