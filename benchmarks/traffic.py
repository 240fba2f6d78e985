"""What the products of a step move at least: with their multiply-adds it gives the intensity of their arithmetic."""

import math
from typing import Any

import keras

from benchmarks.engines.replay import replay
from kblocks.graph.profile import COUNTS

PASSES = {"training": 3, "inference": 1}
PRODUCTS = tuple(kind for kinds in COUNTS for kind in kinds)
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def least_bytes(model: keras.Model, batch_size: int, mode: str) -> int:
    """`passes · Σ (inputs + weights + outputs)` over the calls of convolutions, dense layers and attention, in bytes.

    Forward, such a call is a product that reads inputs and weights and writes outputs. The two products backward move
    arrays of the same three sizes: the outputs' gradient and the weights become the inputs' gradient, the inputs and
    the outputs' gradient become the weights' gradient. These are the products whose arithmetic `flops_per_step` counts.
    What it leaves out is left out here too: all that stands between products, as if it were fused into them, and the
    optimiser's update. So this is a lower bound where each product runs by itself and finds nothing in a cache, and the
    intensity that follows from it an upper bound.

    Args:
        model: functional or sequential, its sizes known but for the batch.
        batch_size: examples a step.
        mode: `training`, which has the two products backward, or `inference`.

    Returns:
        Bytes a step, each array in its layer's compute dtype. A shared layer counts once a call.

    Raises:
        ValueError: `mode` is neither of the two, or a size is unknown.
    """
    if mode not in PASSES:
        raise ValueError(f"`mode` must be one of {', '.join(PASSES)}; got {mode!r}")
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    if any(None in shape for shape in shapes):
        raise ValueError(f"`model` must have inputs of known sizes; got {' and '.join(map(str, shapes))}")
    total = 0

    def count(operation: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal total
        outputs = operation.compute_output_spec(*args, **kwargs)
        if isinstance(operation, PRODUCTS):
            # By identity: attention of a tensor to itself reads it once.
            inputs = {id(x): x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)}
            arrays = [*inputs.values(), *operation.weights, *keras.tree.flatten(outputs)]
            values = sum(math.prod(array.shape) for array in arrays)
            total += values * BYTES[operation.compute_dtype]
        return outputs

    inputs = [keras.KerasTensor((batch_size, *shape), x.dtype) for x, shape in zip(model.inputs, shapes, strict=True)]
    replay(model, inputs, count)
    return PASSES[mode] * total
