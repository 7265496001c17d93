"""The mask network as a plain list of layers, one description for every reader.

Training builds it over time (`network.py`), calibration runs it in float (`quantize.py`) and the
TFLite writer emits it frame by frame (`tflite.py`). Tensors are (frames, bands, channels).
"""

from __future__ import annotations

from dataclasses import dataclass, field

INPUT = "features"
OUTPUT = "mask"


@dataclass(frozen=True)
class Layer:
    """One layer of the network; `bands` and `channels` are its output's shape per frame.

    kind: "conv", "depthwise", "add", "reshape" or "sigmoid". A conv with `squeeze` set has as many
    `kernel_bands` as its input has bands: it sees all at once and puts out one.
    `kernel_frames` taps reach `(kernel_frames - 1) * dilation` frames into the past, never ahead.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    bands: int
    channels: int
    kernel_frames: int = 1
    kernel_bands: int = 1
    stride_bands: int = 1
    dilation: int = 1
    squeeze: bool = False
    relu: bool = False

    @property
    def stateful(self) -> bool:
        """True where the layer looks back in time."""
        return self.kernel_frames > 1

    @property
    def has_weights(self) -> bool:
        """True where the layer carries a kernel and a bias."""
        return self.kind in ("conv", "depthwise")


@dataclass
class Graph:
    """Layers in order of evaluation, by name; `features` is the input, the last layer the mask."""

    bands: int
    channels: int
    layers: dict[str, Layer] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, int]:
        """Return (bands, channels) of the input or of a layer's output."""
        if name == INPUT:
            return self.bands, self.channels
        layer = self.layers[name]
        return layer.bands, layer.channels

    def _append(self, layer: Layer) -> str:
        if layer.name in self.layers:
            raise ValueError(f"two layers are named {layer.name}")
        self.layers[layer.name] = layer
        return layer.name

    def conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        dilation: int = 1,
        *,
        relu: bool = True,
    ) -> str:
        """Append a convolution over (frames, bands); `dilation` spaces its taps in time."""
        bands, _ = self.shape(source)
        out = -(-bands // stride)
        return self._append(
            Layer(name, "conv", (source,), out, channels, *kernel, stride, dilation, relu=relu)
        )

    def squeeze(self, name: str, source: str, channels: int) -> str:
        """Append a convolution that sees all bands and leaves one."""
        bands, _ = self.shape(source)
        return self._append(
            Layer(name, "conv", (source,), 1, channels, 1, bands, 1, squeeze=True, relu=True)
        )

    def depthwise(
        self,
        name: str,
        source: str,
        kernel: tuple[int, int],
        stride: int = 1,
        dilation: int = 1,
        *,
        relu: bool = True,
    ) -> str:
        """Append a depthwise convolution; `dilation` spaces its taps in time."""
        bands, channels = self.shape(source)
        out = -(-bands // stride)
        return self._append(
            Layer(name, "depthwise", (source,), out, channels, *kernel, stride, dilation, relu=relu)
        )

    def add(self, name: str, first: str, second: str, *, relu: bool = True) -> str:
        """Append the sum of two layers of the same shape."""
        if self.shape(first) != self.shape(second):
            raise ValueError(
                f"{name}: {first} is {self.shape(first)}, {second} is {self.shape(second)}"
            )
        return self._append(Layer(name, "add", (first, second), *self.shape(first), relu=relu))

    def reshape(self, name: str, source: str, bands: int) -> str:
        """Append a reshape that trades channels for bands (the memory order stays)."""
        old_bands, old_channels = self.shape(source)
        if old_bands * old_channels % bands:
            raise ValueError(f"{name}: {old_bands} x {old_channels} does not divide by {bands}")
        channels = old_bands * old_channels // bands
        return self._append(Layer(name, "reshape", (source,), bands, channels))

    def sigmoid(self, name: str, source: str) -> str:
        """Append the logistic function."""
        return self._append(Layer(name, "sigmoid", (source,), *self.shape(source)))

    def macs_per_frame(self) -> int:
        """Return multiply-accumulates of one frame."""
        return sum(self._macs(layer) for layer in self.layers.values())

    def _macs(self, layer: Layer) -> int:
        if not layer.has_weights:
            return 0
        taps = layer.kernel_frames * layer.kernel_bands
        fan_in = self.shape(layer.inputs[0])[1] if layer.kind == "conv" else 1
        return layer.bands * layer.channels * taps * fan_in

    def parameters(self) -> int:
        """Return the number of kernel and bias values."""
        return sum(
            self._macs(layer) // layer.bands + layer.channels
            for layer in self.layers.values()
            if layer.has_weights
        )


@dataclass(frozen=True)
class UNetShape:
    """Sizes of the mask network (a recipe's `network:` section).

    encoder: channels after each halving of the bands, first to last.
    context: channels of the stack that looks back in time.
    dilations: one residual block each, in frames.
    first_frames: time taps of the first convolution.
    tap_frames: frames between the encoder's taps; 2 where the hop is half as long.
    """

    encoder: tuple[int, ...] = (12, 24, 32, 48)
    context: int = 80
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    first_frames: int = 2
    tap_frames: int = 1


def unet(bands: int, channels: int, shape: UNetShape) -> Graph:
    """Build the causal encoder - context - decoder network over bands.

    The encoder halves the bands per stage, the context stack sees all bands at once and looks
    back by dilated depthwise convolutions, the decoder doubles the bands by reshaping channels and
    adds the encoder's output of the same size.
    """
    graph = Graph(bands, channels)
    skips = []
    step = shape.tap_frames
    last = graph.conv("enc0", INPUT, shape.encoder[0], (shape.first_frames, 5), 2, step)
    for i, width in enumerate(shape.encoder[1:], start=1):
        skips.append(last)
        frames = 1 if i == 2 else 3  # two stages with memory are enough, a state each costs copies
        last = graph.depthwise(f"enc{i}.dw", last, (frames, 3), 2, step if frames > 1 else 1)
        last = graph.conv(f"enc{i}", last, width)
    low_bands, low_channels = graph.shape(last)
    skips.append(last)
    last = graph.squeeze("squeeze", last, shape.context)
    for i, dilation in enumerate(shape.dilations):
        branch = graph.depthwise(f"ctx{i}.dw", last, (3, 1), dilation=dilation)
        branch = graph.conv(f"ctx{i}.pw", branch, shape.context, relu=False)
        last = graph.add(f"ctx{i}", last, branch)
    last = graph.conv("expand.pw", last, low_bands * low_channels, relu=False)
    last = graph.reshape("expand", last, low_bands)
    for i in range(len(shape.encoder) - 1, 0, -1):
        last = graph.add(f"dec{i}.skip", last, skips[i])
        last = graph.depthwise(f"dec{i}.dw", last, (1, 3))
        out_bands, out_channels = graph.shape(skips[i - 1])
        last = graph.conv(f"dec{i}.pw", last, 2 * out_channels, relu=False)
        last = graph.reshape(f"dec{i}", last, out_bands)
    last = graph.add("dec0.skip", last, skips[0])
    last = graph.conv("logits.pw", last, 2, (1, 3), relu=False)
    last = graph.reshape("logits", last, bands)
    graph.sigmoid(OUTPUT, last)
    return graph
