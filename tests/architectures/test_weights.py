"""Weights from elsewhere (siblings, files, keras.applications) and the preprocessing that goes with them."""

import sys
import zipfile
from functools import partial

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import architectures
import kblocks as kb
from architectures import lenet, resnet
from architectures.weights import names, porting
from architectures.weights.preprocessing import MEANS_AND_VARIANCES, preprocess
from tests.support.marks import daily, slow
from tests.support.models import predict
from tests.support.weights import randomise

SHAPE = (64, 64, 3)
# The first row of each family that keras.applications has too, and those of them that are quick to build.
OF_EACH_FAMILY = {
    architectures.family(arch): arch for arch in reversed(architectures.names()) if architectures.variant(arch).keras
}.values()
QUICK = {"mobilenet"}
# Hidden layers of the head are fixed to an input size, or there for another.
HIDDEN = {"vgg16"}
LENET = lenet.VARIANTS["lenet"].spec
# Of ImageNet's images, from 0 to 1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def numbers():
    """`numbers(2, 8)` is a float32 array of that shape, the same for one seed."""
    return lambda *shape, seed=0: np.random.default_rng(seed).normal(size=shape).astype("float32")


def weights_by_name(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def save(model, path):
    """As the path's ending says."""
    model.save_weights(path) if str(path).endswith(".weights.h5") else model.save(path)
    return path


def assert_equal(a, b, but=()):
    """Two models have the same layers and weights, but for those of some layers."""
    a, b = weights_by_name(a), weights_by_name(b)
    for name in a.keys() - set(but):
        for one, other in zip(a[name], b[name], strict=True):
            np.testing.assert_array_equal(one, other)
    for name in but:
        assert a[name][0].shape != b[name][0].shape or not np.array_equal(a[name][0], b[name][0])


class TestCopyWeights:
    def test_by_name_and_not_by_order(self):
        def model(names):
            x = inputs = keras.Input((4,))
            for name in names:
                x = layers.Dense(4, name=name)(x)
            return keras.Model(inputs, x)

        source, target = randomise(model("abc")), model("ca")
        architectures.copy_weights(source, target)
        assert_equal(target, source)

    def test_what_is_skipped_stays(self):
        source, target = (architectures.create("resnet_tiny", classes=n) for n in (10, 3))
        randomise(source)
        before = target.get_layer("logits").get_weights()
        architectures.copy_weights(source, target, skip=["logits"])
        assert_equal(target, source, but=["logits"])
        for a, b in zip(before, target.get_layer("logits").get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_into_a_tower(self):
        source, target = (architectures.create("siamese_tiny") for _ in range(2))
        randomise(source)
        architectures.copy_weights(source, target)
        for a, b in zip(source.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_deeper_network_into_a_shallower_one_and_not_back(self):
        deep, shallow = architectures.create("resnet_tiny", depths=(1, 2)), architectures.create("resnet_tiny")
        randomise(deep)
        architectures.copy_weights(deep, shallow)
        assert_equal(shallow, deep)
        before = deep.get_weights()
        with pytest.raises(
            ValueError, match=r"without a counterpart in .* `resnet_tiny`: stage2_unit2_conv1, .* and 1 more"
        ):
            architectures.copy_weights(randomise(shallow, 1), deep)
        for a, b in zip(before, deep.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_two_towers_whose_layers_have_the_same_names(self):
        def two():
            towers = [architectures.create("resnet_tiny", classes=0, pooling="avg", name=name) for name in ("a", "b")]
            inputs = [keras.Input((16, 16, 3)) for _ in towers]
            return keras.Model(inputs, [tower(x) for tower, x in zip(towers, inputs, strict=True)])

        source, target = randomise(two()), two()
        architectures.copy_weights(source, target)
        for a, b in zip(source.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_layers_of_any_kind(self):
        def model():
            x = inputs = keras.Input((4, 6))
            x = layers.Normalization(name="norm")(x)
            return keras.Model(inputs, layers.MultiHeadAttention(2, 3, name="attention")(x, x))

        source, target = randomise(model()), model()
        architectures.copy_weights(source, target)
        assert_equal(target, source)

    def test_the_same_sizes_another_way_round(self):
        def model(size):
            inputs = keras.Input((8, 8, 3))
            return keras.Model(inputs, layers.Conv2D(4, size, name="conv")(inputs))

        with pytest.raises(ValueError, match=r"conv needs a kernel of shape \(7, 1, 3, 4\); got one of shape \(1, 7"):
            architectures.copy_weights(model((1, 7)), model((7, 1)))

    @pytest.mark.parametrize("copy", [architectures.copy_weights, architectures.port_from_keras])
    def test_skip_names_layers(self, copy):
        model = architectures.create("resnet_tiny")
        with pytest.raises(
            ValueError, match="`skip` must hold names of layers of resnet_tiny with weights; got 'logit'"
        ):
            copy(model, model, skip=["logit"])

    @pytest.mark.parametrize("copy", [architectures.copy_weights, architectures.port_from_keras])
    @pytest.mark.parametrize("skip", ["logits", None, 3])
    def test_skip_is_a_collection(self, copy, skip):
        model = architectures.create("resnet_tiny")
        with pytest.raises(TypeError, match=f"`skip` must be a collection of names; got {skip!r}"):
            copy(model, model, skip=skip)

    def test_another_shape_copies_nothing(self):
        source, target = (architectures.create("resnet_tiny", classes=n) for n in (10, 3))
        randomise(source)
        before = target.get_weights()
        with pytest.raises(
            ValueError, match=r"layer logits needs a kernel of shape \(8, 3\); got one of shape \(8, 10\)"
        ):
            architectures.copy_weights(source, target)
        for a, b in zip(before, target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def part_of(kind):
    """A model with resnet_tiny's features as a part named `left`, and a head of its own."""
    x = inputs = keras.Input((16, 16, 3))
    spec = architectures.variant("resnet_tiny").spec
    if kind == "backbone":
        y = resnet.backbone(x, spec, name="left")
    elif kind == "tower":
        y = kb.tower.as_model(partial(resnet.backbone, spec=spec), (16, 16, 3), name="left")(x)
    else:
        y = architectures.create("resnet_tiny", classes=0, name="left")(x)
    logits = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D(name="pool")(y))
    return keras.Model(inputs, [y, logits], name="mine")


def part_features(model):
    return keras.Model(model.input, model.get_layer("stage2_unit1_out").output)


class TestPrefix:
    @pytest.mark.parametrize("kind", ["backbone", "tower", "network"])
    def test_into_a_part_and_back(self, kind, numbers):
        x = numbers(2, 16, 16, 3)
        source, model = randomise(architectures.create("resnet_tiny")), part_of(kind)
        head = model.get_layer("logits").get_weights()
        architectures.copy_weights(source, model, prefix="left")
        np.testing.assert_allclose(predict(model, x)[0], predict(part_features(source), x), rtol=1e-5, atol=1e-5)
        for a, b in zip(head, model.get_layer("logits").get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

        target = architectures.create("resnet_tiny")
        head = target.get_layer("logits").get_weights()
        randomise(model, 1)
        before = target.get_weights()
        # The logits of `model` are not in its part, so those of `target` have no counterpart.
        with pytest.raises(ValueError, match=r"`resnet_tiny` has layers without a counterpart in .*`mine`: logits$"):
            architectures.copy_weights(model, target, prefix="left")
        for a, b in zip(before, target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        architectures.copy_weights(model, target, prefix="left", skip=["logits"])
        np.testing.assert_allclose(predict(part_features(target), x), predict(model, x)[0], rtol=1e-5, atol=1e-5)
        for a, b in zip(head, target.get_layer("logits").get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_from_one_kind_of_part_to_another(self, numbers):
        x = numbers(2, 16, 16, 3)
        source, target = randomise(part_of("backbone")), part_of("tower")
        architectures.copy_weights(source, target, prefix="left")
        np.testing.assert_allclose(predict(target, x)[0], predict(source, x)[0], rtol=1e-5, atol=1e-5)
        assert np.abs(predict(target, x)[1] - predict(source, x)[1]).max() > 1e-3

    def test_the_tower_of_a_siamese_network(self, numbers):
        x = numbers(3, 28, 28, 1)
        pair, single = architectures.create("siamese_tiny"), architectures.create("lenet_tiny", classes=0)
        tower = next(layer for layer in pair.layers if isinstance(layer, keras.Model))
        architectures.copy_weights(randomise(single), pair, prefix="tower")
        np.testing.assert_allclose(predict(tower, x), predict(single, x), rtol=1e-5, atol=1e-5)
        architectures.copy_weights(randomise(pair, 1), single, prefix="tower")
        np.testing.assert_allclose(predict(single, x), predict(tower, x), rtol=1e-5, atol=1e-5)

    def test_the_name_of_no_part(self):
        source, target = architectures.create("resnet_tiny"), part_of("tower")
        for prefix in ("right", "lef", "", "left_stem_conv"):
            with pytest.raises(
                ValueError, match=f"`prefix` must be the name of a part of resnet_tiny or mine: .*; got '{prefix}'"
            ):
                architectures.copy_weights(source, target, prefix=prefix)
        with pytest.raises(TypeError, match="`prefix` must be a string or None; got 3"):
            architectures.copy_weights(source, target, prefix=3)

    def test_what_is_skipped_has_its_full_name(self, numbers):
        source, target = randomise(architectures.create("resnet_tiny")), part_of("tower")
        before = target.get_layer("left").get_layer("left_stem_conv").get_weights()
        architectures.copy_weights(source, target, prefix="left", skip=["left/left_stem_conv"])
        np.testing.assert_array_equal(before, target.get_layer("left").get_layer("left_stem_conv").get_weights())
        with pytest.raises(ValueError, match="`skip` must hold names of layers of mine with weights; got 'stem_conv'"):
            architectures.copy_weights(source, target, prefix="left", skip=["stem_conv"])


class TestFiles:
    @pytest.mark.parametrize("before", [10, 7])
    @pytest.mark.parametrize("classes", [3, 0])
    def test_another_head(self, before, classes, tmp_path):
        saved = randomise(architectures.create("resnet_tiny", classes=before))
        path = tmp_path / "model.keras"
        saved.save(path)
        loaded = architectures.create("resnet_tiny", weights=path, classes=classes)
        assert_equal(loaded, saved, but=["logits"] if classes else [])

    @pytest.mark.parametrize("classes", [3, 0])
    def test_saved_with_the_head_that_is_asked_for(self, classes, tmp_path):
        saved = randomise(architectures.create("resnet_tiny", classes=classes))
        saved.save_weights(tmp_path / "model.weights.h5")
        assert_equal(architectures.create("resnet_tiny", weights=tmp_path / "model.weights.h5", classes=classes), saved)

    @pytest.mark.parametrize("top", [True, False])
    @pytest.mark.parametrize("arch", daily(OF_EACH_FAMILY, QUICK))
    def test_a_download_of_keras_applications(self, arch, top, tmp_path):
        if arch == "nasnet_mobile" and keras.backend.backend() == "torch":
            pytest.skip("keras.applications has no NASNetMobile on PyTorch")
        theirs = randomise(architectures.variant(arch).keras(weights=None, include_top=top))
        for layer in theirs.layers:
            if isinstance(layer, layers.Normalization) and layer.weights:
                layer.set_weights([np.float32(MEAN), np.float32(STD) ** 2, np.int32(0)])
        theirs.save(tmp_path / "whole.h5")
        # A download holds nothing but the weights. Its name is of no importance.
        with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / "download.h5", "w") as download:
            for name in whole["model_weights"]:
                whole.copy(f"model_weights/{name}", download)
            download.attrs.update(whole["model_weights"].attrs)
        options = {"input_shape": (75, 75, 3), "classes": 5 if top and arch not in HIDDEN else 0}
        for path in (tmp_path / "whole.h5", tmp_path / "download.h5"):
            loaded = architectures.create(arch, weights=path, **options)
            expected = architectures.create(arch, preprocessing=True, **options)
            new = ["logits"] if options["classes"] else []
            architectures.port_from_keras(expected, theirs, skip=new)
            assert_equal(loaded, expected, but=new)

    @pytest.mark.parametrize("ending", [".h5", ".weights.h5", ".keras"])
    def test_no_weights_of_this_network(self, ending, tmp_path):
        path = tmp_path / f"model{ending}"
        with h5py.File(path, "w") if ending != ".keras" else zipfile.ZipFile(path, "w"):
            pass
        with pytest.raises(ValueError, match="`weights` must be "):
            architectures.create("mobilenet_025", weights=path)

    @pytest.mark.parametrize(
        ("arch", "before", "after", "difference"),
        [
            (
                "resnet_tiny",
                {"classes": 7},
                {},
                r"file has logits of shape \(8, 7\), .* has logits of shape \(8, 10\)",
            ),
            ("resnet_tiny", {}, {"classes": 3}, r"file has logits of shape \(8, 10\)"),
            ("resnet_tiny", {}, {"classes": 0}, r"file has logits of shape \(8, 10\)"),
            ("resnet_tiny", {"classes": 0}, {}, r"network has logits of shape \(8, 10\)"),
            ("resnet_tiny", {"depths": (1, 2)}, {}, r"file has stage2_unit2_conv1_norm of shape \(8,\)"),
            ("resnet_tiny", {}, {"depths": (1, 2)}, r"network has stage2_unit2_conv1 of shape \(3, 3, 8, 8\)"),
            ("mobilenet_tiny", {}, {"pooling": "flatten"}, r"file has logits of shape \(16, 10\)"),
            ("googlenet_tiny", {"auxiliary": True}, {}, "file has auxiliary1_conv of shape"),
            ("googlenet_tiny", {}, {"auxiliary": True}, "network has auxiliary1_conv of shape"),
            (
                "siamese_tiny",
                {},
                {"tower": partial(lenet.backbone, spec=LENET)},
                "tower_stage1_conv of shape",
            ),
            ("vgg_tiny", {"classes": 0}, {"pooling": "max"}, "network has hidden_dense1 of shape"),
        ],
    )
    def test_weights_alone_are_of_exactly_this_network(self, arch, before, after, difference, tmp_path):
        saved = randomise(architectures.create(arch, **before))
        path = save(saved, tmp_path / "model.weights.h5")
        with pytest.raises(
            ValueError,
            match=rf"^`weights` must be a .weights.h5 of exactly this network; .*{difference}.*`copy_weights\(",
        ):
            architectures.create(arch, weights=path, **after)
        assert_equal(architectures.create(arch, weights=path, **before), saved)

    @pytest.mark.parametrize(
        ("arch", "other", "cause"),
        [
            ("resnet20", "resnet32", "without a counterpart in `resnet20`: stage1_unit4_conv1, .* and 21 more"),
            ("resnet20", "resnet20_projection", "without a counterpart in `resnet20`: stage2_unit1_shortcut"),
            ("vgg16", "vgg19", "without a counterpart in `vgg16`: stage3_conv4, stage4_conv4, stage5_conv4"),
            slow("resnet50", "resnet101", "without a counterpart in `resnet50`: stage3_unit7_conv1"),
            slow("resnet50", "resnet50_v1_5", "stage2_unit1_conv2 of `resnet50` has stride 1; got one of stride 2"),
            slow("resnet50_v1_5", "resnet50", "stage2_unit1_conv2 of `.*` has stride 2; got one of stride 1"),
        ],
    )
    def test_a_larger_network_or_one_of_other_strides(self, arch, other, cause, tmp_path):
        options = {"input_shape": (32, 32, 3), "classes": 10}
        if arch == "vgg16":
            options |= {"widths": (4,) * 5, "hidden": (8,), "pools": 4}
        if arch.startswith("resnet50"):
            options |= {"widths": (8,) * 4, "stem_filters": 4, "stem": kb.stem.cifar}
        saved = architectures.create(other, **options)
        saved.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=f"`weights` do not fit {arch} as it is configured: .*{cause}"):
            architectures.create(arch, weights=tmp_path / "model.keras", **options)
        # Whoever wants the layers that there are says so.
        ours = architectures.create(arch, **options)
        architectures.copy_weights(randomise(saved), ours)
        assert_equal(ours, saved)

    @pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
    @pytest.mark.parametrize("change", ["output_stride", "stem"])
    def test_other_strides_that_a_network_may_have(self, change, ending, tmp_path):
        def stem(x, filters, *, style, name):
            return kb.conv.conv_norm_act(x, filters, 3, stride=2, style=style, name=f"{name}_conv")

        change = {"output_stride": 1} if change == "output_stride" else {"stem": stem}
        options = {"input_shape": (32, 32, 3), "depths": (2, 2), "widths": (8, 8)}
        plain = architectures.create("resnet_tiny", **options)
        changed = architectures.create("resnet_tiny", **options, **change)
        assert (
            changed.get_layer("stage2_unit2_conv1").output.shape != plain.get_layer("stage2_unit2_conv1").output.shape
        )
        for saved, overrides in ((plain, change), (changed, {})):
            path = save(randomise(saved), tmp_path / f"model{ending}")
            assert_equal(architectures.create("resnet_tiny", weights=path, **options, **overrides), saved)

    @pytest.mark.parametrize("ending", [".h5", ".keras"])
    @pytest.mark.parametrize(
        ("arch", "head"), [("vgg16", ["hidden_dense1", "logits"]), slow("mobilenet_v3_small", ["head_dense", "logits"])]
    )
    def test_features_below_a_head_with_hidden_layers(self, arch, head, ending, tmp_path):
        options = {"input_shape": (32, 32, 3)} | (
            {"hidden": (8,), "pools": 4} if arch == "vgg16" else {"stem": kb.stem.cifar}
        )
        if ending == ".h5":
            theirs = architectures.variant(arch).keras(weights=None, include_top=False, input_shape=(32, 32, 3))
            path = save(randomise(theirs), tmp_path / "model.h5")
            saved = architectures.create(arch, **options, classes=0, preprocessing=True)
            architectures.port_from_keras(saved, theirs)
        else:
            saved = randomise(architectures.create(arch, **options, classes=0))
            path = save(saved, tmp_path / f"model{ending}")
        loaded = architectures.create(arch, **options, weights=path, classes=5, pooling="avg")
        assert_equal(saved, loaded)
        fresh = [name for name in weights_by_name(loaded) if name not in weights_by_name(saved)]
        assert fresh == head

    def test_a_whole_model_of_keras_applications(self, tmp_path):
        keras.applications.MobileNet(weights=None, alpha=0.25).save(tmp_path / "theirs.keras")
        with pytest.raises(ValueError, match=r"must be of a network that `create` built; .*`port_from_keras`"):
            architectures.create("mobilenet_025", weights=tmp_path / "theirs.keras")

    def test_weights_of_a_network_that_was_compiled_and_trained(self, tmp_path):
        saved = architectures.create("resnet_tiny", drop_path=0.5)
        saved.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        saved.fit(np.ones((4, 16, 16, 3), "float32"), np.zeros(4, "int32"), verbose=0)
        saved.save_weights(tmp_path / "model.weights.h5")
        assert_equal(architectures.create("resnet_tiny", weights=tmp_path / "model.weights.h5"), saved)

    @pytest.mark.parametrize(
        ("arch", "overrides", "heads"),
        [
            ("googlenet_tiny", {"auxiliary": True}, ["logits", "auxiliary1_logits", "auxiliary2_logits"]),
            ("shared_dense_tiny", {}, ["logits1", "logits2"]),
        ],
    )
    def test_several_heads(self, arch, overrides, heads, tmp_path):
        saved = randomise(architectures.create(arch, classes=7, **overrides))
        path = tmp_path / "model.keras"
        saved.save(path)
        loaded = architectures.create(arch, weights=path, classes=4, **overrides)
        assert {name for name in weights_by_name(loaded) if "logits" in name} >= set(heads)
        assert_equal(loaded, saved, but=heads)

    @pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
    @pytest.mark.parametrize("classes", [3, 1000])
    @pytest.mark.parametrize("before", [True, False])
    def test_preprocessing_as_it_was_saved_or_as_it_is_wanted(self, ending, classes, before, tmp_path):
        small = {"input_shape": (32, 32, 3), "depths": (1,), "widths": (4,), "pools": 1, "hidden": ()}
        saved = randomise(architectures.create("vgg16", preprocessing=before, classes=classes, **small))
        path = tmp_path / f"model{ending}"
        saved.save(path) if ending == ".keras" else saved.save_weights(path)
        x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
        caffe = keras.applications.vgg16.preprocess_input
        expected = predict(saved, x if before else caffe(x.copy()))
        for wanted in (None, True, False):
            prepares = before if wanted is None else wanted
            if ending == ".weights.h5" and prepares != before:
                with pytest.raises(ValueError, match=f"`preprocessing` is {before} in the file"):
                    architectures.create("vgg16", weights=path, preprocessing=wanted, classes=classes, **small)
                continue
            loaded = architectures.create("vgg16", weights=path, preprocessing=wanted, classes=classes, **small)
            assert ("preprocess" in {layer.name for layer in loaded.layers}) == prepares
            found = predict(loaded, x if prepares else caffe(x.copy()))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

    @pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
    def test_no_file_of_keras(self, ending, tmp_path):
        path = tmp_path / f"model{ending}"
        path.write_bytes(b"nothing")
        for arch in ("vgg16", "resnet_tiny"):
            with pytest.raises(ValueError, match=f"`weights` must be a file saved by Keras for {arch}; got"):
                architectures.create(arch, weights=path)

    def test_a_damaged_keras_file(self, tmp_path):
        path = save(architectures.create("resnet_tiny"), tmp_path / "whole.keras")
        whole = path.read_bytes()
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        (weights,) = [name for name in parts if name.endswith(".weights.h5")]
        flipped = bytearray(whole)
        flipped[whole.index(parts[weights]) + len(parts[weights]) // 2] ^= 255
        zips = {
            "json": parts | {"config.json": b"{"},
            "list": parts | {"config.json": b"[]"},
            "alone": {name: part for name, part in parts.items() if name != weights},
        }
        damaged = {"cut": whole[: len(whole) // 2], "flipped": bytes(flipped)}
        for name, contents in zips.items():
            with zipfile.ZipFile(tmp_path / "zip", "w") as file:
                for part, content in contents.items():
                    file.writestr(part, content)
            damaged[name] = (tmp_path / "zip").read_bytes()
        for name, content in damaged.items():
            (tmp_path / f"{name}.keras").write_bytes(content)
            with pytest.raises(
                ValueError,
                match=rf"^`weights` must be a file saved by Keras for resnet_tiny; got '.*{name}.keras' \(.+",
            ):
                architectures.create("resnet_tiny", weights=tmp_path / f"{name}.keras")

    def test_a_damaged_weights_file(self, tmp_path):
        path = save(architectures.create("resnet_tiny"), tmp_path / "a.weights.h5")
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(
            ValueError, match=r"^`weights` must be a file saved by Keras for resnet_tiny; got '.*truncat"
        ):
            architectures.create("resnet_tiny", weights=path)

    @pytest.mark.parametrize("classes", [0, 5])
    def test_an_h5_file_of_a_network_of_ours_or_of_another(self, classes, tmp_path):
        options = {"input_shape": (64, 64, 3), "classes": classes}
        ours = architectures.create("mobilenet_025", **options)
        other = keras.applications.MobileNetV2(weights=None, alpha=0.35, include_top=False, input_shape=SHAPE)
        for saved, cause in ((ours, "network of `create`"), (other, "Layer count mismatch")):
            path = save(saved, tmp_path / "model.h5")
            with pytest.raises(
                ValueError,
                match=rf"^`weights` must be a file of keras.applications for mobilenet_025; got '.*\(.*{cause}",
            ):
                architectures.create("mobilenet_025", weights=path, **options)

    @pytest.mark.parametrize("classes", [slow(5), 7, slow(0)])
    def test_a_file_of_keras_applications_of_any_number_of_classes(self, classes, tmp_path):
        theirs = randomise(keras.applications.MobileNet(weights=None, alpha=0.25, classes=5, input_shape=(32, 32, 3)))
        path = save(theirs, tmp_path / "model.h5")
        loaded = architectures.create("mobilenet_025", weights=path, classes=classes, input_shape=SHAPE)
        expected = architectures.create("mobilenet_025", classes=classes, input_shape=SHAPE)
        new = ["logits"] if classes == 7 else []
        architectures.port_from_keras(expected, theirs, skip=new)
        assert_equal(loaded, expected, but=new)

    @pytest.mark.parametrize(
        ("arch", "before", "after", "new"),
        [
            ("mobilenet_tiny", {}, {"pooling": "flatten", "classes": 5}, ["logits"]),
            ("mobilenet_tiny", {}, {"pooling": "flatten", "classes": 0}, []),
            ("mobilenet_tiny", {"pooling": "flatten"}, {"classes": 5}, ["logits"]),
            ("mobilenet_tiny", {"pooling": "flatten"}, {"classes": 0}, []),
            ("vgg_tiny", {}, {"pooling": "max", "classes": 0}, []),
            ("vgg_tiny", {"pooling": "max"}, {"classes": 0}, []),
            slow("googlenet_tiny", {"auxiliary": True}, {}, []),
            slow("googlenet_tiny", {"auxiliary": True}, {"classes": 0}, []),
            ("googlenet_tiny", {"auxiliary": True}, {"classes": 3, "pooling": "flatten"}, ["logits"]),
            slow("googlenet_tiny", {}, {"auxiliary": True}, []),
            slow("googlenet_tiny", {}, {"auxiliary": True, "classes": 3}, ["logits"]),
            ("googlenet_tiny", {"classes": 0}, {"auxiliary": True, "classes": 3}, []),
            ("lenet_tiny", {}, {"classes": 0}, []),
        ],
    )
    def test_a_head_of_another_kind(self, arch, before, after, new, tmp_path):
        saved = randomise(architectures.create(arch, **before))
        loaded = architectures.create(arch, weights=save(saved, tmp_path / "model.keras"), **after)
        held, found = weights_by_name(saved), weights_by_name(loaded)
        body = weights_by_name(architectures.create(arch, classes=0)).keys()
        assert body <= held.keys() & found.keys()
        taken = {name for name in held.keys() & found.keys() if np.array_equal(held[name][0], found[name][0])}
        assert taken == (held.keys() & found.keys()) - set(new)

    def test_a_trained_head_that_does_not_fit_is_not_left_out(self, tmp_path):
        path = save(architectures.create("mobilenet_tiny"), tmp_path / "model.keras")
        with pytest.raises(
            ValueError,
            match=r"`weights` do not fit mobilenet_tiny as it is configured: layer logits needs a kernel of .*`skip=`",
        ):
            architectures.create("mobilenet_tiny", weights=path, pooling="flatten")

    def test_a_network_that_keras_has_not(self, tmp_path):
        (tmp_path / "model.h5").write_bytes(b"")
        for weights in ("imagenet", tmp_path / "model.h5"):
            with pytest.raises(
                ValueError,
                match=r"must be a .keras or .weights.h5 file for resnet20, which is not in keras.app",
            ):
                architectures.create("resnet20", weights=weights)


class TestNested:
    """Files of models that hold a network of ours."""

    IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("float32")

    def around(self, front=(), behind=(), network=None, **options):
        """A model with layers in front of a network and behind it."""
        network = network or randomise(architectures.create("resnet_tiny", **options))
        return keras.Sequential([keras.Input((16, 16, 3)), *front, network, *behind], name="outer")

    def adapted(self):
        layer = layers.Normalization(name="adapted")
        layer.adapt(self.IMAGES)
        return layer

    @pytest.mark.parametrize("kind", ["plain", "rescaling", "constants", "adapted", "functional", "deep"])
    def test_what_prepares_the_images_is_kept(self, kind, tmp_path):
        front = {
            "rescaling": lambda: [layers.Rescaling([1 / 127.5, 1 / 100, 1 / 90], offset=-1.0, name="scaled")],
            "constants": lambda: [layers.Normalization(mean=[100, 120, 140], variance=[90, 80, 70], name="scaled")],
            "adapted": lambda: [self.adapted()],
            "plain": list,
        }.get(kind, lambda: [layers.Rescaling(1 / 255, name="scaled")])()
        outer = self.around(front)
        if kind == "functional":
            x = keras.Input((16, 16, 3))
            outer = keras.Model(x, outer.layers[-1](front[0](x)))
        if kind == "deep":
            x = keras.Input((16, 16, 3))
            outer = keras.Model(x, self.around(front)(x), name="outermost")
        path = save(outer, tmp_path / "outer.keras")
        loaded = architectures.create("resnet_tiny", weights=path)
        assert not any(isinstance(layer, keras.Model) for layer in loaded.layers)
        expected = predict(outer, self.IMAGES)
        assert expected.std() > 0.1
        np.testing.assert_allclose(predict(loaded, self.IMAGES), expected, rtol=1e-4, atol=1e-4)
        # And again from a file of what was loaded.
        again = architectures.create("resnet_tiny", weights=save(loaded, tmp_path / "again.keras"))
        np.testing.assert_allclose(predict(again, self.IMAGES), expected, rtol=1e-4, atol=1e-4)
        without = architectures.create("resnet_tiny", weights=path, preprocessing=False)
        prepared = self.IMAGES
        for layer in front:
            prepared = keras.ops.convert_to_numpy(layer(prepared))
        np.testing.assert_allclose(predict(without, prepared), expected, rtol=1e-4, atol=1e-4)

    def test_weights_alone_do_not_lose_it(self, tmp_path):
        path = save(self.around([layers.Rescaling(1 / 255, name="scaled")]), tmp_path / "outer.keras")
        loaded = architectures.create("resnet_tiny", weights=path)
        with pytest.raises(ValueError, match=r"the file has scaled in front, whose numbers only a \.keras file holds"):
            architectures.create("resnet_tiny", weights=save(loaded, tmp_path / "a.weights.h5"))

    @pytest.mark.parametrize(
        ("front", "names"),
        [
            (lambda: [layers.RandomFlip(name="flip")], "flip"),
            (lambda: [layers.RandomFlip(name="flip"), layers.Rescaling(1 / 255, name="scaled")], "flip, scaled"),
            (lambda: [layers.Conv2D(3, 1, name="mix")], "mix"),
            (lambda: [keras.Sequential([layers.Rescaling(1 / 255)], name="augment")], "augment"),
        ],
    )
    def test_other_layers_in_front_are_named(self, front, names, tmp_path):
        outer = self.around(front())
        path = save(outer, tmp_path / "outer.keras")
        for preprocessing in (None, True):
            with pytest.raises(
                ValueError,
                match=rf"^`weights` must be of a network with at most one Rescaling or Normalization in front; got "
                rf"'.*outer.keras' with {names} \(`preprocessing=False` loads",
            ):
                architectures.create("resnet_tiny", weights=path, preprocessing=preprocessing)
        loaded = architectures.create("resnet_tiny", weights=path, preprocessing=False)
        assert_equal(loaded, outer.layers[-1])

    @pytest.mark.parametrize("kind", ["operation", "layer"])
    def test_a_flat_model_with_something_in_front(self, kind, tmp_path):
        x = keras.Input((16, 16, 3))
        scaled = x / 255.0 if kind == "operation" else layers.Rescaling(1 / 255, name="scaled")(x)
        y = resnet.backbone(scaled, architectures.variant("resnet_tiny").spec, name="")
        path = save(keras.Model(x, y), tmp_path / "flat.keras")
        if kind == "operation":
            with pytest.raises(ValueError, match=r"at most one Rescaling or Normalization in front; got .*divide"):
                architectures.create("resnet_tiny", classes=0, weights=path)
            return
        loaded = architectures.create("resnet_tiny", classes=0, weights=path)
        expected = predict(keras.saving.load_model(path), self.IMAGES)
        np.testing.assert_allclose(predict(loaded, self.IMAGES), expected, rtol=1e-4, atol=1e-4)

    def test_preprocessing_of_keras_applications_within(self, tmp_path):
        options = {"input_shape": (32, 32, 3), "depths": (1,), "widths": (4,), "pools": 1, "hidden": (), "classes": 3}
        network = randomise(architectures.create("vgg16", preprocessing=True, **options))
        x = keras.Input((32, 32, 3))
        path = save(keras.Model(x, layers.Softmax()(network(x))), tmp_path / "outer.keras")
        images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
        loaded = architectures.create("vgg16", weights=path, **options)
        np.testing.assert_allclose(predict(loaded, images), predict(network, images), rtol=1e-4, atol=1e-4)
        # The kernel is for red, green and blue; without preprocessing it takes the channels as Keras's does.
        plain = architectures.create("vgg16", weights=path, preprocessing=False, **options)
        prepared = keras.applications.vgg16.preprocess_input(images.copy())
        np.testing.assert_allclose(predict(plain, prepared), predict(network, images), rtol=1e-3, atol=1e-3)

    def test_means_of_keras_applications_around_a_network(self, tmp_path):
        # The network takes red, green and blue: the order of its channels stays.
        options = {"input_shape": (32, 32, 3), "depths": (1,), "widths": (4,), "pools": 1, "hidden": (), "classes": 3}
        network = randomise(architectures.create("vgg16", **options))
        mean, variance = MEANS_AND_VARIANCES["caffe"]
        scale = layers.Normalization(mean=mean, variance=variance, name="scaled")
        path = save(keras.Sequential([keras.Input((32, 32, 3)), scale, network]), tmp_path / "outer.keras")
        for preprocessing in (None, False):
            loaded = architectures.create("vgg16", weights=path, preprocessing=preprocessing, **options)
            assert_equal(loaded, network)

    def test_a_head_behind_the_network_is_left_out(self, tmp_path):
        network = randomise(architectures.create("resnet_tiny", classes=0))
        path = save(
            self.around(behind=[layers.GlobalAveragePooling2D(), layers.Dense(10, name="logits")], network=network),
            tmp_path / "outer.keras",
        )
        loaded = architectures.create("resnet_tiny", weights=path, classes=5)
        assert_equal(network, loaded)
        with pytest.raises(ValueError, match=r"`weights` must have logits for 10 classes; got .* which has no head"):
            architectures.create("resnet_tiny", weights=path)

    def test_two_networks(self, tmp_path):
        x = keras.Input((16, 16, 3))
        members = [randomise(architectures.create("resnet_tiny", name=name), i) for i, name in enumerate("ab")]
        path = save(keras.Model(x, layers.Average()([member(x) for member in members])), tmp_path / "two.keras")
        with pytest.raises(
            ValueError,
            match=r"one network of these layers; got '.*two.keras' with a, b \(`copy_weights\(.*prefix='a'\)",
        ):
            architectures.create("resnet_tiny", weights=path)
        ours = architectures.create("resnet_tiny")
        architectures.copy_weights(keras.models.load_model(path), ours, prefix="b")
        assert_equal(ours, members[1])

    def test_a_nested_network_of_another_kind(self, tmp_path):
        network = architectures.create("resnet_tiny", classes=0)
        path = save(self.around(network=network), tmp_path / "outer.keras")
        with pytest.raises(ValueError, match=r"must be of a network that `create` built; got .* of outer"):
            architectures.create("multi_input_tiny", weights=path)
        with pytest.raises(ValueError, match="`preprocessing` must be False for resnet_tiny"):
            architectures.create("resnet_tiny", weights=path, classes=0, preprocessing=True)


class TestRescalingOfKeras:
    """Complete `.h5` files of networks that rescale their images themselves, or can do so."""

    def images(self):
        return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")

    @pytest.mark.parametrize("included", [True, slow(False)])
    def test_it_is_kept_where_it_is_included(self, included, tmp_path):
        theirs = randomise(
            keras.applications.MobileNetV3Small(
                weights=None, include_top=False, input_shape=SHAPE, include_preprocessing=included
            )
        )
        path = save(theirs, tmp_path / "theirs.h5")
        for preprocessing in (None, True, False):
            loaded = architectures.create(
                "mobilenet_v3_small", weights=path, classes=0, input_shape=SHAPE, preprocessing=preprocessing
            )
            prepares = included if preprocessing is None else preprocessing
            assert any(layer.name == "preprocess" for layer in loaded.layers) == prepares
            x = self.images()
            expected = predict(theirs, x if included else x / 127.5 - 1)
            found = predict(loaded, x if prepares else x / 127.5 - 1)
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())

    def test_statistics_of_other_images_are_refused(self, tmp_path):
        theirs = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=SHAPE)
        path = save(theirs, tmp_path / "theirs.h5")
        options = {"weights": path, "classes": 0, "input_shape": SHAPE}
        # It rescales to 0 … 1 and subtracts no mean.
        with pytest.raises(
            ValueError,
            match=r"`preprocessing` must be False for '.*theirs.h5', whose network rescales images to 0 … 1; that of "
            r"efficientnet_b0 rescales them to -2\.118 … 2\.64",
        ):
            architectures.create("efficientnet_b0", **options)
        loaded = architectures.create("efficientnet_b0", preprocessing=False, **options)
        expected = predict(theirs, self.images())
        found = predict(loaded, self.images() / 255)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


class TestImagenet:
    @pytest.fixture
    def fetched(self, monkeypatch):
        """Keras's constructor as it would be with a network: asked for its weights it has some."""
        made = []

        def resnet50(*, weights, **options):
            assert (weights, options) == ("imagenet", {})
            made.append(randomise(keras.applications.ResNet50(weights=None)))
            return made[-1]

        row = architectures.variant("resnet50")
        monkeypatch.setitem(
            architectures.resnet.VARIANTS, "resnet50", architectures.Variant(**{**vars(row), "keras": resnet50})
        )
        return made

    def test_images_of_0_to_255_in_red_green_and_blue(self, fetched):
        ours = architectures.create("resnet50", weights="imagenet", input_shape=SHAPE, classes=0)
        (theirs,) = fetched
        small = keras.applications.ResNet50(weights=None, include_top=False, input_shape=SHAPE)
        for layer in small.layers[1:]:
            layer.set_weights(theirs.get_layer(layer.name).get_weights())
        x = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype("float32")
        expected = small.predict(keras.applications.resnet.preprocess_input(x.copy()), verbose=0)
        np.testing.assert_allclose(ours.predict(x, verbose=0), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())

    def test_without_preprocessing_as_keras_has_it(self, fetched):
        ours = architectures.create("resnet50", weights="imagenet", preprocessing=False)
        assert "preprocess" not in {layer.name for layer in ours.layers}
        np.testing.assert_array_equal(
            ours.get_layer("stem_conv").get_weights()[0], fetched[0].get_layer("conv1_conv").get_weights()[0]
        )

    def test_a_new_head(self, fetched):
        ours = architectures.create("resnet50", weights="imagenet", classes=3, input_shape=SHAPE)
        assert ours.output_shape == (None, 3)
        assert np.abs(ours.get_layer("logits").get_weights()[0]).max() < 0.5

    def test_another_stem_does_not_fit(self, fetched):
        with pytest.raises(
            ValueError,
            match=r"^`weights` do not fit resnet50 as it is configured: layer stem_conv needs a kernel of shape "
            r"\(3, 3, 3, 64\); got one of shape \(7, 7, 3, 64\) \(`copy_weights`, or `port_from_keras` .*`skip=`",
        ):
            architectures.create("resnet50", weights="imagenet", stem=kb.stem.cifar, input_shape=(32, 32, 3))


class TestPort:
    def two(self, bias_then, use_bias=False):
        """A network with a bias and ours without it."""
        x = inputs = keras.Input((4, 4, 2))
        y = layers.Conv2D(3, 1, name="theirs_conv")(x)
        y = layers.BatchNormalization(name="theirs_bn", scale=False)(y) if bias_then == "norm" else y
        theirs = keras.Model(inputs, y, name="theirs")
        y = layers.Conv2D(3, 1, use_bias=use_bias, name="conv")(x)
        y = layers.BatchNormalization(name="conv_norm")(y) if bias_then == "norm" else y
        return keras.Model(inputs, y, name="ours"), theirs

    @staticmethod
    def keras_names(names, keras_model):
        return {"conv": "theirs_conv", "conv_norm": "theirs_bn"}

    @pytest.mark.parametrize("use_bias", [False, True])
    def test_a_bias_goes_into_the_mean_and_a_missing_scale_is_one(self, use_bias):
        ours, theirs = self.two("norm", use_bias)
        randomise(theirs)
        porting.port(ours, theirs, self.keras_names)
        x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float32")
        np.testing.assert_allclose(predict(ours, x), predict(theirs, x), rtol=1e-5, atol=1e-5)

    def test_preprocessing_takes_red_green_and_blue(self):
        theirs = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
        ours = architectures.create("vgg16", input_shape=(32, 32, 3), classes=0, pools=5, preprocessing=True)
        architectures.port_from_keras(ours, theirs)
        x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
        expected = theirs.predict(keras.applications.vgg16.preprocess_input(x.copy()), verbose=0)
        assert expected.std() > 0
        np.testing.assert_allclose(ours.predict(x, verbose=0), expected, rtol=1e-3, atol=1e-4 * expected.max())

    def test_a_bias_with_nowhere_to_go(self):
        ours, theirs = self.two("nothing")
        with pytest.raises(
            ValueError, match="layer conv of `ours` has no bias, and no batch normalisation to absorb one"
        ):
            porting.port(ours, theirs, self.keras_names)

    @pytest.mark.parametrize("size", [1, 3])
    def test_a_pooling_in_place_of_the_stride_of_a_single_tap(self, size):
        inputs = keras.Input((5, 5, 2))
        ours = keras.Model(inputs, layers.Conv2D(3, size, strides=2, padding="same", name="conv")(inputs), name="ours")
        x = layers.AveragePooling2D(1, strides=2)(inputs)
        theirs = keras.Model(inputs, layers.Conv2D(3, size, padding="same", name="theirs_conv")(x), name="theirs")
        randomise(theirs)
        if size > 1:
            with pytest.raises(
                ValueError, match="layer conv of `ours` has stride 2; got one of stride 1, theirs_conv of"
            ):
                porting.port(ours, theirs, self.keras_names)
            return
        porting.port(ours, theirs, self.keras_names)
        x = np.random.default_rng(0).normal(size=(2, 5, 5, 2)).astype("float32")
        np.testing.assert_allclose(predict(ours, x), predict(theirs, x), rtol=1e-5, atol=1e-5)

    def test_what_is_no_model(self):
        model = architectures.create("resnet_tiny")
        for copy in (architectures.port_from_keras, architectures.copy_weights):
            for pair in ((model, "resnet50"), (None, model)):
                with pytest.raises(TypeError, match=r"`(keras_)?(model|source|target)` must be a keras.Model; got "):
                    copy(*pair)

    def test_a_model_of_another_name_needs_its_architecture(self):
        theirs = keras.applications.MobileNet(weights=None, input_shape=SHAPE, alpha=0.25, include_top=False)
        ours = architectures.create("mobilenet_025", input_shape=SHAPE, classes=0, name="mine")
        with pytest.raises(ValueError, match=r"`arch` must be given, as the model's name is not an .*; got 'mine'"):
            architectures.port_from_keras(ours, theirs)
        architectures.port_from_keras(ours, randomise(theirs), arch="mobilenet_025")
        np.testing.assert_array_equal(
            ours.get_layer("stem_conv").get_weights()[0], theirs.get_layer("conv1").get_weights()[0]
        )

    def test_a_family_that_keras_has_not(self):
        model = architectures.create("lenet_tiny")
        with pytest.raises(ValueError, match=r"`arch` must be of a family in keras.applications; got one of lenet"):
            architectures.port_from_keras(model, model)

    def test_networks_of_two_families(self):
        theirs = keras.applications.MobileNet(weights=None, input_shape=SHAPE, alpha=0.25, include_top=False)
        with pytest.raises(ValueError, match=r"`resnet50` has layers without a counterpart in .* `mobilenet"):
            architectures.port_from_keras(architectures.create("resnet50", input_shape=SHAPE, classes=0), theirs)

    @pytest.mark.parametrize(
        ("arch", "constructor", "cause"),
        [
            ("resnet50", "ResNet101", "layers without a counterpart in `resnet50`: conv4_block7_1_conv"),
            ("vgg16", "VGG19", "layers without a counterpart in `vgg16`: block3_conv4, block4_conv4, block5_conv4$"),
            (
                "resnet50_v1_5",
                "ResNet50",
                "layer stage2_unit1_conv2 of `resnet50_v1_5` has stride 2; got one of stride 1, conv3_block1_2_conv",
            ),
        ],
    )
    def test_another_network_of_the_family(self, arch, constructor, cause):
        ours = architectures.create(arch, input_shape=SHAPE, classes=0)
        before = ours.get_weights()[0]
        theirs = getattr(keras.applications, constructor)(weights=None, input_shape=SHAPE, include_top=False)
        with pytest.raises(ValueError, match=cause):
            architectures.port_from_keras(ours, theirs)
        np.testing.assert_array_equal(ours.get_weights()[0], before)

    def test_a_head_of_ones_own_below_which_theirs_is_left_aside(self):
        options = {"input_shape": (32, 32, 3), "classes": 3}
        theirs = randomise(keras.applications.VGG16(weights=None, **options))
        ours = architectures.create("vgg16", **options, hidden=(), pools=4)
        architectures.port_from_keras(ours, theirs, skip=["logits"])
        np.testing.assert_array_equal(
            ours.get_layer("stage5_conv3").get_weights()[0], theirs.get_layer("block5_conv3").get_weights()[0]
        )

    def test_heads_of_two_widths(self):
        theirs = keras.applications.ResNet50(weights=None, input_shape=SHAPE, classes=4)
        ours = architectures.create("resnet50", input_shape=SHAPE, classes=3)
        with pytest.raises(ValueError, match=r"layer logits needs a kernel of shape \(2048, 3\); got one of shape"):
            architectures.port_from_keras(ours, theirs)
        architectures.port_from_keras(ours, theirs, skip=["logits"])


class TestFineTuned:
    """Networks of keras.applications with a head of one's own."""

    OPTIONS = {"weights": None, "include_top": False, "input_shape": SHAPE}  # noqa: RUF012

    def base(self, **options):
        return randomise(keras.applications.MobileNet(alpha=0.25, **self.OPTIONS, **options))

    def ours(self, **options):
        return architectures.create("mobilenet_025", input_shape=SHAPE, **{"classes": 0, **options})

    def with_head(self, kind, base):
        x = keras.Input(SHAPE)
        pool = layers.GlobalAveragePooling2D()
        if kind == "flat":
            return keras.Model(base.input, layers.Dense(3)(pool(base.output)))
        if kind == "flat with hidden layers":
            y = layers.BatchNormalization()(layers.Dense(8, activation="relu")(layers.Flatten()(base.output)))
            return keras.Model(base.input, layers.Dense(3, name="logits")(layers.Dropout(0.5)(y)))
        if kind == "flat with a nested head":
            head = keras.Sequential([keras.Input((256,)), layers.Dense(8), layers.Dense(3)])
            return keras.Model(base.input, head(pool(base.output)))
        if kind == "sequential":
            return keras.Sequential([keras.Input(SHAPE), layers.Rescaling(1 / 127.5, -1), base, pool, layers.Dense(3)])
        if kind == "functional":
            y = layers.Rescaling(1 / 127.5, -1)(layers.RandomFlip()(x))
            return keras.Model(x, layers.Dense(3)(pool(base(y, training=False))))
        inner = keras.Sequential([keras.Input(SHAPE), base, pool])
        return keras.Model(x, layers.Dense(3)(inner(x)))

    @pytest.mark.parametrize(
        "kind",
        ["flat", "flat with hidden layers", "flat with a nested head", "sequential", "functional", "deep"],
    )
    def test_the_head_is_left_out(self, kind, numbers):
        base = self.base()
        tuned, ours = self.with_head(kind, base), self.ours()
        architectures.port_from_keras(ours, tuned)
        x = numbers(2, *SHAPE)
        np.testing.assert_allclose(predict(ours, x), predict(base, x), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("kind", ["flat", "sequential"])
    def test_our_head_is_skipped_by_name(self, kind, numbers):
        tuned, ours = self.with_head(kind, self.base()), self.ours(classes=3)
        before = ours.get_weights()
        with pytest.raises(ValueError, match=r"`mobilenet_025` has layers without a counterpart in .*: logits$"):
            architectures.port_from_keras(ours, tuned)
        for a, b in zip(before, ours.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        architectures.port_from_keras(ours, tuned, skip=["logits"])
        np.testing.assert_array_equal(before[-2], ours.get_layer("logits").get_weights()[0])
        assert not np.array_equal(before[0], ours.get_layer("stem_conv").get_weights()[0])

    @pytest.mark.parametrize(
        ("wrap", "cause"),
        [
            (
                lambda base: keras.Sequential([keras.Input((64, 64, 1)), layers.Conv2D(3, 1, name="colour"), base]),
                r"`keras_model` must have no layers with weights in front of mobilenet_.*, the network in it; got "
                r".* with colour \(`get_layer\('mobilenet_.*'\)` returns the network without them\)",
            ),
            (
                lambda base: keras.Model(base.input, layers.Conv2D(3, 1, name="mask")(base.output)),
                "has layers without a counterpart in `mobilenet_025`: mask",
            ),
            (
                lambda base: keras.Model(
                    base.input,
                    layers.Dense(3)(
                        layers.GlobalMaxPooling2D()(layers.DepthwiseConv2D(3, padding="same", name="more")(base.output))
                    ),
                ),
                "has layers without a counterpart in `mobilenet_025`: more",
            ),
        ],
    )
    def test_what_would_be_lost_is_named(self, wrap, cause):
        tuned, ours = wrap(self.base()), self.ours()
        before = ours.get_weights()
        with pytest.raises(ValueError, match=cause):
            architectures.port_from_keras(ours, tuned)
        for a, b in zip(before, ours.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_two_of_one_architecture(self):
        x = keras.Input(SHAPE)
        bases = [self.base(name=name) for name in ("one", "two")]
        tuned = keras.Model(x, layers.Average()([base(x) for base in bases]), name="both")
        ours = self.ours()
        with pytest.raises(
            ValueError,
            match=r"`keras_model` must hold one network of this architecture; got both with one, two "
            r"\(`get_layer\('one'\)` returns one of them\)",
        ):
            architectures.port_from_keras(ours, tuned)
        architectures.port_from_keras(ours, tuned.get_layer("two"))
        np.testing.assert_array_equal(
            ours.get_layer("stem_conv").get_weights()[0], bases[1].get_layer("conv1").get_weights()[0]
        )

    def test_a_file_with_a_head_of_ones_own(self, tmp_path):
        tuned = self.with_head("flat", self.base())
        path = save(tuned, tmp_path / "tuned.h5")
        with pytest.raises(ValueError, match=r"must be a file of keras.applications .*`port_from_keras` copies from"):
            architectures.create("mobilenet_025", weights=path, classes=0, input_shape=SHAPE)
        ours = self.ours()
        architectures.port_from_keras(ours, keras.models.load_model(path, compile=False))
        np.testing.assert_array_equal(
            ours.get_layer("stem_conv").get_weights()[0], tuned.get_layer("conv1").get_weights()[0]
        )

    def test_layers_that_begin_with_the_name_of_the_model(self, numbers):
        base = randomise(
            keras.applications.ConvNeXtTiny(include_preprocessing=False, **self.OPTIONS | {"input_shape": SHAPE})
        )
        y = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(base.output))
        tuned = keras.Model(base.input, layers.Dense(3)(y), name="mine")
        ours = architectures.create("convnext_tiny", classes=0, input_shape=SHAPE)
        architectures.port_from_keras(ours, tuned)
        x = numbers(2, *SHAPE)
        np.testing.assert_allclose(predict(ours, x), predict(base, x), rtol=1e-3, atol=1e-3)

    @pytest.mark.slow
    def test_layers_with_numbers_for_names(self, numbers):
        base = randomise(keras.applications.InceptionV3(**self.OPTIONS | {"input_shape": (75, 75, 3)}))
        y = layers.BatchNormalization()(layers.GlobalAveragePooling2D()(base.output))
        tuned = keras.Model(base.input, layers.Dense(3)(y))
        ours = architectures.create("inception_v3", classes=0, input_shape=(75, 75, 3))
        architectures.port_from_keras(ours, tuned)
        x = numbers(2, 75, 75, 3)
        expected = predict(base, x)
        np.testing.assert_allclose(predict(ours, x), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_numbered_layers_in_the_order_they_were_made():
    x = inputs = keras.Input((4,))
    for name in ("dense_9", "dense_11", "dense_10", "dense_a", "other"):
        x = layers.Dense(4, name=name)(x)
    assert names.numbered(keras.Model(inputs, x), layers.Dense, "dense") == ["dense_9", "dense_10", "dense_11"]


MODULES = {
    "tf": keras.applications.mobilenet,
    "torch": keras.applications.densenet,
    "caffe": keras.applications.resnet,
}


class TestPreprocessing:
    @pytest.mark.parametrize("way", MODULES)
    def test_as_keras_applications_does_it(self, way):
        x = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("float32")
        inputs = keras.Input((4, 4, 3))
        found = keras.Model(inputs, preprocess(inputs, way))(x)
        expected = MODULES[way].preprocess_input(x.copy())
        if way == "caffe":
            expected = expected[..., ::-1]  # in blue, green and red; ours stays as it came
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("arch", ["mobilenet_v3_small", "convnext_tiny"])
    def test_as_networks_do_that_begin_with_it(self, arch):
        row = architectures.variant(arch)
        model = row.keras(weights=None, include_top=False, input_shape=SHAPE)
        prepares = [x for x in model.layers if isinstance(x, layers.Rescaling | layers.Normalization)]
        x = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype("float32")
        inputs = keras.Input(SHAPE)
        found = keras.Model(inputs, preprocess(inputs, row.preprocessing))(x)
        expected = keras.Model(model.input, prepares[0].output)(x)
        found, expected = keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    def test_rows_are_prepared_as_their_module_says(self):
        # EfficientNet has its own tests.
        ways = {"mobilenet_v3": "tf", "convnext": "torch"}
        x = np.array([[[[0.0, 100.0, 255.0]]]], "float32")
        for arch in architectures.names():
            row = architectures.variant(arch)
            if row.keras is None or architectures.family(arch) == "efficientnet":
                continue
            module = sys.modules[getattr(row.keras, "func", row.keras).__module__]
            if architectures.family(arch) in ways:
                assert row.preprocessing == ways[architectures.family(arch)]
                assert module.preprocess_input(x) is x
                continue
            inputs = keras.Input((1, 1, 3))
            found = predict(keras.Model(inputs, preprocess(inputs, row.preprocessing)), x)
            expected = module.preprocess_input(x.copy())
            if row.preprocessing == "caffe":
                expected = expected[..., ::-1]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=arch)

    def test_unit128(self):
        inputs = keras.Input((1, 1, 3))
        found = keras.Model(inputs, preprocess(inputs, "unit128"))(np.array([[[[0.0, 128, 255]]]], "float32"))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found)[0, 0, 0], [-1, 0, 127 / 128], rtol=1e-6)

    def test_every_row_names_a_way_that_there_is(self):
        for arch in architectures.names():
            row = architectures.variant(arch)
            assert (row.keras is None) == (row.preprocessing is None)
            assert row.preprocessing is None or row.preprocessing in MEANS_AND_VARIANCES

    def test_the_order_of_colours_of_a_stem_of_ones_own(self, tmp_path):
        def stem(x, filters, *, style, name):
            return kb.conv.separable_norm_act(x, filters, 3, stride=2, style=style, name=f"{name}_sep")

        small = {"input_shape": SHAPE, "depths": (1, 1), "widths": (8, 16), "stem_filters": 8, "stem": stem}
        architectures.create("resnet50", preprocessing=True, **small).save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match="its first layer, stem_sep, is not an ordinary convolution"):
            architectures.create("resnet50", preprocessing=False, weights=tmp_path / "model.keras", **small)

    def test_in_front_of_a_network_without_weights(self):
        model = architectures.create("resnet50", input_shape=SHAPE, classes=2, preprocessing=True)
        assert model.layers[1].name == "preprocess"

    def test_not_where_nothing_is_known_of_it(self):
        with pytest.raises(ValueError, match="`preprocessing` must be False for resnet20"):
            architectures.create("resnet20", preprocessing=True)

    def test_three_colours_only(self):
        with pytest.raises(ValueError, match=r"unless images have 3 channels; got shape \(None, 64, 64, 1\)"):
            architectures.create("resnet50", input_shape=(64, 64, 1), preprocessing=True)
