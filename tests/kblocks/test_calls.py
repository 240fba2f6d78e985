"""`kblocks.graph.calls`: the calls of any graph, in order, and running them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kblocks.graph.calls import calls, run
from tests.support.models import Unserialisable, predict


class Functional(keras.Model):
    """A functional model of a class of its own, with another constructor."""

    def __init__(self, units):
        x = keras.Input((4,))
        super().__init__(x, layers.Dense(units, name="dense")(x))


def own(call, args, kwargs):
    return call.operation(*args, **kwargs)


def chain():
    x = keras.Input((4,), name="x")
    return keras.Model(x, layers.ReLU(name="relu")(layers.Dense(3, name="dense")(x)))


def several():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(4, name="shared")
    joined = layers.Concatenate(name="joined")([shared(a), shared(b)])
    return keras.Model({"b": b, "a": a}, {"sum": layers.Dense(1, name="sum")(joined), "joined": joined})


def nested():
    x = keras.Input((4,), name="x")
    inner = chain()
    return keras.Model(x, [inner(x), inner(ops.negative(x))])


def unserialisable():
    x = keras.Input((4,), name="x")
    return keras.Model(x, Unserialisable(lambda t: 2 * t, name="mine")(x))


def split():
    x = keras.Input((4,), name="x")
    left, right = ops.split(x, 2, axis=-1)
    return keras.Model(x, layers.Subtract(name="difference")([right, left]))


MODELS = {
    "chain": (chain, ["dense", "relu"]),
    "several": (several, ["shared", "shared#2", "joined", "sum"]),
    "nested": (nested, None),
    "unserialisable": (unserialisable, ["mine"]),
    "split": (split, None),
    "subclass": (lambda: Functional(3), ["dense"]),
    "sequential": (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(4, name="one"), chain()]), None),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_run_computes_what_the_model_computes(name):
    model = MODELS[name][0]()
    rng = np.random.default_rng(0)
    x = {t.name: rng.normal(size=(2, *t.shape[1:])).astype("float32") for t in model.inputs}
    given = x if len(x) > 1 else next(iter(x.values()))
    expected = keras.tree.map_structure(ops.convert_to_numpy, model(given))
    found = run(model, keras.tree.map_structure(ops.convert_to_tensor, given), own)
    keras.tree.assert_same_structure(found, expected)
    for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), b, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, (_, names) in MODELS.items() if names])
def test_calls_come_in_order(name):
    make, names = MODELS[name]
    found = [call.name for call in calls(make())]
    assert sorted(found) == sorted(names)
    assert found[-1] == names[-1]


def test_every_input_is_produced_before():
    model = several()
    known = set(map(id, model.inputs))
    for call in calls(model):
        assert {id(x) for x in call.inputs} <= known
        known |= set(map(id, call.outputs))


def test_names_within_nested_models():
    seen = []
    model = nested()
    inner = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    run(model, np.ones((1, 4), "float32"), lambda call, args, kwargs: seen.append(call.name) or own(call, args, kwargs))
    assert [name for name in seen if "/" in name] == [
        f"{inner.name}/dense",
        f"{inner.name}/relu",
        f"{inner.name}#2/dense",
        f"{inner.name}#2/relu",
    ]


def test_a_layer_that_another_model_called_first():
    layer = layers.Dense(3)
    layer(keras.Input((4,)))
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layer(x))
    (call,) = calls(model)
    assert [t is x for t in call.inputs] == [True]
    assert call.outputs[0] is model.outputs[0]


def test_a_model_that_ends_where_others_go_on():
    """The calls are those of the model, not all that its layers have."""
    x = keras.Input((4,), name="x")
    y = layers.Dense(3, name="first")(x)
    layers.Dense(2, name="beyond")(y)
    assert [call.name for call in calls(keras.Model(x, y))] == ["first"]


def test_nothing_is_added_to_the_model():
    model = several()
    before = [len(operation._inbound_nodes) for operation in model.operations]
    calls(model)
    run(model, [np.ones((1, 4), "float32")] * 2, own)
    assert [len(operation._inbound_nodes) for operation in model.operations] == before


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize("model", [Subclassed(), layers.Dense(3), "resnet50", None])
def test_what_has_no_graph(model):
    with pytest.raises(TypeError, match=r"`model` must be a functional or Sequential keras.Model; got"):
        calls(model)


def test_a_sequential_that_is_not_built():
    with pytest.raises(ValueError, match=r"`model` must be built, .* the Sequential model unbuilt"):
        calls(keras.Sequential([layers.Dense(3)], name="unbuilt"))


def test_a_sequential_that_was_built_by_a_call():
    model = keras.Sequential([layers.Dense(3, name="dense")])
    predict(model, np.ones((1, 4), "float32"))
    assert [call.name for call in calls(model)] == ["dense"]
