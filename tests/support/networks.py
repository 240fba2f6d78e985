"""The families and the networks that the tests sweep, and which of them are tested daily."""

import architectures
from architectures import registry

FAMILIES = {family.name: family for family in registry.FAMILIES}
# By their source, not by name: one network is called tiny by its authors.
TINY = {
    name: next(arch for arch, row in family.variants.items() if row.source == "for tests")
    for name, family in FAMILIES.items()
}
OF_SEVERAL_INPUTS = [family for family, tiny in TINY.items() if len(architectures.variant(tiny).input_shapes) > 1]
OF_IMAGES = [family for family in FAMILIES if family not in OF_SEVERAL_INPUTS]
# Those whose features are images, not vectors.
CONVOLUTIONAL = [name for name, family in FAMILIES.items() if family.downsampling is not None]
# Those with logits for each pixel.
PER_PIXEL = [name for name, family in FAMILIES.items() if family.per_pixel]

LARGE = {name for name in architectures.names() if architectures.variant(name).classes == 1000}


def of_small_images(arch) -> dict:
    """Arguments of `create` for the same layers on images that can be computed."""
    row = architectures.variant(arch)
    if row.classes == 1000:
        # Inception and Xception take none below 71 and 75.
        return {"input_shape": (80, 80, 3), "classes": 10}
    if architectures.family(arch) in PER_PIXEL and row.input_shape[0] > 80:
        return {"input_shape": (64, 64, row.input_shape[-1])}
    return {}


def _smallest(names) -> set[str]:
    """The network with the fewest multiply-adds in each family, of those given."""
    # Of equal ones the last in the alphabet, whatever the order of the set.
    ordered = sorted(names, key=lambda name: (-architectures.variant(name).macs, name))
    return set({architectures.family(name): name for name in ordered}.values())


# Tested daily: of each family the row for tests, and the smallest for small images where that is quick. The others are
# tested by `make test-slow`.
QUICK = {name for name in architectures.names() if architectures.variant(name).macs < 5e6} - LARGE
LIGHT = {*TINY.values(), "resnet20"} | _smallest(QUICK - set(TINY.values()))
# And some for large images, with stems, units and weights of several kinds.
DAILY = LIGHT | {
    *("resnet18", "resnet50", "resnet50_v2", "googlenet_bn", "mobilenet_025", "mobilenet_v3_small"),
    *("efficientnet_b0", "densenet121", "vit_tiny_16"),
}
SLOW = set(architectures.names()) - DAILY
