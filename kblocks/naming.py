"""Names of layers: `stage2_unit1_conv1`, `stage2_unit1_out`.

The `name` of a block is a prefix, to which its layers append `_part`. Without a name a block takes a new prefix
(`bottleneck_3`); with the empty name `""`, which a whole model passes to its parts, there is no prefix (`stem_conv`).
"""

from collections.abc import Callable

import keras

__all__ = ["resolve", "scope"]


def __dir__() -> list[str]:
    return __all__


def scope(name: str | None, default: str) -> Callable[[str], str]:
    """`scope(name, default)(part)` is `name_part`: the names of the layers of one block.

    Args:
        name: the prefix; `None` for a new one, `""` for none.
        default: start of a new prefix; not the name of a Keras layer or op, whose counters it would share.

    Returns:
        A function from a part's name to the layer's full name.

    Raises:
        TypeError: `name` is not a string.
        ValueError: `name` holds a `/`, which Keras refuses.

    >>> scope("stage2_unit1", "bottleneck")("conv1")
    'stage2_unit1_conv1'
    >>> scope("", "resnet")("stem")
    'stem'
    """
    prefix = resolve(name, default)
    return lambda part: f"{prefix}_{part}" if prefix else part


def resolve(name: str | None, default: str) -> str:
    """`name`, or if it is `None` a new name `default_1`, `default_2`, …; for functions that add a single layer.

    Args:
        name: the layer's name or `None`.
        default: start of a new name.

    Returns:
        The name.

    Raises:
        TypeError: `name` is not a string.
        ValueError: `name` holds a `/`, which Keras refuses.

    >>> resolve("stem_conv", "conv2d")
    'stem_conv'
    """
    if name is None:
        return f"{default}_{keras.backend.get_uid(default)}"
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string or None; got {name!r}")
    if "/" in name:
        raise ValueError(f"`name` must not contain '/'; got {name!r} (join parts with '_')")
    return name
