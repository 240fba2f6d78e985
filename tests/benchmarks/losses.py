"""Prints the losses of the resident engine of whatever backend Keras runs on, a list for each of `CASES`.

`python -m tests.benchmarks.losses FOLDER`, with weights for each network in the folder. The data is one batch, so that
every backend trains on the same examples however it shuffles them.
"""

import json
import sys

import keras

import architectures
from benchmarks import data, engines, glyphs, task

BATCH = 64
CASES = (
    ("mlp_tiny", 20, "float32", "adam"),
    ("lenet_tiny", 20, "float32", "sgd"),
    # Batch normalisation amplifies rounding from step to step.
    ("resnet_tiny", 1, "float32", "sgd"),
    ("resnet_tiny", 20, "float64", "sgd"),
)


def main(folder: str) -> list[list[float]]:
    """The losses of each case, from the weights in the folder on."""
    return [losses(folder, *case) for case in CASES]


def losses(folder: str, arch: str, steps: int, floatx: str, optimizer: str) -> list[float]:
    """The losses of `steps` steps."""
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", floatx == "float64")
    model = architectures.create(arch, input_shape=(28, 28, 1), weights=f"{folder}/{arch}.weights.h5")
    x, y = glyphs.digits(BATCH, seed=3)
    digits = data.Dataset("generated", "generated", x, y.astype("int32"), x, y.astype("int32"), 10)
    work = task.Classification(digits, augment=False)
    made = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.01}})
    engine = engines.create("resident", model, made, work, batch_size=BATCH, seed=0)
    engine.warm_up()
    return [engine.run(1) for _ in range(steps)]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
