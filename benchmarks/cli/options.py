"""The flags that the commands share, and their values as one immutable object. Needs no Keras."""

import ast
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags

from benchmarks import records
from benchmarks.data import NAMES, SOURCES
from benchmarks.terminal.errors import UsageError, closest

DATASETS = (*NAMES, "synthetic")
INPUTS = ("resident", "stream", "fit")
MODES = ("training", "inference")
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")

FLAGS = flags.FLAGS

flags.DEFINE_string("arch", None, "The network, a name that `python -m architectures` lists.")
flags.DEFINE_string(
    "model",
    None,
    "A network of your own in place of --arch: FILE.keras, or package.module:function, a function that returns a "
    "functional Keras model. It is passed `input_shape` and `classes` if it takes them.",
)
flags.DEFINE_multi_string(
    "override",
    [],
    "KEY=VALUE for a field of the network's spec; VALUE is a Python literal or a name in kblocks: dropout=0.5, "
    "stem=stem.cifar, style=style.SWISH_BN. May be given several times.",
)
flags.DEFINE_string("dataset", None, f"One of {', '.join(DATASETS)}.")
flags.DEFINE_string(
    "input_shape",
    None,
    "HEIGHT,WIDTH,CHANNELS of each input, for --dataset=synthetic. By default the network's own.",
)
flags.DEFINE_integer(
    "classes", None, "Number of classes, for --dataset=synthetic. By default the network's own.", lower_bound=1
)
flags.DEFINE_string(
    "data",
    None,
    "Where the images come from: tfds (tensorflow-datasets), keras (keras.datasets), npz:PATH (arrays x_train, "
    "y_train, x_test, y_test) or generated (digits drawn from a seed). By default tfds, or keras if it is missing.",
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
flags.DEFINE_string("batch_size", None, "Examples per step. By default the recipe's.")
flags.DEFINE_string("optimizer", None, "A Keras optimiser, as sgd or adamw. By default the recipe's.")
flags.DEFINE_multi_string("optimizer_argument", [], "KEY=VALUE for the optimiser, as momentum=0.9.")
flags.DEFINE_float("learning_rate", None, "The peak learning rate. By default the recipe's.", lower_bound=0.0)
flags.DEFINE_alias("lr", "learning_rate")
flags.DEFINE_bool("augment", None, "Flip and crop the images at random. By default the recipe's.")
flags.DEFINE_string("dtype_policy", "float32", f"Keras's dtype policy: {', '.join(POLICIES)}.")
flags.DEFINE_string("jit", "auto", "XLA or torch.compile: on, off, or auto for what suits the device.")
flags.DEFINE_integer("seed", 0, "Of weights, shuffling, augmentation and pairs.", lower_bound=0, upper_bound=2**31 - 1)
flags.DEFINE_string("out", None, "A JSON Lines file that the record is appended to.")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The values of the shared flags; `mode` and `peer` are of `benchmarks.throughput`."""

    arch: str | None = None
    model: str | None = None
    overrides: tuple[str, ...] = ()
    dataset: str | None = None
    input_shape: tuple[int, ...] | None = None
    classes: int | None = None
    data: str | None = None
    data_dir: str | None = None
    input: str = "resident"
    batch_size: int | None = None
    optimizer: str | None = None
    optimizer_arguments: tuple[str, ...] = ()
    learning_rate: float | None = None
    augment: bool | None = None
    dtype_policy: str = "float32"
    jit: str = "auto"
    seed: int = 0
    out: str | None = None
    mode: str = "training"
    peer: str | None = None

    @property
    def network(self) -> str | None:
        """What `--arch` or `--model` asks for."""
        return self.arch or self.model


def read(*, batch_size: int | None, mode: str = "training", peer: str | None = None) -> Options:
    """The values of the flags.

    Args:
        batch_size: see `batch_size`; commands differ in what `--batch_size` takes.
        mode: `"training"` or `"inference"`.
        peer: the network that runs in place of ours, see `benchmarks.peers`.

    Raises:
        UsageError: a value is wrong by itself, or two of them contradict each other; nothing has been loaded.
    """
    options = Options(
        arch=FLAGS.arch,
        model=FLAGS.model and os.path.expanduser(FLAGS.model),
        overrides=tuple(FLAGS.override),
        dataset=FLAGS.dataset,
        input_shape=_input_shape(FLAGS.input_shape),
        classes=FLAGS.classes,
        data=FLAGS.data,
        data_dir=FLAGS.data_dir,
        input=choose("input", FLAGS.input, INPUTS),
        batch_size=batch_size,
        optimizer=FLAGS.optimizer,
        optimizer_arguments=tuple(FLAGS.optimizer_argument),
        learning_rate=FLAGS.learning_rate,
        augment=FLAGS.augment,
        dtype_policy=choose("dtype_policy", FLAGS.dtype_policy, POLICIES),
        jit=choose("jit", FLAGS.jit, ("auto", "on", "off")),
        seed=FLAGS.seed,
        out=FLAGS.out and os.path.expanduser(FLAGS.out),
        mode=mode,
        peer=peer,
    )
    _check(options)
    if options.out:
        records.check_writable(options.out)
    return options


def given(module: ModuleType, without: Iterable[str]) -> list[str]:
    """The flags on the command line of a command's module except some, to be passed on to another process."""
    keys = {flag.name for flag in FLAGS.get_key_flags_for_module(module)}
    found = [FLAGS[key] for key in sorted(keys.difference(without)) if FLAGS[key].present]
    return [line for flag in found for line in flag.serialize().splitlines()]


def _check(options: Options) -> None:
    if options.model is not None and options.arch is not None:
        raise UsageError("--model and --arch are two networks: pass one of them")
    if options.model is not None and options.overrides:
        raise UsageError("--override is for the spec of an --arch; got --model")
    if options.model is not None and not (options.model.endswith(".keras") or ":" in options.model):
        raise UsageError(f"--model must be FILE.keras or package.module:function; got {options.model!r}")
    if options.dataset is not None:
        choose("dataset", options.dataset, DATASETS)
    if options.data is not None and not options.data.startswith("npz:"):
        choose("data", options.data, SOURCES)
    if options.data == "npz:PATH" and not Path("PATH").exists():
        raise UsageError("--data=npz:PATH takes the path of a file in place of PATH")
    if options.dataset == "synthetic":
        if options.data is not None:
            raise UsageError("--dataset=synthetic takes no --data: it is random numbers")
        if options.augment:
            raise UsageError("--dataset=synthetic does not augment: leave out --augment")
    for flag in ("input_shape", "classes"):
        if getattr(options, flag) is not None and options.dataset != "synthetic":
            raise UsageError(f"--{flag} is for --dataset=synthetic: other data sets decide it themselves")


def choose(flag: str, value: str, options: Iterable[str]) -> str:
    """`value` if it is one of `options`; else a `UsageError` that names the closest."""
    if value not in options:
        raise UsageError(f"--{flag} must be one of {', '.join(options)}; got {value!r}{closest(value, options)}")
    return value


def batch_size(text: str | None) -> int | None:
    """The value of `--batch_size`, if it is given.

    Raises:
        UsageError: it is no positive integer.
    """
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise UsageError(f"--batch_size must be a positive integer below 2³¹; got {text!r}")
    return int(text)


def _input_shape(text: str | None) -> tuple[int, ...] | None:
    """The value of `--input_shape`, if it is given."""
    if text is None:
        return None
    sizes = text.replace("x", ",").split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise UsageError(f"--input_shape must be positive integers, as 64,64,3; got {text!r}")
    return tuple(int(size) for size in sizes)


def pair(text: str, flag: str) -> tuple[str, Any]:
    """`KEY=VALUE` as a key and a value: a Python literal, else the text itself.

    Raises:
        UsageError: the text does not have that form.
    """
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise UsageError(f"--{flag} must have the form KEY=VALUE; got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, Name(value)


class Name(str):
    """A value that is no Python literal: the name of something."""
