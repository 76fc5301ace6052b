"""numpy-ml 0.1.2, imported on a Python that it was not written for."""

import collections
import collections.abc
import warnings
from types import ModuleType


def neural_nets() -> ModuleType:
    """`numpy_ml.neural_nets`, with the names put back that it imports from `collections`.

    Raises:
        ImportError: numpy-ml is not installed.
    """
    for name in ("Hashable", "Iterable", "Mapping", "Sequence", "Callable"):
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gym and matplotlib, which are not needed here
        import numpy_ml.neural_nets as nets
    return nets
