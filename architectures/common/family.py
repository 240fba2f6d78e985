"""The form of a family: a table of variants, the function that builds their features, and the head behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Protocol

from keras import KerasTensor, Model

from architectures.common.head import classify

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Variant:
    """One row of a family's table: a configuration, and the published facts about it.

    Attributes:
        spec: the configuration, an instance of the family's dataclass; `create` overrides its fields.
        input_shape: without the batch axis; a tuple of shapes for several inputs.
        classes: number of logits, of each pixel in a family with `per_pixel`.
        params: number of trainable parameters.
        macs: multiply-adds of one image at `input_shape`.
        source: the paper, and the figures it gives.
        errors: published test errors in percent by data set, such as `{"cifar10": 8.75}`, from `source`; empty where
            there are none.
        departures: differences from the paper; empty where there are none.
        keras: the function of keras.applications that builds the same network, if there is one.
        preprocessing: the preprocessing of its pretrained weights, a key of
            `architectures.weights.preprocessing.MEANS_AND_VARIANCES`.
    """

    spec: Any
    input_shape: Shape | tuple[Shape, ...]
    classes: int
    params: int
    macs: int
    source: str
    errors: Mapping[str, float] = field(default_factory=dict)
    departures: str = ""
    keras: Callable[..., Model] | None = None
    preprocessing: str | None = None

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """One shape for each input."""
        return shapes(self.input_shape)


class Backbone(Protocol):
    """`(x, spec, *, name) -> tensor`: the features. Of a network with several inputs `x` is the list of them, and the
    features may be a list too.
    """

    def __call__(self, x: Any, /, spec: Any, *, name: str | None = None) -> Any: ...


class Head(Protocol):
    """`(features, spec, classes, pooling) -> tensor`: the logits, or with `classes=0` the features; a list of several
    outputs.
    """

    def __call__(self, x: Any, spec: Any, classes: int, pooling: str | None, /) -> KerasTensor | list[KerasTensor]: ...


class PixelHead(Protocol):
    """`(features, spec, classes, pooling, *, image) -> tensor`: logits for each pixel of the image, or with `classes=0`
    the features.
    """

    def __call__(
        self, x: Any, spec: Any, classes: int, pooling: str | None, /, *, image: KerasTensor
    ) -> KerasTensor: ...


class KerasNames(Protocol):
    """`(names, keras_model) -> {name: name in keras_model}`: for each layer of ours its counterpart in the network of
    keras.applications; names that have none are omitted.
    """

    def __call__(self, names: Sequence[str], keras_model: Model, /) -> dict[str, str]: ...


class TorchNames(Protocol):
    """`(names, source) -> {name: prefix}`: for each layer of ours the prefix of its weights in the state dict of the
    network in torchvision or timm, such as `layer1.0.conv1`, or the name of the parameter that a scale is there; names
    that have none are omitted.
    """

    def __call__(self, names: Sequence[str], source: str, /) -> dict[str, str]: ...


class TorchSettings(Protocol):
    """`(arch, source) -> ((padding, epsilon), …)`: the padding of a style and the epsilon of the normalisations with
    which a network computes what the one in torchvision or timm does; several where a library has several versions.
    """

    def __call__(self, arch: str, source: str, /) -> Sequence[tuple[str, float]]: ...


def torch_defaults(arch: str, source: str, /) -> Sequence[tuple[str, float]]:
    """Those of PyTorch itself."""
    return (("symmetric", 1e-5),)


@dataclass(frozen=True)
class Family:
    """A family of networks: everything that `create` needs.

    Attributes:
        name: that of the family's module.
        variants: its table, by name.
        backbone: builds the features, see `Backbone`.
        head: builds the outputs from the features, see `Head`; with `per_pixel` see `PixelHead`.
        keras_names: maps layer names to those of keras.applications, see `KerasNames`; `None` if it has no such
            networks.
        torch_names: maps layer names to those of torchvision and timm, see `TorchNames`; `None` if there is no map.
        torch_settings: padding and epsilon there, see `TorchSettings`.
        downsampling: the field of the spec that decides how far small images are reduced, `"stem"` or `"pools"`; `None`
            if there is none.
        per_pixel: whether there are logits for each pixel, `(batch, height, width, classes)`.
    """

    name: str
    variants: Mapping[str, Variant]
    backbone: Backbone
    head: Head | PixelHead = classify
    keras_names: KerasNames | None = None
    torch_names: TorchNames | None = None
    torch_settings: TorchSettings = torch_defaults
    downsampling: str | None = None
    per_pixel: bool = False


def shapes(input_shape: Shape | Sequence[Shape]) -> tuple[Shape, ...]:
    """`input_shape` as one shape for each input.

    Raises:
        ValueError: it is neither a tuple of sizes nor a tuple of such tuples.

    >>> shapes((32, 32, 3)), shapes(((32,), (16,)))
    (((32, 32, 3),), ((32,), (16,)))
    """
    if isinstance(input_shape, list | tuple) and input_shape:
        several = tuple(input_shape) if isinstance(input_shape[0], list | tuple) else (input_shape,)
        if all(_is_shape(shape) for shape in several):
            return tuple(tuple(None if n is None else int(n) for n in shape) for shape in several)
    raise ValueError(
        f"`input_shape` must be a tuple of positive sizes, or one such tuple for each input; got {input_shape!r}"
    )


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list | tuple)
        and len(shape) > 0
        and all(n is None or (isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0) for n in shape)
    )
