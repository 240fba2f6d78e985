"""Prints the losses of the engine of whatever backend Keras runs on, a list for each of `CASES`.

`python -m tests.support.losses FOLDER`, with weights for each network in the folder. Resident data is one batch, so
that every backend trains on the same examples however it shuffles them; streamed batches are the same on all.
"""

import json
import sys

import keras

import architectures
from benchmarks import data, engines, tasks
from benchmarks.data import glyphs

BATCH = 64
CASES = (
    ("mlp_tiny", 20, "float32", "adam", "resident", "training"),
    ("lenet_tiny", 20, "float32", "sgd", "resident", "training"),
    # Batch normalisation amplifies rounding from step to step.
    ("resnet_tiny", 1, "float32", "sgd", "resident", "training"),
    ("resnet_tiny", 20, "float64", "sgd", "resident", "training"),
    ("lenet_tiny", 20, "float32", "sgd", "stream", "training"),
    ("resnet_tiny", 7, "float32", "sgd", "stream", "inference"),
)


def main(folder: str) -> list[list[float]]:
    """The losses of each case, from the weights in the folder on."""
    return [losses(folder, *case) for case in CASES]


def losses(folder: str, arch: str, steps: int, floatx: str, optimizer: str, kind: str, mode: str) -> list[float]:
    """The losses of `steps` steps."""
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", floatx == "float64")
    model = architectures.create(arch, input_shape=(28, 28, 1), weights=f"{folder}/{arch}.weights.h5")
    x, y = glyphs.digits(BATCH, seed=3)
    digits = data.Dataset("generated", "generated", x, y.astype("int32"), x, y.astype("int32"), 10)
    work = tasks.Classification(digits, augment=False)
    made = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.01}})
    batch_size = BATCH // 4 if kind == "stream" else BATCH
    engine = engines.create(model, made, work, engines.Plan(batch_size=batch_size, input=kind, mode=mode))
    engine.warm_up()
    return [engine.run(1) for _ in range(steps)]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
