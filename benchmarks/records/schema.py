"""The table of a record's fields: the form of each, who writes it, what it means, and how it identifies a run.

`check` reads the forms, `benchmarks.records.identity` the identity, and `benchmarks.records.document` the meanings, of
which it writes docs/records.md. A new field is a row here.
"""

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

VERSION = 3

Record = Mapping[str, Any]
Form = Callable[[Any], bool]
"""Whether a value has the form that its field requires."""
Normal = Callable[[Any, Record], Any]
"""From a field's value and its record to the value by which runs are compared, which is hashable."""


# Forms.


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def positive(value: Any) -> bool:
    return number(value) and value > 0


def size(value: Any) -> bool:
    return number(value) and value >= 0


def count(value: Any) -> bool:
    return isinstance(value, int) and positive(value) and value < 2**63


def dimension(value: Any) -> bool:
    return value is None or count(value)


def mapping(value: Any) -> bool:
    return isinstance(value, dict)


def versions(value: Any) -> bool:
    return isinstance(value, dict) and "keras" in value and all(map(text, value.values()))


def script(value: Any) -> bool:
    return value in SCRIPTS


def each(form: Form, least: int = 0) -> Form:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(form, value))


# Normal forms.


def as_it_is(value: Any, record: Record) -> Any:
    return value


def last_of_each_key(value: Any, record: Record) -> str | None:
    """Of a key given twice the last value counts, and the order of keys does not."""
    return " ".join(sorted({each.partition("=")[0]: each for each in value or ()}.values())) or None


def of_lists(value: Any, record: Record) -> str | None:
    return None if value is None else ", ".join("×".join(map(str, shape)) for shape in value)


def by_key(value: Any, record: Record) -> str | None:
    return " ".join(f"{key}={value}" for key, value in sorted((value or {}).items())) or None


def start_of_hash(value: Any, record: Record) -> str | None:
    return None if value is None else str(value)[:12]


def without_path(value: Any, record: Record) -> str:
    return str(value).partition(":")[0]


def of_float32(value: Any, record: Record) -> Any:
    """TF32 rounds the products of float32 alone."""
    return value if record["dtype_policy"] == "float32" else False


def of_training(value: Any, record: Record) -> Any:
    return value if record["script"] == "train" else None


def in_gib(value: Any, record: Record) -> int | None:
    """The memory reserved by a system differs slightly between boots."""
    return None if value is None else round(value / 2**30)


def in_order(value: Any, record: Record) -> tuple[str, ...] | None:
    return None if value is None else tuple(sorted(value))


def of_keras_and_backend(value: Any, record: Record) -> tuple[str, str]:
    return value["keras"], value.get(record["backend"], "")


def short(value: Any, record: Record) -> str:
    return str(value or "unknown")[:7]


def as_flag(value: Any, record: Record) -> bool:
    return bool(value)


def unless_off(value: Any, record: Record) -> bool:
    return value is not False


NO_DEFAULT = object()


class Needed(Enum):
    """When a field must be there and not `null`."""

    ALWAYS = "always"
    IF_OK = "in a record of status `ok`"
    OPTIONAL = "may be `null` or missing"


class Identity(Enum):
    """The part of a run's identity that a field belongs to."""

    CONFIGURATION = "configuration"
    DEVICE = "device"
    TRAINING = "training"
    SOFTWARE = "software"


TRAIN, THROUGHPUT, VERSUS = ("train",), ("throughput",), ("versus",)
RUNS = (*TRAIN, *THROUGHPUT)
SCRIPTS = (*RUNS, *VERSUS)
ALWAYS, IF_OK, OPTIONAL = Needed
CONFIGURATION, DEVICE, TRAINING, SOFTWARE = Identity


@dataclass(frozen=True)
class Field:
    """A field of a record, or of its `environment`.

    Attributes:
        name: its name.
        scripts: the scripts that write it.
        needed: when it must be there and not `null`.
        form: what its value must be where it is not `null`.
        meaning: in docs/records.md.
        identity: what part of a run's identity it belongs to, if it does.
        normal: the value by which runs are compared.
        default: what it was in records of versions that did not have it yet.
    """

    name: str
    scripts: tuple[str, ...]
    needed: Needed
    form: Form
    meaning: str
    identity: Identity | None = None
    normal: Normal = as_it_is
    default: Any = NO_DEFAULT


# fmt: off
EVERY = (
    Field("version", SCRIPTS, OPTIONAL, count, "version of the record's form"),
    Field("arch", SCRIPTS, ALWAYS, text, "name of the architecture", CONFIGURATION),
    Field("model_hash", RUNS, OPTIONAL, text, "SHA-256 of the file or function of a network of one's own; else "
          "`null`", CONFIGURATION, start_of_hash),
    Field("overrides", SCRIPTS, ALWAYS, each(text), "`KEY=VALUE` overrides of its spec; of a key given twice the last "
          "counts, in any order", CONFIGURATION, last_of_each_key),
    Field("script", SCRIPTS, ALWAYS, script, "`train`, `throughput` or `versus`", CONFIGURATION),
    Field("status", SCRIPTS, ALWAYS, text, "`ok` or `out_of_memory`, which has no measurements", default="ok"),
    Field("mode", SCRIPTS, ALWAYS, text, "`training`, or `inference` (forward passes alone)", CONFIGURATION,
          default="training"),
    Field("dataset", SCRIPTS, ALWAYS, text, "name of the data set, as `mnist`; of an `.npz` file its name; "
          "`generated_HxWxC` or `synthetic`", CONFIGURATION),
    Field("data", SCRIPTS, ALWAYS, text, "source of the images: `tfds`, `keras`, `npz:PATH`, `generated` or "
          "`synthetic`; the path is not part of the identity", CONFIGURATION, without_path),
    Field("input_shapes", RUNS, OPTIONAL, each(each(dimension)), "shape of one example, of each of the network's "
          "inputs", CONFIGURATION, of_lists),
    Field("examples", RUNS, OPTIONAL, count, "number of distinct training examples; of large synthetic images a single "
          "batch, used again in each step", CONFIGURATION, default=None),
    Field("augment", SCRIPTS, ALWAYS, flag, "whether images are flipped and cropped at random", CONFIGURATION),
    Field("input", RUNS, ALWAYS, text, "how images reach the network: `resident`, `stream` or `fit`", CONFIGURATION),
    Field("peer", RUNS, OPTIONAL, text, "network that ran in place of ours: `torch`, `timm:NAME` or "
          "`keras_applications:NAME`; else `null`", CONFIGURATION, default=None),
    Field("batch_size", SCRIPTS, ALWAYS, count, "examples per step", CONFIGURATION),
    Field("backend", SCRIPTS, ALWAYS, text, "Keras's backend", CONFIGURATION),
    Field("dtype_policy", SCRIPTS, ALWAYS, text, "Keras's dtype policy", CONFIGURATION),
    Field("jit", SCRIPTS, ALWAYS, flag, "whether each step is compiled as a whole", CONFIGURATION),
    Field("optimizer", RUNS, OPTIONAL, text, "name of the optimizer; `null` in inference", CONFIGURATION),
    Field("optimizer_arguments", RUNS, OPTIONAL, mapping, "its arguments; `null` in inference", CONFIGURATION, by_key),
    Field("learning_rate", RUNS, OPTIONAL, number, "the highest of the schedule; `null` in inference", TRAINING,
          of_training),
    Field("seed", RUNS, OPTIONAL, number, "seed of the weights and of the order of examples"),
    Field("params", RUNS, ALWAYS, size, "number of parameters"),
    Field("trainable_params", SCRIPTS, ALWAYS, size, "number of trainable parameters"),
    Field("macs", RUNS, ALWAYS, size, "multiply-adds of one example, forward", CONFIGURATION),
    Field("environment", SCRIPTS, ALWAYS, mapping, "see below"),
)
TRAINED = (
    Field("epochs", TRAIN, IF_OK, positive, "passes over the training images", TRAINING),
    Field("steps", TRAIN, OPTIONAL, count, "training steps"),
    Field("images_per_second", TRAIN, IF_OK, positive, "all images over the time of all training steps"),
    Field("train_seconds", TRAIN, IF_OK, positive, "time of the training steps, without compilation"),
    Field("compile_seconds", TRAIN, OPTIONAL, size, "time of compilation"),
    Field("total_seconds", TRAIN, OPTIONAL, size, "time of the whole script, without its imports"),
    Field("first_loss", TRAIN, OPTIONAL, number, "loss of the first step; `null` with `--input=fit`"),
    Field("final_loss", TRAIN, OPTIONAL, number, "mean loss of the last block of steps"),
    Field("test_accuracy", TRAIN, OPTIONAL, size, "accuracy on the test images"),
    Field("test_pair_accuracy", TRAIN, OPTIONAL, size, "accuracy on pairs of test images, in place of `test_accuracy`"),
)
TIMED = (
    Field("steps", THROUGHPUT, OPTIONAL, count, "timed steps: `--steps`, or as many more as make a block last 0.05 s "
          "(with `fit` 2 s)"),
    Field("block_steps", THROUGHPUT, IF_OK, each(count, 1), "number of steps of each block that was timed as one"),
    Field("block_seconds", THROUGHPUT, IF_OK, each(positive, 1), "time of each block"),
    Field("images_per_second", THROUGHPUT, IF_OK, positive, "all images over the time of all blocks"),
    Field("images_per_second_low", THROUGHPUT, OPTIONAL, number, "lower end of its 95 % confidence interval "
          "(t-interval over blocks); reports compute it again from the blocks"),
    Field("images_per_second_high", THROUGHPUT, OPTIONAL, number, "upper end"),
    Field("step_ms_p5", THROUGHPUT, OPTIONAL, positive, "5th percentile of the step time over the blocks"),
    Field("step_ms_p50", THROUGHPUT, OPTIONAL, positive, "median"),
    Field("step_ms_p95", THROUGHPUT, OPTIONAL, positive, "95th percentile"),
    Field("step_ms_p99", THROUGHPUT, OPTIONAL, positive, "99th percentile"),
    Field("warmup_steps", THROUGHPUT, OPTIONAL, count, "steps before the timed ones"),
    Field("warmup_seconds", THROUGHPUT, OPTIONAL, size, "their time"),
    Field("is_steady", THROUGHPUT, OPTIONAL, flag, "whether step times had stopped falling by then"),
    Field("compile_seconds", THROUGHPUT, OPTIONAL, size, "time of compilation"),
    Field("first_step_seconds", THROUGHPUT, OPTIONAL, size, "from the end of the script's imports to the end of "
          "the first step"),
    Field("peak_memory_bytes", THROUGHPUT, OPTIONAL, size, "peak memory of the device; `null` on CPU"),
    Field("peak_resident_bytes", THROUGHPUT, OPTIONAL, size, "peak main memory of the process"),
    Field("flops_per_step", THROUGHPUT, IF_OK, size, "`2 · macs · batch_size`; in training three times that (forward, "
          "gradients of activations, gradients of weights) without the gradients that are not computed: of activations "
          "before the first trained layer, and of weights that are not trained"),
    Field("bytes_per_step", THROUGHPUT, OPTIONAL, size, "least number of bytes that these products read and write: the "
          "inputs, weights and outputs of each, once per pass"),
    Field("flops_per_second", THROUGHPUT, IF_OK, size, "`flops_per_step` over the mean step time"),
    Field("peak_flops_per_second", THROUGHPUT, OPTIONAL, positive, "peak of this device, measured by a large matrix "
          "product in the same precision"),
    Field("peak_bytes_per_second", THROUGHPUT, OPTIONAL, positive, "memory bandwidth of this device, measured by "
          "adding one to a large array (bytes read and written)"),
    Field("peak_share", THROUGHPUT, OPTIONAL, size, "`flops_per_second / peak_flops_per_second`"),
    Field("joules_per_image", THROUGHPUT, OPTIONAL, size, "energy per image; `null` without NVML"),
    Field("final_loss", THROUGHPUT, OPTIONAL, number, "mean loss of the last block of steps"),
    Field("operation_ms", THROUGHPUT, OPTIONAL, mapping, "with `--trace` on TensorFlow: the kinds of operations that "
          "took longest, milliseconds per step, summed over threads; else `null`"),
)
COMPARED = (
    Field("peer", VERSUS, ALWAYS, text, "as `--peer` was given: also `fit` and `torch_compile`"),
    Field("runs", VERSUS, ALWAYS, count, "number of runs of each side, each in its own process, in turns"),
    Field("images_per_second", VERSUS, ALWAYS, positive, "median over our runs"),
    Field("peer_images_per_second", VERSUS, ALWAYS, positive, "median over the peer's runs"),
    Field("ratio", VERSUS, ALWAYS, positive, "ours over the peer's, of the medians"),
    Field("ratio_low", VERSUS, OPTIONAL, positive, "lower end of its 95 % confidence interval (bootstrap over runs); "
          "`null` below five runs"),
    Field("ratio_high", VERSUS, OPTIONAL, positive, "upper end"),
    Field("p_value", VERSUS, OPTIONAL, number, "of the two-sided Mann–Whitney U test over the runs; `null` below five "
          "runs"),
    Field("peer_trainable_params", VERSUS, OPTIONAL, size, "may differ from `trainable_params` by biases that a "
          "normalisation cancels"),
    Field("peer_environment", VERSUS, OPTIONAL, mapping, "environment of the peer's first run; `environment` is "
          "that of ours"),
)
# No names of values in backquotes: all that stand in these rows are fields.
ENVIRONMENT = (
    Field("time", SCRIPTS, ALWAYS, text, "in UTC"),
    Field("device", SCRIPTS, ALWAYS, text, "the accelerator's name, or `CPU`", DEVICE),
    Field("device_count", SCRIPTS, OPTIONAL, size, "number of devices that the backend sees", DEVICE),
    Field("driver", SCRIPTS, OPTIONAL, text, "version of the accelerator's driver"),
    Field("cuda", SCRIPTS, OPTIONAL, text, "version of CUDA"),
    Field("tf32", SCRIPTS, OPTIONAL, flag, "whether float32 products may be rounded to TF32; part of the identity "
          "under the dtype policy float32", CONFIGURATION, of_float32),
    Field("onednn", SCRIPTS, OPTIONAL, flag, "whether TensorFlow computes on the CPU with oneDNN; none on other "
          "backends and devices, which counts as yes", CONFIGURATION, unless_off),
    Field("cpu", SCRIPTS, ALWAYS, text, "the processor's model", DEVICE),
    Field("cpu_cores", SCRIPTS, ALWAYS, count, "number of cores granted to the process", DEVICE),
    Field("cpu_flags", SCRIPTS, OPTIONAL, each(text), "the processor's instruction sets", DEVICE, in_order),
    Field("memory_bytes", SCRIPTS, OPTIONAL, count, "main memory; in the identity rounded to GiB", DEVICE, in_gib),
    Field("kernel", SCRIPTS, OPTIONAL, text, "release of the operating system's kernel", DEVICE),
    Field("platform", SCRIPTS, OPTIONAL, text, "operating system"),
    Field("python", SCRIPTS, OPTIONAL, text, "version of Python"),
    Field("versions", SCRIPTS, ALWAYS, versions, "of Keras, its backend, NumPy …; those of Keras and its backend are "
          "part of the identity", SOFTWARE, of_keras_and_backend),
    Field("commit", SCRIPTS, OPTIONAL, text, "git commit of the checkout", SOFTWARE, short),
    Field("commit_is_changed", SCRIPTS, OPTIONAL, flag, "whether tracked files differ from it, other than records in "
          "benchmarks/results", SOFTWARE, as_flag),
    Field("command", SCRIPTS, ALWAYS, each(text, 1), "the script and its arguments"),
    Field("parent_command", SCRIPTS, OPTIONAL, each(text, 1), "of a run inside a comparison, the command of the "
          "comparison"),
)
# fmt: on


TABLES = (EVERY, TRAINED, TIMED, COMPARED)


def fields(script: str) -> dict[str, Field]:
    """The fields of a script's records, by name."""
    return {field.name: field for table in TABLES for field in table if script in field.scripts}


def identifying(group: Identity) -> Iterator[tuple[Field, bool]]:
    """The fields of a part of the identity, and whether each is in `environment`."""
    for table in (EVERY, TRAINED, ENVIRONMENT):
        yield from ((row, table is ENVIRONMENT) for row in table if row.identity is group)


# Fields of which both or neither are given, and what must be equal of them.
PAIRS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("block_steps", "block_seconds", lambda value: value and len(value)),
    ("ratio_low", "ratio_high", lambda value: value is None),
)


def complete(record: dict[str, Any]) -> None:
    """Adds to a record the fields that its version did not have yet."""
    for field in EVERY:
        if field.default is not NO_DEFAULT:
            record.setdefault(field.name, field.default)
    if record.get("input") == "plain_torch":  # in version 1 an input, and the only peer
        record.update(input="resident", peer="torch")


def check(record: Record) -> None:
    """Raises a `ValueError` that names a field which is missing or not of its form."""
    if not script(record.get("script")):
        raise ValueError(_wrong("script", record))
    for table in TABLES:
        _check(record, table, record)
    _check(record["environment"], ENVIRONMENT, record)
    for one, other, alike in PAIRS:
        if alike(record.get(one)) != alike(record.get(other)):
            raise ValueError(f"{one!r} and {other!r} must be given together")


def _check(values: Record, table: Iterable[Field], record: Record) -> None:
    needed = (ALWAYS, IF_OK) if record.get("status") == "ok" else (ALWAYS,)
    for field in table:
        value = values.get(field.name)
        is_needed = record["script"] in field.scripts and field.needed in needed
        if is_needed if value is None else not field.form(value):
            raise ValueError(_wrong(field.name, values))


def _wrong(name: str, values: Record) -> str:
    return f"{name!r} is {reprlib.repr(values[name])}" if name in values else f"{name!r} is missing"
