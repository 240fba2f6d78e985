"""Complete networks made of `kblocks`: per family a table of variants and one builder.

    import architectures

    model = architectures.create("resnet20")
    model = architectures.create("resnet20", input_shape=(28, 28, 1), drop_path=0.1)
    features = architectures.create("googlenet", classes=0, pooling="avg")

`python -m architectures` prints the table.
"""

from architectures.porting import copy_weights
from architectures.registry import create, family, names, port_from_keras, variant
from architectures.variant import Variant

__all__ = ["Variant", "copy_weights", "create", "family", "names", "port_from_keras", "variant"]
