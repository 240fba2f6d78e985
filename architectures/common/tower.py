"""A network without its head, as a block: the tower of networks with several images."""

from typing import Any

from keras import KerasTensor

from architectures.common.family import Family
from architectures.common.overrides import override
from kblocks.contracts import Block
from kblocks.pool import global_pool


def tower(family: Family, arch: str, pooling: str = "avg", **overrides: Any) -> Block:
    """A block that computes one vector for each image, see `architectures.tower`."""
    spec = override(arch, family.variants[arch].spec, overrides)

    def vector(x: KerasTensor, *, name: str | None) -> KerasTensor:
        return global_pool(family.backbone(x, spec, name=name), pooling, name=f"{name}_pool")

    return vector
