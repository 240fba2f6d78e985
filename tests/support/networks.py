"""The families and the networks that the tests sweep, and which of them are tested daily."""

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

# Of the large networks those tested daily: the smallest of each kind. `make test-slow` tests the others.
DAILY = {
    *("resnet18", "resnet50", "resnet50_v1_5", "resnet50_v2", "googlenet", "googlenet_bn", "vgg16", "inception_v3"),
    *("xception", "mobilenet_025", "mobilenet_v2_035", "mobilenet_v3_small", "mobilenet_v3_small_minimalistic"),
    *("densenet121", "nasnet_mobile", "efficientnet_b0", "efficientnet_v2_b0", "convnext_tiny"),
}
LARGE = {name for name in architectures.names() if architectures.variant(name).classes == 1000}
SLOW = LARGE - DAILY
# For small images, but slow to build.
DEEP = {"resnet44", "resnet56", "resnet110", "resnet164_preact"}
