"""Pictures of models: stages and units as boxes, shapes on the edges."""

import math
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import keras
from keras import KerasTensor, layers

from kblocks import check
from kblocks.graph import labels
from kblocks.graph.calls import Call, calls, check_graph, is_graph

__all__ = ["Level", "draw"]


def __dir__() -> list[str]:
    return __all__


Level = Literal["stages", "units", "layers"]
FORMATS = (".svg", ".png", ".pdf", ".dot")

# Fill and border.
COLOURS = {
    "convolution": ("#dbe9f8", "#3d6fa5"),
    "dense": ("#e6def5", "#6b4fa0"),
    "attention": ("#fbe0ec", "#a8467a"),
    "normalisation": ("#eeeeee", "#8a8a8a"),
    "activation": ("#fdf3d1", "#a88a2a"),
    "pooling": ("#fde3cf", "#b56a2c"),
    "merge": ("#dcf1dd", "#43894a"),
    "input": ("#ffffff", "#333333"),
    "group": ("#f2f6fb", "#3d6fa5"),
    "other": ("#ffffff", "#8a8a8a"),
}
KINDS = (
    ("convolution", r"Conv"),
    ("attention", r"Attention"),
    ("dense", r"Dense|LSTM|GRU|RNN|Embedding|Matmul|Einsum"),
    ("normalisation", r"Normalization|Rescaling"),
    ("pooling", r"Pooling|UpSampling|Resizing|Padding|Cropping|Flatten|Reshape"),
    ("merge", r"^(Add|Average|Concatenate|Multiply|Subtract|Maximum|Minimum|Dot)$"),
    ("activation", r"Activation|ReLU|Softmax|Dropout"),
)


def draw(model: keras.Model, to_file: str | Path, *, level: Level = "units", direction: str = "TB") -> Path:
    """Draws a model with Graphviz.

    Boxes of stages and units hold the layers whose names begin alike, as `stage1_unit2` or keras.applications'
    `conv2_block1`. A nested model is a box or a frame around its units or layers; further calls of it are dashed boxes.

    Args:
        model: functional or Sequential.
        to_file: path that ends in `.svg`, `.png`, `.pdf`, or in `.dot`: Graphviz's language, which needs no Graphviz.
        level: the smallest boxes: `"stages"`, `"units"` or `"layers"`.
        direction: `"TB"` from top to bottom, `"LR"` from left to right.

    Returns:
        The path.

    Raises:
        TypeError: `model` is not a functional or Sequential model.
        ValueError: the path ends otherwise, or `level` or `direction` is none of those.
        RuntimeError: Graphviz is not installed, or fails.

    >>> import tempfile
    >>> x = keras.Input((8,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = draw(keras.Model(x, layers.Dense(4, name="dense")(x)), f"{folder}/net.dot")
    ...     "dense" in path.read_text()
    True
    """
    check_graph(model)
    path = Path(to_file)
    if path.suffix not in FORMATS:
        raise ValueError(f"`to_file` must end in {', '.join(FORMATS)}; got {str(to_file)!r}")
    check.choice(level, get_args(Level), "level")
    check.choice(direction, ("TB", "LR"), "direction")
    text = _Picture(model, level, direction).text()
    if path.suffix == ".dot":
        path.write_text(text, encoding="utf-8")
        return path
    if shutil.which("dot") is None:
        raise RuntimeError(
            "drawing needs Graphviz, whose program dot is not on the path: install it from https://graphviz.org, or as "
            "a package of the system (Debian: apt install graphviz; macOS: brew install graphviz)"
        )
    command = ["dot", f"-T{path.suffix[1:]}", "-Gdpi=144" if path.suffix == ".png" else "-Gdpi=72", "-o", str(path)]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"Graphviz could not draw {model.name}: {done.stderr.strip() or done.returncode}")
    return path


@dataclass
class _Box:
    """A node: a call, or the calls of a unit or stage."""

    key: str
    title: str
    calls: list[Call] = field(default_factory=list)
    kind: str = "other"
    dashed: bool = False


class _Picture:
    """The nodes, frames and edges of a picture."""

    def __init__(self, model: keras.Model, level: Level, direction: str) -> None:
        self.level = level
        self.lines = [
            "digraph {",
            f'rankdir={direction}; nodesep=0.25; ranksep=0.35; bgcolor=white; fontname="Helvetica"; fontsize=11;',
            'node [shape=box, fontname="Helvetica", fontsize=11, margin="0.15,0.06", height=0.3];',
            'edge [fontname="Helvetica", fontsize=9, color="#666666", fontcolor="#444444", arrowsize=0.6];',
        ]
        self.edges: dict[tuple[str, str], str] = {}
        maker: dict[int, str] = {}
        for x in model.inputs:
            key = self._node(_Box(f"input {x.name}", x.name, kind="input"), labels.size(x.shape[1:]))
            maker[id(x)] = key
        self._add(model, maker, "")
        names = list(getattr(model, "output_names", ())) if len(model.outputs) > 1 else []
        for i, y in enumerate(model.outputs):
            title = f"output {names[i]}" if names else "output"
            self._edge(maker[id(y)], self._node(_Box(f"output {i}", title, kind="input"), ""), y)

    def text(self) -> str:
        edges = [f'"{a}" -> "{b}" [label="{label}"];' for (a, b), label in self.edges.items()]
        return "\n".join([*self.lines, *edges, "}", ""])

    def _add(self, model: keras.Model, maker: dict[int, str], prefix: str) -> None:
        """Adds the calls of a model; `maker` tells the node behind which each tensor is."""
        order = calls(model, prefix)
        of_call = self._grouped(model, order, prefix)
        drawn: set[str] = set()
        for call in order:
            if self._opens(call):
                self._frame(call, maker)
                continue
            box = of_call[id(call)]
            if box.key not in drawn:
                drawn.add(box.key)
                self._node(self._labelled(box), self._details(box))
            for x in call.inputs:
                self._edge(maker[id(x)], box.key, x)
            maker |= dict.fromkeys(map(id, call.outputs), box.key)

    def _grouped(self, model: keras.Model, order: list[Call], prefix: str) -> dict[int, _Box]:
        """The box of each call. Calls of one title share a box unless that makes a circle."""
        shared = f"{prefix}{model.name}_"
        common = shared if all(call.name.startswith(shared) for call in order) else prefix
        latest: dict[str, _Box] = {}
        of_call: dict[int, _Box] = {}
        maker: dict[int, str] = {}
        # The boxes from which a box can be reached.
        above: dict[str, set[str]] = {}
        for call in order:
            title = call.name.removeprefix(prefix) if self._opens(call) else self._group(call, common)
            sources = {maker[id(x)] for x in call.inputs if id(x) in maker}
            box = latest.get(title)
            if box is None or any(box.key in above[key] for key in sources - {box.key}):
                times = sum(each.title == title for each in {id(b): b for b in of_call.values()}.values()) + 1
                box = latest[title] = _Box(f"{prefix}{title}" + (f" ({times})" if times > 1 else ""), title)
                above[box.key] = set()
            box.calls.append(call)
            of_call[id(call)] = box
            new = set().union(sources, *(above[key] for key in sources)) - {box.key}
            for key, others in above.items():
                if key == box.key or box.key in others:
                    others |= new
            maker |= dict.fromkeys(map(id, call.outputs), box.key)
        return of_call

    def _opens(self, call: Call) -> bool:
        """Whether a nested model is drawn as a frame around what is inside: at its first call."""
        return is_graph(call.operation) and self.level != "stages" and call.operation.name == _last(call.name)

    def _frame(self, call: Call, maker: dict[int, str]) -> None:
        nested = call.operation
        self.lines.append(
            f'subgraph "cluster {call.name}" {{ label="{_escaped(nested.name)}"; style="rounded"; color="#9db4cc"; '
            'fontcolor="#3d6fa5"; labeljust=l;'
        )
        inner = {id(x): maker[id(y)] for x, y in zip(nested.inputs, call.inputs, strict=False)}
        self._add(nested, inner, f"{call.name}/")
        self.lines.append("}")
        maker |= {id(y): inner[id(own)] for own, y in zip(nested.outputs, call.outputs, strict=True)}

    def _group(self, call: Call, prefix: str) -> str:
        """The title of the box to which a call belongs."""
        name = call.name.removeprefix(prefix)
        if self.level == "layers" or is_graph(call.operation):
            return name
        return labels.stage(name) if self.level == "stages" else labels.unit(name)

    def _labelled(self, box: _Box) -> _Box:
        if len(box.calls) > 1:
            box.kind = "group"
            return box
        (call,) = box.calls
        box.title = _last(call.name)
        box.kind = "group" if is_graph(call.operation) else _kind(type(call.operation).__name__)
        box.dashed = "#" in box.title
        return box

    def _details(self, box: _Box) -> str:
        """What a box tells below its title."""
        operations = {id(call.operation): call.operation for call in box.calls}.values()
        params = sum(math.prod(w.shape) for op in operations for w in getattr(op, "weights", ()))
        count = f"{params:,} parameters" if params and not box.dashed else ""
        if len(box.calls) > 1:
            units = {labels.unit(_last(call.name)) for call in box.calls} if self.level == "stages" else set()
            size = f"{len(units)} units" if len(units) > 1 else f"{len(box.calls)} layers"
            return ", ".join(filter(None, (size, count)))
        if box.dashed:
            return "the same weights"
        operation = box.calls[0].operation
        return count if is_graph(operation) else _described(operation)

    def _node(self, box: _Box, details: str) -> str:
        fill, border = COLOURS[box.kind]
        style = "rounded,filled,dashed" if box.dashed else "rounded,filled"
        small = f'<br/><font point-size="9" color="#555555">{_html(details)}</font>' if details else ""
        self.lines.append(
            f'"{_escaped(box.key)}" [label=<{_html(box.title)}{small}>, fillcolor="{fill}", color="{border}", '
            f'style="{style}"];'
        )
        return _escaped(box.key)

    def _edge(self, source: str, target: str, tensor: KerasTensor) -> None:
        if source != target:
            self.edges.setdefault((source, _escaped(target)), f" {labels.size(tensor.shape[1:])}")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _kind(name: str) -> str:
    return next((kind for kind, pattern in KINDS if re.search(pattern, name)), "other")


def _described(operation: Any) -> str:
    """The class, and the size of a kernel or the number of units."""
    name = type(operation).__name__
    parts: list[str] = []
    if kernel := getattr(operation, "kernel_size", None) or getattr(operation, "pool_size", None):
        parts.append(_by(kernel))
        strides = tuple(operation.strides) if isinstance(operation.strides, Iterable) else (operation.strides,)
        if any(n > 1 for n in strides):
            parts.append(f"stride {_by(strides) if len(set(strides)) > 1 else strides[0]}")
    elif isinstance(operation, layers.Dense):
        parts.append(str(operation.units))
    elif isinstance(operation, layers.Activation):
        name = keras.activations.serialize(operation.activation)
        name = name if isinstance(name, str) else "activation"
    elif isinstance(operation, layers.Dropout):
        parts.append(f"{operation.rate:g}")
    return " ".join((name, ", ".join(parts))).strip()


def _by(sizes: Any) -> str:
    return "×".join(map(str, sizes)) if isinstance(sizes, Iterable) else str(sizes)


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
