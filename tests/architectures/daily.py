"""Which of the large networks are tested every day: of each kind the smallest. The others are for `make test-slow`."""

import architectures

DAILY = {
    *("resnet18", "resnet50", "resnet50_v1_5", "resnet50_v2", "googlenet", "googlenet_bn", "vgg16", "inception_v3"),
    *("xception", "mobilenet_025", "mobilenet_v2_035", "mobilenet_v3_small", "mobilenet_v3_small_minimalistic"),
    *("densenet121", "nasnet_mobile", "efficientnet_b0", "efficientnet_v2_b0", "convnext_tiny"),
}
LARGE = {name for name in architectures.names() if architectures.variant(name).classes == 1000}
SLOW = LARGE - DAILY
# For small images, but slow to build.
DEEP = {"resnet44", "resnet56", "resnet110", "resnet164_preact"}
