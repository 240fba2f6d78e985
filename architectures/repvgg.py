"""RepVGG: units of a 3×3 convolution, a 1×1 convolution and an identity, which are one 3×3 convolution in inference.

trained = architectures.create("repvgg_a0")
plain = architectures.repvgg.merge(trained)
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths
from kblocks import Style
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem, Unit
from kblocks.graph.calls import Call, calls, is_graph
from kblocks.graph.rewrite import Copies, rewrite
from kblocks.naming import scope
from kblocks.residual import rep_unit


@dataclass(frozen=True, kw_only=True)
class RepVGG:
    """Configuration.

    Attributes:
        depths: number of units of each stage.
        widths: output channels of each stage.
        strides: stride of each stage's first unit.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        unit: the unit.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    strides: tuple[int, ...] = (2, 2, 2, 2)
    stem: Stem = partial(rep_unit, stride=2)
    stem_filters: int = 64
    unit: Unit = rep_unit
    drop_path: float = 0.0
    dropout: float = 0.0
    style: Style = replace(kb.RELU_BN, padding="symmetric")


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_a0 = partial(RepVGG, depths=(2, 4, 14, 1), widths=(48, 96, 192, 1280), stem_filters=48)
_a1 = partial(RepVGG, depths=(2, 4, 14, 1), widths=(64, 128, 256, 1280))
_a2 = partial(RepVGG, depths=(2, 4, 14, 1), widths=(96, 192, 384, 1408))
# The size is kept up to the second stage.
_small: dict[str, Any] = {"strides": (1, 2, 2, 2), "stem": rep_unit}

_DING = "Ding et al. 2021, arXiv 2101.03697, Tables 2 and 4: "
_CH = "Ding et al. 2021, arXiv 2101.03697, Table 2, in the form for CIFAR of chenyaofo/pytorch-cifar-models: "

VARIANTS = {
    "repvgg_a0": _imagenet(_a0(), params=9_108_968, macs=1_512_581_120, source=f"{_DING}8.30 M in inference"),
    "repvgg_a1": _imagenet(_a1(), params=14_092_264, macs=2_626_488_320, source=f"{_DING}12.78 M in inference"),
    "repvgg_a2": _imagenet(_a2(), params=28_210_600, macs=5_685_345_280, source=f"{_DING}25.49 M in inference"),

    "repvgg_a0_cifar": _cifar(
        _a0(**_small), params=7_840_874, macs=489_075_200,
        source=f"{_CH}7.84 M", errors={"cifar10": 5.61, "cifar100": 24.78}),
    "repvgg_a1_cifar": _cifar(
        _a1(**_small), params=12_824_202, macs=851_325_440,
        source=f"{_CH}12.82 M", errors={"cifar10": 5.11, "cifar100": 23.88}),
    "repvgg_a2_cifar": _cifar(
        _a2(**_small), params=26_815_690, macs=1_850_095_360,
        source=f"{_CH}26.82 M", errors={"cifar10": 5.02, "cifar100": 22.82}),

    "repvgg_tiny": Variant(
        RepVGG(depths=(1, 2), widths=(4, 8), strides=(1, 2), stem=rep_unit, stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=1_450, macs=133_200, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: RepVGG, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[-1])`, rounded up; `s` is the stride of the stem times those of the
        stages.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, or `depths`, `widths` and `strides` differ in
            length.
    """
    check_depths(spec.depths, spec.widths)
    check_depths(spec.depths, spec.strides, "strides")
    part = scope(name, "repvgg")
    rates = drop_path_schedule(spec.drop_path, spec.depths)
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    for i, (depth, width, stride) in enumerate(zip(spec.depths, spec.widths, spec.strides, strict=True), 1):
        # repvgg_a0: 56 × 56 × 48, 28 × 28 × 96, 14 × 14 × 192, 7 × 7 × 1280
        x = kb.compose.stage(
            x,
            spec.unit,
            width,
            depth,
            stride=stride,
            drop_paths=rates[i - 1],
            style=spec.style,
            name=part(f"stage{i}"),
        )
    return x


def merge(model: keras.Model) -> keras.Model:
    """`W₃ ∗ x + b₃ + W₁ ∗ x + b₁ + γ x + β  =  W ∗ x + b`: the same function in inference, as a plain network.

    The normalisations are folded into the convolutions first, see `kblocks.graph.fold`. Then each sum of a 3×3
    convolution, a 1×1 convolution and a batch normalisation of one tensor becomes the 3×3 convolution. Other sums stay,
    as those whose windows are not centred on the same pixels: at a stride above 1 that needs symmetric padding.

    Args:
        model: functional or Sequential, trained.

    Returns:
        A new model with layers and weights of its own, not meant for further training.

    Raises:
        TypeError: `model` is not a functional or Sequential model.
        ValueError: a Sequential model is not built, or a layer can't be copied.

    Source: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021, arXiv 2101.03697, section 3.3.

    >>> x = keras.Input((32, 32, 16))
    >>> [layer.name for layer in merge(keras.Model(x, rep_unit(x, 16, name="unit"))).layers[1:]]
    ['unit_conv3', 'unit_out']
    """
    folded = kb.graph.fold(model)
    kept: dict[int, list[Call]] = {}
    dropped: set[int] = set()
    carriers: dict[int, set[int]] = {}
    for additions, terms in _sums(folded):
        kept[id(terms[0].operation)] = terms
        dropped |= {id(term.operation) for term in terms[1:]}
        # Through these tensors the 3×3 convolution reaches the end of the sum.
        tensors = {id(call.outputs[0]) for call in (terms[0], *additions)}
        carriers |= {id(call.operation): tensors for call in additions}
    copied: list[tuple[list[Call], Any]] = []

    def change(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], copies: Copies) -> Any:
        key = id(call.operation)
        if key in carriers:
            position = next(i for i, x in enumerate(call.inputs) if id(x) in carriers[key])
            return keras.tree.flatten((args, kwargs))[position]
        if key in dropped:
            return args[0]
        if key in kept:
            copied.append((kept[key], copies.copy(call.operation)))
        return NotImplemented

    result = rewrite(folded, change)
    for terms, copy in copied:
        copy.set_weights(_merged(terms))
    return result


def _sums(model: keras.Model) -> Iterator[tuple[list[Call], list[Call]]]:
    """The additions that can be merged, nested ones together, and their terms, the 3×3 convolution first."""
    found = calls(model)
    made_by = {id(y): call for call in found for y in call.outputs}
    times = Counter(id(call.operation) for call in found)
    readers = Counter(id(x) for call in found for x in call.inputs) + Counter(map(id, model.outputs))
    done: set[int] = set()

    def collect(total: Call) -> tuple[list[Call], list[Call]] | None:
        additions: list[Call] = [total]
        terms: list[Call] = []
        for x in total.inputs:
            call = made_by.get(id(x))
            if call is None or times[id(call.operation)] > 1 or readers[id(x)] > 1:
                return None
            if not isinstance(call.operation, layers.Add):
                terms.append(call)
                continue
            inner = collect(call)
            if inner is None:
                return None
            additions += inner[0]
            terms += inner[1]
        return additions, sorted(terms, key=_rank)

    for call in reversed(found):
        if is_graph(call.operation):
            yield from _sums(call.operation)
        if isinstance(call.operation, layers.Add) and id(call) not in done:
            collected = collect(call)
            if collected is not None and _are_of_one_tensor(collected[1], made_by):
                done |= set(map(id, collected[0]))
                yield collected


def _rank(term: Call) -> tuple[int, ...]:
    """Convolutions first, the largest kernel before the others."""
    return tuple(-side for side in getattr(term.operation, "kernel_size", (0, 0)))


def _are_of_one_tensor(terms: list[Call], made_by: Mapping[int, Call]) -> bool:
    """Whether the terms are a 3×3 convolution and others that it can include."""
    wide, *others = (term.operation for term in terms)
    if not others or type(wide) is not layers.Conv2D or wide.kernel_size != (3, 3) or wide.dilation_rate != (1, 1):
        return False
    (x,) = terms[0].inputs
    if wide.padding == "valid":
        pad = made_by.get(id(x))
        if pad is None or not isinstance(pad.operation, layers.ZeroPadding2D):
            return False
        if pad.operation.padding != ((1, 1), (1, 1)) or pad.operation.data_format != "channels_last":
            return False
        (x,) = pad.inputs
    elif wide.strides != (1, 1):
        return False
    for term, layer in zip(terms[1:], others, strict=True):
        if [id(y) for y in term.inputs] != [id(x)]:
            return False
        if type(layer) is layers.Conv2D:
            same = (layer.strides, layer.groups) == (wide.strides, wide.groups)
            if layer.kernel_size != (1, 1) or not same or layer.activation is not keras.activations.linear:
                return False
        elif type(layer) is not layers.BatchNormalization or wide.strides != (1, 1) or layer.axis not in (-1, 3):
            return False
    linear = wide.activation is keras.activations.linear
    return bool(linear and wide.use_bias and wide.data_format == "channels_last")


def _merged(terms: list[Call]) -> list[np.ndarray]:
    """The kernel and the bias of the sum."""
    wide, *others = (term.operation for term in terms)
    kernel, bias = (array.astype("float64") for array in wide.get_weights())
    for layer in others:
        values = {w.name: a.astype("float64") for w, a in zip(layer.weights, layer.get_weights(), strict=True)}
        if isinstance(layer, layers.Conv2D):
            kernel[1, 1] += values["kernel"][0, 0]
            bias = bias + values.get("bias", 0.0)
        else:
            scale = values.get("gamma", 1.0) / np.sqrt(values["moving_variance"] + layer.epsilon)
            bias = bias + values.get("beta", 0.0) - values["moving_mean"] * scale
            channels = np.arange(kernel.shape[-1])
            # Of a kernel with groups each output channel has the input channels of its group alone.
            kernel[1, 1, channels % kernel.shape[2], channels] += scale
    return [kernel, bias]


FAMILY = Family("repvgg", VARIANTS, backbone, downsampling="stem")
