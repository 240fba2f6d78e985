"""Vision transformers: their counts from the papers' arithmetic, timm's networks, and a compact one in NumPy."""

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.models import predict
from tests.support.numpy_layers import conv, layer_norm, max_pool, relu
from tests.support.numpy_transformer import encoder, softmax, weights
from tests.support.torch_networks import assert_equal_outputs, assert_parity_in_order, library, randomised
from tests.support.weights import images, randomise

# Width, depth, features between the dense layers, tokens, parameters of the tokenizer.
VIT = {
    "vit_tiny_16": (192, 12, 768, 196, 768 * 192 + 192),
    "vit_small_16": (384, 12, 1536, 196, 768 * 384 + 384),
    "vit_base_16": (768, 12, 3072, 196, 768 * 768 + 768),
    "deit_tiny_16": (192, 12, 768, 196, 768 * 192 + 192),
    "deit_small_16": (384, 12, 1536, 196, 768 * 384 + 384),
    "deit_base_16": (768, 12, 3072, 196, 768 * 768 + 768),
    "vit_lite_2_4": (128, 2, 128, 64, 48 * 128 + 128),
    "vit_lite_4_4": (128, 4, 128, 64, 48 * 128 + 128),
    "cvt_2_4": (128, 2, 128, 64, 48 * 128 + 128),
    "cvt_4_4": (128, 4, 128, 64, 48 * 128 + 128),
    "vit_lite_6_4": (256, 6, 512, 64, 48 * 256 + 256),
    "vit_lite_7_4": (256, 7, 512, 64, 48 * 256 + 256),
    "cvt_6_4": (256, 6, 512, 64, 48 * 256 + 256),
    "cvt_7_4": (256, 7, 512, 64, 48 * 256 + 256),
    "cct_2_3x2": (128, 2, 128, 64, 27 * 64 + 9 * 64 * 128),
    "cct_4_3x2": (128, 4, 128, 64, 27 * 64 + 9 * 64 * 128),
    "cct_6_3x2": (256, 6, 512, 64, 27 * 64 + 9 * 64 * 256),
    "cct_7_3x2": (256, 7, 512, 64, 27 * 64 + 9 * 64 * 256),
    "cct_6_3x1": (256, 6, 512, 256, 27 * 256),
    "cct_7_3x1": (256, 7, 512, 256, 27 * 256),
    "vit_cifar": (384, 7, 384, 64, 48 * 384 + 384),
    "vit_cifar_512": (512, 6, 512, 64, 48 * 512 + 512),
}


@pytest.mark.parametrize("arch", VIT)
def test_counts_in_closed_form(arch):
    width, depth, hidden, tokens, params = VIT[arch]
    row = architectures.variant(arch)
    of_class = row.spec.pool == "token"
    biased = row.spec.unit.keywords.get("qkv_bias", True)
    # Two normalisations, the projections, the dense layers.
    unit = 4 * width + (4 * width**2 + (4 if biased else 1) * width) + (2 * width * hidden + hidden + width)
    params += depth * unit + 2 * width + (width + 1) * row.classes
    params += width if of_class else width + 1
    if row.spec.position == "learned":
        params += (tokens + of_class) * width
    assert row.params == params

    per_pixel = {"3x1": (1024, 27 * width), "3x2": (1024, 27 * 64)}.get(arch[-3:])
    stem = tokens * width * (768 if row.classes == 1000 else 48) if per_pixel is None else per_pixel[0] * per_pixel[1]
    if arch.endswith("3x2"):
        stem += 256 * 9 * 64 * width
    n = tokens + of_class
    macs = stem + depth * n * (4 * width**2 + 2 * n * width + 2 * width * hidden) + width * row.classes
    # A learned array is a dense layer on a single one for each image; a mean with weights has two products.
    macs += n * width + (width if of_class else 2 * n * width) + (0 if biased else depth * width)
    assert row.macs == macs


# The counts that the authors print.
PUBLISHED = {
    "vit_lite_6_4": "3.191", "vit_lite_7_4": "3.717", "cvt_6_4": "3.190", "cvt_7_4": "3.717", "cct_2_3x2": "0.284",
    "cct_4_3x2": "0.482", "cct_6_3x2": "3.327", "cct_7_3x2": "3.853", "cct_6_3x1": "3.168", "cct_7_3x1": "3.760",
}  # fmt: skip


@pytest.mark.parametrize("arch", PUBLISHED)
def test_published_parameters(arch):
    assert f"{architectures.variant(arch).params / 1e6:.3f}" == PUBLISHED[arch]


# timm's names, and the counts of its networks.
TIMM = {
    "vit_tiny_16": ("vit_tiny_patch16_224", 5_717_416),
    "vit_small_16": ("vit_small_patch16_224", 22_050_664),
    "vit_base_16": ("vit_base_patch16_224", 86_567_656),
    "deit_tiny_16": ("deit_tiny_patch16_224", 5_717_416),
    "deit_small_16": ("deit_small_patch16_224", 22_050_664),
    "deit_base_16": ("deit_base_patch16_224", 86_567_656),
}
LEARNED = {"class_token": "cls_token", "position_table": "pos_embed"}


@pytest.mark.parametrize("arch", TIMM)
def test_counts_of_timm(arch):
    assert architectures.variant(arch).params == TIMM[arch][1]


@pytest.mark.parametrize(
    ("arch", "size"),
    [("deit_tiny_16", 64), *(pytest.param(arch, 224, marks=pytest.mark.slow) for arch in TIMM if "base" not in arch)],
)
def test_the_network_of_timm(arch, size):
    net = library("timm").create_model(TIMM[arch][0], img_size=size)
    ours = architectures.create(arch, input_shape=(size, size, 3))
    assert_parity_in_order(ours, net, parameters=LEARNED)


class TestPort:
    @pytest.fixture(scope="class")
    def net(self):
        net = library("timm").create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        return randomised(net, (32, 32, 3))

    def test_the_weights_by_name(self, net):
        ours = architectures.create("vit_tiny_16", input_shape=(32, 32, 3), depth=2)
        architectures.port_from_torch(ours, net.state_dict(), "timm")
        assert_equal_outputs(ours, net, (32, 32, 3))

    def test_another_head_and_an_attention_that_stays(self, net):
        ours = architectures.create("vit_tiny_16", input_shape=(32, 32, 3), depth=2, classes=3)
        before = ours.get_layer("stage1_unit2_attention").get_weights()
        architectures.port_from_torch(ours, net.state_dict(), "timm", skip=["logits", "stage1_unit2_attention"])
        for one, other in zip(before, ours.get_layer("stage1_unit2_attention").get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            (
                "blocks.1.attn.qkv.bias",
                None,
                r"`weights` must hold blocks\.1\.attn\.qkv\.bias, the query bias",
            ),
            ("blocks.0.attn.proj.weight", np.ones((192, 7)), r"needs a kernel of shape .* one of shape \(192, 7\), bl"),
            (
                "blocks.0.attn.more",
                np.ones(7),
                "have entries without a counterpart in `.*`: blocks.0.attn.more",
            ),
        ],
    )
    def test_what_does_not_fit(self, net, key, value, message):
        state = dict(net.state_dict()) | {key: value}
        if value is None:
            del state[key]
        ours = architectures.create("vit_tiny_16", input_shape=(32, 32, 3), depth=2)
        before = ours.get_weights()
        with pytest.raises(ValueError, match=message):
            architectures.port_from_torch(ours, state, "timm")
        for one, other in zip(before, ours.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_layer_scale_and_average_as_in_timm():
    net = library("timm").models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=7, global_pool="avg",
        class_token=False, fc_norm=False, init_values=0.1, mlp_ratio=2,
    )  # fmt: skip
    unit = architectures.variant("vit_toy").spec.unit.func
    ours = architectures.create(
        "vit_toy", input_shape=(32, 32, 3), classes=7, width=48, pool="avg",
        unit=lambda x, filters, **options: unit(x, filters, heads=3, expansion=2, layer_scale=0.1, **options),
        tokenizer=lambda x, filters, **options: kb.transformer.patch_embed(x, filters, size=8, **options),
    )  # fmt: skip
    scales = {
        f"stage1_unit{i + 1}_{part}_scale_gamma": f"blocks.{i}.ls{j}.gamma"
        for i in range(2)
        for j, part in ((1, "attention"), (2, "mlp"))
    }
    assert_parity_in_order(ours, net, parameters={"position_table": "pos_embed", **scales})


@pytest.mark.parametrize("arch", ["cct_2_3x2", "cvt_6_4", "vit_lite_6_4"])
def test_compact_transformers_in_numpy(arch):
    model = randomise(architectures.create(arch, input_shape=(16, 16, 3), depth=1))
    x = images((16, 16, 3))
    y = x
    if arch == "cct_2_3x2":
        for i in (1, 2):
            y = max_pool(relu(conv(y, *weights(model, f"tokenizer_conv{i}"))), 3, 2, padding="symmetric")
    else:
        kernel, bias = weights(model, "tokenizer_patches_out")
        y = conv(y, kernel, 4) + bias
    y = y.reshape(2, 16, -1)
    if arch == "vit_lite_6_4":
        y = np.concatenate([np.tile(weights(model, "class_token")[0], (2, 1, 1)), y], 1)
    y = y + weights(model, "position_table")[0].reshape(y.shape[1:])
    y = encoder(model, y, "stage1_unit1", norm_residual=True, epsilon=1e-5)
    y = layer_norm(y, *weights(model, "norm"), 1e-5)
    if arch == "vit_lite_6_4":
        y = y[:, 0]
    else:
        kernel, bias = weights(model, "pool_dense")
        y = (softmax(y @ kernel + bias, 1) * y).sum(1)
    kernel, bias = weights(model, "logits")
    np.testing.assert_allclose(predict(model, x), y @ kernel + bias, rtol=1e-3, atol=1e-3)


def test_shapes_by_layer_name():
    model = architectures.create("vit_tiny_16", depth=2)
    assert {name: model.get_layer(name).output.shape[1:] for name in (
        "tokenizer_patches_out", "tokenizer_out", "class_out", "position_out", "stage1_unit1_attention_out",
        "stage1_unit1_dense1", "stage1_unit2_out", "norm", "pool_out", "logits",
    )} == {
        "tokenizer_patches_out": (14, 14, 192), "tokenizer_out": (196, 192), "class_out": (197, 192),
        "position_out": (197, 192), "stage1_unit1_attention_out": (197, 192), "stage1_unit1_dense1": (197, 768),
        "stage1_unit2_out": (197, 192), "norm": (197, 192), "pool_out": (192,), "logits": (1000,),
    }  # fmt: skip


@pytest.mark.parametrize("arch", ["cct_2_3x2", "vit_toy"])
@pytest.mark.parametrize(("shape", "classes"), [((28, 28, 1), 10), ((32, 32, 3), 100)])
def test_small_images(arch, shape, classes):
    model = architectures.create(arch, input_shape=shape, classes=classes)
    found = predict(model, images(shape))
    assert found.shape == (2, classes)
    assert np.isfinite(found).all()


def test_any_size_without_positions():
    model = architectures.create("vit_toy", input_shape=(None, None, 3), position="none")
    for size in (16, 24):
        fixed = architectures.create("vit_toy", input_shape=(size, size, 3), position="none")
        fixed.set_weights(model.get_weights())
        x = images((size, size, 3))
        np.testing.assert_allclose(predict(model, x), predict(fixed, x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"^vit_toy can't be built for inputs of any×any×3: `x` must have known sizes"):
        architectures.create("vit_toy", input_shape=(None, None, 3))


def test_a_stem_as_tokenizer():
    model = architectures.create("vit_toy", tokenizer=kb.stem.patchify)
    assert model.get_layer("tokens").output.shape == (None, 16, 8)


def test_rates():
    model = architectures.create("vit_toy", depth=3, dropout=0.1, drop_path=0.2)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    parts = ("attention_dropout", "dropout1", "dropout2")
    dropouts = dict.fromkeys(["dropout", *(f"stage1_unit{i}_{part}" for i in (1, 2, 3) for part in parts)], 0.1)
    paths = {f"stage1_unit{i}_{part}_drop_path": 0.1 * (i - 1) for i in (2, 3) for part in ("attention", "mlp")}
    assert rates == pytest.approx(dropouts | paths)


def test_what_a_field_can_be():
    with pytest.raises(ValueError, match="`position` must be one of 'learned', 'sinusoidal', 'none'; got 'sine'"):
        architectures.create("vit_toy", position="sine")
    with pytest.raises(ValueError, match="`pool` must be one of 'token', 'sequence', 'avg'; got 'max'"):
        architectures.create("vit_toy", pool="max")
    with pytest.raises(ValueError, match=r"`depth` must be a positive integer; got 1\.5"):
        architectures.create("vit_toy", depth=1.5)
