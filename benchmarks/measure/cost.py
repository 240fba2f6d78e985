"""Cost of the products of a step: their arithmetic, and a lower bound of the bytes they move."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from benchmarks.engines import MODES
from benchmarks.engines.replay import replay
from kblocks.graph.macs import macs

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Cost:
    """Cost of the products of a step.

    Attributes:
        flops: floating-point operations, two per multiply-add.
        bytes: bytes read and written, each array in its layer's compute dtype.
    """

    flops: int
    bytes: int


def step_cost(model: keras.Model, batch_size: int, mode: str) -> Cost:
    """`Σ passes · (2 · multiply-adds)` and `Σ passes · (inputs + weights + outputs)` over the products of a step.

    Products are the calls of convolutions, dense layers and attention. In the forward pass such a call reads inputs and
    weights and writes outputs. The two products of the backward pass do the same arithmetic on arrays of the same three
    sizes: the gradient of the inputs is computed from that of the outputs and the weights, the gradient of the weights
    from that of the outputs and the inputs. No gradient is computed of inputs that depend on no trained layer, nor of
    weights that are not trained.

    Everything between products is ignored, as if it were fused into them, and so is the optimiser's update. Thus the
    bytes are a lower bound, if each product runs separately and finds nothing in a cache, and the arithmetic intensity
    is an upper bound.

    Args:
        model: functional or sequential, with known input sizes.
        batch_size: examples per step.
        mode: `training`, which includes the backward pass, or `inference`.

    Returns:
        The cost of a step. A shared layer counts once per call.

    Raises:
        ValueError: `mode` is unknown, or an input size of `model` is.
    """
    if mode not in MODES:
        raise ValueError(f"`mode` must be one of {', '.join(MODES)}; got {mode!r}")
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    if any(None in shape for shape in shapes):
        raise ValueError(f"`model` must have inputs of known sizes; got {' and '.join(map(str, shapes))}")
    flops = moved = 0
    behind_weights: dict[int, keras.KerasTensor] = {}

    def count(operation: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal flops, moved
        outputs = operation.compute_output_spec(*args, **kwargs)
        # By identity: self-attention reads its input once.
        inputs = {id(x): x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)}
        needs_gradient = not behind_weights.keys().isdisjoint(inputs)
        trains = bool(getattr(operation, "trainable_weights", ()))
        if needs_gradient or trains:
            behind_weights.update((id(y), y) for y in keras.tree.flatten(outputs))
        if products := macs(operation, args, kwargs):
            passes = 1 + (needs_gradient + trains) * (mode == "training")
            flops += passes * 2 * products
            arrays = [*inputs.values(), *getattr(operation, "weights", ()), *keras.tree.flatten(outputs)]
            dtype = getattr(operation, "compute_dtype", None) or keras.backend.standardize_dtype(arrays[0].dtype)
            moved += passes * sum(math.prod(array.shape) for array in arrays) * BYTES[dtype]
        return outputs

    inputs = [keras.KerasTensor((batch_size, *shape), x.dtype) for x, shape in zip(model.inputs, shapes, strict=True)]
    replay(model, inputs, count)
    return Cost(flops, moved)
