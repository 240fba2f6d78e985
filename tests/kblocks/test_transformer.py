"""Transformers: the encoder against PyTorch's, the other parts against NumPy."""

import keras
import numpy as np
import pytest

from kblocks import compose, transformer
from kblocks.style import GELU_LN
from tests.support.numpy_layers import conv, max_pool, relu
from tests.support.numpy_transformer import encoder, softmax, weights
from tests.support.torch_networks import library
from tests.support.weights import randomise


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"qkv_bias": False, "expansion": 1.5}, {}),
        ({"layer_scale": 0.5, "heads": 2}, {"scaled": True}),
        ({"norm_residual": True, "qkv_bias": False}, {"norm_residual": True}),
    ],
    ids=["plain", "no_bias", "scaled", "norm_residual"],
)
def test_encoder(options, expected, numbers, evaluate):
    x = keras.Input((7, 8))
    model = randomise(keras.Model(x, transformer.encoder(x, 8, name="e", **options)))
    data = numbers(3, 7, 8)
    np.testing.assert_allclose(evaluate(model, data), encoder(model, data, **expected), rtol=1e-4, atol=1e-4)


def test_encoder_of_an_image_is_that_of_its_tokens(numbers, evaluate):
    x = keras.Input((3, 4, 8))
    model = randomise(keras.Model(x, transformer.encoder(x, 8, qkv_bias=False, name="e")))
    data = numbers(2, 3, 4, 8)
    expected = encoder(model, data.reshape(2, 12, 8)).reshape(2, 3, 4, 8)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_encoder_of_pytorch(numbers, evaluate):
    torch = library("torch")
    torch.manual_seed(0)
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, 24, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    ).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(torch.randn_like(weight) * 0.3)
    x = keras.Input((7, 8))
    ours = keras.Model(x, transformer.encoder(x, 8, heads=2, expansion=3, name="e"))
    state = {name: value.detach().numpy() for name, value in theirs.named_parameters()}
    projections = zip(
        np.split(state["self_attn.in_proj_weight"], 3), np.split(state["self_attn.in_proj_bias"], 3), strict=True
    )
    joint = [each for kernel, bias in projections for each in (kernel.T.reshape(8, 2, 4), bias.reshape(2, 4))]
    output = [state["self_attn.out_proj.weight"].T.reshape(2, 4, 8), state["self_attn.out_proj.bias"]]
    ours.get_layer("e_attention").set_weights([*joint, *output])
    for name, path in (
        ("attention_norm", "norm1"),
        ("mlp_norm", "norm2"),
        ("dense1", "linear1"),
        ("dense2", "linear2"),
    ):
        ours.get_layer(f"e_{name}").set_weights([state[f"{path}.weight"].T, state[f"{path}.bias"]])
    data = numbers(3, 7, 8)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(data)).numpy()
    np.testing.assert_allclose(evaluate(ours, data), expected, rtol=1e-4, atol=1e-4)


def test_encoders_make_a_stage():
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, compose.stage(x, transformer.encoder, 8, 2, stride=2, style=GELU_LN, name="stage1"))
    assert model.output_shape == (None, 4, 4, 8)
    assert [layer.name for layer in model.layers if layer.name.endswith("downsample")] == ["stage1_unit1_downsample"]


def test_dropout_is_where_it_belongs():
    x = keras.Input((7, 8))
    y = transformer.encoder(x, 8, dropout=0.1, attention_dropout=0.2, drop_path=0.3, name="e")
    model = keras.Model(x, y)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {
        **dict.fromkeys(("e_attention_dropout", "e_dropout1", "e_dropout2"), 0.1),
        **dict.fromkeys(("e_attention_drop_path", "e_mlp_drop_path"), 0.3),
    }
    assert model.get_layer("e_attention").get_config()["dropout"] == 0.2


def test_tokens_are_row_by_row(numbers, evaluate):
    x = keras.Input((3, 5, 4))
    data = numbers(2, 3, 5, 4)
    np.testing.assert_array_equal(evaluate(keras.Model(x, transformer.tokens(x)), data), data.reshape(2, 15, 4))


def test_patch_embed(numbers, evaluate):
    x = keras.Input((5, 6, 3))
    model = randomise(keras.Model(x, transformer.patch_embed(x, 8, size=2, name="p")))
    data = numbers(2, 5, 6, 3)
    patches = data[:, :4].reshape(2, 2, 2, 3, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 12)
    kernel, bias = weights(model, "p_patches_out")
    np.testing.assert_allclose(evaluate(model, data), patches @ kernel.reshape(12, 8) + bias, rtol=1e-4, atol=1e-4)


def test_conv_tokenizer(numbers, evaluate):
    x = keras.Input((9, 8, 3))
    model = randomise(keras.Model(x, transformer.conv_tokenizer(x, 8, depth=2, width=5, name="t")))
    data = numbers(2, 9, 8, 3)
    expected = data
    for i in (1, 2):
        (kernel,) = weights(model, f"t_conv{i}")
        expected = max_pool(relu(conv(expected, kernel)), 3, 2, padding="symmetric")
    assert expected.shape == (2, 3, 2, 8)
    np.testing.assert_allclose(evaluate(model, data), expected.reshape(2, 6, 8), rtol=1e-4, atol=1e-4)


def test_class_token_and_first_token(numbers, evaluate):
    data = numbers(2, 5, 4)
    for size in (5, None):
        x = keras.Input((size, 4))
        y = transformer.class_token(x, name="c")
        model = randomise(keras.Model(x, [y, transformer.first_token(y), transformer.first_token(x)]))
        (token,) = weights(model, "c_token")
        joined, first, own = evaluate(model, data)
        np.testing.assert_allclose(joined, np.concatenate([np.tile(token, (2, 1, 1)), data], 1), rtol=1e-6)
        np.testing.assert_allclose(first, np.tile(token, (2, 1)), rtol=1e-6)
        np.testing.assert_array_equal(own, data[:, 0])


def test_gradients_of_the_first_token(numbers, gradients):
    for size in (5, None):
        x = keras.Input((size, 4))
        model = keras.Model(x, transformer.first_token(x))
        _, (by_input,) = gradients(model, numbers(2, 5, 4))
        assert (by_input[:, 0] != 0).all()
        assert not by_input[:, 1:].any()


def test_learned_positions(numbers, evaluate):
    x = keras.Input((5, 4))
    fresh = keras.Model(x, transformer.position_embed(x, stddev=0.2, name="p"))
    (table,) = weights(fresh, "p_table")
    assert 0.05 < table.std() < 0.4
    model = randomise(fresh)
    data = numbers(2, 5, 4)
    np.testing.assert_allclose(evaluate(model, data), data + weights(model, "p_table")[0].reshape(5, 4), rtol=1e-5)


def test_sinusoidal_positions(numbers, evaluate, tmp_path):
    x = keras.Input((5, 6))
    model = keras.Model(x, transformer.position_embed(x, kind="sinusoidal"))
    assert not model.trainable_weights
    expected = np.empty((5, 6))
    for position in range(5):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            expected[position, 2 * i : 2 * i + 2] = np.sin(angle), np.cos(angle)
    data = numbers(2, 5, 6)
    np.testing.assert_allclose(evaluate(model, data), data + expected, rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not loaded.trainable_weights
    np.testing.assert_allclose(evaluate(loaded, data), data + expected, rtol=1e-5, atol=1e-5)


def test_sequence_pool(numbers, evaluate):
    x = keras.Input((None, 6))
    model = randomise(keras.Model(x, transformer.sequence_pool(x, name="s")))
    kernel, bias = weights(model, "s_dense")
    data = numbers(3, 5, 6)
    expected = (softmax(data @ kernel + bias, 1) * data).sum(1)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_refused():
    x = keras.Input((7, 8))
    with pytest.raises(ValueError, match="`filters` must be divisible by `heads`; got 8 and 3"):
        transformer.encoder(x, 8, heads=3)
    with pytest.raises(ValueError, match=r"`stride` must be 1 for tokens, whose number stays; got 2"):
        transformer.encoder(x, 8, stride=2)
    with pytest.raises(ValueError, match=r"`filters` must be the channels of tokens; got 4 for shape \(None, 7, 8\)"):
        transformer.encoder(x, 4)
    with pytest.raises(ValueError, match=r"`x` must have rank 3 \(batch, tokens, channels\); got rank 2"):
        transformer.encoder(keras.Input((8,)), 8)
    with pytest.raises(ValueError, match="`kind` must be one of 'learned', 'sinusoidal'; got 'sine'"):
        transformer.position_embed(x, kind="sine")
    for part in ("class_token", "first_token", "position_embed", "sequence_pool"):
        with pytest.raises(ValueError, match=r"`x` must have rank 3 \(batch, tokens, channels\); got rank 4"):
            getattr(transformer, part)(keras.Input((4, 4, 8)))
