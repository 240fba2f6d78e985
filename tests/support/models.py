"""What a model computes, and of what operations it is made, on any backend."""

import keras
from keras import layers, ops

# The operations of keras.ops that may be in a graph, each with the reason why no layer can do it. An operation takes no
# name, is saved under a private path of Keras, and can't be read from the legacy format `.h5`, so the fewer the better.
ALLOWED_OPS = {
    "Split": "a tower called on the joined batch; no layer splits the batch axis",
    "GetItem": "avg_pool takes one channel of an image of any size; no layer indexes",
    "OnesLike": "avg_pool counts pixels; no layer makes constants of an image of any size",
    "Reciprocal": "avg_pool; no layer divides",
}
# What runs or registers code that a saved model doesn't hold.
CUSTOM = {"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "register_keras_serializable"}


class Unserialisable(layers.Layer):
    """A layer of a user's own that calls a function, which is in no configuration."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)

    def get_config(self):
        raise NotImplementedError("it holds a function")


def predict(model, *inputs, training=False):
    """The model's output as a NumPy array, or a list of them where it has several; half precision as float32."""
    x = inputs[0] if len(inputs) == 1 else list(inputs)
    # Called eagerly, JAX compiles every operation by itself.
    compiled = keras.backend.backend() == "jax" and isinstance(model, keras.Model) and not training
    y = model.predict_on_batch(x) if compiled else model(x, training=training)
    arrays = keras.tree.map_structure(lambda t: ops.convert_to_numpy(ops.cast(t, "float32")), y)
    return list(arrays) if isinstance(arrays, tuple) else arrays


def operations(model):
    """All operations of a model and of the models in it."""
    for operation in model.operations:
        yield operation
        if isinstance(operation, keras.Model):
            yield from operations(operation)


def _functional():
    """`keras.Model` is another class than what it makes of tensors."""
    x = keras.Input((1,))
    return type(keras.Model(x, layers.Dense(1)(x)))


FUNCTIONAL = _functional()


def is_stock(operation):
    """Whether an operation is a layer or a model of Keras's own, or one of `ALLOWED_OPS`."""
    kind = type(operation)
    if isinstance(operation, keras.Model):
        return kind in (FUNCTIONAL, keras.Sequential)
    if kind.__module__.startswith("keras.src.ops."):
        return kind.__name__ in ALLOWED_OPS
    return kind.__module__.startswith("keras.src.layers.") and kind.__name__ not in CUSTOM


def strangers(model):
    """The names of the classes of a model's operations that are not stock."""
    return [type(operation).__name__ for operation in operations(model) if not is_stock(operation)]
