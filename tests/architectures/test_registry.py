"""`create`, `names`, `variant`, `family` and the table that `python -m architectures` prints."""

import json
from dataclasses import fields
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from architectures import facts, registry
from architectures.__main__ import KEYS, main
from architectures.common.family import Family, shapes
from tests.support.marks import daily, slow
from tests.support.models import predict
from tests.support.networks import TINY
from tests.support.process import ROOT, python

FAMILIES = [family.name for family in registry.FAMILIES]

MNIST, CIFAR = (28, 28, 1), (32, 32, 3)
ODD = (48, 48, 3), (63, 90, 3)


def images(model, count=3, seed=0):
    """Random inputs of a model, as a list."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(count, *x.shape[1:])).astype("float32") for x in model.inputs]


def command(*arguments):
    return python("-m", "architectures", *arguments, PYTHONIOENCODING="utf-8")


class TestNames:
    def test_every_row_of_every_family_in_order(self):
        assert architectures.names() == [name for family in registry.FAMILIES for name in family.variants]
        assert len(set(FAMILIES)) == len(FAMILIES)

    def test_every_family_module_is_registered(self):
        modules = {path.stem for path in (ROOT / "architectures").glob("*.py")}
        assert modules - {"__init__", "__main__", "facts", "registry"} == set(FAMILIES)

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("resnet20*", ["resnet20", "resnet20_projection", "resnet20_preact"]),
            ("resnet*_v2", ["resnet50_v2", "resnet101_v2", "resnet152_v2"]),
            ("resnet?0", ["resnet20", "resnet50"]),
            ("lenet", ["lenet"]),
            ("LENET", []),
            ("", []),
        ],
    )
    def test_a_pattern_restricts(self, pattern, found):
        assert architectures.names(pattern) == found

    @pytest.mark.parametrize("family", registry.FAMILIES, ids=lambda family: family.name)
    def test_rows_agree_with_their_family(self, family):
        module = getattr(architectures, family.name)
        assert module.FAMILY is family
        assert module.VARIANTS is family.variants
        assert module.backbone is family.backbone
        (spec,) = {type(row.spec) for row in family.variants.values()}
        assert spec.__module__ == module.__name__
        for name, row in family.variants.items():
            assert architectures.variant(name) is row
            assert architectures.family(name) == family.name
        assert (family.keras_names is None) == all(row.keras is None for row in family.variants.values())
        assert family.downsampling is None or hasattr(row.spec, family.downsampling)

    @pytest.mark.parametrize("family", registry.FAMILIES, ids=lambda family: family.name)
    def test_features_are_images_where_down_sampling_is_named_or_pixels_are_classified(self, family):
        tiny = next(name for name, row in family.variants.items() if row.source == "for tests")
        features = architectures.create(tiny, classes=0).outputs
        images = family.downsampling is not None or family.per_pixel
        assert [len(x.shape) == 4 for x in features] == [images] * len(features)

    @pytest.mark.parametrize("arch", architectures.names())
    def test_a_row_tells_its_source(self, arch):
        assert architectures.variant(arch).source

    def test_two_rows_of_one_name(self):
        one, two = (Family(name, dict.fromkeys(rows), backbone=None) for name, rows in (("one", "ab"), ("two", "cb")))
        assert registry._index((one,)) == {"a": one, "b": one}
        with pytest.raises(ValueError, match="names must be unique; 'b' is in one and in two"):
            registry._index((one, two))

    @pytest.mark.parametrize("function", [architectures.create, architectures.variant, architectures.family])
    def test_an_unknown_name_gets_the_closest(self, function):
        with pytest.raises(ValueError, match=r"got 'resnet5O' \(the closest are .*resnet50"):
            function("resnet5O")
        with pytest.raises(ValueError, match=r"got 'qqqq' \(python -m architectures lists all\)"):
            function("qqqq")


class TestArguments:
    def test_the_row_itself_by_default(self):
        model = architectures.create("resnet_tiny")
        assert model.name == "resnet_tiny"
        assert model.input_shape == (None, 16, 16, 3)
        assert model.output_shape == (None, 10)

    def test_the_models_name(self):
        assert architectures.create("lenet_tiny", name="mine").name == "mine"

    def test_overrides_vary_the_spec_and_leave_the_row(self):
        before = architectures.variant("resnet_tiny")
        model = architectures.create("resnet_tiny", depths=(1, 2), widths=(4, 12), dropout=0.5)
        assert model.get_layer("stage2_unit2_out").output.shape == (None, 8, 8, 12)
        assert model.get_layer("dropout").rate == 0.5
        assert architectures.variant("resnet_tiny") == before
        assert before.spec.depths == (1, 1)
        assert "dropout" not in [layer.name for layer in architectures.create("resnet_tiny").layers]

    @pytest.mark.parametrize(
        ("arch", "typo", "meant"),
        [
            ("resnet20", "droppath", "drop_path"),
            ("resnet20", "stem_filter", "stem_filters"),
            ("lenet", "kernelsize", "kernel_size"),
            ("googlenet", "auxillary", "auxiliary"),
            ("siamese_lenet", "join_norm", "joint_norm"),
            ("mlp_tiny", "unit", "units"),
        ],
    )
    def test_a_mistyped_override_gets_the_closest_field(self, arch, typo, meant):
        with pytest.raises(TypeError, match=rf"{arch} takes no override `{typo}`: did you mean `{meant}`\?"):
            architectures.create(arch, **{typo: 1})

    @pytest.mark.parametrize(
        ("arch", "override", "what"),
        [
            ("resnet_tiny", {"style": "relu"}, "a kblocks.Style for the override `style`; got 'relu'"),
            ("resnet_tiny", {"stem": "cifar"}, "a function of a tensor for the override `stem`; got 'cifar'"),
            ("resnet_tiny", {"widths": 8}, "a tuple for the override `widths`; got 8"),
            ("resnet_tiny", {"final_norm": 1}, "True or False for the override `final_norm`; got 1"),
            ("lenet_tiny", {"dropout": "half"}, "a number for the override `dropout`; got 'half'"),
        ],
    )
    def test_an_override_of_the_wrong_kind_gets_the_right_one(self, arch, override, what):
        with pytest.raises(TypeError, match=rf"^{arch} takes {what}$"):
            architectures.create(arch, **override)

    @pytest.mark.parametrize(
        ("arch", "argument", "hint"),
        [
            ("resnet50", "include_top", "use `classes=0`"),
            ("resnet50", "num_classes", "use `classes=`"),
            ("resnet50", "pretrained", 'use `weights="imagenet"`'),
            ("resnet50", "drop_path_rate", "use `drop_path=`"),
            ("mobilenet_v2", "width", "use `alpha=`"),
            ("efficientnet_b0", "width_coefficient", "use `alpha=`"),
            ("efficientnet_b0", "depth_coefficient", "use `depth=`"),
            ("resnet50", "input_size", "did you mean `input_shape`\\?"),
            ("lenet", "width_coefficient", "it takes filters, units"),
        ],
    )
    def test_arguments_of_other_libraries_get_ours(self, arch, argument, hint):
        with pytest.raises(TypeError, match=f"^{arch} takes no override `{argument}`: {hint}"):
            architectures.create(arch, **{argument: 1})

    def test_an_override_unlike_any_field_gets_them_all(self):
        with pytest.raises(TypeError) as error:
            architectures.create("mlp_tiny", zzz=1)
        spec = architectures.variant("mlp_tiny").spec
        assert str(error.value).endswith(f"it takes {', '.join(field.name for field in fields(spec))}")

    @pytest.mark.parametrize(
        "input_shape",
        [32, "32x32", (), (32, 0, 3), (32, -1, 3), (32, 32.0, 3), (True, 32, 3), ((32, 32, 3), 4), ((),), [[]]],
        ids=str,
    )
    def test_no_shape(self, input_shape):
        with pytest.raises(ValueError, match="`input_shape` must be a tuple of positive sizes"):
            architectures.create("resnet_tiny", input_shape=input_shape)

    @pytest.mark.parametrize(
        ("arch", "input_shape"),
        [("resnet_tiny", (CIFAR, CIFAR)), ("siamese_tiny", MNIST), ("siamese_tiny", (MNIST,) * 3)],
    )
    def test_a_wrong_number_of_inputs(self, arch, input_shape):
        count = len(architectures.variant(arch).input_shapes)
        with pytest.raises(ValueError, match=rf"`input_shape` must give {count} input\(s\) for {arch}"):
            architectures.create(arch, input_shape=input_shape)

    def test_a_shape_of_the_wrong_rank(self):
        with pytest.raises(ValueError, match=r"^resnet20 can't be built for inputs of 32×32: `x` must have rank 4"):
            architectures.create("resnet20", input_shape=(32, 32))

    def test_shapes_of_a_pair_must_agree(self):
        with pytest.raises(ValueError, match="equal shapes"):
            architectures.create("siamese_tiny", input_shape=(MNIST, CIFAR))

    def test_sizes_may_be_numpy_integers_and_lists(self):
        size = np.int64(16)
        assert shapes([size, size, 3]) == ((16, 16, 3),)
        assert architectures.create("resnet_tiny", input_shape=(size, size, 3)).input_shape == (None, 16, 16, 3)

    @pytest.mark.parametrize("classes", [-1, 2.0, "10", True], ids=repr)
    def test_no_number_of_classes(self, classes):
        with pytest.raises(ValueError, match="`classes` must be an integer of at least 0"):
            architectures.create("lenet_tiny", classes=classes)

    def test_classes(self):
        assert architectures.create("lenet_tiny", classes=3).output_shape == (None, 3)
        labels = np.array([0, 4, 2])
        assert architectures.create("lenet_tiny", classes=labels.max() + 1).output_shape == (None, 5)

    @pytest.mark.parametrize("pooling", ["mean", "", 1, "AVG"], ids=repr)
    def test_no_pooling(self, pooling):
        with pytest.raises(ValueError, match="`pooling` must be 'avg', 'max', 'flatten' or None"):
            architectures.create("resnet_tiny", pooling=pooling)

    @pytest.mark.parametrize(
        ("classes", "pooling", "shape"),
        [
            (0, None, (None, 8, 8, 8)),
            (0, "avg", (None, 8)),
            (0, "max", (None, 8)),
            (0, "flatten", (None, 512)),
            (7, None, (None, 7)),
            (7, "max", (None, 7)),
            (7, "flatten", (None, 7)),
        ],
    )
    def test_classes_and_pooling(self, classes, pooling, shape):
        model = architectures.create("resnet_tiny", classes=classes, pooling=pooling)
        assert model.output_shape == shape
        if classes:
            kind = {None: "Average", "max": "Max", "flatten": "Flatten"}[pooling]
            assert kind in type(model.get_layer("pool")).__name__
            assert model.get_layer("logits").kernel.shape == (512 if pooling == "flatten" else 8, 7)

    def test_pooling_computes_what_it_says(self):
        model = architectures.create("resnet_tiny", classes=0)
        x = images(model)
        features = predict(model, *x)
        for pooling, expected in (
            ("avg", features.mean((1, 2))),
            ("max", features.max((1, 2))),
            ("flatten", features.reshape(len(features), -1)),
        ):
            pooled = architectures.create("resnet_tiny", classes=0, pooling=pooling)
            pooled.set_weights(model.get_weights())
            np.testing.assert_allclose(predict(pooled, *x), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "arch", ["mlp_tiny", "lenet_tiny", "multi_input_tiny", "shared_dense_tiny", "siamese_tiny"]
    )
    def test_vectors_are_not_pooled(self, arch):
        for classes in (None, 0):
            with pytest.raises(ValueError, match="`pooling` must be None where the features are vectors already"):
                architectures.create(arch, classes=classes, pooling="avg")

    @pytest.mark.parametrize(
        ("arch", "shape"),
        [
            ("mlp_tiny", [(None, 8)]),
            ("multi_input_tiny", [(None, 2)]),
            ("shared_dense_tiny", [(None, 2), (None, 2)]),
            ("lenet_tiny", [(None, 16)]),
            ("resnet_tiny", [(None, 8, 8, 8)]),
            ("googlenet_tiny", [(None, 8, 8, 16)]),
            ("siamese_tiny", [(None, 16)]),
        ],
    )
    def test_no_classes_no_head(self, arch, shape):
        model = architectures.create(arch, classes=0)
        assert [y.shape for y in model.outputs] == shape
        assert not [layer.name for layer in model.layers if "logits" in layer.name]


class TestUnits:
    """A function of the user's own takes the arguments of its contract, or is refused with their names."""

    @staticmethod
    def plain(x, filters, *, stride=1, style, name):
        return kb.conv.conv_norm_act(x, filters, stride=stride, style=style, name=name)

    @staticmethod
    def whole(x, filters, *, stride=1, drop_path=0.0, style, name):
        return kb.conv.conv_norm_act(x, filters, stride=stride, style=style, name=f"{name}_out")

    @pytest.mark.parametrize("arch", ["resnet20", "resnet50_v2", "convnext_toy"])
    def test_a_unit_without_drop_path(self, arch):
        message = r"^`unit` must be a function \(x, filters, \*, .*drop_path.*\) -> tensor; plain takes no `drop_path`$"
        with pytest.raises(TypeError, match=message):
            architectures.create(arch, unit=self.plain)

    @pytest.mark.parametrize("arch", ["resnet_tiny", "resnet20", "resnet50_v2"])
    def test_a_unit_without_shortcut_gets_none(self, arch):
        model = architectures.create(arch, unit=self.whole, input_shape=(64, 64, 3))
        assert model.get_layer("stage2_unit1_out").output.shape[-1] == architectures.variant(arch).spec.widths[1]
        assert not [layer.name for layer in model.layers if "shortcut" in layer.name]

    def test_a_unit_with_shortcut_gets_it(self):
        found = []

        def unit(x, filters, *, shortcut=None, **options):
            found.append(shortcut)
            return self.whole(x, filters, **options)

        architectures.create("resnet_tiny", unit=unit)
        assert found == [kb.residual.padded] * 2

    def test_a_unit_without_dilation_for_an_output_stride(self):
        with pytest.raises(TypeError, match=r"^`unit` must take `dilation=` for an `output_stride`; got <function"):
            architectures.create("resnet_tiny", unit=self.whole, depths=(1, 2), output_stride=1)

    def test_units_in_a_table(self):
        with pytest.raises(TypeError, match=r"`stages` must be a function .*; whole takes no `kernel_size` and no `e"):
            architectures.create("efficientnet_tiny", stages=((self.whole, 3, 1, 8, 1, 1),))

    @pytest.mark.parametrize(("field", "missing"), [("stem", "`style` and no `name`"), ("shortcut", "`stride` and no")])
    def test_other_functions(self, field, missing):
        def mine(x, filters):
            return x

        with pytest.raises(TypeError, match=f"^`{field}` must be a function .* -> tensor; mine takes no {missing}"):
            architectures.create("resnet_tiny", **{field: mine})

    @pytest.mark.parametrize("value", ["padded", 5, keras.layers.Conv2D, keras.layers.Conv2D(4, 1, name="conv")])
    def test_what_is_no_function_of_ours(self, value):
        with pytest.raises(TypeError, match=r"^`shortcut` must be a function \(x, filters, .*\) -> tensor; got "):
            architectures.create("resnet20_projection", shortcut=value)

    def test_modules_in_a_table(self):
        for arch, override in (
            ("inception_tiny", {"stages": ((abs,),)}),
            ("inception_resnet_tiny", {"modules": (abs,) * 3}),
        ):
            with pytest.raises(
                TypeError, match=r"must be a function \(x, \*, style, name\) -> tensor; abs takes no `style`"
            ):
                architectures.create(arch, **override)

    def test_partials_and_any_keywords_are_taken(self):
        unit = partial(lambda x, filters, **options: self.whole(x, filters, **options))
        assert architectures.create("resnet_tiny", unit=unit, shortcut=None).output_shape == (None, 10)


class TestSizes:
    @pytest.mark.parametrize(
        ("arch", "input_shape", "sentence"),
        [
            ("resnet50", CIFAR, "32×32×3: the features would be 1×1 (use `stem=kblocks.stem.mnist` at 28×28 or"),
            ("googlenet", CIFAR, "32×32×3: the features would be 1×1 (use `stem=kblocks.stem.mnist` at 28×28 or"),
            ("resnet20", (4, 4, 3), "4×4×3: the features would be 1×1 (pass `stem=` explicitly to allow it)"),
            ("lenet", (8, 8, 1), "8×8×1: `x` must be at least 5×5 for a window of 5×5 without padding; got 2×2"),
            ("lenet", (13, 13, 1), "13×13×1: `x` must be at least 5×5 for a window of 5×5 without padding; got 4×4"),
            ("siamese_tiny", ((8, 8, 1),) * 2, "8×8×1 and 8×8×1: `x` must be at least 5×5"),
            ("lenet", (None, None, 1), "any×any×1: `x` must have known sizes to be flattened"),
        ],
    )
    def test_too_small_or_unknown(self, arch, input_shape, sentence):
        with pytest.raises(ValueError, match=r"can't be built") as error:
            architectures.create(arch, input_shape=input_shape)
        assert str(error.value).startswith(f"{arch} can't be built for inputs of {sentence}")
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("arch", ["resnet18", slow("resnet50_v2"), slow("googlenet")])
    def test_what_is_above_the_small_ones_needs_no_stem(self, arch):
        ends = {shape: architectures.create(arch, input_shape=shape, classes=0).output_shape[1:3] for shape in ODD}
        assert ends == {(48, 48, 3): (2, 2), (63, 90, 3): (2, 3)}
        stem = architectures.variant(arch).spec.stem
        assert architectures.create(arch, input_shape=CIFAR, stem=stem, classes=0).output_shape[1:3] == (1, 1)

    @pytest.mark.parametrize("input_shape", [MNIST, CIFAR], ids=["mnist", "cifar"])
    @pytest.mark.parametrize(
        ("arch", "last", "channels"), [("resnet50", "stage4_unit3_out", 2048), ("googlenet", "stage3_unit2_out", 1024)]
    )
    def test_a_small_stem_fits_small_images(self, arch, input_shape, last, channels):
        model = architectures.create(arch, input_shape=input_shape, classes=10, stem=kb.stem.cifar)
        size = -(-input_shape[0] // {"resnet50": 8, "googlenet": 4}[arch])
        assert model.get_layer("stem_out").output.shape[1:3] == input_shape[:2]
        assert model.get_layer(last).output.shape == (None, size, size, channels)

    @pytest.mark.parametrize("input_shape", [MNIST, CIFAR, (224, 224, 3)], ids=["mnist", "cifar", "imagenet"])
    @pytest.mark.parametrize("arch", ["mlp_tiny", "lenet_tiny", "resnet_tiny", "googlenet_tiny", "siamese_tiny"])
    def test_every_family_of_images_at_every_size(self, arch, input_shape):
        inputs = len(architectures.variant(arch).input_shapes)
        model = architectures.create(arch, input_shape=input_shape if inputs == 1 else (input_shape,) * inputs)
        assert [x.shape for x in model.inputs] == [(None, *input_shape)] * inputs
        logits = predict(model, *images(model, 2))
        assert logits.shape == (2, architectures.variant(arch).classes)
        assert np.isfinite(logits).all()

    @pytest.mark.parametrize("input_shape", [MNIST, CIFAR], ids=["mnist", "cifar"])
    @pytest.mark.parametrize(
        "arch",
        [
            "mlp_784_64_10",
            "lenet5",
            "lenet",
            "resnet20",
            slow("resnet20_projection"),
            slow("googlenet_cifar"),
            slow("siamese_resnet20"),
        ],
    )
    def test_small_networks_at_small_sizes(self, arch, input_shape):
        inputs = len(architectures.variant(arch).input_shapes)
        model = architectures.create(arch, input_shape=input_shape if inputs == 1 else (input_shape,) * inputs)
        assert model.output_shape == (None, architectures.variant(arch).classes)

    @pytest.mark.parametrize("arch", ["resnet_tiny", slow("resnet20_projection"), "googlenet_tiny"])
    def test_unknown_sizes(self, arch):
        model = architectures.create(arch, input_shape=(None, None, 3))
        for size in (16, 21):
            x = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype("float32")
            fixed = architectures.create(arch, input_shape=(size, size, 3))
            fixed.set_weights(model.get_weights())
            np.testing.assert_allclose(predict(model, x), predict(fixed, x), rtol=1e-4, atol=1e-5)


# Keras warns of each list of layers that it looks for in vain, then raises.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
class TestWeights:
    @pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
    @pytest.mark.parametrize("form", [str, slow(Path)])
    @pytest.mark.parametrize("arch", ["lenet_tiny", "resnet_tiny", "siamese_tiny", "shared_dense_tiny"])
    def test_a_file_of_the_same_network(self, arch, form, ending, tmp_path):
        saved = architectures.create(arch)
        rng = np.random.default_rng(1)
        saved.set_weights([rng.uniform(0.5, 1.5, w.shape).astype("float32") for w in saved.get_weights()])
        path = tmp_path / f"model{ending}"
        saved.save(path) if ending == ".keras" else saved.save_weights(path)
        x = images(saved)
        loaded = architectures.create(arch, weights=form(path), name="another")
        for y, expected in zip(predict(loaded, *x), predict(saved, *x), strict=True):
            np.testing.assert_array_equal(y, expected)
        fresh = predict(architectures.create(arch), *x)
        assert any(np.abs(y - z).max() > 1e-3 for y, z in zip(fresh, predict(saved, *x), strict=True))

    def test_the_input_shape_may_differ(self, tmp_path):
        saved = architectures.create("resnet_tiny")
        saved.save_weights(tmp_path / "a.weights.h5")
        loaded = architectures.create("resnet_tiny", input_shape=CIFAR, weights=tmp_path / "a.weights.h5")
        for a, b in zip(saved.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"`weights` must be a file that exists; got '.*none\.weights\.h5'"):
            architectures.create("lenet_tiny", weights=tmp_path / "none.weights.h5")
        (tmp_path / "folder.keras").mkdir()
        with pytest.raises(FileNotFoundError):
            architectures.create("lenet_tiny", weights=tmp_path / "folder.keras")

    @pytest.mark.parametrize("name", ["model.hdf5", "model.npz", ""])
    def test_another_ending(self, name, tmp_path):
        path = tmp_path / name if name else ""
        if name:
            path.write_bytes(b"")
        with pytest.raises(ValueError, match=r"`weights` must be 'imagenet' or a file that ends in \.weights\.h5, "):
            architectures.create("lenet_tiny", weights=path)

    @pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
    @pytest.mark.parametrize(
        ("arch", "other"),
        [
            ("lenet_tiny", "resnet_tiny"),
            ("resnet_tiny", "lenet_tiny"),
            ("lenet_tiny", "lenet"),
            slow("resnet20", "resnet_tiny"),
            slow("resnet20_projection", "resnet20"),
            ("mlp_tiny", "mlp_784_64_10"),
        ],
    )
    def test_a_file_of_another_network(self, arch, other, ending, tmp_path):
        saved, path = architectures.create(other), tmp_path / f"model{ending}"
        saved.save(path) if ending == ".keras" else saved.save_weights(path)
        with pytest.raises(
            ValueError, match=r"exactly this network|`weights` must be of|needs a|without a counterpart"
        ):
            architectures.create(arch, weights=path)

    def test_a_file_of_features_lacks_the_head(self, tmp_path):
        saved, path = architectures.create("resnet_tiny", classes=0), tmp_path / "model.keras"
        saved.save(path)
        with pytest.raises(ValueError, match=r"`weights` must have logits for 10 classes; .* has no head"):
            architectures.create("resnet_tiny", weights=path)
        loaded = architectures.create("resnet_tiny", weights=path, classes=3)
        for layer in saved.layers:
            for a, b in zip(layer.get_weights(), loaded.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)


class TestTable:
    def test_every_row_with_its_count(self):
        process = command()
        assert process.returncode == 0, process.stderr
        rows = {}
        for line in process.stdout.splitlines():
            cells = [cell.strip() for cell in line.split("│")]
            if len(cells) > 2:
                rows[cells[1]] = cells[2:-1]
        assert list(rows) == architectures.names()
        for arch, (family, shape, classes, params, macs, layers, smallest, errors, source) in rows.items():
            row = architectures.variant(arch)
            known = facts.read().get(arch, {"layers": "", "smallest": None})
            side = known["smallest"]
            assert (layers.replace(",", ""), smallest) == (str(known["layers"]), f"{side}×{side}" if side else "")
            assert errors == ", ".join(f"{data} {error:g} %" for data, error in row.errors.items())
            assert family == architectures.family(arch)
            assert shape.replace("×", "").replace(", ", "") == "".join(str(n) for s in row.input_shapes for n in s)
            assert (classes, params, macs) == (f"{row.classes:,}", f"{row.params:,}", f"{row.macs:,}")
            assert source == "; ".join(filter(None, (row.source, row.departures)))

    def test_a_pattern(self, capsys):
        assert main(["lenet*"]) == 0
        lines = capsys.readouterr().out.splitlines()
        found = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
        assert found == ["lenet5", "lenet", "lenet_tiny"]

    def test_one_shape_sorted_as_json(self, capsys):
        assert main(["--input_shape=32,32,3", "--sort=params", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert {tuple(row["input_shapes"][0]) for row in rows} == {(32, 32, 3)}
        params = [row["params"] for row in rows]
        assert params == sorted(params)
        (row,) = [row for row in rows if row["name"] == "resnet20"]
        assert (row["family"], row["classes"], row["macs"]) == ("resnet", 10, 40_551_040)
        assert row["layers"] == len(architectures.create("resnet20").layers)

    @pytest.mark.parametrize("key", KEYS)
    def test_what_has_no_value_is_last(self, key, capsys):
        assert main([f"--sort={key}", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert len(rows) == len(architectures.names())
        has_value = [bool(row["errors"]) if key == "error" else row[key] is not None for row in rows]
        assert has_value == sorted(has_value, reverse=True)

    def test_help(self, capsys):
        with pytest.raises(SystemExit) as end:
            main(["--help"])
        assert end.value.code == 0
        assert "--input_shape HEIGHT,WIDTH,CHANNELS" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["zzz*"], "no architecture matches 'zzz*'"),
            (["ResNet20"], "no architecture matches 'ResNet20' (the closest are resnet20"),
            (["lenet", "resnet20"], "unrecognized arguments: resnet20"),
            (["--hlep"], "unrecognized arguments: --hlep"),
            (["--sort=size"], "invalid choice: 'size'"),
            (["--input_shape=32,32"], "--input_shape must be that of a network, one of "),
            (["--input_shape=big"], "it must be positive integers, as 32,32,3; got 'big'"),
        ],
    )
    def test_what_it_does_not_understand_is_one_line(self, arguments, message, capsys):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert message in captured.err
        assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("arch", daily(facts.read(), set(TINY.values()) | {"resnet20"}))
def test_facts(arch):
    assert facts.measure(arch) == facts.read()[arch]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (["resnet_tiny"], {"name": "a/b"}, ValueError, "`name` must not contain '/'; got 'a/b'"),
        (["resnet_tiny"], {"name": ""}, ValueError, "`name` must not be empty"),
        (["resnet_tiny"], {"name": 5}, TypeError, "`name` must be a string or None; got 5"),
        (["resnet_tiny"], {"preprocessing": "no"}, TypeError, "`preprocessing` must be True, False or None; got 'no'"),
        ([["resnet20"]], {}, ValueError, r"`arch` must be the name of an architecture; got \['resnet20'\]"),
    ],
)
def test_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        architectures.create(*arguments, **options)


def test_a_pattern_is_a_string():
    with pytest.raises(TypeError, match="`pattern` must be a shell pattern; got None"):
        architectures.names(None)
