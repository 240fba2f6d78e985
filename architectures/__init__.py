"""Complete networks made of `kblocks`: one module for each family, with a table of variants.

    import architectures

    model = architectures.create("resnet20")
    model = architectures.create("resnet20", input_shape=(28, 28, 1), drop_path=0.1)
    features = architectures.create("googlenet", classes=0, pooling="avg")
    pair = architectures.create("siamese_lenet", tower=architectures.tower("mnist_cnn"))

`python -m architectures` prints the table.
"""

from architectures.common.family import Variant
from architectures.registry import create, family, names, port_from_keras, port_from_torch, tower, variant
from architectures.weights.porting import copy_weights

__all__ = [
    "Variant",
    "copy_weights",
    "create",
    "family",
    "names",
    "port_from_keras",
    "port_from_torch",
    "tower",
    "variant",
]
