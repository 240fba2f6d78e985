"""Neural-network blocks as plain functions: tensors in, tensors out, stock Keras layers all through.

    import keras
    import kblocks as kb

    x = inputs = keras.Input((32, 32, 3))
    x = kb.stem.cifar(x, 16, name="stem")
    x = kb.compose.stage(x, kb.residual.basic, 32, 3, stride=2, name="stage1")
    model = keras.Model(inputs, kb.head.classifier(x, 10, name="head"))

Calling a function makes new weights; calling a model shares them. `kblocks.contracts` lists the forms of functions that
blocks take as arguments, and what the arguments `x`, `filters`, `style` and `name` mean everywhere.
"""

from kblocks import (
    attention,
    check,
    compose,
    contracts,
    conv,
    convnext,
    decoder,
    densenet,
    fractal,
    graph,
    head,
    inception,
    inception_resnet,
    loss,
    mixer,
    mlp,
    mobile,
    naming,
    nasnet,
    padding,
    pool,
    residual,
    rounding,
    squeezenet,
    stem,
    style,
    tower,
    transformer,
)
from kblocks.style import GELU_BN, GELU_LN, PLAIN, RELU, RELU6_BN, RELU_BN, SWISH_BN, TANH, Style

__all__ = [
    "GELU_BN",
    "GELU_LN",
    "PLAIN",
    "RELU",
    "RELU6_BN",
    "RELU_BN",
    "SWISH_BN",
    "TANH",
    "Style",
    "attention",
    "check",
    "compose",
    "contracts",
    "conv",
    "convnext",
    "decoder",
    "densenet",
    "fractal",
    "graph",
    "head",
    "inception",
    "inception_resnet",
    "loss",
    "mixer",
    "mlp",
    "mobile",
    "naming",
    "nasnet",
    "padding",
    "pool",
    "residual",
    "rounding",
    "squeezenet",
    "stem",
    "style",
    "tower",
    "transformer",
]
