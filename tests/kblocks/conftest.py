"""What the tests of blocks share: numbers, values and gradients on any backend, and global settings put back."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.support.models import predict
from tests.support.weights import randomise


@pytest.fixture(autouse=True)
def _settings_put_back():
    policy, layout = keras.config.dtype_policy(), keras.config.image_data_format()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(layout)


@pytest.fixture
def numbers():
    """`numbers(2, 8)` is a float32 array of that shape, the same for one seed."""

    def draw(*shape, seed=0):
        return np.random.default_rng(seed).normal(size=shape).astype("float32")

    return draw


@pytest.fixture
def scramble():
    """Gives every weight of a model its own random value, so that no γ of 1 or β of 0 hides a mistake."""

    return randomise


@pytest.fixture
def evaluate():
    """`evaluate(model, a, b)` is the model's output as a NumPy array, or a list of them."""

    return predict


@pytest.fixture
def gradients():
    """`gradients(model, a, b)`: of a fixed random sum of the outputs, by weight path, and by input."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        pytest.skip(f"no gradients are taken here on {backend}")

    def weigh(y):
        total = 0.0
        for i, t in enumerate(y if isinstance(y, list | tuple) else [y]):
            factors = np.random.default_rng(i).uniform(0.5, 1.5, size=t.shape).astype("float32")
            total += ops.sum(ops.cast(t, "float32") * factors)
        return total

    def with_tensorflow(model, values, training):
        import tensorflow as tf

        tensors = [tf.constant(value) for value in values]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = weigh(model(tensors[0] if len(tensors) == 1 else tensors, training=training))
        return tape.gradient(loss, ([w.value for w in model.trainable_weights], tensors))

    def with_jax(model, values, training):
        import jax

        def loss(weights, tensors):
            x = tensors[0] if len(tensors) == 1 else tensors
            rest = [variable.value for variable in model.non_trainable_variables]
            return weigh(model.stateless_call(weights, rest, x, training=training)[0])

        tensors = [jax.numpy.asarray(value) for value in values]
        return jax.grad(loss, argnums=(0, 1))([w.value for w in model.trainable_weights], tensors)

    def take(model, *values, training=True):
        run = with_tensorflow if backend == "tensorflow" else with_jax
        by_weight, by_input = run(model, values, training)
        arrays = [None if g is None else np.asarray(g, dtype="float32") for g in by_weight]
        paths = [weight.path for weight in model.trainable_weights]
        return dict(zip(paths, arrays, strict=True)), [
            None if g is None else np.asarray(g, dtype="float32") for g in by_input
        ]

    return take
