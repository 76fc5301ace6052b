"""In the style of CS231n's layers.py, rnn_layers.py and layer_utils.py: pairs of functions with a cache; each wrong in one place."""

from __future__ import annotations

from typing import Any

import numpy as np


def affine_forward(x: Any, w: Any, b: Any) -> Any:
    return x.reshape(x.shape[0], -1) @ w + b, (x, w, b)


def affine_backward(dout: Any, cache: Any) -> Any:
    x, w, _ = cache
    dx = (dout @ w.T).reshape(x.shape)
    return dx, x.reshape(x.shape[0], -1).T @ dout, dout.sum(axis=0)


def relu_forward(x: Any) -> Any:
    return np.maximum(0, x), x


def relu_backward(dout: Any, cache: Any) -> Any:
    return dout * (cache > 0)


def affine_relu_forward(x: Any, w: Any, b: Any) -> Any:
    """layer_utils: two layers as one."""
    a, fc_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, relu_cache)


def affine_relu_backward(dout: Any, cache: Any) -> Any:
    fc_cache, relu_cache = cache
    return affine_backward(relu_backward(dout, relu_cache), fc_cache)


def wrong_affine_relu_backward(dout: Any, cache: Any) -> Any:
    fc_cache, relu_cache = cache
    dx, dw, _ = affine_backward(relu_backward(dout, relu_cache), fc_cache)
    return dx, dw, dout.sum(axis=0)  # the ReLU is forgotten


def batchnorm_forward(x: Any, gamma: Any, beta: Any, bn_param: Any) -> Any:
    mode, eps, momentum = bn_param["mode"], bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    _, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D, dtype=x.dtype))
    running_var = bn_param.get("running_var", np.zeros(D, dtype=x.dtype))
    if mode == "train":
        mu, var = x.mean(axis=0), x.var(axis=0)
        std = np.sqrt(var + eps)
        x_hat = (x - mu) / std
        running_mean = momentum * running_mean + (1 - momentum) * mu
        running_var = momentum * running_var + (1 - momentum) * var
        cache = (x_hat, gamma, std)
    elif mode == "test":
        std = np.sqrt(running_var + eps)
        x_hat = (x - running_mean) / std
        cache = (x_hat, gamma, std)
    else:
        raise ValueError(f'Invalid forward batchnorm mode "{mode}"')
    bn_param["running_mean"], bn_param["running_var"] = running_mean, running_var
    return gamma * x_hat + beta, cache


def batchnorm_backward(dout: Any, cache: Any) -> Any:
    x_hat, gamma, std = cache
    N = len(dout)
    dx_hat = dout * gamma
    dx = (N * dx_hat - dx_hat.sum(0) - x_hat * (dx_hat * x_hat).sum(0)) / (N * std)
    return dx, (dout * x_hat).sum(0), dout.sum(0)


def wrong_batchnorm_backward(dout: Any, cache: Any) -> Any:
    _, gamma, std = cache
    _, dgamma, dbeta = batchnorm_backward(dout, cache)
    dx_hat = dout * gamma
    return (dx_hat - dx_hat.mean(0)) / std, dgamma, dbeta  # the variance is taken for a constant


def conv_forward_naive(x: Any, w: Any, b: Any, conv_param: Any) -> Any:
    s, p = conv_param["stride"], conv_param["pad"]
    (N, _, H, W), (F, _, HH, WW) = x.shape, w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    out = np.zeros((N, F, 1 + (H + 2 * p - HH) // s, 1 + (W + 2 * p - WW) // s))
    for n, f, i, j in np.ndindex(out.shape):
        out[n, f, i, j] = (padded[n, :, i * s : i * s + HH, j * s : j * s + WW] * w[f]).sum() + b[f]
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout: Any, cache: Any) -> Any:
    x, w, b, conv_param = cache
    s, p = conv_param["stride"], conv_param["pad"]
    _, _, HH, WW = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    dpadded, dw, db = np.zeros_like(padded), np.zeros_like(w), np.zeros_like(b)
    for n, f, i, j in np.ndindex(dout.shape):
        window = (n, slice(None), slice(i * s, i * s + HH), slice(j * s, j * s + WW))
        dpadded[window] += w[f] * dout[n, f, i, j]
        dw[f] += padded[window] * dout[n, f, i, j]
        db[f] += dout[n, f, i, j]
    return dpadded[:, :, p : p + x.shape[2], p : p + x.shape[3]], dw, db


def wrong_conv_backward_naive(dout: Any, cache: Any) -> Any:
    dx, dw, db = conv_backward_naive(dout, cache)
    return dx, dw[:, :, ::-1, ::-1], db  # a convolution's filter instead of a correlation's


def max_pool_forward_naive(x: Any, pool_param: Any) -> Any:
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    N, C, H, W = x.shape
    out = np.zeros((N, C, 1 + (H - h) // s, 1 + (W - w) // s))
    for n, c, i, j in np.ndindex(out.shape):
        out[n, c, i, j] = x[n, c, i * s : i * s + h, j * s : j * s + w].max()
    return out, (x, pool_param)


def max_pool_backward_naive(dout: Any, cache: Any) -> Any:
    x, pool_param = cache
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        window = x[n, c, i * s : i * s + h, j * s : j * s + w]
        k, m = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, i * s + k, j * s + m] += dout[n, c, i, j]
    return dx


def wrong_max_pool_backward_naive(dout: Any, cache: Any) -> Any:
    x, pool_param = cache
    dx = np.zeros_like(x)
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    for n, c, i, j in np.ndindex(dout.shape):
        dx[n, c, i * s : i * s + h, j * s : j * s + w] += dout[n, c, i, j] / (h * w)  # an average's
    return dx


def lstm_step_forward(x: Any, prev_h: Any, prev_c: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Two outputs: the next hidden state and the next cell state."""
    H = prev_h.shape[1]
    a = x @ Wx + prev_h @ Wh + b
    i, f, o = (1 / (1 + np.exp(-a[:, k * H : (k + 1) * H])) for k in range(3))
    g = np.tanh(a[:, 3 * H :])
    next_c = f * prev_c + i * g
    t = np.tanh(next_c)
    return (o * t, next_c), (x, prev_h, prev_c, Wx, Wh, i, f, o, g, t)


def lstm_step_backward(dnext_h: Any, dnext_c: Any, cache: Any) -> Any:
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, t = cache
    dc = dnext_c + dnext_h * o * (1 - t**2)
    da = np.hstack([dc * g * i * (1 - i), dc * prev_c * f * (1 - f), dnext_h * t * o * (1 - o), dc * i * (1 - g**2)])
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(0)


def wrong_lstm_step_backward(dnext_h: Any, dnext_c: Any, cache: Any) -> Any:
    found = list(lstm_step_backward(dnext_h, dnext_c, cache))
    found[2] = dnext_c * cache[6]  # the path through the hidden state is forgotten
    return tuple(found)


def svm_loss(x: Any, y: Any) -> Any:
    """(loss, dx) at once."""
    N = x.shape[0]
    margins = np.maximum(0, x - x[np.arange(N), y][:, None] + 1.0)
    margins[np.arange(N), y] = 0
    dx = (margins > 0).astype(x.dtype)
    dx[np.arange(N), y] -= dx.sum(axis=1)
    return margins.sum() / N, dx / N


def wrong_svm_loss(x: Any, y: Any) -> Any:
    loss, dx = svm_loss(x, y)
    return loss, np.maximum(dx, 0)  # nothing for the right class
