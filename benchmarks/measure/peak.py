"""The device's own limits, measured through Keras's backend: a large matrix product, and a pass over a large array.

What a network reaches is told as a share of the first. Both are ceilings, and so the best of several trials is taken,
not their mean: whatever disturbs a trial (another process, a clock that is lowered, a cold cache) only slows it down.

The arrays add to the process's and the device's peak memory: whoever records those reads them first.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from benchmarks.measure import meters

BLOCK = 512
TRIALS = 5
LARGEST_N = 16384
SMALLEST_ARRAY_BYTES = 2**24


@dataclass(frozen=True)
class Peak:
    """What a device can do at best: floating-point operations a second, and bytes read plus written a second."""

    flops_per_second: float
    bytes_per_second: float


@dataclass(frozen=True)
class Scale:
    """What is large for a device.

    Attributes:
        first_n: rows of the first square matrix, a multiple of `BLOCK`.
        long_seconds: of a product beside which the cost of starting it and waiting for it is small.
        array_bytes: of an array that no cache holds.
        passes: over that array in a row, so that together they take long.
    """

    first_n: int
    long_seconds: float
    array_bytes: int
    passes: int


CPU = Scale(first_n=512, long_seconds=0.05, array_bytes=2**29, passes=1)
ACCELERATOR = Scale(first_n=4096, long_seconds=0.01, array_bytes=2**30, passes=16)


@dataclass(frozen=True)
class Device:
    """A backend's device.

    Attributes:
        scale: what is large for it.
        multiply: the product of two matrices, when it is done.
        sweeper: from an array to a function of a number of passes, each of which adds one to every element in place;
            it returns the array when they are done. It owns the array: the caller keeps no reference.
    """

    scale: Scale
    multiply: Callable[[Any, Any], Any]
    sweeper: Callable[[Any], Callable[[int], Any]]


def measure(dtype_policy: str, *, clock: Callable[[], float] = time.perf_counter, device: Device | None = None) -> Peak:
    """Measures the device that Keras's backend computes on.

    Args:
        dtype_policy: Keras's; the matrices are of its compute dtype. In float32 the product is free to use TF32 where
            any of the backend's products is.
        clock: seconds.
        device: in place of the backend's.

    Returns:
        The peak.
    """
    device = device or _device()
    dtype = keras.dtype_policies.get(dtype_policy).compute_dtype
    return Peak(_flops_per_second(device, dtype, clock), _bytes_per_second(device, clock))


def _flops_per_second(device: Device, dtype: str, clock: Callable[[], float]) -> float:
    """The best rate of square products that grow until one takes long."""
    best, n = 0.0, device.scale.first_n
    while n <= LARGEST_N:
        try:
            a, b = _random((n, n), dtype, seed=0), _random((n, n), dtype, seed=1)
            seconds = _fastest(lambda a=a, b=b: device.multiply(a, b), clock)
        except Exception as error:
            # A network may fill the device: what a smaller product reached is then the best there is.
            if not best or not meters.is_out_of_memory(error):
                raise
            break
        best = max(best, 2 * n**3 / seconds)
        if seconds >= device.scale.long_seconds:
            break
        n *= 2
    return best


def _bytes_per_second(device: Device, clock: Callable[[], float]) -> float:
    """The best rate of passes over an array; each reads every byte once and writes it once.

    A pass is `x + 1` written back to where it was read, which cannot be left out as a plain copy could. On CPU a result
    in a new place would measure something else: the system has to give out and clear its pages, which took four times
    as long as the copy itself, and the processor reads the old content of what it is about to overwrite.
    """
    size = device.scale.array_bytes
    while True:
        try:
            sweep = device.sweeper(_random((size // 4,), "float32", seed=2))
            seconds = _fastest(lambda sweep=sweep: sweep(device.scale.passes), clock)
        except Exception as error:
            if size // 2 < SMALLEST_ARRAY_BYTES or not meters.is_out_of_memory(error):
                raise
            size //= 2
        else:
            return 2 * size * device.scale.passes / seconds


def _fastest(run: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Seconds of the fastest of several runs, after one that compiles."""
    run()
    fastest = math.inf
    for _ in range(TRIALS):
        start = clock()
        run()
        fastest = min(fastest, clock() - start)
    return fastest


def _random(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    """Normal random numbers, on the device.

    Never zeros: a circuit whose bits don't change draws less power, and a GPU then keeps a higher clock. A block of
    them, repeated, does as well as all different ones, which on CPU take longer to draw than to multiply.
    """
    block = np.random.default_rng(seed).standard_normal([min(size, BLOCK) for size in shape], dtype="float32")
    repeats = [size // min(size, BLOCK) for size in shape]
    return keras.ops.tile(keras.ops.convert_to_tensor(block, dtype=dtype), repeats)


def _device() -> Device:
    """The device of Keras's backend."""
    backend = keras.backend.backend()
    makers = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    if backend not in makers:
        raise NotImplementedError(f"peaks are measured on {', '.join(makers)}; KERAS_BACKEND is {backend}")
    return makers[backend]()


def _tensorflow() -> Device:
    import tensorflow as tf

    # XLA has kernels of its own for products on CPU, slower than TensorFlow's.
    product = tf.function(keras.ops.matmul, jit_compile=False, autograph=False)

    # XLA alone updates the variable in place; without it, the sum is a new array that takes the variable's place.
    @tf.function(jit_compile=True, autograph=False)
    def increment(x: tf.Variable) -> None:
        x.assign(x + 1)

    def multiply(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        c = product(a, b)
        tf.test.experimental.sync_devices()
        return c

    def sweeper(x: tf.Tensor) -> Callable[[int], tf.Variable]:
        variable = tf.Variable(x)

        def sweep(passes: int) -> tf.Variable:
            for _ in range(passes):
                increment(variable)
            tf.test.experimental.sync_devices()
            return variable

        return sweep

    accelerated = any(tf.config.get_visible_devices(kind) for kind in ("GPU", "TPU"))
    return Device(ACCELERATOR if accelerated else CPU, multiply, sweeper)


def _jax() -> Device:
    import jax

    product = jax.jit(keras.ops.matmul)
    # The donated argument's memory takes the result.
    increment = jax.jit(lambda x: x + 1, donate_argnums=0)

    def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.block_until_ready(product(a, b))

    def sweeper(x: jax.Array) -> Callable[[int], jax.Array]:
        def sweep(passes: int) -> jax.Array:
            nonlocal x
            for _ in range(passes):
                x = increment(x)
            return jax.block_until_ready(x)

        return sweep

    return Device(CPU if jax.default_backend() == "cpu" else ACCELERATOR, multiply, sweeper)


def _torch() -> Device:
    import torch

    kind = keras.ops.zeros(()).device.type

    def synchronize() -> None:
        if kind != "cpu":
            getattr(torch, kind).synchronize()

    def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        # PyTorch lets convolutions use TF32 and products not. A ceiling is one for both.
        before = torch.get_float32_matmul_precision()
        if before == "highest" and meters.may_use_tf32():
            torch.set_float32_matmul_precision("high")
        try:
            c = keras.ops.matmul(a, b)
        finally:
            if torch.get_float32_matmul_precision() != before:
                torch.set_float32_matmul_precision(before)
        synchronize()
        return c

    def sweeper(x: torch.Tensor) -> Callable[[int], torch.Tensor]:
        def sweep(passes: int) -> torch.Tensor:
            for _ in range(passes):
                x.add_(1)
            synchronize()
            return x

        return sweep

    return Device(CPU if kind == "cpu" else ACCELERATOR, multiply, sweeper)
