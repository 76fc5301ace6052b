"""Operations that ask for what a graph gives them: right, wrong, and what is none."""

from __future__ import annotations

import layers_operation as layers
import numpy as np
from twins import NX, Twins, pair

from harness import gradcheck

B = np.cos(NX)
TWO = (NX, B)
TWINS = {
    "needle": pair(layers.Needle, *TWO, tensor="b", verified="a b"),
    "a list of values": pair(layers.Dlsys, *TWO, tensor="input_val1", verified="input_val0 input_val1"),
    "minitorch": Twins(layers.Minitorch(), layers.WrongMinitorch(), TWO, "b", "a b"),
    "a context's attributes": Twins(layers.Attributes(), layers.WrongAttributes(), TWO, "b", "a b"),
    "a context's entries": Twins(layers.Entries(), layers.WrongEntries(), TWO, "b", "a b"),
    "Chainer": pair(layers.Chainer, *TWO, tensor="input1", verified="input0 input1"),
    "Chainer's inputs as they are given there": pair(
        layers.Chainer, [NX, B], tensor="input1", verified="input0 input1"
    ),
    "Chainer's Function": pair(layers.ChainerFunction, *TWO, tensor="input1", verified="input0 input1"),
    "Chainer, one input": pair(layers.ChainerUnary, NX, tensor="input0", verified="input0"),
    "a layer with such names": pair(layers.Layer, NX, tensor="inputs", verified="inputs"),
    "MyGrad": pair(layers.MyGrad, *TWO, tensor="b", verified="a b"),
    "with a parameter": pair(layers.Parametrized, *TWO, tensor="b", verified="a b scale"),
}


def test_how_it_is_called_is_said():
    said = "called as its graph would: compute(a, b), gradient(out_grad, node)"
    assert gradcheck(layers.Needle(), *TWO).notes == (said,)
