"""Parameters and multiply-adds against counts made by hand."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import architectures
from kblocks import compose, residual, tower
from kblocks.graph import Profile, profile
from tests.support.models import Unserialisable


def macs(shape, layer):
    x = keras.Input(shape)
    return profile(keras.Model(x, layer(x))).macs


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((9, 7, 4), layers.Conv2D(6, 3, padding="same"), 9 * 7 * 9 * 4 * 6),
        ((9, 7, 4), layers.Conv2D(6, 3, strides=2, padding="same"), 5 * 4 * 9 * 4 * 6),
        ((9, 7, 4), layers.Conv2D(6, (3, 1)), 7 * 7 * 3 * 4 * 6),
        ((9, 7, 4), layers.Conv2D(6, 3, groups=2, padding="same"), 9 * 7 * 9 * 2 * 6),
        ((9, 7, 4), layers.Conv2D(6, 3, dilation_rate=2), 5 * 3 * 9 * 4 * 6),
        ((9, 4), layers.Conv1D(6, 3), 7 * 3 * 4 * 6),
        ((5, 4, 3, 2), layers.Conv3D(6, 2), 4 * 3 * 2 * 8 * 2 * 6),
        ((9, 7, 4), layers.DepthwiseConv2D(3, depth_multiplier=2), 7 * 5 * 9 * 4 * 2),
        ((9, 7, 4), layers.DepthwiseConv2D(3, strides=2, padding="same"), 5 * 4 * 9 * 4),
        ((9, 4), layers.DepthwiseConv1D(3, depth_multiplier=2), 7 * 3 * 4 * 2),
        ((9, 7, 4), layers.SeparableConv2D(6, 3, depth_multiplier=2), 7 * 5 * (9 * 4 * 2 + 4 * 2 * 6)),
        ((9, 4), layers.SeparableConv1D(6, 3), 7 * (3 * 4 + 4 * 6)),
        ((9, 4), layers.Conv1DTranspose(6, 3, strides=2), 9 * 3 * 4 * 6),
        ((9, 7, 4), layers.Conv2DTranspose(6, 3, strides=2, padding="same"), 9 * 7 * 9 * 4 * 6),
        ((3, 3, 3, 4), layers.Conv3DTranspose(6, 2), 27 * 8 * 4 * 6),
        ((8,), layers.Dense(5), 8 * 5),
        ((3, 8), layers.Dense(5), 3 * 8 * 5),
        ((3, 2, 8), layers.Dense(5), 3 * 2 * 8 * 5),
        ((3, 8), layers.EinsumDense("abc,cd->abd", output_shape=(3, 5)), 3 * 8 * 5),
        ((3, 8), layers.EinsumDense("abc,cde->abde", output_shape=(3, 5, 2)), 3 * 8 * 5 * 2),
        ((3, 8), layers.EinsumDense("...c,cd->...d", output_shape=(5,)), 3 * 8 * 5),
        ((3, 8), layers.EinsumDense("abc,bcd->ad", output_shape=(5,)), 3 * 8 * 5),
        ((3, 8), layers.EinsumDense("abc,cd->ad", output_shape=(5,)), 3 * 8 * 5),
        ((3, 8), layers.EinsumDense("...d,d->...d", output_shape=(8,)), 3 * 8),
        ((3, 8), layers.TimeDistributed(layers.Dense(5)), 3 * 8 * 5),
        ((3, 9, 7, 4), layers.TimeDistributed(layers.Conv2D(6, 3, padding="same")), 3 * 9 * 7 * 9 * 4 * 6),
        ((5, 8), layers.LSTM(3), 5 * 4 * (8 * 3 + 3 * 3)),
        ((5, 8), layers.GRU(3), 5 * 3 * (8 * 3 + 3 * 3)),
        ((5, 8), layers.SimpleRNN(3), 5 * (8 * 3 + 3 * 3)),
        ((5, 8), layers.Bidirectional(layers.LSTM(3)), 2 * 5 * 4 * (8 * 3 + 3 * 3)),
        ((5,), layers.Embedding(7, 3), 0),
        ((9, 7, 4), layers.PReLU(), 0),
        ((9, 7, 4), layers.Normalization(mean=[1.0] * 4, variance=[1.0] * 4), 0),
        ((9, 7, 4), layers.LayerNormalization(axis=(1, 2, 3)), 0),
        ((9, 7, 4), layers.BatchNormalization(), 0),
        ((9, 7, 4), layers.MaxPooling2D(2), 0),
        ((9, 7, 4), layers.Activation("relu"), 0),
    ],
)
def test_layers(shape, layer, expected):
    assert macs(shape, layer) == expected


HEADS, KEY, VALUE, OUT = 2, 4, 3, 7
Q, V, K = (5, 8), (6, 9), (6, 10)


def attention_macs(k_width):
    query, key, value = 5 * 8 * HEADS * KEY, 6 * k_width * HEADS * KEY, 6 * 9 * HEADS * VALUE
    products = 5 * 6 * HEADS * KEY + 5 * 6 * HEADS * VALUE
    return query + key + value + products + 5 * HEADS * VALUE * OUT


@pytest.mark.parametrize(
    ("call", "k_width"),
    [
        (lambda layer, q, v, k, m: layer(q, v), 9),
        (lambda layer, q, v, k, m: layer(q, v, k), 10),
        (lambda layer, q, v, k, m: layer(q, v, key=k), 10),
        (lambda layer, q, v, k, m: layer(q, key=k, value=v), 10),
        (lambda layer, q, v, k, m: layer(key=k, value=v, query=q), 10),
        # A mask is a tensor of the call too, and no key.
        (lambda layer, q, v, k, m: layer(q, v, attention_mask=m), 9),
        (lambda layer, q, v, k, m: layer(q, v, k, attention_mask=m), 10),
    ],
)
def test_attention(call, k_width):
    layer = layers.MultiHeadAttention(HEADS, KEY, value_dim=VALUE, output_shape=OUT)
    tensors = [*(keras.Input(shape) for shape in (Q, V, K)), keras.Input((5, 6), dtype="bool")]
    assert profile(keras.Model(tensors, call(layer, *tensors))).macs == attention_macs(k_width)


def test_self_attention():
    x = keras.Input((5, 8))
    y = layers.MultiHeadAttention(2, 4)(x, x)
    assert profile(keras.Model(x, y)).macs == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8


def test_attention_along_one_axis_of_two():
    x = keras.Input((3, 5, 8))
    y = layers.MultiHeadAttention(2, 4, attention_axes=(2,))(x, x)
    assert profile(keras.Model(x, y)).macs == 4 * 15 * 8 * 8 + 2 * 3 * 5 * 5 * 8


def test_a_shared_layer_counts_once_per_call():
    x, layer = keras.Input((8,)), layers.Dense(8)
    assert profile(keras.Model(x, layer(layer(x)))) == Profile(params=72, trainable_params=72, macs=2 * 64)


def test_calls_in_another_graph_do_not_count():
    layer = layers.Conv2D(6, 3, padding="same")
    layer(keras.Input((9, 7, 4)))
    assert macs((5, 5, 4), layer) == 25 * 9 * 4 * 6


def test_a_nested_model_counts_once_a_call():
    shared = tower.as_model(lambda x, name: layers.Dense(4, name=name)(x), (6,))
    x = [keras.Input((6,)), keras.Input((6,))]
    y = layers.Dense(1)(tower.siamese(x, shared, merge=tower.abs_difference))
    model = keras.Model(x, y)
    assert profile(model) == Profile(params=28 + 5, trainable_params=28 + 5, macs=2 * 24 + 4)


def test_sequential():
    model = keras.Sequential([keras.Input((9, 7, 4)), layers.Conv2D(6, 3), layers.Flatten(), layers.Dense(5)])
    assert profile(model).macs == 7 * 5 * 9 * 4 * 6 + 7 * 5 * 6 * 5


def test_sequential_in_sequential_in_functional():
    inner = keras.Sequential([layers.Dense(5), layers.Dense(3)])
    outer = keras.Sequential([layers.Dense(8), inner])
    x = keras.Input((6,))
    assert profile(keras.Model(x, outer(x))).macs == 6 * 8 + 8 * 5 + 5 * 3


def test_a_layer_of_a_sequential_first_called_elsewhere():
    layer = layers.Conv2D(6, 3, padding="same")
    layer(keras.Input((9, 7, 4)))
    assert profile(keras.Sequential([keras.Input((5, 5, 4)), layer])).macs == 25 * 9 * 4 * 6


def test_operations_do_not_count():
    x = keras.Input((6,))
    y = ops.tanh(layers.Dense(6)(ops.abs(x)))
    assert profile(keras.Model(x, y)).macs == 36


def test_statistics_and_frozen_weights_are_not_trained():
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, residual.basic(x, 4, drop_path=0.1, name="u"))
    kernels = 2 * 9 * 4 * 4
    # Dropout's random state is no weight of the model.
    assert profile(model) == Profile(params=kernels + 32, trainable_params=kernels + 16, macs=64 * kernels)
    model.get_layer("u_conv1").trainable = False
    assert profile(model).trainable_params == kernels // 2 + 16
    assert profile(model).params == model.count_params()


def test_layer_scale_is_one_multiply_add_for_each_factor():
    x = keras.Input((8, 8, 4))
    assert profile(keras.Model(x, compose.layer_scale(x, 0.1))).macs == 4


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((None, 7, 4), layers.Conv2D(6, 3, name="probe")),
        ((None, 4), layers.Dense(5, name="probe")),
        ((None, 7, 4), layers.DepthwiseConv2D(3, name="probe")),
        ((None, 7, 4), layers.SeparableConv2D(6, 3, name="probe")),
        ((None, 7, 4), layers.Conv2DTranspose(6, 3, name="probe")),
        ((None, 8), layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), name="probe")),
    ],
)
def test_an_unknown_size_is_refused(shape, layer):
    with pytest.raises(ValueError, match=r"`model` must have known sizes .*; layer probe has shape"):
        macs(shape, layer)


@pytest.mark.parametrize("shapes", [((None, 8), (6, 8)), ((5, 8), (None, 8))])
def test_an_unknown_number_of_tokens_is_refused(shapes):
    x = [keras.Input(shape) for shape in shapes]
    model = keras.Model(x, layers.MultiHeadAttention(2, 4, name="probe")(*x))
    with pytest.raises(ValueError, match="layer probe has shape"):
        profile(model)


def test_an_unbuilt_sequential_is_refused():
    with pytest.raises(ValueError, match="`model` must be built"):
        profile(keras.Sequential([layers.Dense(3)]))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


class SubclassedFunctional(keras.Model):
    def __init__(self, units):
        x = keras.Input((4,))
        super().__init__(x, layers.Dense(units)(x))


def around(model, name=None):
    x = keras.Input((4,))
    return keras.Model(x, model(x), name=name)


class Bilinear(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]))

    def call(self, x):
        return x @ self.kernel


@pytest.mark.parametrize(
    "mine",
    [
        lambda x: Bilinear(name="mine")(x),
        lambda x: Unserialisable(lambda t: t @ ops.transpose(t) @ t, name="mine")(x),
        lambda x: layers.Lambda(lambda t: t, name="mine", output_shape=(4,))(x),
        lambda x: around(Subclassed(), name="mine")(x),
    ],
    ids=["weights", "no weights", "lambda", "subclassed model"],
)
def test_what_can_not_be_counted_is_listed_loudly(mine):
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(6, name="dense")(mine(x)))
    with pytest.warns(UserWarning, match="the multiply-adds of 1 calls of .* are not known and not counted: mine"):
        found = profile(model)
    assert len(found.uncounted) == 1
    assert found.uncounted[0].startswith("mine")
    assert found.macs == 6 * model.get_layer("dense").input.shape[-1]
    assert "Not counted, so the multiply-adds are too few: mine" in found.to_markdown()
    assert found.to_dict()["uncounted"] == list(found.uncounted)


@pytest.mark.parametrize("sequential", [False, True])
def test_a_model_of_any_size_within_one_of_known_size(sequential):
    x = keras.Input((None, None, 3))
    inner = keras.Model(x, residual.basic(x, 8, stride=2))
    if sequential:
        inner = keras.Sequential([keras.Input((None, None, 3)), inner])
    y = keras.Input((8, 8, 3))
    expected = 4 * 4 * 9 * (3 * 8 + 8 * 8) + 4 * 4 * 3 * 8
    assert profile(keras.Model(y, inner(y))).macs == expected
    with pytest.raises(ValueError, match="`model` must have known sizes"):
        profile(inner)


@pytest.mark.parametrize("make", [Subclassed, lambda: layers.Dense(3)], ids=["subclassed", "layer"])
def test_what_shows_no_graph_is_refused(make):
    with pytest.raises(TypeError, match=r"`model` must be a functional or Sequential keras.Model; got <"):
        profile(make())


def test_a_functional_model_with_a_constructor_of_its_own():
    assert profile(SubclassedFunctional(3)).macs == 12


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_a_nested_model_of_any_size_called_with_several_tensors(kind):
    a, b = keras.Input((None, None, 3), name="a"), keras.Input((None, None, 3), name="b")
    y = layers.Add()([layers.Conv2D(4, 1)(a), layers.Conv2D(4, 3, padding="same")(b)])
    inner = keras.Model({"a": a, "b": b} if kind == "dict" else [a, b], y)
    x = [keras.Input((5, 6, 3)), keras.Input((5, 6, 3))]
    outer = keras.Model(x, inner({"a": x[0], "b": x[1]} if kind == "dict" else x))
    assert profile(outer).macs == 5 * 6 * 3 * 4 * (1 + 9)


T, S, D = 16, 12, 32


def products(make, *shapes):
    x = [keras.Input(shape) for shape in shapes]
    return profile(keras.Model(x, make(*x))).macs


@pytest.mark.parametrize(
    ("make", "shapes", "expected"),
    [
        (lambda x: layers.Attention()([x, x]), [(T, D)], 2 * T * T * D),
        (lambda x: layers.AdditiveAttention()([x, x]), [(T, D)], 2 * T * T * D),
        (lambda q, v, k: layers.Attention()([q, v, k]), [(T, D), (S, 7), (S, D)], T * S * (D + 7)),
        (lambda a, b: layers.Dot(axes=-1)([a, b]), [(D,), (D,)], D),
        (lambda a, b: layers.Dot(axes=(2, 2))([a, b]), [(T, D), (S, D)], T * S * D),
        (lambda a, b: layers.Dot(axes=1)([a, b]), [(T, D), (T, 5)], D * 5 * T),
        (lambda a, b: ops.matmul(a, b), [(T, D), (D, S)], T * D * S),
        (lambda a, b: a @ b, [(T, D), (D, S)], T * D * S),
        (lambda a, b: ops.einsum("bid,bjd->bij", a, b), [(T, D), (S, D)], T * D * S),
        (lambda a, b: ops.einsum("b...d,bjd->b...j", a, b), [(T, D), (S, D)], T * D * S),
        (lambda a: ops.conv(a, np.ones((3, 3, 4, 6), "float32"), padding="same"), [(9, 7, 4)], 9 * 7 * 9 * 4 * 6),
        (lambda a: ops.tensordot(a, np.ones((D, 5), "float32"), axes=1), [(T, D)], T * D * 5),
        (
            lambda x: layers.GroupQueryAttention(4, 6, 2)(x, x),
            [(T, D)],
            2 * T * D * 6 * 4 + 2 * T * D * 2 * 4 + 2 * T * T * 6 * 4,
        ),
    ],
)
def test_products_without_weights(make, shapes, expected):
    assert products(make, *shapes) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(6, 3, padding="same", data_format="channels_first"), 9 * 7 * 9 * 4 * 6),
        (layers.DepthwiseConv2D(3, padding="same", data_format="channels_first"), 9 * 7 * 9 * 4),
        (layers.SeparableConv2D(6, 3, padding="same", data_format="channels_first"), 9 * 7 * (9 * 4 + 4 * 6)),
        (layers.Conv2DTranspose(6, 3, padding="same", data_format="channels_first"), 9 * 7 * 9 * 4 * 6),
    ],
)
def test_channels_first(layer, expected):
    assert macs((4, 9, 7), layer) == expected


# Multiply-adds in millions at 224×224 (Inception and Xception 299×299), as torchvision, timm or the papers give them.
PUBLISHED = {
    "vgg16": 15_470, "vgg19": 19_630, "resnet50": 3_860, "resnet101": 7_570, "resnet152": 11_280,
    "resnet50_v1_5": 4_089, "densenet121": 2_834, "densenet169": 3_360, "densenet201": 4_291, "mobilenet": 569,
    "mobilenet_v2": 301, "mobilenet_v3_large": 217, "mobilenet_v3_small": 57, "efficientnet_b0": 386,
    "inception_v3": 5_710, "xception": 8_400, "convnext_tiny": 4_456, "nasnet_mobile": 564,
}  # fmt: skip


@pytest.mark.parametrize("arch", PUBLISHED)
def test_published_multiply_adds(arch):
    """Of the rows, whose counts other tests compare with those of the networks."""
    assert architectures.variant(arch).macs / 1e6 == pytest.approx(PUBLISHED[arch], rel=0.03)


def test_at_another_size():
    model = architectures.create("resnet50", input_shape=(None, None, 3))
    assert profile(model, (224, 224, 3)).macs == architectures.variant("resnet50").macs
    with pytest.raises(
        ValueError, match=r"`input_shape` must fit the inputs of resnet50, \(None, None, 3\); got \(4,\)"
    ):
        profile(model, (4,))


def test_rows_and_stages():
    found = profile(architectures.create("resnet20"))
    assert sum(row.macs for row in found.rows) == found.macs
    assert sum(row.params for row in found.rows) == found.params
    assert sum(row.activations for row in found.rows) == found.activations
    stages = {row.name: row for row in found.by_stage()}
    assert list(stages) == ["stem", "stage1", "stage2", "stage3", "pool", "logits"]
    assert sum(row.macs for row in stages.values()) == found.macs
    assert stages["stem"].macs == 32 * 32 * 27 * 16
    assert [stages[f"stage{i}"].stride for i in (1, 2, 3)] == [1, 2, 4]
    assert stages["logits"].params == 650
    assert found.flops == 2 * found.macs
    assert found.other_params == 2 * (found.params - found.trainable_params) // 2
    lines = found.to_markdown(by_stage=True).splitlines()
    assert len(lines) == 2 + 6 + 1
    assert "40,551,040" in lines[-1]
    assert json.loads(json.dumps(found.to_dict()))["macs"] == 40_551_040


def test_memory_of_a_chain():
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Dense(2)(layers.ReLU()(layers.Dense(8)(x))))
    found = profile(model)
    weights = 4 * (4 * 8 + 8 + 8 * 2 + 2)
    assert found.memory(10).weights == weights
    # The most at a time: the two arrays of 8 values.
    assert found.memory(10).activations == 10 * 4 * 16
    training = found.memory(10, training=True, optimizer_slots=2)
    assert training.activations == 10 * 4 * (4 + 8 + 8 + 2)
    assert (training.gradients, training.optimizer) == (weights, 2 * weights)
    assert training.total == 4 * weights + training.activations
    assert found.memory(10, dtype="bfloat16").activations == 10 * 2 * 16


def test_a_shortcut_keeps_its_tensor():
    x = keras.Input((10,), name="x")
    y = layers.Dense(10)(layers.Dense(3)(layers.Dense(5)(x)))
    assert profile(keras.Model(x, layers.Add()([x, y]))).memory().activations == 4 * 30


@pytest.mark.parametrize(("options", "message"), [({"batch_size": 0}, "batch_size"), ({"dtype": "text"}, "dtype")])
def test_no_memory(options, message):
    with pytest.raises(ValueError, match=f"`{message}` must be"):
        profile(architectures.create("lenet_tiny")).memory(**options)
