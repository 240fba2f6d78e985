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

LARGE = {name for name in architectures.names() if architectures.variant(name).classes == 1000}


def _smallest() -> set[str]:
    """The large network with the fewest multiply-adds in each family."""
    # Of equal ones the last in the alphabet, whatever the order of the set.
    ordered = sorted(LARGE, key=lambda name: (-architectures.variant(name).macs, name))
    return set({architectures.family(name): name for name in ordered}.values())


# Of the large networks those tested daily: the smallest of each family, and of some families one with other units.
# `make test-slow` tests the others.
DAILY = (_smallest() - {"inception_resnet_v2"}) | {
    *("resnet50", "resnet50_v1_5", "resnet50_v2", "googlenet", "googlenet_bn", "mobilenet_v3_small"),
    "efficientnet_v2_b0",
}
SLOW = LARGE - DAILY
# For small images, but slow to build.
DEEP = {"resnet44", "resnet56", "resnet110", "resnet164_preact", "densenet_bc100_12", "nasnet_cifar"}
