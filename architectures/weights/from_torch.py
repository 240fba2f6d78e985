"""Copies weights of torchvision or timm, from a state dict or a .safetensors file, by a family's map of names.

PyTorch isn't needed: a tensor is anything that NumPy can read. A state dict holds no strides, paddings or epsilons, so
those of our network are compared with what the family knows of its counterpart.
"""

import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from architectures.common.family import Family
from architectures.weights import porting
from architectures.weights.preprocessing import MEANS_AND_VARIANCES, PREPROCESS
from kblocks import check
from kblocks.graph.calls import calls, producers

SOURCES = ("torchvision", "timm")

Weights = Mapping[str, Any] | str | os.PathLike[str]

NORMS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)

IN_NORMS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
"""PyTorch's names of the weights of a normalisation, by those of Keras."""

IN_PRODUCTS = {"kernel": "weight", "bias": "bias"}
"""PyTorch's names of the weights of a convolution or dense layer, by those of Keras."""


def port(
    model: keras.Model, weights: Weights, family: Family, arch: str, source: str, *, skip: Collection[str] = ()
) -> None:
    """Copies the weights of a network of torchvision or timm, see `architectures.port_from_torch`."""
    check.choice(source, SOURCES, "source")
    if family.torch_names is None:
        raise ValueError(f"`arch` must be of a family with a map of PyTorch's names; got one of {family.name}")
    state = _state(weights)
    layers = porting.wanted(model, skip)
    # A head that ours lacks or keeps for itself may stay unused.
    idle = () if any(porting.HEADS.fullmatch(name) for name in layers) else porting.KERAS_HEADS
    names = family.torch_names([*porting.leaves(model), *idle], source)
    attention = {name: layer for name, layer in layers.items() if isinstance(layer, keras.layers.MultiHeadAttention)}
    layers = {name: layer for name, layer in layers.items() if name not in attention}
    keys = _paired(model, layers, names, state, source)
    of_attention = [
        f"{names.get(name)}.{part}"
        for name, layer in porting.leaves(model).items()
        if isinstance(layer, keras.layers.MultiHeadAttention)
        for part in ("qkv", "proj")
    ]
    _check_unused(model, state, [*names.values(), *of_attention], source)
    _check_preprocessing(model, source)
    _check_strides(model, source)
    _check_settings(model, layers, family, arch, source)
    images = _flattened(model)
    projections = {name: _attention(layer, name, names.get(name, ""), state) for name, layer in attention.items()}
    found = {}
    for name, layer in layers.items():
        found[name] = {ours: _array(theirs, state[theirs]) for ours, theirs in keys[name].items()}
        if "kernel" in found[name]:
            found[name]["kernel"] = _kernel(found[name]["kernel"], layer, images.get(layer.name))
        _check_shapes(layer, found[name], keys[name])
    porting.assign(model, found)
    for name, arrays in projections.items():
        attention[name].set_weights(arrays)


def _state(weights: Weights) -> Mapping[str, Any]:
    """The arrays by name.

    Raises:
        TypeError: `weights` is neither a mapping nor a path.
        ValueError: it is not the path of a .safetensors file.
        FileNotFoundError: there is no such file.
        ImportError: the package safetensors is not installed.
    """
    if isinstance(weights, str | os.PathLike):
        return _read(weights)
    if not isinstance(weights, Mapping) or not all(isinstance(key, str) for key in weights):
        hint = " (`state_dict()` returns one)" if hasattr(weights, "state_dict") else ""
        raise TypeError(
            "`weights` must be a state dict, a mapping of names to arrays, or the path of a .safetensors file; got "
            f"{type(weights).__name__}{hint}"
        )
    return weights


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    if not str(path).endswith(".safetensors"):
        raise ValueError(
            f"`weights` must be a state dict or a file that ends in .safetensors; got {str(path)!r} "
            "(`torch.load` returns the state dict in a .pth file)"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"`weights` must be a file that exists; got {str(path)!r}")
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            "`weights` can't be read from a .safetensors file without the package safetensors "
            "(pip install 'kblocks[safetensors]')"
        ) from error
    try:
        state: Mapping[str, Any] = load_file(path)
    except Exception as error:  # what a damaged file raises is not documented
        raise ValueError(f"`weights` must be a .safetensors file; got {str(path)!r} ({error})") from error
    return state


def _array(key: str, value: Any) -> np.ndarray:
    """A weight as a float32 array, from a tensor of PyTorch, on any device, or anything that NumPy can read."""
    if hasattr(value, "detach"):
        # NumPy has no bfloat16.
        value = value.detach().cpu().float().numpy()
    try:
        array = np.asarray(value)
        if array.dtype != object:
            return array.astype("float32")
    except ValueError:  # nested lists of several lengths, or text
        pass
    raise TypeError(f"`weights` must hold arrays of numbers; got {type(value).__name__} for {key!r}")


def _paired(
    model: keras.Model,
    layers: Mapping[str, keras.layers.Layer],
    names: Mapping[str, str],
    state: Mapping[str, Any],
    source: str,
) -> dict[str, dict[str, str]]:
    """For each layer the keys of its weights in the state dict, by Keras's names.

    Raises:
        ValueError: a layer, or one of its weights, has no counterpart.
    """
    modules: dict[str, dict[str, str]] = {}
    for key in state:
        module, _, weight = key.rpartition(".")
        modules.setdefault(module, {})[weight] = key
    found, lone = {}, []
    for name, layer in layers.items():
        prefix = names.get(name, "")
        in_torch = IN_NORMS if isinstance(layer, NORMS) else IN_PRODUCTS
        # A scale is a parameter, not a module with a weight.
        entries = {"weight": prefix} if prefix in state else modules.get(prefix) if prefix else None
        if entries is None or any(weight.name not in in_torch for weight in layer.weights):
            lone.append(f"{name} ({prefix})" if prefix else name)
            continue
        missing = [weight.name for weight in layer.weights if in_torch[weight.name] not in entries]
        if missing:
            raise ValueError(
                f"`weights` must hold {prefix}.{in_torch[missing[0]]}, the {missing[0]} of layer {name}; it is missing"
            )
        # A bias that ours lacks is among them: a normalisation may absorb it.
        found[name] = {ours: entries[theirs] for ours, theirs in in_torch.items() if theirs in entries}
    if lone:
        raise ValueError(
            f"`{model.name}` has layers without a counterpart in the {source} weights: {porting.some(lone)}"
        )
    return found


def _check_unused(model: keras.Model, state: Mapping[str, Any], prefixes: Collection[str], source: str) -> None:
    """Raise if weights are left over: of other layers than those that ours has, skipped ones and a head included."""
    known = {*prefixes, *(f"{prefix}.{weight}" for prefix in prefixes for weight in IN_NORMS.values())}
    unused = [key for key in state if key not in known and not key.endswith(".num_batches_tracked")]
    if unused:
        raise ValueError(
            f"the {source} weights have entries without a counterpart in `{model.name}`: {porting.some(unused)}"
        )


def _check_preprocessing(model: keras.Model, source: str) -> None:
    """Raise if the network prepares its images otherwise than torchvision does; timm has several ways."""
    mean, _ = MEANS_AND_VARIANCES["torch"]
    for layer in model.layers:
        prepares = source == "torchvision" and layer.name == PREPROCESS
        if prepares and not np.array_equal(layer.get_config()["mean"], mean):
            raise ValueError(
                f"`model` must be built with `preprocessing=False`: weights of {source} need another preprocessing "
                "than those of keras.applications"
            )


def _check_strides(model: keras.Model, source: str) -> None:
    """Raise if a 1×1 convolution has a stride, which in PyTorch's networks only shortcuts have."""
    for name, layer in porting.leaves(model).items():
        convolves = isinstance(layer, keras.layers.Conv2D) and max(layer.kernel_size) == 1
        if convolves and max(layer.strides) > 1 and not name.endswith("_shortcut"):
            raise ValueError(
                f"layer {name} of `{model.name}` must have stride 1; got {max(layer.strides)}: in {source} the 3×3 "
                "convolution of a unit has the stride (pass `unit=kblocks.residual.bottleneck` to `create`)"
            )


def _check_settings(
    model: keras.Model, layers: Mapping[str, keras.layers.Layer], family: Family, arch: str, source: str
) -> None:
    """Raise unless padding and epsilon are among those of the network in PyTorch."""
    paddings = _paddings(model)
    epsilons = {layer.epsilon for layer in layers.values() if isinstance(layer, NORMS)}
    settings = family.torch_settings(arch, source)
    for padding, epsilon in settings:
        # keras.applications has 1.001e-5 where PyTorch has 1e-5.
        if paddings <= {padding} and all(math.isclose(each, epsilon, rel_tol=0.01) for each in epsilons):
            return
    rule = ", or ".join(f"padding {padding!r} and epsilon {epsilon}" for padding, epsilon in settings)
    got = [f"padding {padding!r}" for padding in sorted(paddings)]
    got += [f"epsilon {epsilon}" for epsilon in sorted(epsilons)]
    raise ValueError(
        f"`model` must have {rule}, to compute what {arch} in {source} does; got {' and '.join(got)} (pass `create` a "
        "`style=` with this padding, and with a `norm=` of this epsilon)"
    )


def _paddings(model: keras.Model) -> set[str]:
    """The paddings of the layers with a stride and larger windows, by their names in `kblocks.Style`."""
    producer = producers(model)
    found = set()
    for call in calls(model):
        layer = call.operation
        sides = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
        if sides is None or max(layer.strides) == 1 or max(sides) <= max(layer.strides):
            continue
        before = producer.get(id(call.inputs[0]))
        if layer.padding == "same":
            found.add("same")
        elif before is None or not isinstance(before.operation, keras.layers.ZeroPadding2D):
            found.add("valid")
        else:
            symmetric = tuple((side // 2, side // 2) for side in sides)
            found.add("symmetric" if before.operation.padding == symmetric else "floor")
    return found


def _flattened(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Height, width and channels of the image that a dense layer's input was before it was flattened, by layer."""
    images: dict[int, tuple[int, ...]] = {}
    found = {}
    for call in calls(model):
        layer = call.operation
        (x, *_) = call.inputs
        if isinstance(layer, keras.layers.Flatten) and len(x.shape) == 4:
            images[id(call.outputs[0])] = tuple(x.shape[1:])
        elif isinstance(layer, keras.layers.Dropout) and id(x) in images:
            images[id(call.outputs[0])] = images[id(x)]
        elif isinstance(layer, keras.layers.Dense) and id(x) in images:
            found[layer.name] = images[id(x)]
    return found


def _kernel(value: np.ndarray, layer: keras.layers.Layer, image: tuple[int, ...] | None) -> np.ndarray:
    """A kernel in the order of Keras; of another shape where it does not fit.

    Args:
        value: `(out, in, height, width)` of a convolution, `(out, in)` of a linear layer, or the factors of a scale.
        layer: ours.
        image: height, width and channels of what was flattened before the layer; `None` if nothing was.
    """
    shape = tuple(layer.kernel.shape)
    if value.ndim == 4:
        kernel = value.transpose(2, 3, 1, 0)
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            # Theirs has one input channel per group, and numbers the output channels group by group.
            return kernel.reshape(shape) if kernel.shape == (*shape[:2], 1, shape[2] * shape[3]) else kernel
        # A convolution of the whole image, or of a vector, is a dense layer.
        return kernel.reshape(-1, value.shape[0]) if isinstance(layer, keras.layers.Dense) else kernel
    if value.ndim == 2 and image is not None and value.shape[1] == math.prod(image):
        # Theirs flattens channels, height, width; ours height, width, channels.
        height, width, channels = image
        kernel = value.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
        return kernel.reshape(-1, value.shape[0])
    if value.ndim == 2:
        return value.T
    # A scale, (channels, 1, 1) or (channels,), which in ours is a dense layer with one input.
    return value.reshape(shape) if shape == (1, value.size) else value


def _attention(
    layer: keras.layers.MultiHeadAttention, name: str, prefix: str, state: Mapping[str, Any]
) -> list[np.ndarray]:
    """The weights of an attention layer, in their order, of two modules: one for queries, keys and values, one behind.

    Raises:
        ValueError: one is missing, or of another shape.
    """
    found = []
    for weight in layer.weights:
        # As `…/attention/query/kernel`; theirs has the three in one.
        part, kind = weight.path.split("/")[-2:]
        key = f"{prefix}.{'proj' if part == 'attention_output' else 'qkv'}.{IN_PRODUCTS[kind]}"
        if key not in state:
            raise ValueError(f"`weights` must hold {key}, the {part} {kind} of layer {name}; it is missing")
        value = _array(key, state[key])
        parts = ("query", "key", "value")
        if part in parts and len(value) % 3 == 0:
            value = np.split(value, 3)[parts.index(part)]
        if value.size != math.prod(weight.shape):
            raise porting.misfit(layer, weight, f"one of shape {value.shape}, {key}")
        found.append(value.T.reshape(weight.shape))
    return found


def _check_shapes(layer: keras.layers.Layer, found: Mapping[str, np.ndarray], keys: Mapping[str, str]) -> None:
    for weight in layer.weights:
        value = found[weight.name]
        if value.shape != tuple(weight.shape):
            error = porting.misfit(layer, weight, f"one of shape {value.shape}, {keys[weight.name]}")
            if porting.HEADS.fullmatch(layer.name) or porting.HIDDEN.fullmatch(layer.name):
                raise ValueError(f"{error} (pass `skip=[{layer.name!r}]` to keep the layer's weights)")
            raise error
