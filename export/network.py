"""The network of `graph.py` over time, in Keras 3, for whichever backend is installed.

Convolutions are products of matrices, or sums of shifted slices where they are depthwise, which is
faster than the backends' own on a CPU (decision 0025).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from .depthwise import Taps, depthwise
from .graph import INPUT, OUTPUT, Graph, Layer
from .padding import same_padding

NORMALISED_BANDS = 16


def normalised(layer: Layer) -> bool:
    """True where batch normalisation follows; on wide layers it doubles the training time."""
    return layer.bands <= NORMALISED_BANDS


class FrameConv(keras.layers.Layer):
    """A causal convolution over (batch, frames, bands, channels), depthwise or full."""

    def __init__(self, layer: Layer, fan_in: int, **kwargs: Any) -> None:
        super().__init__(name=layer.name.replace(".", "_"), **kwargs)
        self.layer = layer
        self.fan_in = fan_in
        self.use_bias = not normalised(layer)

    def build(self, input_shape: Any) -> None:
        """Create the kernel (frames, bands, in, out), or (frames, bands, channels) if depthwise."""
        layer = self.layer
        taps = (layer.kernel_frames, layer.kernel_bands)
        depthwise = layer.kind == "depthwise"
        shape = (*taps, layer.channels) if depthwise else (*taps, self.fan_in, layer.channels)
        fan_in = taps[0] * taps[1] * (1 if depthwise else self.fan_in)
        scale = (2.0 / fan_in) ** 0.5
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=keras.initializers.RandomNormal(stddev=scale)
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(layer.channels,), initializer="zeros")
        self.built = True

    def call(self, x: Any) -> Any:
        """Return (batch, frames, bands_out, channels)."""
        y = self._convolve(x)
        return y + self.bias if self.use_bias else y

    def _convolve(self, x: Any) -> Any:
        layer = self.layer
        if layer.squeeze:
            frames, bands, channels = x.shape[1:]
            flat = ops.reshape(x, (-1, frames, 1, bands * channels))
            return _matmul(flat, ops.reshape(self.kernel, (-1, layer.channels)))
        if (layer.kernel_frames, layer.kernel_bands, layer.stride_bands) == (1, 1, 1):
            return _matmul(x, self.kernel[0, 0])
        return self._slide(x)

    def _slide(self, x: Any) -> Any:
        layer, kernel = self.layer, self.kernel
        frames, bands, stride = x.shape[1], x.shape[2], layer.stride_bands
        past = (layer.kernel_frames - 1) * layer.dilation
        before, after = same_padding(bands, layer.kernel_bands, stride)
        spare = -(bands + before + after) % stride
        x = ops.pad(x, ((0, 0), (past, 0), (before, after + spare), (0, 0)))
        if stride > 1:  # strided slices are slow: fold neighbouring bands into channels
            x = ops.reshape(x, (-1, frames + past, x.shape[2] // stride, stride * x.shape[3]))
            spare = -layer.kernel_bands % stride
            kernel = ops.pad(kernel, ((0, 0), (0, spare), *((0, 0),) * (len(kernel.shape) - 2)))
        taps = Taps(layer.kernel_frames, layer.dilation, kernel.shape[1] // stride)
        kernel = ops.reshape(kernel, (taps.count, x.shape[3], -1))
        if layer.kind == "depthwise":
            y = depthwise(x, kernel[..., 0], taps)
            return y if stride == 1 else y[..., : layer.channels] + y[..., layer.channels :]
        if layer.channels < x.shape[3]:  # move what is narrower
            each = _matmul(x, ops.reshape(ops.transpose(kernel, (1, 0, 2)), (x.shape[3], -1)))
            parts = ops.split(each, taps.count, axis=-1)
            return sum(taps.slices(part)[i] for i, part in enumerate(parts))
        wide = ops.concatenate(taps.slices(x), axis=-1)
        return _matmul(wide, ops.reshape(kernel, (-1, layer.channels)))


def _matmul(x: Any, kernel: Any) -> Any:
    """Return x @ kernel in two dimensions: its gradient takes half the time of one in four."""
    y = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), kernel)
    return ops.reshape(y, (-1, *x.shape[1:-1], kernel.shape[-1]))


def build_network(graph: Graph, frames: int) -> keras.Model:
    """Return a Keras model: features (batch, frames, bands, 2) -> mask (batch, frames, bands).

    The features are the front-end's int8 values divided by 32, the input scale of the TFLite model.
    """
    inputs = keras.Input((frames, graph.bands, graph.channels), name=INPUT)
    values: dict[str, Any] = {INPUT: inputs}
    for layer in graph.layers.values():
        sources = [values[name] for name in layer.inputs]
        values[layer.name] = _apply(graph, layer, sources, frames)
    per_band = keras.layers.Reshape((frames, graph.bands), name="mask_per_band", dtype="float32")
    mask = per_band(values[OUTPUT])
    return keras.Model(inputs, mask, name="mask_network")


def _apply(graph: Graph, layer: Layer, sources: list[Any], frames: int) -> Any:
    key = layer.name.replace(".", "_")
    if layer.kind == "reshape":
        return keras.layers.Reshape((frames, layer.bands, layer.channels), name=key)(sources[0])
    if layer.kind == "sigmoid":
        # float32 whatever the policy: half as many bits cannot tell masks near one apart
        return keras.layers.Activation("sigmoid", name=key, dtype="float32")(sources[0])
    if layer.kind == "add":
        y = keras.layers.Add(name=key)(sources)
    else:
        y = FrameConv(layer, graph.shape(layer.inputs[0])[1])(sources[0])
        if normalised(layer):
            y = keras.layers.BatchNormalization(name=f"{key}_norm")(y)
    return keras.layers.ReLU(name=f"{key}_relu")(y) if layer.relu else y


def folded_weights(model: keras.Model, graph: Graph) -> dict[str, Any]:
    """Return every layer's kernel and bias with its batch normalisation folded in (float32 NumPy).

    Keys are "LAYER/kernel" and "LAYER/bias".
    """
    weights = {}
    for layer in graph.layers.values():
        if not layer.has_weights:
            continue
        key = layer.name.replace(".", "_")
        conv = model.get_layer(key)
        kernel = ops.convert_to_numpy(conv.kernel)
        if normalised(layer):
            gain, bias = _norm_gain_and_bias(model.get_layer(f"{key}_norm"))
        else:
            gain, bias = np.ones(layer.channels), ops.convert_to_numpy(conv.bias)
        weights[f"{layer.name}/kernel"] = (kernel * gain).astype("float32")
        weights[f"{layer.name}/bias"] = bias.astype("float32")
    return weights


def _norm_gain_and_bias(norm: Any) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (
        ops.convert_to_numpy(w)
        for w in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    gain = gamma / (variance + norm.epsilon) ** 0.5
    return gain, beta - mean * gain
