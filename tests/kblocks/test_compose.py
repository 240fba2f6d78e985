"""Functions that put blocks together."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

from kblocks import compose, conv, convnext, pool, residual
from kblocks.style import RELU_BN, SWISH_BN


def times(factor):
    """A block whose values can be told: `factor · x`."""

    def block(x, *, name):
        return layers.Rescaling(factor, name=name)(x)

    return block


def scale_names(model):
    return [layer.name for layer in model.layers if isinstance(layer, layers.Rescaling)]


def test_chain_applies_from_left_to_right(numbers, evaluate):
    x = keras.Input((8,))
    shift = partial(lambda x, name: layers.Rescaling(1.0, offset=1.0, name=name)(x))
    model = keras.Model(x, compose.chain(x, [times(2), shift, times(3)], name="c"))
    data = numbers(2, 8)
    np.testing.assert_allclose(evaluate(model, data), (2 * data + 1) * 3, rtol=1e-5)
    assert scale_names(model) == ["c_1", "c_2", "c_3"]


def test_branches_see_the_same_input(numbers, evaluate):
    x = keras.Input((8,))
    model = keras.Model(x, compose.branches(x, [times(2), times(3)], name="b"))
    data = numbers(2, 8)
    np.testing.assert_allclose(evaluate(model, data), np.concatenate([2 * data, 3 * data], -1), rtol=1e-5)
    assert scale_names(model) == ["b_branch1", "b_branch2"]
    assert model.layers[-1].name == "b_out"


def test_branches_with_another_merge(numbers, evaluate):
    x = keras.Input((8,))
    data = numbers(2, 8)
    model = keras.Model(x, compose.branches(x, [times(2), times(3)], merge=compose.add))
    np.testing.assert_allclose(evaluate(model, data), 5 * data, rtol=1e-5)


def test_skip_adds_the_input(numbers, evaluate):
    x = keras.Input((8,))
    data = numbers(2, 8)
    model = keras.Model(x, compose.skip(x, times(3), name="s"))
    np.testing.assert_allclose(evaluate(model, data), 4 * data, rtol=1e-5)
    assert [layer.name for layer in model.layers[1:]] == ["s_branch", "s_out"]


def test_skip_drops_the_branch_and_not_the_shortcut(evaluate):
    x = keras.Input((8,))
    model = keras.Model(x, compose.skip(x, times(3), shortcut=times(10), drop_path=0.5))
    y = evaluate(model, np.ones((256, 8), "float32"), training=True)
    assert set(np.unique(y)) == {10, 16}
    np.testing.assert_allclose(evaluate(model, np.ones((4, 8), "float32")), 13)


@pytest.mark.parametrize(("merge", "channels"), [(compose.concat, 4), (compose.add, 4)])
def test_a_merge_of_one_is_the_tensor_itself(merge, channels, numbers, evaluate):
    x = keras.Input((channels,))
    data = numbers(2, channels)
    np.testing.assert_array_equal(evaluate(keras.Model(x, merge([x], name="out")), data), data)


def test_merges(numbers, evaluate):
    inputs = [keras.Input((5, 4)), keras.Input((5, 4)), keras.Input((5, 4))]
    data = [numbers(2, 5, 4, seed=i) for i in range(3)]
    joined, total = evaluate(keras.Model(inputs, [compose.concat(inputs), compose.add(inputs)]), *data)
    np.testing.assert_allclose(joined, np.concatenate(data, -1))
    np.testing.assert_allclose(total, data[0] + data[1] + data[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("merge", [compose.concat, compose.add])
def test_a_merge_refuses_what_cannot_be_joined(merge):
    for shapes in [((8, 8, 3), (8, 7, 3)), ((8, 8, 3), (8, 3))]:
        with pytest.raises(ValueError, match=r"`tensors` must have equal shapes.*; got \(None, 8, 8, 3\), \(None, 8,"):
            merge([keras.Input(shape) for shape in shapes])
    with pytest.raises(ValueError, match="`tensors` must hold at least one tensor; got an empty list"):
        merge([])
    with pytest.raises(TypeError, match="`tensors` must be a list or tuple of tensors; got <KerasTensor"):
        merge(keras.Input((8,)))


def test_add_broadcasts_nothing():
    with pytest.raises(ValueError, match="`tensors` must have equal shapes; got"):
        compose.add([keras.Input((8, 8, 3)), keras.Input((1, 1, 3))])


@pytest.mark.parametrize("function", [compose.chain, compose.branches])
def test_lists_of_blocks_are_checked(function):
    x = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="`blocks` must hold at least one function; got an empty list"):
        function(x, [])
    with pytest.raises(TypeError, match="`blocks` must be a list or tuple of functions; got <function"):
        function(x, times(2))
    with pytest.raises(TypeError, match=r"`blocks` must be a function .* got 'conv'"):
        function(x, ["conv"])


def test_branches_that_cannot_be_joined_are_refused():
    x = keras.Input((8, 8, 3))
    blocks = [partial(conv.conv, filters=4), partial(conv.conv, filters=4, stride=2)]
    with pytest.raises(ValueError, match=r"`tensors` must have equal shapes but for axis -1; got .*8, 8, 4.*4, 4, 4"):
        compose.branches(x, blocks)


def test_a_branch_that_changes_the_shape_cannot_be_skipped():
    with pytest.raises(ValueError, match=r"`tensors` must have equal shapes; got \(None, 8, 8, 3\), \(None, 8, 8, 4\)"):
        compose.skip(keras.Input((8, 8, 3)), partial(conv.conv, filters=4))


def test_stage_hands_everything_down():
    calls = []

    def unit(x, filters, **arguments):
        calls.append((filters, arguments))
        return x

    x = keras.Input((8, 8, 3))
    compose.stage(x, unit, 16, 3, stride=2, drop_paths=(0.0, 0.1, 0.2), style=SWISH_BN, name="s")
    assert calls == [
        (16, {"stride": 2, "drop_path": 0.0, "style": SWISH_BN, "name": "s_unit1"}),
        (16, {"stride": 1, "drop_path": 0.1, "style": SWISH_BN, "name": "s_unit2"}),
        (16, {"stride": 1, "drop_path": 0.2, "style": SWISH_BN, "name": "s_unit3"}),
    ]


@pytest.mark.parametrize("style", [None, RELU_BN])
def test_without_a_style_the_unit_keeps_its_own(style):
    x = keras.Input((8, 8, 4))
    unit = partial(residual.basic, style=SWISH_BN)
    model = keras.Model(x, compose.stage(x, unit, 4, 1, style=style, name="s"))
    assert model.get_layer("s_unit1_out").activation.__name__ == ("relu" if style else "silu")
    kinds = [type(y) for y in keras.Model(x, compose.stage(x, convnext.block, 4, 1)).layers]
    assert layers.LayerNormalization in kinds
    assert layers.BatchNormalization not in kinds


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: compose.stage(x, residual.basic, 4, 1, drop_paths=0.1), "`drop_paths` must hold one rate for each"),
        (lambda x: compose.drop_path_schedule(0.1, 3), "`depths` must hold the number of units of each stage; got 3"),
        (lambda x: compose.layer_scale(x, "a"), "`initial` must be a number; got 'a'"),
        (lambda x: compose.branches(x, [times(2)], merge="add"), "`merge` must be a function"),
        (lambda x: compose.skip(x, times(2), shortcut=3), "`shortcut` must be a function"),
        (lambda x: residual.basic(x, 4, shortcut="projection"), "`shortcut` must be a function"),
        (lambda x: residual.preact_basic(x, 4, shortcut=None), "`shortcut` must be a function"),
        (lambda x: residual.basic(x, 4, attention="se"), "`attention` must be a function"),
        (lambda x: pool.global_pool(3), "`x` must hold tensors; got 3"),
    ],
)
def test_what_is_no_function_and_no_list(call, message):
    with pytest.raises(TypeError, match=message):
        call(keras.Input((8, 8, 4)))


def test_stage_drops_nothing_unless_told():
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, compose.stage(x, residual.basic, 4, 2))
    assert not [layer for layer in model.layers if isinstance(layer, layers.Dropout)]
    model = keras.Model(x, compose.stage(x, residual.basic, 4, 3, drop_paths=compose.drop_path_schedule(0.2, [3])[0]))
    assert [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)] == [0.1, 0.2]


def test_stage_wants_one_rate_for_each_unit():
    with pytest.raises(ValueError, match="`drop_paths` must hold one rate for each unit; got 2 for a depth of 3"):
        compose.stage(keras.Input((8, 8, 4)), residual.basic, 4, 3, drop_paths=(0.0, 0.1))
    with pytest.raises(ValueError, match=r"`drop_path` must be at least 0 and below 1; got 1\.0"):
        compose.stage(keras.Input((8, 8, 4)), residual.basic, 4, 1, drop_paths=(1.0,))
    with pytest.raises(TypeError, match=r"`unit` must be a function \(x, filters, .* got 'basic'"):
        compose.stage(keras.Input((8, 8, 4)), "basic", 4, 1)


def test_stage_names_what_a_unit_lacks():
    def bare(x, filters, *, stride=1, style=RELU_BN, name=None):
        raise AssertionError("must not be called")

    def narrow(x, *, stride=1, drop_path=0.0, name=None):
        raise AssertionError("must not be called")

    def greedy(x, filters, kernel_size, *, stride, drop_path, scale, style, name):
        raise AssertionError("must not be called")

    form = r"`unit` must be a function \(x, filters, \*, stride, drop_path, style, name\) -> tensor; .*"
    for unit, problem in {
        bare: "bare takes no `drop_path`$",
        narrow: "narrow takes no `filters` and no `style`$",
        greedy: "greedy needs `kernel_size` and `scale` too",
        partial(greedy, kernel_size=3): "functools.partial.* needs `scale` too",
        layers.Dense(4): "got <Dense",
        layers.Dense: "got <class",
        len: "len takes no `filters`",
    }.items():
        with pytest.raises(TypeError, match=form + problem):
            compose.stage(keras.Input((8, 8, 4)), unit, 4, 1, style=RELU_BN)


def test_a_unit_of_ones_own():
    def unit(x, filters, *, stride, drop_path, name):
        return layers.Conv2D(filters, 3, strides=stride, name=name)(x)

    model = keras.Model(x := keras.Input((8, 8, 4)), compose.stage(x, unit, 6, 2, stride=2, name="s"))
    assert [layer.name for layer in model.layers[1:]] == ["s_unit1", "s_unit2"]
    assert compose.stage(x, lambda x, filters, **options: x, 4, 1) is x
    with pytest.raises(TypeError, match="unit takes no `style`"):
        compose.stage(x, unit, 6, 2, style=RELU_BN)


@pytest.mark.parametrize(
    ("call", "form"),
    [
        (
            lambda x: residual.basic(x, 4, attention=lambda x, name: x),
            r"`attention` .* \(x, \*, style, name\) .*; <lambda> takes no `style`",
        ),
        (
            lambda x: residual.basic(x, 8, shortcut=compose.concat),
            r"`shortcut` .* \(x, filters, \*, .*; concat takes no `filters`",
        ),
        (
            lambda x: compose.branches(x, [times(2)], merge=compose.stage),
            r"`merge` .* \(tensors, \*, name\) .*; stage needs `unit`",
        ),
        (
            lambda x: compose.chain(x, [residual.basic]),
            r"`blocks` .* \(x, \*, name\) .*; basic needs `filters` too",
        ),
        (lambda x: compose.chain(x, [layers.Dense(3)]), r"`blocks` .* \(x, \*, name\) .*; got <Dense"),
    ],
)
def test_errors_name_the_contract(call, form):
    with pytest.raises(TypeError, match=form):
        call(keras.Input((8, 8, 4)))


@pytest.mark.parametrize("rate", [0.25, 0.8])
def test_stochastic_depth_leaves_out_whole_images(rate, numbers, evaluate):
    keras.utils.set_random_seed(0)
    x = keras.Input((3, 2, 4))
    model = keras.Model(x, compose.stochastic_depth(x, rate))
    data = np.abs(numbers(4000, 3, 2, 4)) + 0.1
    np.testing.assert_array_equal(evaluate(model, data), data)

    ratios = evaluate(model, data, training=True) / data
    kept = ratios[:, 0, 0, 0] > 0
    np.testing.assert_array_equal(ratios[~kept], 0)
    np.testing.assert_allclose(ratios[kept], 1 / (1 - rate), rtol=1e-5)
    # Four standard deviations of the mean of 4,000 draws: for a right rate this fails once in 16,000 seeds.
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / len(data))
    assert ratios.mean() == pytest.approx(1, abs=4 * np.sqrt(rate / (1 - rate) / len(data)))


@pytest.mark.parametrize("shape", [(8,), (5, 8), (4, 4, 8)])
def test_stochastic_depth_at_every_rank(shape, evaluate):
    x = keras.Input(shape)
    y = evaluate(keras.Model(x, compose.stochastic_depth(x, 0.5)), np.ones((64, *shape), "float32"), training=True)
    flat = y.reshape(64, -1)
    assert (flat == flat[:, :1]).all()
    assert set(np.unique(flat)) == {0, 2}


def test_stochastic_depth_of_rate_zero_is_the_tensor_itself():
    x = keras.Input((8,))
    assert compose.stochastic_depth(x, 0.0) is x


@pytest.mark.parametrize("rate", [1, -0.5, True, "0.1"])
def test_a_rate_that_is_none_is_refused(rate):
    x = keras.Input((8, 8, 4))
    with pytest.raises(ValueError, match=rf"`rate` must be at least 0 and below 1; got {rate!r}"):
        compose.stochastic_depth(x, rate)
    with pytest.raises(ValueError, match=rf"`rate` must be at least 0 and below 1; got {rate!r}"):
        compose.drop_path_schedule(rate, (2,))
    with pytest.raises(ValueError, match=rf"`drop_path` must be at least 0 and below 1; got {rate!r}"):
        compose.skip(x, times(2), drop_path=rate)


@pytest.mark.parametrize("depths", [(3, 4, 6, 3), (1, 1), (5,)])
def test_drop_path_schedule_is_a_straight_line(depths):
    schedule = compose.drop_path_schedule(0.3, depths)
    assert [len(rates) for rates in schedule] == list(depths)
    np.testing.assert_allclose(np.concatenate(schedule), np.linspace(0, 0.3, sum(depths)), atol=1e-12)


def test_drop_path_schedule_at_its_ends():
    assert compose.drop_path_schedule(0.3, (1,)) == [[0.0]]
    assert compose.drop_path_schedule(0.0, (2, 1)) == [[0.0, 0.0], [0.0]]
    with pytest.raises(ValueError, match="`depths` must be a positive integer; got 0"):
        compose.drop_path_schedule(0.3, (2, 0))


@pytest.mark.parametrize("shape", [(5, 4), (3, 2, 4), (2, 3, 2, 4)])
def test_layer_scale_multiplies_each_channel(shape, numbers, evaluate, gradients):
    x = keras.Input(shape)
    model = keras.Model(x, compose.layer_scale(x, 0.25, name="scale"))
    data = numbers(3, *shape)
    np.testing.assert_allclose(evaluate(model, data), 0.25 * data, rtol=1e-6)

    gamma = np.array([2.0, -1.0, 0.0, 0.5], "float32")
    assert [weight.path for weight in model.weights] == ["scale_gamma/kernel"]
    model.set_weights([gamma[None]])
    np.testing.assert_allclose(evaluate(model, data), data * gamma, rtol=1e-6)

    # Linear in x, with γ as the only slope: the ones that γ is made of must not look at x.
    slopes = np.random.default_rng(0).uniform(0.5, 1.5, size=data.shape).astype("float32")
    by_weight, (by_input,) = gradients(model, data)
    np.testing.assert_allclose(by_input, slopes * gamma, rtol=1e-5)
    expected = (slopes * data).reshape(-1, 4).sum(0)
    np.testing.assert_allclose(by_weight["scale_gamma/kernel"][0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(None, None, 4), (None, 4)])
def test_layer_scale_of_images_of_any_size(shape, numbers, evaluate):
    x = keras.Input(shape)
    model = keras.Model(x, compose.layer_scale(x, 0.25))
    assert model.output_shape == (None, *shape)
    for size in (1, 5):
        data = numbers(3, *(size for _ in shape[:-1]), 4)
        np.testing.assert_allclose(evaluate(model, data), 0.25 * data, rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_layer_scale_in_mixed_precision(policy, numbers, evaluate):
    keras.config.set_dtype_policy(policy)
    x = keras.Input((3, 2, 4))
    model = keras.Model(x, compose.layer_scale(x, 0.25, name="scale"))
    assert model.output.dtype == policy.removeprefix("mixed_")
    assert model.weights[0].dtype == "float32"
    data = numbers(3, 3, 2, 4)
    np.testing.assert_allclose(evaluate(model, data), 0.25 * data, rtol=1e-2)


def test_layer_scale_does_not_read_the_values_of_its_input(evaluate):
    x = keras.Input((2, 4))
    model = keras.Model(x, compose.layer_scale(x, 0.5))
    data = np.ones((2, 2, 4), "float32")
    data[0, 0, 0] = np.nan
    expected = 0.5 * data
    np.testing.assert_array_equal(evaluate(model, data), expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4,), r"`x` must have rank 3 or more \(batch, …, channels\); got shape \(None, 4\)"),
        ((8, None), r"`x` must have a known last dimension; got shape \(None, 8, None\)"),
    ],
)
def test_layer_scale_refuses(shape, message):
    with pytest.raises(ValueError, match=message):
        compose.layer_scale(keras.Input(shape), 1e-6)


def test_a_user_unit_drops_into_a_stage(numbers, evaluate):
    def unit(x, filters, *, stride=1, drop_path=0.0, style=RELU_BN, name=None):
        y = conv.conv(x, filters, 1, stride=stride, style=style, name=name)
        return compose.stochastic_depth(y, drop_path, name=name and f"{name}_drop")

    x = keras.Input((8, 8, 4))
    model = keras.Model(x, compose.stage(x, unit, 6, 2, stride=2, name="s"))
    first, second = (ops.convert_to_numpy(model.get_layer(f"s_unit{i}").kernel)[0, 0] for i in (1, 2))
    data = numbers(2, 8, 8, 4)
    np.testing.assert_allclose(evaluate(model, data), data[:, ::2, ::2] @ first @ second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 4), (3, 2, 4), (2, 3, 2, 4)])
def test_bias_adds_to_each_channel(shape, numbers, evaluate, gradients):
    x = keras.Input(shape)
    model = keras.Model(x, compose.bias(x, name="b"))
    data = numbers(3, *shape)
    np.testing.assert_array_equal(evaluate(model, data), data)
    summand = np.array([2.0, -1.0, 0.0, 0.5], "float32")
    assert [weight.path for weight in model.weights] == ["b_beta/kernel"]
    model.set_weights([summand[None]])
    np.testing.assert_allclose(evaluate(model, data), data + summand, rtol=1e-6)
    slopes = np.random.default_rng(0).uniform(0.5, 1.5, size=data.shape).astype("float32")
    by_weight, (by_input,) = gradients(model, data)
    np.testing.assert_allclose(by_input, slopes, rtol=1e-5)
    np.testing.assert_allclose(by_weight["b_beta/kernel"][0], slopes.reshape(-1, 4).sum(0), rtol=1e-4)


def shaken(channels=3):
    inputs = [keras.Input((2, 2, channels)), keras.Input((2, 2, channels))]
    return keras.Model(inputs, compose.shake(inputs, name="shake"))


def uniform(numbers):
    """The distance of Kolmogorov and Smirnov, beyond which one sample in 10,000 would lie."""
    found = np.sort(numbers)
    rank = np.arange(len(found) + 1) / len(found)
    distance = max((rank[1:] - found).max(), (found - rank[:-1]).max())
    return distance < 2.23 / np.sqrt(len(found))


def test_shake_is_the_mean_in_inference(numbers, evaluate):
    a, b = numbers(4, 2, 2, 3), numbers(4, 2, 2, 3, seed=1)
    np.testing.assert_allclose(evaluate(shaken(), a, b), (a + b) / 2, rtol=1e-6, atol=1e-7)


def test_shake_mixes_each_image_by_a_uniform_number(numbers, evaluate):
    keras.utils.set_random_seed(1)
    a, b = numbers(2000, 2, 2, 3), numbers(2000, 2, 2, 3, seed=1)
    a[..., 0], b[..., 0] = 1, 0
    y = evaluate(shaken(), a, b, training=True)
    alpha = y[:, :1, :1, :1]
    assert 0 < alpha.min() < 0.01 < 0.99 < alpha.max() < 1
    assert uniform(alpha.ravel())
    # To the accuracy of the integers in between.
    np.testing.assert_allclose(y, alpha * a + (1 - alpha) * b, rtol=0, atol=2**-12)


def test_the_gradient_of_shake_is_mixed_by_another_number(numbers, evaluate, gradients):
    keras.utils.set_random_seed(2)
    model = shaken(1)
    a, b = np.ones((2000, 2, 2, 1), "float32"), np.zeros((2000, 2, 2, 1), "float32")
    # The same draws in both calls.
    state = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in model.non_trainable_variables]
    alpha = evaluate(model, a, b, training=True)[:, 0, 0, 0]
    for variable, value in zip(model.non_trainable_variables, state, strict=True):
        variable.assign(value)
    _, (of_a, of_b) = gradients(model, a, b)
    whole = np.random.default_rng(0).uniform(0.5, 1.5, size=a.shape)
    np.testing.assert_allclose(of_a + of_b, whole, rtol=1e-5)
    beta = of_a / whole
    np.testing.assert_allclose(beta, np.broadcast_to(beta[:, :1, :1], beta.shape), rtol=1e-5)
    assert uniform(beta[:, 0, 0, 0])
    assert abs(np.corrcoef(alpha, beta[:, 0, 0, 0])[0, 1]) < 4 / np.sqrt(2000)


def test_the_gradient_of_shake_in_inference_is_even(numbers, gradients):
    a, b = numbers(2, 2, 2, 3), numbers(2, 2, 2, 3, seed=1)
    _, (of_a, of_b) = gradients(shaken(), a, b, training=False)
    np.testing.assert_allclose(of_a, of_b, rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_shake_in_mixed_precision(policy, numbers, evaluate):
    keras.config.set_dtype_policy(policy)
    a, b = 100 * numbers(64, 2, 2, 3), 100 * numbers(64, 2, 2, 3, seed=1)
    y = evaluate(shaken(), a, b, training=True)
    scale = 2 ** (-7 if policy == "mixed_bfloat16" else -10)
    low, high = np.minimum(a, b), np.maximum(a, b)
    slack = 4 * scale * np.maximum(abs(a), abs(b)) + scale
    assert (low - slack <= y).all()
    assert (y <= high + slack).all()


def test_shake_takes_two_of_one_shape():
    x = keras.Input((2, 2, 3))
    with pytest.raises(ValueError, match="`tensors` must hold 2 tensors; got 3"):
        compose.shake([x, x, x])
    with pytest.raises(ValueError, match="`tensors` must have equal shapes"):
        compose.shake([x, keras.Input((2, 2, 4))])


def test_learned_is_the_same_for_every_example(numbers, evaluate, gradients):
    x = keras.Input((None, 5))
    model = keras.Model(x, compose.learned(x, (2, 3), initializer="ones", name="t"))
    data = numbers(4, 7, 5)
    np.testing.assert_array_equal(evaluate(model, data), np.ones((4, 2, 3)))
    values = numbers(2, 3, seed=1)
    model.get_layer("t").set_weights([values.reshape(1, 6)])
    np.testing.assert_allclose(evaluate(model, data), np.tile(values, (4, 1, 1)), rtol=1e-6)
    np.testing.assert_allclose(evaluate(model, np.full_like(data, np.nan)), np.tile(values, (4, 1, 1)), rtol=1e-6)
    by_weight, _ = gradients(model, data)
    # Those of a sum with factors: for each value the sum of its factors over the examples.
    factors = np.random.default_rng(0).uniform(0.5, 1.5, size=(4, 2, 3)).astype("float32")
    np.testing.assert_allclose(by_weight["t/kernel"][0], factors.sum(0).ravel(), rtol=1e-4)


def test_constant_arrays_are_not_trained(numbers, evaluate, tmp_path):
    x = keras.Input((5,))
    values = numbers(2, 3)
    model = keras.Model(x, compose.learned(x, (2, 3), values=values, name="t"))
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        assert not each.trainable_weights
        np.testing.assert_allclose(evaluate(each, numbers(4, 5)), np.tile(values, (4, 1, 1)), rtol=1e-6)


def test_learned_refuses():
    x = keras.Input((5,))
    with pytest.raises(ValueError, match=r"`x` must have rank 2 or more \(batch, …\); got shape \(None,\)"):
        compose.learned(keras.Input(()), (2,))
    with pytest.raises(TypeError, match="`shape` must be a list or tuple of sizes; got 3"):
        compose.learned(x, 3)
    with pytest.raises(ValueError, match="`shape` must be a positive integer; got 0"):
        compose.learned(x, (2, 0))
    with pytest.raises(ValueError, match=r"`values` must have the shape \(2, 3\); got \(3, 2\)"):
        compose.learned(x, (2, 3), values=np.ones((3, 2)))
