"""Peak rates of the device, measured through Keras's backend: a large matrix product, and passes over a large array.

The throughput of a network is reported as a share of the first. Both are upper bounds, so the best of several trials
counts, not their mean: every disturbance (another process, a lowered clock, a cold cache) only slows a trial down.

The arrays add to the peak memory of the process and of the device: read those before measuring.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from benchmarks import backends
from benchmarks.backends.base import Workload

BLOCK = 512
TRIALS = 5
LARGEST_N = 16384
SMALLEST_ARRAY_BYTES = 2**24


@dataclass(frozen=True)
class Peak:
    """Peak rates of a device: floating-point operations per second, and bytes read plus written per second."""

    flops_per_second: float
    bytes_per_second: float


def measure(
    dtype_policy: str, *, clock: Callable[[], float] = time.perf_counter, workload: Workload | None = None
) -> Peak:
    """Measures the peak rates of the device that Keras's backend computes on.

    Args:
        dtype_policy: Keras dtype policy; the matrices have its compute dtype. In float32 the product may use TF32 if
            any product of the backend may.
        clock: returns the time in seconds.
        workload: replaces that of the backend.

    Returns:
        The peak rates.

    Raises:
        UsageError: the backend has no workload.
    """
    workload = workload or backends.current().workload()
    dtype = keras.dtype_policies.get(dtype_policy).compute_dtype
    return Peak(_flops_per_second(workload, dtype, clock), _bytes_per_second(workload, clock))


def _flops_per_second(workload: Workload, dtype: str, clock: Callable[[], float]) -> float:
    """The best rate of products of square matrices, whose size doubles until a product takes long."""
    best, n = 0.0, workload.scale.first_n
    while n <= LARGEST_N:
        try:
            a, b = _random((n, n), dtype, seed=0), _random((n, n), dtype, seed=1)
            seconds = _fastest(partial(workload.multiply, a, b), clock)
        except Exception as error:
            # A network may fill the device: then the rate of a smaller product counts.
            if not best or not backends.is_out_of_memory(error):
                raise
            break
        best = max(best, 2 * n**3 / seconds)
        if seconds >= workload.scale.long_seconds:
            break
        n *= 2
    return best


def _bytes_per_second(workload: Workload, clock: Callable[[], float]) -> float:
    """The best rate of passes over an array; each reads every byte once and writes it once.

    A pass is `x += 1`, in place, which a compiler can't remove as it could a plain copy. On CPU writing to a new array
    would measure something else: the system has to allocate and clear its pages, which took four times as long as the
    copy itself, and the processor reads the old content of memory that it is about to overwrite.
    """
    size = workload.scale.array_bytes
    while True:
        try:
            sweep = workload.sweeper(_random((size // 4,), "float32", seed=2))
            seconds = _fastest(partial(sweep, workload.scale.passes), clock)
        except Exception as error:
            if size // 2 < SMALLEST_ARRAY_BYTES or not backends.is_out_of_memory(error):
                raise
            size //= 2
        else:
            return 2 * size * workload.scale.passes / seconds


def _fastest(run: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Seconds of the fastest of several runs, after a first run that compiles."""
    run()
    fastest = math.inf
    for _ in range(TRIALS):
        start = clock()
        run()
        fastest = min(fastest, clock() - start)
    return fastest


def _random(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    """Normal random numbers, on the device.

    Never zeros: circuits whose bits don't change draw less power, and a GPU then keeps a higher clock. One repeated
    block serves as well as all different numbers, which on CPU take longer to draw than to multiply.
    """
    block = np.random.default_rng(seed).standard_normal([min(size, BLOCK) for size in shape], dtype="float32")
    repeats = [size // min(size, BLOCK) for size in shape]
    return keras.ops.tile(keras.ops.convert_to_tensor(block, dtype=dtype), repeats)
