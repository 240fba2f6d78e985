"""The flags that the scripts share, and the job they describe: a model, its data, its engine."""

import ast
import difflib
import functools
import inspect
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.terminal import quiet
from benchmarks.terminal.errors import UsageError

with quiet.start_up():
    try:
        import keras
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        sys.exit(f"error: Keras can't be imported with the backend {backend} ({error}); KERAS_BACKEND names another")

    keras.ops.zeros(())  # the backend looks for its devices now, and not in the middle of the output

import architectures
import kblocks
from benchmarks import data, engines, records, tasks
from benchmarks.measure import environment
from benchmarks.peers import keras_applications as peers
from benchmarks.tasks import recipes
from kblocks.graph import Profile, profile

DATASETS = ("mnist", "cifar10", "synthetic")
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")

FLAGS = flags.FLAGS

flags.DEFINE_string("arch", None, "The network, a name that `python -m architectures` lists.")
flags.DEFINE_multi_string(
    "override",
    [],
    "KEY=VALUE for a field of the network's spec; VALUE is a Python literal or a name in kblocks: dropout=0.5, "
    "stem=stem.cifar, style=style.SWISH_BN. May be given several times.",
)
flags.DEFINE_string("dataset", None, f"One of {', '.join(DATASETS)}.")
flags.DEFINE_string(
    "data",
    None,
    "Where the images come from: tfds (tensorflow-datasets), npz:PATH (arrays x_train, y_train, x_test, y_test) or "
    "generated (digits drawn from a seed). By default tfds.",
)
flags.DEFINE_string(
    "data_dir", None, "The folder of tensorflow-datasets. By default TFDS_DATA_DIR or the library's own."
)
flags.DEFINE_string(
    "input",
    "resident",
    "How examples reach the network: resident (on the device, steps in compiled blocks), stream (from main memory by a "
    "tf.data pipeline) or fit (plain model.fit).",
)
flags.DEFINE_string("batch_size", None, "Examples a step. By default the recipe's.")
flags.DEFINE_string("optimizer", None, "A Keras optimiser, as sgd or adamw. By default the recipe's.")
flags.DEFINE_multi_string("optimizer_argument", [], "KEY=VALUE for the optimiser, as momentum=0.9.")
flags.DEFINE_float("learning_rate", None, "The rate at its peak. By default the recipe's.", lower_bound=0.0)
flags.DEFINE_bool("augment", None, "Mirror and crop the images at random. By default the recipe's.")
flags.DEFINE_string("dtype_policy", "float32", f"Keras's dtype policy: {', '.join(POLICIES)}.")
flags.DEFINE_string("jit", "auto", "XLA: on, off, or auto for what suits the device.")
flags.DEFINE_integer("seed", 0, "Of weights, shuffling, augmentation and pairs.", lower_bound=0, upper_bound=2**31 - 1)
flags.DEFINE_string("out", None, "A JSON Lines file that the record is appended to.")


@dataclass
class Job:
    """A network with what it takes to train it."""

    arch: str
    dataset: str
    source: str
    model: keras.Model
    task: tasks.Task
    engine: engines.Engine
    profile: Profile
    mode: str
    peer: str | None
    batch_size: int
    augment: bool
    optimizer: str
    optimizer_arguments: dict[str, Any]
    learning_rate: float

    def record(self, script: str) -> dict[str, Any]:
        """What both scripts write down of a job."""
        trains = self.mode == "training"
        return {
            "version": records.VERSION,
            "script": script,
            "arch": self.arch,
            "overrides": FLAGS.override,
            "dataset": self.dataset,
            "data": self.source,
            "examples": self.task.count,
            "input": FLAGS.input,
            "mode": self.mode,
            "peer": self.peer,
            "batch_size": self.batch_size,
            "augment": self.augment,
            "backend": keras.backend.backend(),
            "dtype_policy": FLAGS.dtype_policy,
            "jit": self.engine.jit,
            "optimizer": self.optimizer if trains else None,
            "optimizer_arguments": self.optimizer_arguments if trains else None,
            "learning_rate": self.learning_rate if trains else None,
            "seed": FLAGS.seed,
            "params": self.profile.params,
            "trainable_params": self.profile.trainable_params,
            "macs": self.profile.macs,
            "environment": environment.collect(),
        }


def choose(flag: str, value: str, options: tuple[str, ...]) -> str:
    """`value` if it is one of `options`; else a `UsageError` that names the closest."""
    if value not in options:
        close = difflib.get_close_matches(value, options, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"--{flag} must be one of {', '.join(options)}; got {value!r}{hint}")
    return value


def check(*, most: str | None = None) -> None:
    """Raises a `UsageError` for what is wrong with the flags by themselves, before anything is loaded.

    Args:
        most: a word that `--batch_size` may be in place of a number.
    """
    if FLAGS.arch is not None:
        try:
            architectures.variant(FLAGS.arch)
        except ValueError as error:
            raise UsageError(f"--arch: {error}") from None
    if FLAGS.dataset is not None:
        choose("dataset", FLAGS.dataset, DATASETS)
    source = FLAGS.data
    if source is not None and not source.startswith("npz:"):
        choose("data", source, ("tfds", "npz:PATH", "generated"))
    if source == "npz:PATH" and not Path("PATH").exists():
        raise UsageError("--data=npz:PATH takes the path of a file in place of PATH")
    if source is not None and FLAGS.dataset == "synthetic":
        raise UsageError("--dataset=synthetic takes no --data: it is random numbers")
    choose("input", FLAGS.input, engines.INPUTS)
    if FLAGS.augment and (FLAGS.input == "fit" or FLAGS.dataset == "synthetic"):
        what = "--input=fit" if FLAGS.input == "fit" else "--dataset=synthetic"
        raise UsageError(f"{what} does not augment: leave out --augment")
    choose("dtype_policy", FLAGS.dtype_policy, POLICIES)
    choose("jit", FLAGS.jit, ("auto", "on", "off"))
    if most is None or FLAGS.batch_size != most:
        batch_size()
    if FLAGS.out:
        records.check_writable(FLAGS.out)


def batch_size() -> int | None:
    """What `--batch_size` says, if it says something."""
    text = FLAGS.batch_size
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise UsageError(f"--batch_size must be a whole number above 0 and below 2³¹; got {text!r}")
    return int(text)


def job(
    *,
    arch: str,
    dataset: str,
    steps: int | None = None,
    epochs: int | None = None,
    mode: str = "training",
    peer: str | None = None,
) -> Job:
    """Loads the data, builds the network and its engine.

    Args:
        arch: where `--arch` is not given.
        dataset: where `--dataset` is not given.
        steps: of the run; `None` where `epochs` says it.
        epochs: of the run; `None` where `steps` says it.
        mode: `"training"` or `"inference"`.
        peer: the network that runs in place of ours: `"torch"`, `"timm:NAME"` or `"keras_applications:NAME"`.

    Returns:
        The job.

    Raises:
        UsageError: the flags don't fit together, or the data can't be had.
    """
    arch, name = FLAGS.arch or arch, FLAGS.dataset or dataset
    keras.config.set_dtype_policy(FLAGS.dtype_policy)
    with quiet.start_up():  # Keras seeds TensorFlow too where it finds it, and imports it for that
        keras.utils.set_random_seed(FLAGS.seed)
    plan = recipes.recipe(architectures.family(arch))
    batch = batch_size() or plan.batch_size
    if name == "synthetic":
        dataset_name = source = "synthetic"
        model = replaced(create(arch), peer)
        work: tasks.Task = tasks.Synthetic(model, batch_size=batch, seed=FLAGS.seed)
        augment = False
    else:
        images = load(name)
        dataset_name, source = images.name, images.source
        model = replaced(create_for(arch, images), peer)
        augment = FLAGS.augment
        if augment is None:
            small = images.image_shape[0] < 32
            as_is = FLAGS.input == "fit" or mode == "inference"
            augment = plan.augment and not small and len(model.inputs) == 1 and not as_is
        work = tasks.for_model(model, images, augment=augment)
    rate = plan.learning_rate if FLAGS.learning_rate is None else FLAGS.learning_rate
    optimizer_name = FLAGS.optimizer or plan.optimizer
    arguments = dict(plan.arguments) if FLAGS.optimizer is None else {}
    arguments |= dict(pair(text, "optimizer_argument") for text in FLAGS.optimizer_argument)
    steps = steps or epochs * max(1, work.count // batch)
    optimizer = recipes.optimizer(optimizer_name, rate, arguments, steps=steps, warmup=plan.warmup)
    how = engines.Plan(batch_size=batch, seed=FLAGS.seed, input=FLAGS.input, mode=mode, jit=FLAGS.jit)
    network = None if peer is None or peer.startswith(peers.PREFIX) else peer
    engine = engines.create(model, optimizer, work, how, network=network)
    return Job(
        arch=arch,
        dataset=dataset_name,
        source=source,
        model=model,
        task=work,
        engine=engine,
        profile=profile(model),
        mode=mode,
        peer=peer,
        batch_size=batch,
        augment=augment,
        optimizer=optimizer_name,
        optimizer_arguments=arguments,
        learning_rate=rate,
    )


def load(name: str) -> data.Dataset:
    """The images that the flags ask for; where they ask for nothing, generated digits will do if need be."""
    if FLAGS.data is None and FLAGS.dataset is None:
        return data.load_or_generate(name, FLAGS.data_dir)
    return data.load(name, FLAGS.data or "tfds", FLAGS.data_dir)


def create_for(arch: str, images: data.Dataset) -> keras.Model:
    """The network for images of this shape; one of several inputs takes an image for each, and has its own classes."""
    row = architectures.variant(arch)
    inputs = len(row.input_shapes)
    if inputs == 1:
        return create(arch, input_shape=images.image_shape, classes=images.classes)
    return create(arch, input_shape=(images.image_shape,) * inputs, classes=row.classes)


def create(arch: str, **arguments: Any) -> keras.Model:
    """`architectures.create` with the overrides of the flags; what is wrong with them is a `UsageError`."""
    overrides = dict(pair(text, "override") for text in FLAGS.override)
    own = inspect.signature(architectures.create).parameters
    for key in overrides.keys() & {name for name, each in own.items() if each.kind is each.KEYWORD_ONLY}:
        raise UsageError(
            f"--override={key}=… is no field of the network's spec: the data decides its inputs and classes"
        )
    try:
        return architectures.create(arch, **arguments, **overrides)
    except (ValueError, TypeError) as error:
        hint = "; for that pass --override=stem=stem.cifar" if "kblocks.stem.cifar" in str(error) else ""
        raise UsageError(f"{str(error).splitlines()[0]}{hint}") from None


def replaced(model: keras.Model, peer: str | None) -> keras.Model:
    """The network of keras.applications that a peer's name stands for; else the model itself."""
    if peer is None or not peer.startswith(peers.PREFIX):
        return model
    return peers.application(peer.removeprefix(peers.PREFIX), model)


def pair(text: str, flag: str) -> tuple[str, Any]:
    """`KEY=VALUE` as a key and a Python value: a literal, or a name in kblocks such as `stem.cifar`."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise UsageError(f"--{flag} must have the form KEY=VALUE; got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        pass
    try:
        return key, functools.reduce(getattr, value.split("."), kblocks)
    except AttributeError:
        raise UsageError(
            f"--{flag}={text}: {value!r} is neither a Python literal nor a name in kblocks, as stem.cifar"
        ) from None
