"""Parameters, multiply-adds, activations and memory of a model, by layer and by stage; nothing is built or run."""

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
from keras import KerasTensor

from kblocks.graph import labels
from kblocks.graph.calls import Call, check_graph, run, structure
from kblocks.graph.features import endpoints
from kblocks.graph.macs import macs

__all__ = ["Memory", "Profile", "Row", "profile"]


def __dir__() -> list[str]:
    return __all__


Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Row:
    """A call of a layer or operation, or the calls of a stage together.

    Attributes:
        name: of the call as in `kblocks.graph.endpoints`, or of the stage.
        kind: the class of the layer; the number of layers of a stage.
        shape: of the output, without the batch; of a stage's last one.
        params: number of parameters; those of a shared layer are counted at its first call.
        trainable_params: number of trainable ones.
        macs: multiply-adds of one example; 0 if they can't be counted.
        activations: number of values of the outputs.
        stride: input pixels from one position to the next; `None` for what is no image.
        receptive_field: pixels along each axis on which a value depends; `None` if it is the whole image or unknown.
    """

    name: str
    kind: str
    shape: Shape
    params: int
    trainable_params: int
    macs: int
    activations: int
    stride: int | float | None = None
    receptive_field: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Memory:
    """Bytes that a model needs, computed from its graph.

    Every operation is taken to write an output of its own, and nothing is computed twice, so a compiler that joins
    operations needs less, and one that copies or needs working memory more.

    Attributes:
        weights: of the parameters.
        gradients: of the trainable ones, in training.
        optimizer: of the optimiser's variables, in training.
        activations: in inference the most that are needed at the same time, each until its last use; in training all.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Profile:
    """Parameters, multiply-adds, activations and memory of a model.

    `print(profile.to_markdown())` and Rich's `print(profile)` show the table of its rows.

    Attributes:
        params: number of parameters.
        trainable_params: number of trainable parameters.
        macs: multiply-adds of one example in convolutions, dense and recurrent layers, attention and matrix products; a
            shared layer counts once per call. Biases, normalisation, activations and pooling are not counted.
        activations: number of values of all outputs of layers, of one example.
        rows: one for each call, in order.
        uncounted: names of calls that may hold products, but are not known: `macs` is too low by theirs.
    """

    params: int
    trainable_params: int
    macs: int
    activations: int = field(default=0, compare=False, repr=False)
    rows: tuple[Row, ...] = field(default=(), compare=False, repr=False)
    uncounted: tuple[str, ...] = field(default=(), compare=False)
    _bytes: "_Bytes | None" = field(default=None, compare=False, repr=False)

    @property
    def other_params(self) -> int:
        """Number of parameters that are not trained: moving statistics, and weights of frozen layers."""
        return self.params - self.trainable_params

    @property
    def flops(self) -> int:
        """Floating-point operations of the multiply-adds, two each."""
        return 2 * self.macs

    def by_stage(self) -> list[Row]:
        """Rows of successive calls whose names begin alike: `stem`, `stage1`, `stage2` … or `conv1`, `block_1` …"""
        groups: list[list[Row]] = []
        for row in self.rows:
            if groups and labels.stage(groups[-1][0].name) == labels.stage(row.name):
                groups[-1].append(row)
            else:
                groups.append([row])
        return [_together(group) for group in groups]

    def memory(
        self, batch_size: int = 1, *, dtype: str | None = None, training: bool = False, optimizer_slots: int = 1
    ) -> Memory:
        """Memory for one step.

        Args:
            batch_size: examples.
            dtype: of activations, as `"bfloat16"`; by default that of each layer. Weights keep theirs.
            training: with gradients and all activations, which the backward pass needs.
            optimizer_slots: variables that the optimiser keeps for each trainable one: 1 for SGD with momentum, 2 for
                Adam.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"`batch_size` must be a positive integer; got {batch_size!r}")
        assert self._bytes is not None
        known = self._bytes
        share = 1.0 if dtype is None else _itemsize(dtype) * known.values / max(known.activations, 1)
        activations = known.activations if training else known.peak
        return Memory(
            weights=known.weights,
            gradients=known.trainable if training else 0,
            optimizer=known.trainable * optimizer_slots if training else 0,
            activations=round(batch_size * activations * share),
        )

    def to_dict(self) -> dict[str, Any]:
        """The totals and the rows as JSON takes them."""
        return {
            "params": self.params,
            "trainable_params": self.trainable_params,
            "macs": self.macs,
            "flops": self.flops,
            "activations": self.activations,
            "uncounted": list(self.uncounted),
            "rows": json.loads(json.dumps([asdict(row) for row in self.rows])),
        }

    def to_markdown(self, *, by_stage: bool = False) -> str:
        """The table in Markdown, by layer or by stage."""
        head, *lines = _cells(self.by_stage() if by_stage else self.rows, self)
        ruler = ["---", "---", "---", *["---:"] * (len(head) - 3)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in (head, ruler, *lines))
        return table + (f"\n\n{self._warning()}" if self.uncounted else "")

    def _warning(self) -> str:
        return f"Not counted, so the multiply-adds are too few: {', '.join(self.uncounted)}"

    def __rich__(self) -> Any:
        from rich.table import Table

        head, *lines = _cells(self.by_stage(), self)
        table = Table(caption=self._warning() if self.uncounted else None)
        for i, title in enumerate(head):
            table.add_column(title, justify="left" if i < 3 else "right")
        for line in lines[:-1]:
            table.add_row(*line)
        table.add_section()
        table.add_row(*lines[-1])
        return table


def profile(model: keras.Model, input_shape: Any = None) -> Profile:
    """Counts parameters, multiply-adds and activations, and the memory that they need.

    Args:
        model: functional or Sequential.
        input_shape: of one example, in place of the model's own: a tuple of sizes, or for several inputs a list or dict
            of tuples. Needed where the model's sizes are unknown.

    Returns:
        The profile. What can't be counted, as a layer of a user's own, is in its `uncounted`, and warned of.

    Raises:
        TypeError: `model` is not a functional or Sequential model.
        ValueError: a size on which a count depends is unknown, or `input_shape` does not fit the inputs.

    >>> x = keras.Input((784,))
    >>> profile(keras.Model(x, keras.layers.Dense(10)(keras.layers.Dense(64)(x))))
    Profile(params=50890, trainable_params=50890, macs=50816, uncounted=())
    """
    check_graph(model)
    given = [
        KerasTensor((1, *shape), x.dtype) for x, shape in zip(model.inputs, _shapes(model, input_shape), strict=True)
    ]
    places = {each.name: each for each in endpoints(model)}
    seen: set[int] = set()
    rows: list[Row] = []
    uncounted: list[str] = []
    live = _Live(given)

    def count(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = call.operation.compute_output_spec(*args, **kwargs)
        outputs = keras.tree.flatten(result)
        number = macs(call.operation, args, kwargs)
        if number is None:
            uncounted.append(call.name)
        weights = [w for w in getattr(call.operation, "weights", ()) if id(w) not in seen]
        trained = {id(w) for w in getattr(call.operation, "trainable_weights", ())}
        seen.update(map(id, weights))
        place = places.get(call.name if len(outputs) == 1 else f"{call.name}[0]")
        rows.append(
            Row(
                name=call.name,
                kind=type(call.operation).__name__,
                shape=tuple(outputs[0].shape[1:]),
                params=sum(math.prod(w.shape) for w in weights),
                trainable_params=sum(math.prod(w.shape) for w in weights if id(w) in trained),
                macs=number or 0,
                activations=sum(_values(y) for y in outputs),
                stride=None if place is None else place.stride,
                receptive_field=None if place is None else place.receptive_field,
            )
        )
        live.add(keras.tree.flatten((args, kwargs)), outputs)
        return result

    outputs = run(model, keras.tree.pack_sequence_as(structure(model)[0], given), count)
    if uncounted:
        warnings.warn(
            f"the multiply-adds of {len(uncounted)} calls of {model.name} are not known and not counted: "
            f"{', '.join(uncounted[:5])}{' …' if len(uncounted) > 5 else ''}",
            stacklevel=2,
        )
    trainable = model.trainable_weights
    return Profile(
        params=sum(math.prod(weight.shape) for weight in model.weights),
        trainable_params=sum(math.prod(weight.shape) for weight in trainable),
        macs=sum(row.macs for row in rows),
        activations=sum(row.activations for row in rows),
        rows=tuple(rows),
        uncounted=tuple(uncounted),
        _bytes=_Bytes(
            weights=sum(_bytes(weight) for weight in model.weights),
            trainable=sum(_bytes(weight) for weight in trainable),
            values=live.values,
            activations=live.total,
            peak=live.peak(keras.tree.flatten(outputs)),
        ),
    )


@dataclass(frozen=True)
class _Bytes:
    """Bytes of a model's weights, and of one example's activations: of all, and of those needed at the same time."""

    weights: int
    trainable: int
    values: int
    activations: int
    peak: int


class _Live:
    """Which tensors are needed when."""

    def __init__(self, inputs: Sequence[KerasTensor]) -> None:
        self.calls: list[tuple[list[KerasTensor], list[KerasTensor]]] = [([], list(inputs))]

    def add(self, inputs: Sequence[Any], outputs: Sequence[KerasTensor]) -> None:
        self.calls.append(([x for x in inputs if isinstance(x, KerasTensor)], list(outputs)))

    @property
    def total(self) -> int:
        return sum(_bytes(y) for _, outputs in self.calls for y in outputs)

    @property
    def values(self) -> int:
        return sum(_values(y) for _, outputs in self.calls for y in outputs)

    def peak(self, kept: Sequence[KerasTensor]) -> int:
        """The most bytes at the same time, with each tensor until its last use, and those that are kept to the end."""
        last = {id(x): i for i, (inputs, _) in enumerate(self.calls) for x in inputs}
        last |= {id(x): len(self.calls) for x in kept}
        now = most = 0
        for i, (inputs, outputs) in enumerate(self.calls):
            now += sum(_bytes(y) for y in outputs)
            most = max(most, now)
            ended = {id(x): x for x in inputs if last[id(x)] == i} | {id(y): y for y in outputs if id(y) not in last}
            now -= sum(map(_bytes, ended.values()))
        return most


def _values(tensor: KerasTensor) -> int:
    """The number of values; sizes that stay unknown count as 1."""
    return int(math.prod(size or 1 for size in tensor.shape))


def _bytes(tensor: Any) -> int:
    return int(math.prod(size or 1 for size in tensor.shape)) * _itemsize(keras.backend.standardize_dtype(tensor.dtype))


def _itemsize(dtype: str) -> int:
    if dtype == "bool":
        return 1
    found = re.fullmatch(r"b?(?:float|u?int)(\d+)(?:_.*)?|float8_.*", dtype)
    if not found:
        raise ValueError(f"`dtype` must be a type of numbers, as 'float32' or 'bfloat16'; got {dtype!r}")
    return int(found[1] or 8) // 8


def _shapes(model: keras.Model, input_shape: Any) -> list[Shape]:
    """The shape of one example of each input."""
    own = [tuple(x.shape[1:]) for x in model.inputs]
    if input_shape is None:
        return own
    if isinstance(input_shape, Mapping):
        names = [x.name for x in model.inputs]
        given = [input_shape.get(name) for name in names]
    elif input_shape and all(isinstance(n, int) for n in input_shape):
        given = [input_shape]
    else:
        given = list(input_shape)
    fits = len(given) == len(own) and all(
        isinstance(new, list | tuple)
        and len(new) == len(old)
        and all(isinstance(n, int) and n > 0 and m in (None, n) for n, m in zip(new, old, strict=True))
        for new, old in zip(given, own, strict=False)
    )
    if not fits:
        wanted = ", ".join(str(shape) for shape in own)
        raise ValueError(f"`input_shape` must fit the inputs of {model.name}, {wanted}; got {input_shape!r}")
    return [tuple(shape) for shape in given if shape is not None]


def _together(rows: Sequence[Row]) -> Row:
    last = rows[-1]
    images = [row for row in rows if row.stride is not None]
    end = images[-1] if images else last
    return Row(
        name=labels.stage(last.name),
        kind=f"{len(rows)} layers" if len(rows) > 1 else last.kind,
        shape=last.shape,
        params=sum(row.params for row in rows),
        trainable_params=sum(row.trainable_params for row in rows),
        macs=sum(row.macs for row in rows),
        activations=sum(row.activations for row in rows),
        stride=end.stride,
        receptive_field=end.receptive_field,
    )


def _cells(rows: Sequence[Row], whole: Profile) -> Iterator[list[str]]:
    """The table's heading, its lines, and the totals."""
    yield ["name", "kind", "output", "stride", "receptive field", "parameters", "multiply-adds", "activations"]
    for row in rows:
        seen = "" if row.receptive_field is None else "×".join(map(str, row.receptive_field))
        numbers = (row.params, row.macs, row.activations)
        yield [
            row.name,
            row.kind,
            labels.size(row.shape),
            "" if row.stride is None else f"{row.stride:g}",
            seen,
            *map("{:,}".format, numbers),
        ]
    yield ["total", "", "", "", "", *map("{:,}".format, (whole.params, whole.macs, whole.activations))]
