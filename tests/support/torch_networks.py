"""Networks of PyTorch to compare with: random weights for them, and their weights copied into a model of ours."""

import math
from collections import defaultdict
from functools import partial

import keras
import numpy as np
import pytest

from kblocks.graph import calls
from tests.support.models import predict
from tests.support.weights import images

TOLERANCE = 1e-4
LIBRARIES = []  # of operators, which are there as long as the library is


def library(name):
    """The package torchvision or timm; skips the test where it or PyTorch is not installed."""
    reason = f"compares with the networks of {name}, which is not installed"
    torch = pytest.importorskip("torch", reason=reason)
    try:
        pytest.importorskip("torchvision", reason=reason)
    except RuntimeError:
        # Operators built for another PyTorch can't be loaded, as those of PyPI's torchvision beside a PyTorch without
        # CUDA. No classifier needs one, but the package describes these two.
        LIBRARIES.append(torch.library.Library("torchvision", "FRAGMENT"))
        for operator in ("nms", "qnms"):
            LIBRARIES[-1].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return pytest.importorskip(name, reason=reason)


def randomised(net, shape, seed=0):
    """A network of PyTorch with random weights, moving statistics near those of `images`, in inference mode.

    No γ of 1 and no β of 0 then hides a mistake. Of other images the rounding errors of deep EfficientNets would
    grow until PyTorch's own results in single and double precision differ.
    """
    import torch

    rng = np.random.default_rng(seed)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    shift = 0.2 if norms else 0.02
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith(".bias"):
                value = rng.normal(0, shift, weight.shape)
            elif weight.ndim > 1 and weight.shape[1:].numel() > 1:
                value = rng.standard_normal(weight.shape) * math.sqrt(2 / weight.shape[1:].numel())
            else:
                value = rng.uniform(0.5, 1.5, weight.shape)
            weight.copy_(torch.from_numpy(np.asarray(value, "float32")))
        hooks = [norm.register_forward_pre_hook(partial(near_statistics, rng=rng)) for norm in norms]
        net.eval()(channels_first(images(shape)))
    for hook in hooks:
        hook.remove()
    return net


def near_statistics(norm, inputs, rng):
    """Gives a normalisation moving statistics near those of its inputs.

    Before it is applied: were all statistics changed afterwards, the errors would multiply with the depth.
    """
    import torch

    x = inputs[0].numpy()
    deviation = x.std((0, 2, 3)) + 1e-3
    mean = x.mean((0, 2, 3)) + deviation * rng.normal(0, 0.3, deviation.shape)
    norm.running_mean.copy_(torch.from_numpy(mean))
    norm.running_var.copy_(torch.from_numpy(deviation**2 * rng.uniform(0.7, 1.4, deviation.shape)))


def channels_first(x):
    import torch

    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def assert_equal_outputs(ours, net, shape):
    """Asserts that two networks give the same for images that they tell apart."""
    import torch

    x = images(shape)
    with torch.no_grad():
        expected = net(channels_first(x)).numpy()
    found = predict(ours, x)
    scale = np.abs(expected).max()
    assert np.isfinite(scale)
    assert expected.std(axis=0).max() > 0.01 * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale)


def copy_in_order(net, model, shape, names=None, flattened=None, parameters=None):
    """Copies the weights of a network of PyTorch into ours, which has the same layers under other names.

    Each layer of ours, in the order of its graph, gets the weights of the first layer of theirs that ran, is of its
    kind and shape, and has not been used. Were two of equal shape, in branches that the two networks compute in another
    order, confused, then the outputs would differ.

    Args:
        names: the names of modules of theirs, by the names of layers of ours, where the order does not tell.
        flattened: for a dense layer of ours behind a flattening the shape `(height, width, channels)` before it.
        parameters: the names of parameters of theirs that belong to no such layer, by the names of layers of ours whose
            only weight they are, in another shape: learned tokens, tables, scales.
    """
    own = dict(net.named_parameters())
    named = {name: net.get_submodule(path) for name, path in (names or {}).items()}
    waiting = defaultdict(list)
    for module in _in_order(net, shape):
        if module not in named.values():
            waiting[_kind(module), _own_shape(module)].append(module)

    def next_module(kind, size, layer):
        assert waiting[kind, size], f"theirs has no (further) {kind} of {size} for {layer.name}"
        return waiting[kind, size].pop(0)

    for layer in _weighted(model):
        if path := (parameters or {}).get(layer.name):
            (weight,) = layer.weights
            layer.set_weights([own[path].detach().numpy().reshape(weight.shape)])
            continue
        if isinstance(layer, keras.layers.MultiHeadAttention):
            width = layer.weights[0].shape[0]
            joint, out = (next_module("kernel", (times * width, width), layer) for times in (3, 1))
            layer.set_weights(_attention(joint, out, layer))
            continue
        if (module := named.get(layer.name)) is None:
            module = next_module(*_wanted(layer), layer)
        layer.set_weights(_converted(module, layer, (flattened or {}).get(layer.name)))
    left = [key for key, modules in waiting.items() for _ in modules]
    assert not left, f"ours has no layer for {left}"


def assert_parity_in_order(model, net, names=None, flattened=None, parameters=None):
    """Asserts that a network of PyTorch and ours give the same with the same weights, which are random."""
    shape = model.input_shape[1:]
    randomised(net, shape)
    copy_in_order(net, model, shape, names, flattened, parameters)
    assert_equal_outputs(model, net, shape)


def _in_order(net, shape):
    """The modules of a network that have weights, in the order in which they run first."""
    import torch

    found, hooks = [], []
    for module in net.modules():
        if isinstance(module, tuple(_kinds())):
            hooks.append(module.register_forward_pre_hook(lambda module, _: found.append(module)))
    with torch.no_grad():
        net.eval()(channels_first(images(shape, count=1)))
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(found))


def _kinds():
    from torch import nn

    return {
        nn.Conv2d: "kernel",
        nn.Linear: "kernel",
        nn.BatchNorm2d: "norm",
        nn.BatchNorm1d: "norm",
        nn.LayerNorm: "norm",
        nn.GroupNorm: "norm",
    }


def _kind(module):
    return next(kind for each, kind in _kinds().items() if isinstance(module, each))


def _own_shape(module):
    """The shape of a module's weight; a 1×1 convolution has that of a dense layer."""
    if _kind(module) == "norm":
        return (
            getattr(module, "num_features", None) or getattr(module, "num_channels", None) or module.weight.numel(),
        )
    shape = tuple(module.weight.shape)
    return shape[:2] if shape[2:] == (1, 1) else shape


def _weighted(model):
    """The layers of a model and of the models in it that have weights, each once, in the order of the graph."""
    found = {}
    for call in calls(model):
        if isinstance(call.operation, keras.Model):
            found |= {id(layer): layer for layer in _weighted(call.operation)}
        elif getattr(call.operation, "weights", None):
            found.setdefault(id(call.operation), call.operation)
    return list(found.values())


def _wanted(layer):
    """The kind and the shape in PyTorch of a layer of ours."""
    names = {weight.name: tuple(weight.shape) for weight in layer.weights}
    if "kernel" not in names:
        return "norm", next(iter(names.values()))
    shape = names["kernel"]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        shape = (shape[2] * shape[3], 1, *shape[:2])
    else:
        shape = (*shape[:-3:-1], *shape[:-2])
    return "kernel", shape[:2] if shape[2:] == (1, 1) else shape


def _converted(module, layer, flattened):
    """The weights of a module in the form and order of a layer of ours."""
    state = {name: value.detach().numpy() for name, value in (*module.named_parameters(), *module.named_buffers())}
    found = []
    for weight in layer.weights:
        if weight.name == "kernel":
            value, shape = state["weight"], tuple(weight.shape)
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                value = value.reshape(shape[2], shape[3], *shape[:2]).transpose(2, 3, 0, 1)
            elif flattened is not None:
                height, width, channels = flattened
                value = value.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(shape)
            else:
                value = value.reshape(*value.shape[:2], *shape[:-2]).transpose(*range(2, len(shape)), 1, 0)
        else:
            key = {"gamma": "weight", "moving_mean": "running_mean", "moving_variance": "running_var"}
            value = state[key.get(weight.name, "bias")]
        found.append(value)
    biased = any(weight.name in ("bias", "beta") for weight in layer.weights)
    assert biased == ("bias" in state), f"one of {layer.name} and its counterpart has a bias"
    return found


def _attention(joint, out, layer):
    """The weights of an attention layer of ours: three projections, of which theirs are one, and that of the output."""
    found = []
    for i in range(3):
        for weight, values in zip(layer.weights[:2], (joint.weight, joint.bias), strict=True):
            value = np.split(values.detach().numpy(), 3)[i]
            found.append(value.T.reshape(weight.shape))
    return [*found, out.weight.detach().numpy().T.reshape(layer.weights[-2].shape), out.bias.detach().numpy()]
