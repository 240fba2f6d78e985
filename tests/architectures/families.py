"""The families and the tiny row of each, for the tests that sweep them."""

import architectures
from architectures import registry

FAMILIES = {module.__name__.rpartition(".")[-1]: module for module in registry.FAMILIES}
# By their source, not by name: one network is called tiny by its authors.
TINY = {
    family: next(name for name, row in module.VARIANTS.items() if row.source == "for tests")
    for family, module in FAMILIES.items()
}
OF_SEVERAL_INPUTS = [family for family, tiny in TINY.items() if len(architectures.variant(tiny).input_shapes) > 1]
OF_IMAGES = [family for family in FAMILIES if family not in OF_SEVERAL_INPUTS]
# Those whose features are images, not vectors.
CONVOLUTIONAL = [family for family in OF_IMAGES if family not in ("mlp", "lenet")]
