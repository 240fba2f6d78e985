"""The network that the flags ask for: a row of architectures, a file, or a function of the user's own."""

import functools
import hashlib
import importlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import keras

import architectures
import kblocks
from benchmarks.cli.options import Name, Options, pair
from benchmarks.terminal.errors import UsageError, first_line
from kblocks.graph import profile

Shape = tuple[int, ...]


def create(options: Options, arch: str, image_shape: Shape | None, classes: int | None) -> keras.Model:
    """The network for some images, or with its own input shapes.

    Args:
        options: the flags.
        arch: the architecture if the flags name neither one nor a model.
        image_shape: shape of one image; `None` for the network's own input shapes.
        classes: number of classes; `None` for the network's own. A network of several inputs takes an image for each
            and has its own number of classes.

    Raises:
        UsageError: the network can't be built.
    """
    if options.model is not None:
        return own(options, image_shape, classes)
    arguments: dict[str, Any] = {}
    shapes = architectures.variant(arch).input_shapes
    if image_shape is not None:
        arguments["input_shape"] = image_shape if len(shapes) == 1 else (image_shape,) * len(shapes)
    if classes is not None and (len(shapes) == 1 or options.classes is not None):
        arguments["classes"] = classes
    overrides = dict(override(text) for text in options.overrides)
    keywords = {
        name
        for name, each in inspect.signature(architectures.create).parameters.items()
        if each.kind is each.KEYWORD_ONLY
    }
    for key in overrides.keys() & keywords:
        raise UsageError(
            f"--override={key}=… is no field of the network's spec: the data decides its inputs and classes, "
            "with --dataset=synthetic --input_shape and --classes do"
        )
    try:
        return architectures.create(arch, **arguments, **overrides)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{str(error).splitlines()[0]}; fields of the spec are passed as --override=KEY=VALUE"
        ) from None


def override(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` of an override; a value that is no literal is a name in kblocks, as `stem.cifar`."""
    key, value = pair(text, "override")
    if not isinstance(value, Name):
        return key, value
    try:
        return key, functools.reduce(getattr, value.split("."), kblocks)
    except AttributeError:
        raise UsageError(
            f"--override={text}: {str(value)!r} is neither a Python literal nor a name in kblocks, as stem.cifar"
        ) from None


def own(options: Options, image_shape: Shape | None, classes: int | None) -> keras.Model:
    """The model of `--model`: loaded from its file, or returned by its function.

    Raises:
        UsageError: it can't be had, is no functional model, or has another dtype policy than the flags ask for.
    """
    assert options.model is not None
    model = _load(options.model) if options.model.endswith(".keras") else _call(options.model, image_shape, classes)
    if not isinstance(model, keras.Model):
        raise UsageError(f"--model={options.model} must be a functional Keras model; got {model!r}")
    try:
        profile(model)
    except (TypeError, ValueError) as error:  # a subclassed model has no graph, one of unknown sizes no cost
        raise UsageError(f"--model={options.model} must be a functional Keras model: {first_line(error)}") from None
    policies = {layer.dtype_policy.name for layer in _layers(model) if layer.weights}
    if policies - {options.dtype_policy}:
        raise UsageError(
            f"--model={options.model} has layers of dtype policy {', '.join(sorted(policies))}: pass "
            f"--dtype_policy={min(policies - {options.dtype_policy})}, or make the model with {options.dtype_policy}"
        )
    if classes is not None and len(model.inputs) == 1 and model.output_shape[-1] != classes:
        raise UsageError(
            f"--model={options.model} has {model.output_shape[-1]} outputs, and the data {classes} classes"
        )
    return model


def fingerprint(model: str) -> str:
    """SHA-256 of the file of `--model`: the saved model, or the source of the function's module."""
    if model.endswith(".keras"):
        path = Path(model)
    else:
        path = Path(inspect.getsourcefile(importlib.import_module(model.partition(":")[0])) or model)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(path: str) -> Any:
    if not os.path.isfile(path):
        raise UsageError(f"--model={path}: there is no such file")
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # of the archive, the configuration, a custom object: of many classes
        raise UsageError(f"--model={path} can't be loaded by Keras: {first_line(error)}") from None


def _call(name: str, image_shape: Shape | None, classes: int | None) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
        function: Any = functools.reduce(getattr, attribute.split("."), cast(Any, module))
        parameters = inspect.signature(function).parameters
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"--model={name} must be package.module:function: {first_line(error)}") from None
    given = {"input_shape": image_shape, "classes": classes}
    arguments = {key: value for key, value in given.items() if key in parameters and value is not None}
    try:
        return function(**arguments)
    except (TypeError, ValueError) as error:
        called = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise UsageError(f"--model={name}: {attribute}({called}) failed: {first_line(error)}") from None


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers of a model, and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
