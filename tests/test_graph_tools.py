"""The graph tools on every network: `make test-slow ARGS=tests/test_graph_tools.py` prints what they make of each."""

import inspect

import keras
import numpy as np
import pytest

import architectures
from kblocks import graph
from tests.support.models import predict
from tests.support.weights import images, scramble

APPLICATIONS = [name for name, value in vars(keras.applications).items() if inspect.isfunction(value)]
SMALL = {"resnet_tiny", "mobilenet_v3_tiny", "googlenet_tiny", "siamese_tiny", "densenet_tiny", "multi_input_tiny"}


def build(name):
    if name in APPLICATIONS:
        size = 96 if "Inception" in name or name == "Xception" else 64
        make = getattr(keras.applications, name)
        return make(weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None)
    row = architectures.variant(name)
    if row.classes == 1000:
        return architectures.create(name, input_shape=(96, 96, 3), classes=10)
    return architectures.create(name)


def inputs_of(model):
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(2, *x.shape[1:])).astype("float32") for x in model.inputs]
    pairs = enumerate(zip(model.inputs, vectors, strict=True))
    return [images(x.shape[1:], seed=i) if len(x.shape) == 4 else vector for i, (x, vector) in pairs]


def close(found, expected, tolerance):
    for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize(
    "name",
    [
        name if name in SMALL else pytest.param(name, marks=pytest.mark.slow)
        for name in (*architectures.names(), *APPLICATIONS)
    ],
)
def test_every_tool_on_every_network(name, tmp_path, record_property):
    model = build(name)
    if len(model.inputs) == 1 and len(model.input_shape) == 4:
        scramble(model, model.input_shape[1:])
    x = inputs_of(model)
    expected = predict(model, *x)
    before = [len(operation._inbound_nodes) for operation in model.operations]

    counts = graph.profile(model)
    assert counts.uncounted == ()
    assert counts.params == model.count_params()
    row = architectures.variant(name) if name in architectures.names() else None
    if row and model.inputs[0].shape[1:] == row.input_shapes[0]:
        assert counts.macs == row.macs
    strides = sorted({each.stride for each in graph.endpoints(model) if each.stride and each.stride > 1})
    found = []
    for stride in strides:
        try:
            found.append((stride, graph.features(model, stride)))
        except ValueError:
            continue
    folded = graph.fold(model)
    # Random weights magnify the rounding of float32; test_fold compares deep networks in float64.
    close(predict(folded, *x), expected, 2e-3)
    frozen = graph.freeze(model, model.layers[-2].name)
    close(predict(frozen, *x), expected, 1e-6)
    assert len(frozen.trainable_weights) < len(model.trainable_weights) or not model.trainable_weights
    assert [y.shape[-1] for y in graph.replace_head(model, 3).outputs] == [3] * len(model.outputs)
    drawn = graph.draw(model, tmp_path / "net.dot").read_text()
    assert [len(operation._inbound_nodes) for operation in model.operations] == before
    norms = [sum(isinstance(layer, keras.layers.BatchNormalization) for layer in m.layers) for m in (model, folded)]
    levels = " ".join(f"{stride:g}:{net.output_shape[-1]}" for stride, net in found)
    boxes = drawn.count("[label=<")
    print(f"| {name} | {counts.params:,} | {counts.macs:,} | {levels} | {norms[0]} → {norms[1]} | {boxes} |")
