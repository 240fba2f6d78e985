"""Siamese networks: one tower sees two images, and a logit says whether they show the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures import lenet, resnet
from architectures.variant import Variant, classify
from kblocks.contracts import Block, Merge
from kblocks.naming import scope
from kblocks.pool import global_pool
from kblocks.tower import abs_difference


@dataclass(frozen=True, kw_only=True)
class Siamese:
    """What can be turned.

    Attributes:
        tower: a function `(x, *, name) -> tensor`, as `partial(resnet.backbone, spec=…)`; features with positions are
            averaged over them.
        merge: a function `(tensors, *, name) -> tensor` of the two vectors.
        joint_norm: whether both images pass through the tower in one batch, so that a batch normalisation sees both.
    """

    tower: Block
    merge: Merge = abs_difference
    joint_norm: bool = False


_PAIR = {"input_shape": ((28, 28, 1), (28, 28, 1)), "classes": 1}
_SOURCE = "Koch, Zemel and Salakhutdinov 2015, Siamese Neural Networks for One-shot Image Recognition, Figure 3"


def _tower(family, row: str) -> Block:
    return partial(family.backbone, spec=family.VARIANTS[row].spec)


VARIANTS = {
    "siamese_lenet": Variant(
        Siamese(tower=_tower(lenet, "lenet")), **_PAIR, params=577_409, macs=8_524_288,
        source=_SOURCE, departures="the tower is the LeNet of the MNIST tutorials"),
    "siamese_resnet20": Variant(
        Siamese(tower=_tower(resnet, "resnet20"), joint_norm=True), **_PAIR, params=268_849, macs=61_641_280,
        source=_SOURCE, departures="the tower is ResNet-20"),
    "siamese_tiny": Variant(
        Siamese(tower=_tower(lenet, "lenet_tiny")), **_PAIR, params=2_993, macs=221_712, source="for tests"),
}  # fmt: skip


def backbone(inputs: Sequence[KerasTensor], spec: Siamese, *, name: str | None = None) -> KerasTensor:
    """The merged vectors of the two images.

    Args:
        inputs: two images of one shape, `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        What `spec.merge` makes of two vectors `(batch, features)`.

    Raises:
        ValueError: not two inputs, inputs of different shapes, or too small for the tower.
    """
    part = scope(name, "siamese")

    def vector(x: KerasTensor, *, name: str) -> KerasTensor:
        return global_pool(spec.tower(x, name=name), name=f"{name}_pool")

    tower = kb.tower.as_model(vector, inputs[0].shape[1:], name=part("tower"))
    return kb.tower.siamese(inputs, tower, merge=spec.merge, joint_norm=spec.joint_norm, name=part("pair"))


def build(spec: Siamese, inputs: Sequence[KerasTensor], classes: int, pooling: str | None) -> KerasTensor:
    """Backbone and head."""
    return classify(backbone(inputs, spec, name=""), classes, pooling)
