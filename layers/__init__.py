"""Hand-written layers in plain tensor operations: the forward and the backward pass of each, side by side."""

from layers.batch_norm import BatchNorm
from layers.dropout import Dropout
from layers.instance_norm import InstanceNorm
from layers.layer import Layer
from layers.linear import Linear
from layers.sequential import Sequential
from layers.softmax_cross_entropy import SoftmaxCrossEntropy
from layers.tanh import Tanh

__all__ = ["BatchNorm", "Dropout", "InstanceNorm", "Layer", "Linear", "Sequential", "SoftmaxCrossEntropy", "Tanh"]
