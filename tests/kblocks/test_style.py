"""Style: what it refuses, and what the layers make of it."""

from dataclasses import FrozenInstanceError, replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from kblocks import conv, style
from kblocks.style import GELU_LN, RELU, RELU6_BN, RELU_BN, SWISH_BN, TANH, Style
from tests.support.numpy_layers import sigmoid

SEEDED = {"class_name": "HeNormal", "config": {"seed": 3}}


def kernels(*styles):
    """The kernels of convolutions of one shape, one for each style."""
    x = keras.Input((4, 4, 3))
    model = keras.Model(x, [conv.conv(x, 3, style=s) for s in styles])
    return [ops.convert_to_numpy(weight) for weight in model.weights if weight.name == "kernel"]


@pytest.mark.parametrize("field", ["initializer", "regularizer"])
def test_an_instance_is_refused_with_the_remedy(field):
    instance = {"initializer": keras.initializers.HeNormal(), "regularizer": keras.regularizers.L2()}[field]
    with pytest.raises(TypeError, match=rf"`{field}` must be a name.*keras\.{field}s\.serialize"):
        Style(**{field: instance})


def test_the_remedy_works():
    configuration = keras.initializers.serialize(keras.initializers.HeNormal(seed=3))
    np.testing.assert_array_equal(*kernels(Style(initializer=configuration), Style(initializer=SEEDED)))


def test_a_seed_in_a_configuration_is_obeyed():
    first, second, other = kernels(
        Style(initializer=SEEDED),
        Style(initializer=SEEDED),
        Style(initializer={"class_name": "HeNormal", "config": {"seed": 4}}),
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("initializer", ["he_normal", {"class_name": "HeNormal", "config": {}}], ids=type)
def test_two_layers_of_one_style_get_different_weights(initializer):
    one = Style(initializer=initializer)
    first, second = kernels(one, one)
    assert np.abs(first - second).max() > 1e-3


def test_the_initialiser_and_the_regulariser_reach_the_kernels():
    x = keras.Input((4, 4, 3))
    plain = Style(initializer="ones", regularizer={"class_name": "L2", "config": {"l2": 0.5}})
    for y, weights in (
        (conv.conv(x, 2, style=plain), 9 * 3 * 2),
        (conv.depthwise_conv(x, style=plain), 9 * 3),
        (conv.separable_conv(x, 2, style=plain), 9 * 3 + 3 * 2),
    ):
        (*losses,) = keras.Model(x, y).losses
        assert sum(float(loss) for loss in losses) == pytest.approx(0.5 * weights)


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("norm", "batch", TypeError, "`norm` must be a function .* got 'batch'"),
        ("activation", "relu", TypeError, "`activation` must be a function .* got 'relu'"),
        ("activation", None, TypeError, "`activation` must be a function .* got None"),
        ("activation", keras.activations.relu, TypeError, "`activation` must be a function .*; relu takes no `name`"),
        ("activation", keras.layers.ReLU, TypeError, "`activation` must be a function .* got <class "),
        ("norm", keras.layers.BatchNormalization, TypeError, "`norm` must be a function .* got <class "),
        ("padding", "full", ValueError, "`padding` must be one of 'same', 'valid', 'symmetric', 'floor'; got 'full'"),
        ("initializer", None, TypeError, "`initializer` must be a name or a configuration; got None"),
        ("regularizer", 1e-4, TypeError, "`regularizer` must be a name, a configuration or None; got 0.0001"),
    ],
)
def test_a_wrong_field_is_refused(field, value, error, message):
    with pytest.raises(error, match=message):
        Style(**{field: value})


def test_a_misspelt_field_raises():
    with pytest.raises(TypeError, match="activaton"):
        replace(RELU_BN, activaton=style.gelu)


def test_a_style_is_a_value():
    assert Style() == RELU_BN
    assert replace(RELU_BN, activation=style.relu6) == RELU6_BN
    assert len({RELU_BN, RELU6_BN, SWISH_BN, GELU_LN, RELU, TANH, Style()}) == 6
    with pytest.raises(FrozenInstanceError):
        RELU_BN.padding = "valid"


def test_replace_leaves_the_original():
    varied = replace(RELU_BN, norm=None, padding="valid")
    assert (varied.norm, varied.padding, varied.activation) == (None, "valid", style.relu)
    assert (RELU_BN.norm, RELU_BN.padding) == (style.batch_norm, "same")


def test_no_normalisation_adds_no_layer():
    x = keras.Input((4, 4, 3))
    assert style.normalize(x, style=RELU, name="norm") is x


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        (style.linear, lambda x: x),
        (style.relu, lambda x: np.maximum(x, 0)),
        (style.relu6, lambda x: np.clip(x, 0, 6)),
        (style.swish, lambda x: x * sigmoid(x)),
        (style.hard_swish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
        (style.tanh, np.tanh),
        (style.sigmoid, sigmoid),
        (style.hard_sigmoid, lambda x: np.clip(x + 3, 0, 6) / 6),
        # The tanh approximation of GELU is within a thousandth of the exact one, whichever Keras takes.
        (style.gelu, lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    ],
    ids=lambda f: f.keywords["function"] if isinstance(f, partial) else "",
)
def test_activations_are_the_functions_of_their_names(function, formula, numbers, evaluate):
    x = keras.Input((8,))
    data = 5 * numbers(4, 8)
    np.testing.assert_allclose(evaluate(keras.Model(x, function(x)), data), formula(data), atol=1e-3)


def normalised(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize(
    ("function", "axes"),
    [
        (partial(style.batch_norm, epsilon=0.25), (0, 1, 2)),
        (partial(style.layer_norm, epsilon=0.25), (3,)),
    ],
    ids=["batch", "layer"],
)
def test_norms_take_the_statistics_of_their_axes(function, axes, numbers, evaluate):
    x = keras.Input((5, 4, 3))
    data = numbers(6, 5, 4, 3)
    y = evaluate(keras.Model(x, function(x)), data, training=True)
    np.testing.assert_allclose(y, normalised(data, axes, 0.25), atol=1e-5)


def test_group_norm_takes_the_statistics_of_each_group(numbers, evaluate):
    x = keras.Input((5, 4, 6))
    data = numbers(3, 5, 4, 6)
    y = evaluate(keras.Model(x, style.group_norm(x, groups=2, epsilon=0.25)), data)
    grouped = normalised(data.reshape(3, 5, 4, 2, 3), (1, 2, 4), 0.25)
    np.testing.assert_allclose(y, grouped.reshape(data.shape), atol=1e-5)


def test_group_norm_refuses_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="`channels` must be divisible by `groups`; got 6 and 4"):
        style.group_norm(keras.Input((4, 4, 6)), groups=4)


def test_batch_norm_without_a_scale():
    x = keras.Input((4,))
    assert [w.name for w in keras.Model(x, style.batch_norm(x)).trainable_weights] == ["gamma", "beta"]
    assert [w.name for w in keras.Model(x, style.batch_norm(x, scale=False)).trainable_weights] == ["beta"]


def test_batch_norm_keeps_the_given_share_of_the_old_statistics(numbers, evaluate):
    x = keras.Input((4,))
    model = keras.Model(x, style.batch_norm(x, momentum=0.75))
    data = numbers(16, 4)
    evaluate(model, data, training=True)
    np.testing.assert_allclose(model.layers[-1].moving_mean, 0.25 * data.mean(0), atol=1e-6)


def test_instance_norm(numbers, evaluate, scramble):
    x = keras.Input((None, None, 4))
    model = scramble(keras.Model(x, style.instance_norm(x, epsilon=1e-3, name="norm")))
    gamma, beta = model.get_layer("norm").get_weights()
    data = 3 * numbers(2, 5, 6, 4) + 1
    expected = (data - data.mean((1, 2), keepdims=True)) / np.sqrt(data.var((1, 2), keepdims=True) + 1e-3)
    np.testing.assert_allclose(evaluate(model, data), gamma * expected + beta, rtol=1e-4, atol=1e-4)


def test_rms_norm(numbers, evaluate, scramble):
    x = keras.Input((None, None, 4))
    model = scramble(keras.Model(x, style.rms_norm(x, epsilon=1e-3, name="norm")))
    (gamma,) = model.get_layer("norm").get_weights()
    data = 3 * numbers(2, 5, 6, 4) + 1
    expected = data / np.sqrt((data**2).mean(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(evaluate(model, data), gamma * expected, rtol=1e-4, atol=1e-4)


def test_mish(numbers, evaluate):
    x = keras.Input((8,))
    data = numbers(4, 8)
    found = evaluate(keras.Model(x, style.mish(x)), data)
    np.testing.assert_allclose(found, data * np.tanh(np.log1p(np.exp(data))), rtol=1e-4, atol=1e-5)
    assert style.carried(Style(norm=None, activation=style.mish)) == "mish"
