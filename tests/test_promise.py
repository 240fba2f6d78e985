"""The promise: no class derives from Keras's, so whoever has Keras and nothing else can load every model."""

import ast
import builtins
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from architectures import lenet, resnet, siamese
from kblocks.graph import profile
from kblocks.residual import preact_basic
from tests.support.marks import daily
from tests.support.models import ALLOWED_OPS, CUSTOM, is_stock, operations, predict, strangers
from tests.support.networks import FAMILIES, LIGHT, OF_IMAGES, TINY, of_small_images
from tests.support.process import ROOT, python
from tests.support.weights import randomise, scramble

SOURCES = sorted([*ROOT.glob("kblocks/**/*.py"), *ROOT.glob("architectures/**/*.py")])

# What the packages may import beside Python's own library. Keras brings NumPy, and rich, which prints the table.
MAY_IMPORT = {
    "kblocks": {"keras", "numpy", "rich", "kblocks"},
    # safetensors is optional, and imported only to read such a file.
    "architectures": {"h5py", "keras", "numpy", "rich", "safetensors", "kblocks", "architectures"},
}

DYNAMIC = {"__import__", "eval", "exec", "importlib.import_module"}


class Source:
    """The syntax tree of a file, and the full names of what it imports and renames."""

    def __init__(self, text: str, package: str):
        self.tree = ast.parse(text)
        self.modules, self.full = [], {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.modules.append(alias.name)
                    root = alias.name.partition(".")[0]
                    self.full[alias.asname or root] = alias.name if alias.asname else root
            elif isinstance(node, ast.ImportFrom):
                module = ".".join(filter(None, [package if node.level else "", node.module]))
                self.modules.append(module)
                self.full |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and (name := self.name(node.value)):
                self.full |= {x.id: name for x in node.targets if isinstance(x, ast.Name) and x.id not in self.full}

    def name(self, node: ast.AST) -> str | None:
        """The full dotted name of an expression; `None` if it is more than a name."""
        if isinstance(node, ast.Attribute):
            owner = self.name(node.value)
            return owner and f"{owner}.{node.attr}"
        return self.full.get(node.id, node.id) if isinstance(node, ast.Name) else None

    def names(self) -> set[str]:
        """The full names of all that the file mentions or imports."""
        return {name for node in ast.walk(self.tree) if (name := self.name(node))} | set(self.full.values())


def violations(text: str, package: str) -> list[str]:
    """What a file of a package does that the promise rules out."""
    source = Source(text, package)
    classes = [node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)]
    ours = {node.name for node in classes} | {"kblocks", "architectures"}
    harmless = ours | sys.stdlib_module_names | set(dir(builtins))
    found = []
    for node in classes:
        for base in node.bases:
            name = source.name(base)
            if name is None or name.partition(".")[0] not in harmless:
                found.append(f"class {node.name} derives from {name or ast.unparse(base)}")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and source.name(node.func) == "type" and len(node.args) != 1:
            found.append("`type` makes a class")
    for name in sorted(source.names()):
        root, _, last = name.rpartition(".")
        if name in DYNAMIC or (root.startswith("keras") and last in {*CUSTOM, "*"}) or name.startswith("keras.src"):
            found.append(f"{name} is used")
    allowed = MAY_IMPORT[package] | sys.stdlib_module_names
    return found + [f"{module} is imported" for module in source.modules if module.partition(".")[0] not in allowed]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_breaks_the_promise(path):
    assert violations(path.read_text(encoding="utf-8"), path.relative_to(ROOT).parts[0]) == []


def test_all_files_are_read():
    assert {"kblocks/residual.py", "kblocks/graph/profile.py", "architectures/resnet.py"} <= {
        path.relative_to(ROOT).as_posix() for path in SOURCES
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import keras\nclass A(keras.layers.Layer): pass", "class A derives from keras.layers.Layer"),
        ("import keras as k\nclass A(k.Model): pass", "class A derives from keras.Model"),
        ("from keras import layers\nclass A(layers.Dense): pass", "class A derives from keras.layers.Dense"),
        ("from keras import layers as l\nclass A(l.Layer): pass", "class A derives from keras.layers.Layer"),
        ("from keras.layers import Layer as L\nclass A(int, L): pass", "class A derives from keras.layers.Layer"),
        ("import keras.layers\nclass A(keras.layers.Layer): pass", "class A derives from keras.layers.Layer"),
        ("import keras\nB = keras.Model\nclass A(B): pass", "class A derives from keras.Model"),
        ("import keras\ndef f():\n  class A(keras.Model): pass", "class A derives from keras.Model"),
        ("from keras import Layer\nclass A(Layer): pass\nclass C(A): pass", "class A derives from keras.Layer"),
        ("class A(base()): pass", "class A derives from base()"),
        ("class A(Layer): pass", "class A derives from Layer"),
        ("import keras\nA = type('A', (keras.Model,), {})", "`type` makes a class"),
        ("from keras import layers\ny = layers.Lambda(f)(x)", "keras.layers.Lambda is used"),
        ("from keras.layers import Lambda", "keras.layers.Lambda is used"),
        ("import keras\nf = keras.layers.Lambda", "keras.layers.Lambda is used"),
        ("from keras.layers import *", "keras.layers.* is used"),
        ("from keras.src import backend", "keras.src.backend is used"),
        (
            "import keras\n@keras.saving.register_keras_serializable()\ndef f(): pass",
            "keras.saving.register_keras_serializable is used",
        ),
        ("import tensorflow as tf", "tensorflow is imported"),
        ("def f():\n  from jax import numpy", "jax is imported"),
        ("try:\n  import torch.nn\nexcept ImportError: pass", "torch.nn is imported"),
        ("from benchmarks import timer", "benchmarks is imported"),
        ("import architectures", "architectures is imported"),
        ("from architectures.common.family import Variant", "architectures.common.family is imported"),
        ("__import__('tensorflow')", "__import__ is used"),
        ("from importlib import import_module as load\nload('jax')", "importlib.import_module is used"),
    ],
)
def test_a_broken_promise_is_seen(text, fault):
    assert fault in violations(text, "kblocks")


@pytest.mark.parametrize(
    "text",
    [
        "from enum import Enum\nclass A(Enum): pass",
        "class A(ValueError): pass",
        "class A: pass\nclass B(A): pass",
        "from kblocks.style import Style\nclass A(Style): pass",
        "from keras import layers\ny = layers.Dense(4)(x)\nf = lambda x: type(x)",
        "from . import conv\nfrom .conv import pad\nimport kblocks",
    ],
)
def test_a_kept_promise_is_seen(text):
    assert violations(text, "kblocks") == []


def test_architectures_may_import_blocks():
    assert violations("import kblocks", "architectures") == []
    assert violations("from benchmarks import timer", "architectures") == ["benchmarks is imported"]


def ops_called(text: str) -> set[str]:
    """The functions of keras.ops that a file mentions, by the names of their classes."""
    names = {name.removeprefix("keras.ops.") for name in Source(text, "").names() if name.startswith("keras.ops.")}
    return {"".join(part.title() for part in name.split("_")) for name in names}


def test_the_sources_call_the_listed_ops_and_no_others():
    assert ops_called("from keras import ops\ny = ops.ones_like(x)\nimport keras\nkeras.ops.sqrt(y)") == {
        "OnesLike",
        "Sqrt",
    }
    # The graph tools and the losses compute values and put no operations into models.
    builders = [path for path in SOURCES if path.parent.name != "graph" and path.name != "loss.py"]
    called = set().union(*(ops_called(path.read_text(encoding="utf-8")) for path in builders))
    # A slice of a tensor calls no function.
    assert called == ALLOWED_OPS.keys() - {"GetItem"}


def of_row(arch: str, **options) -> Callable[[], keras.Model]:
    options = {**of_small_images(arch), **options}
    return lambda: architectures.create(arch, **options)


def twins(family: str) -> Callable[[], keras.Model]:
    """Two of one architecture in one graph, and its backbone twice beside them, without a name and with one."""

    def build() -> keras.Model:
        row, backbone = architectures.variant(TINY[family]), FAMILIES[family].backbone
        inputs = [keras.Input(shape, name=f"x{i}") for i, shape in enumerate(row.input_shapes)]
        x = inputs if len(inputs) > 1 else inputs[0]
        outputs = [architectures.create(TINY[family], name=name)(x) for name in ("left", "right")]
        features = keras.tree.flatten([backbone(x, row.spec), backbone(x, row.spec, name="third")])
        vectors = [
            kb.pool.global_pool(y, name=f"pool{i}") for i, y in enumerate(keras.tree.flatten([outputs, features]))
        ]
        joined = kb.compose.concat(vectors, name="joined")
        return keras.Model(x, kb.head.classifier(joined, 10, name="head"), name=f"{family}_twins")

    return build


def ensemble() -> keras.Model:
    """One architecture of each family in one graph."""
    x = keras.Input((32, 32, 3), name="image")
    members = [architectures.create(TINY[family], input_shape=(32, 32, 3)) for family in OF_IMAGES]
    outputs = [kb.pool.global_pool(member(x), name=f"{member.name}_pool") for member in members]
    return keras.Model(x, kb.compose.concat(outputs, name="joined"), name="ensemble")


def every_op() -> keras.Model:
    """The blocks that take operations, together."""
    inputs = [keras.Input((8,), name=name) for name in ("a", "b")]

    def tower(x, *, name):
        return keras.layers.Dense(4, name=name)(x)

    vectors = kb.tower.embed(inputs, kb.tower.as_model(tower, (8,), name="tower"), joint_norm=True, name="joint")
    scaled = keras.layers.Reshape((1, 8), name="tokens")(inputs[0])
    scaled = kb.compose.layer_scale(scaled, 0.5, name="scale")
    mean = kb.pool.avg_pool(keras.layers.Reshape((2, 2, 2), name="image")(inputs[1]), 2, name="mean")
    outputs = [kb.tower.euclidean(vectors, name="near"), kb.tower.cosine(vectors, name="alike"), scaled, mean]
    return keras.Model(inputs, outputs, name="every_op")


def without_ops() -> keras.Model:
    """The blocks whose formulas need several layers, for want of an operation."""
    inputs = [keras.Input((2, 3, 4), name=name) for name in ("a", "b")]

    def tower(x, *, name):
        return keras.layers.Dense(4, name=name)(keras.layers.Flatten(name=f"{name}_flat")(x))

    scaled = [kb.compose.layer_scale(x, 0.5, name=f"scale_{x.name}") for x in inputs]
    vectors = kb.tower.embed(scaled, kb.tower.as_model(tower, (2, 3, 4), name="tower"))
    outputs = [kb.tower.euclidean(vectors, name="near"), kb.tower.cosine(vectors, name="alike")]
    return keras.Model(inputs, outputs, name="without_ops")


# Two networks of one family in a graph: daily of families with all that could be shared by mistake.
TWINS = [f"{family}_twins" for family in ("mlp", "resnet", "nasnet", "siamese")]
SLOW = (set(architectures.names()) - LIGHT) | {f"{family}_twins" for family in FAMILIES}.difference(TWINS)

MODELS = {name: of_row(name) for name in architectures.names()} | {
    "drop_path": of_row("resnet_tiny", drop_path=0.5, dropout=0.5),
    "preact": of_row("resnet_tiny", unit=preact_basic, shortcut=None, stem=kb.stem.bare, final_norm=True),
    "gelu": of_row("resnet_tiny", style=replace(kb.GELU_LN, regularizer="l2")),
    "auxiliary": of_row("googlenet_tiny", auxiliary=True),
    "features": of_row("googlenet_tiny", classes=0),
    "any_size": of_row("resnet_tiny", input_shape=(None, None, 3)),
    "mnist_stem": of_row("resnet20", stem=kb.stem.mnist, input_shape=(28, 28, 1)),
    "ensemble": ensemble,
    "every_op": every_op,
    "without_ops": without_ops,
    **{f"{family}_twins": twins(family) for family in FAMILIES},
}

every_model = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MODELS]
)


def built(name: str) -> keras.Model:
    """A model with random weights, for the tests that leave it as it is."""
    return make(name) if name in SLOW else kept(name)


def make(name: str) -> keras.Model:
    model = MODELS[name]()
    if name in SLOW:
        scramble(model, model.input_shape[1:])
    else:
        randomise(model, seed=len(model.weights))
    return model


# All of the large networks would fill the memory.
kept = cache(make)


def images(model: keras.Model, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [tuple(n or 16 for n in x.shape[1:]) for x in model.inputs]
    # Each of another colour: of noise alone a deep network makes nearly the same.
    colours = [3 * rng.normal(size=(count, *(1,) * (len(shape) - 1), shape[-1])) for shape in shapes]
    return [
        (rng.normal(size=(count, *shape)) + colour).astype("float32")
        for shape, colour in zip(shapes, colours, strict=True)
    ]


# What stands as None among the modules is not found, nor are its parts.
REFUSE = """
import sys

sys.modules.update(dict.fromkeys({refused}))
"""

LOAD = """
import json
from pathlib import Path
import keras
import numpy as np

for name in ("kblocks", "architectures"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(name + " was to be refused")
report = {}
for path in sorted(Path(sys.argv[1]).glob("*.keras")):
    try:
        model = keras.saving.load_model(path, safe_mode=True)
        data = np.load(path.with_suffix(".npz"))
        inputs = [data[f"x{i}"] for i in range(len(model.inputs))]
        outputs = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0], training=False))
        expected = [data[f"y{i}"] for i in range(len(data.files) - len(inputs))]
        assert len(outputs) == len(expected), (len(outputs), len(expected))
        report[path.stem] = max(
            float(np.abs(keras.ops.convert_to_numpy(y) - z).max() / np.abs(z).max())
            for y, z in zip(outputs, expected)
        )
    except Exception as error:
        report[path.stem] = f"{type(error).__name__}: {error}"
print(json.dumps(report))
"""


def alone(script: str, *arguments: str, cwd: str, backend: str, refused: set[str]) -> str:
    """What a script prints in a fresh process, which is isolated and can't import some packages."""
    process = python(
        *("-I", "-c", REFUSE.format(refused=refused) + script, *arguments),
        cwd=cwd, KERAS_BACKEND=backend, TF_CPP_MIN_LOG_LEVEL="3",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


@cache
def reloaded(names: tuple[str, ...]) -> dict[str, float | str]:
    """For each model the largest error of its outputs, relative to the largest of them, in a fresh process; or what
    went wrong there.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            model = built(name)
            x = images(model)
            y = keras.tree.flatten(predict(model, *x))
            # Outputs that hardly differ from image to image would be alike for wrong weights too.
            assert all(np.std(z, axis=0).max() > 1e-3 * np.abs(z).max() > 0 for z in y), name
            np.savez(
                Path(folder, f"{name}.npz"),
                **{f"x{i}": z for i, z in enumerate(x)},
                **{f"y{i}": z for i, z in enumerate(y)},
            )
            model.save(Path(folder, f"{name}.keras"))
        return json.loads(
            alone(
                LOAD, folder, cwd=folder, backend=keras.backend.backend(), refused={"kblocks", "architectures"}
            ).splitlines()[-1]
        )


# A process for all that are small, and one for each of the others, of which a few would fill the memory.
TOGETHER = tuple(name for name in MODELS if name not in SLOW)


@every_model
def test_keras_alone_loads_the_model(name):
    error = reloaded((name,) if name in SLOW else TOGETHER)[name]
    assert isinstance(error, float), error
    assert error < 1e-5


@every_model
def test_every_operation_is_stock(name):
    model = built(name)
    assert is_stock(model)
    assert strangers(model) == []


def test_every_listed_op_is_met():
    met = {type(op).__name__ for op in operations(every_op()) if not isinstance(op, keras.layers.Layer)}
    assert met == ALLOWED_OPS.keys()


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["without_ops", "convnext_toy", "siamese_tiny"])
def test_the_legacy_format_holds_models_without_ops(name, policy, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = randomise(MODELS[name]())
        assert all(isinstance(operation, keras.layers.Layer) for operation in operations(model))
        model.save(tmp_path / "model.h5")
    finally:
        keras.config.set_dtype_policy(before)
    loaded = keras.saving.load_model(tmp_path / "model.h5", compile=False)
    x = images(model)
    found, expected = (keras.tree.flatten(predict(each, *x)) for each in (loaded, model))
    for y, z in zip(found, expected, strict=True):
        assert np.std(z) > 0
        np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-6)


def test_the_legacy_format_holds_no_ops(tmp_path):
    # If this fails, the remarks on `.h5` in the README and in `kblocks.tower` are out of date.
    every_op().save(tmp_path / "model.h5")
    with pytest.raises(Exception, match=r"Unknown|Could not locate|Cannot|Could not deserialize"):
        keras.saving.load_model(tmp_path / "model.h5", compile=False)


def test_what_is_not_stock_is_seen():
    class Mine(keras.layers.Layer):
        def call(self, x):
            return x

    class Model(keras.Model):
        pass

    x = keras.Input((4,))
    outputs = [Mine()(x), keras.layers.Lambda(lambda x: x)(x), x + 1.0, Model(x, x)(x), keras.layers.Dense(2)(x)]
    y = keras.Input((4,))
    outer = keras.Model(y, keras.Model(x, outputs)(y))
    assert sorted(strangers(outer)) == ["Add", "Lambda", "Mine", "Model"]
    assert not is_stock(Model(x, x))


def test_models_in_one_graph_have_weights_of_their_own():
    model = MODELS["ensemble"]()
    members = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert len(members) == len(OF_IMAGES)
    assert len({id(weight) for weight in model.weights}) == sum(len(member.weights) for member in members)


@pytest.mark.parametrize("family", daily(FAMILIES, [name.removesuffix("_twins") for name in TWINS]))
def test_two_of_one_architecture_have_weights_of_their_own(family):
    keras.utils.set_random_seed(1)
    model = MODELS[f"{family}_twins"]()
    left, right = (
        layer for layer in model.layers if isinstance(layer, keras.Model) and layer.name in ("left", "right")
    )
    assert len(left.weights) == len(right.weights) > 0
    assert {id(weight) for weight in left.weights}.isdisjoint(id(weight) for weight in right.weights)
    # If they shared weights, the second would overwrite the first.
    randomise(left, seed=1)
    randomise(right, seed=2)
    x = images(left, 16)
    for a, b in zip(*(keras.tree.flatten(predict(each, *x)) for each in (left, right)), strict=True):
        assert not np.allclose(a, b, rtol=1e-2)


def joint_tiny() -> keras.Model:
    """A siamese network whose tower normalises both images together."""
    tower = siamese.Siamese(tower=lambda x, *, name: resnet.backbone(x, resnet.VARIANTS["resnet_tiny"].spec, name=name))
    return architectures.create("siamese_tiny", tower=tower.tower, joint_norm=True)


SIAMESE = {
    "siamese_tiny": of_row("siamese_tiny"),
    "siamese_lenet": of_row("siamese_lenet"),
    "siamese_resnet20": of_row("siamese_resnet20"),
    "joint_tiny": joint_tiny,
}


@pytest.mark.parametrize("name", SIAMESE)
class TestSiamese:
    def test_one_tower_and_its_head(self, name):
        model = SIAMESE[name]()
        (tower,) = [layer for layer in model.layers if isinstance(layer, keras.Model)]
        features = tower.output_shape[-1]
        assert profile(model).trainable_params == profile(tower).trainable_params + features + 1
        if name == "siamese_lenet":
            assert profile(tower).trainable_params == lenet.VARIANTS["lenet"].params - (512 * 10 + 10)
        if name == "siamese_resnet20":
            # The images have one channel, and there are no classes.
            assert profile(tower).trainable_params == resnet.VARIANTS["resnet20"].params - 2 * 9 * 16 - (64 * 10 + 10)

    def test_the_order_of_the_images_is_of_no_account(self, name):
        model = SIAMESE[name]()
        randomise(model)
        a, b = images(model)
        np.testing.assert_allclose(predict(model, a, b), predict(model, b, a), rtol=1e-4, atol=1e-4)
        # Two equal images leave the bias alone.
        bias = keras.ops.convert_to_numpy(model.get_layer("logits").bias)
        np.testing.assert_allclose(predict(model, a, a), np.tile(bias, (len(a), 1)), rtol=1e-4, atol=1e-4)
        assert np.abs(predict(model, a, b) - bias).min() > 1e-3

    def test_a_step_after_a_reload_moves_both_branches_alike(self, name, tmp_path):
        SIAMESE[name]().save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
        assert model.count_params() == SIAMESE[name]().count_params()
        (tower,) = [layer for layer in model.layers if isinstance(layer, keras.Model)]
        head = model.get_layer("logits")
        assert [id(w) for w in model.weights] == [id(w) for w in [*tower.weights, *head.weights]]
        a, b = images(model, 8)
        before = tower.get_weights()
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
        model.train_on_batch([a, b], np.array([[0.0], [1.0]] * 4, "float32"))
        assert any((x != y).any() for x, y in zip(before, tower.get_weights(), strict=True))
        # What the network makes of two images is what its one tower makes of each.
        u, v = (keras.ops.convert_to_numpy(tower(x, training=False)) for x in (a, b))
        kernel, bias = head.get_weights()
        np.testing.assert_allclose(predict(model, a, b), np.abs(u - v) @ kernel + bias, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(predict(model, b, a), np.abs(u - v) @ kernel + bias, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        *(*sorted(LIGHT), "drop_path", "preact", "gelu", "auxiliary"),
        *TWINS,
        *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(SLOW)),
    ],
)
def test_a_gradient_reaches_every_weight(name):
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    x = images(model, 16)
    targets = [10 * np.random.default_rng(1).normal(size=(16, *y.shape[1:])).astype("float32") for y in model.outputs]
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    # A step of plain gradient descent subtracts the gradient, on every backend alike.
    model.compile(keras.optimizers.SGD(1.0), ["mse"] * len(targets), run_eagerly=True)
    model.train_on_batch(x if len(x) > 1 else x[0], targets if len(targets) > 1 else targets[0])
    after = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    # By number too: layers of two models within the model may have one name.
    paths = [f"{i} {weight.path}" for i, weight in enumerate(model.trainable_weights)]
    steps = {path: z - y for path, y, z in zip(paths, before, after, strict=True)}
    assert [path for path, step in steps.items() if not np.isfinite(step).all()] == []
    assert [path for path, step in steps.items() if not step.any()] == []


BUILD = """
sys.path.insert(0, sys.argv[1])
import architectures
import keras
import numpy as np

for arch in ("resnet_tiny", "googlenet_tiny", "siamese_tiny", "multi_input_tiny"):
    model = architectures.create(arch)
    x = [np.ones((2, *x.shape[1:]), "float32") for x in model.inputs]
    y = keras.ops.convert_to_numpy(model(x if len(x) > 1 else x[0]))
    assert y.shape == (2, architectures.variant(arch).classes) and np.isfinite(y).all()
print(keras.backend.backend(), *(name for name in ("tensorflow", "jax", "torch") if sys.modules.get(name)))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_one_backend_is_enough(backend, tmp_path):
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    others = {"tensorflow", "jax", "torch"} - {backend}
    printed = alone(BUILD, str(ROOT), cwd=str(tmp_path), backend=backend, refused=others)
    assert printed.splitlines()[-1] == f"{backend} {backend}"
