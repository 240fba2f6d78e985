"""FractalNet's block: columns of convolutions of different depths, joined by their mean."""

from collections.abc import Sequence

from keras import KerasTensor, layers

from kblocks import check
from kblocks.conv import conv_norm_act
from kblocks.naming import scope
from kblocks.style import RELU_BN, Style

__all__ = ["fractal_block", "join"]

SHARPNESS = 30.0
"""Factor of the kept before the softmax of `join`: the weight of a dropped tensor is exp(−30) of that of a kept one."""


def __dir__() -> list[str]:
    return __all__


def fractal_block(
    x: KerasTensor,
    filters: int,
    *,
    columns: int = 3,
    stride: int = 1,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`f_1 = conv`, `f_(c+1)(x) = join(conv(x), f_c(f_c(x)))`, with `act(norm(conv3×3(x)))` for each `conv`.

    Column `c` has `2^(columns − c)` convolutions in sequence, and wherever some columns end at the same depth, one join
    is the input of what follows in all of them.

    Args:
        columns: number of columns, 1 for a single convolution.
        stride: stride of the first convolution of each column.
        dropout: dropout rate of whole channels after each convolution.
        drop_path: drop-path rate of the inputs of each join, see `join`.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: a size is not a positive integer, or a rate is not at least 0 and below 1.

    Source: Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016,
    arXiv 1605.07648, Figure 1 and equation 1.

    >>> from keras import Input
    >>> fractal_block(Input((32, 32, 3)), 64, columns=3).shape
    (None, 32, 32, 64)
    """
    check.rank(x, 4)
    check.positive(columns, "columns")
    check.fraction(dropout, "dropout")
    check.fraction(drop_path, "drop_path")
    part = scope(name, "fractal_block")
    rows = 2 ** (columns - 1)
    inputs = [x] * columns
    for row in range(1, rows + 1):
        found = []
        for column in range(columns):
            # From the left, the columns have 1, 2, 4, … convolutions.
            span = rows >> column
            if row % span == 0:
                y = conv_norm_act(
                    inputs[column],
                    filters,
                    3,
                    stride=stride if row == span else 1,
                    style=style,
                    name=part(f"column{column + 1}_conv{row // span}"),
                )
                if dropout:
                    y = layers.SpatialDropout2D(dropout, name=part(f"column{column + 1}_dropout{row // span}"))(y)
                found.append(y)
        y = join(found, drop_path=drop_path, name=part("out" if row == rows else f"join{row}"))
        # Those that end here are the last ones, the deepest.
        inputs[columns - len(found) :] = [y] * len(found)
    return y


def join(tensors: Sequence[KerasTensor], *, drop_path: float = 0.0, name: str | None = None) -> KerasTensor:
    """`mean(tensors)`; in training the mean of those that are kept, drawn for each image.

    Each tensor is dropped with the same probability; if all would be, none is. This is the paper's local drop-path. Its
    global drop-path, a single column in the whole network, is not included: it needs one draw for all joins.

    Args:
        tensors: of equal shapes `(batch, …)`.
        drop_path: the probability that a tensor is dropped.

    Returns:
        A tensor of their shape; a single tensor unchanged.

    Raises:
        ValueError: the list is empty, the shapes differ, or `drop_path` is not at least 0 and below 1.

    Source: Larsson, Maire and Shakhnarovich, "FractalNet", 2016, arXiv 1605.07648, section 4.1.

    >>> from keras import Input
    >>> join([Input((8, 8, 4)), Input((8, 8, 4))], drop_path=0.15).shape
    (None, 8, 8, 4)
    """
    check.joinable(tensors, "tensors")
    check.fraction(drop_path, "drop_path")
    part = scope(name, "fractal_join")
    if len(tensors) == 1:
        return layers.Identity(name=name)(tensors[0])
    if not drop_path:
        return layers.Average(name=name)(tensors)
    count = len(tensors)
    # A softmax over `SHARPNESS · kept` is 1 / n for each of n kept tensors, and equal for all if none is kept. The ones
    # are integers, which pass no gradient on, of one value of each image.
    kept = layers.Flatten(name=part("flat"))(tensors[0])
    kept = layers.Reshape((-1, 1), name=part("values"))(kept)
    kept = layers.AveragePooling1D(1, strides=2**30, name=part("first"))(kept)
    kept = layers.Reshape((1,), name=part("value"))(kept)
    kept = layers.Rescaling(0.0, offset=1.0, dtype="int16", name=part("one"))(kept)
    kept = layers.Rescaling(SHARPNESS, name=part("scale"))(kept)
    kept = layers.RepeatVector(count, name=part("ones"))(kept)
    kept = layers.Dropout(drop_path, name=part("kept"))(kept)
    shares = layers.Softmax(axis=1, name=part("shares"))(kept)
    found = []
    for i, tensor in enumerate(tensors, 1):
        share = layers.Cropping1D((i - 1, count - i), name=part(f"share{i}"))(shares)
        share = layers.Reshape((1,) * (len(tensor.shape) - 1), name=part(f"factor{i}"))(share)
        found.append(layers.Multiply(name=part(f"times{i}"))([tensor, share]))
    return layers.Add(name=name if name else part("out"))(found)
