"""Triplet networks: one tower for an anchor, a positive and a negative, and the distances from the anchor."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from keras import KerasTensor, layers

import kblocks as kb
from architectures import lenet, mnist_cnn, resnet
from architectures.common.family import Family, Variant
from architectures.common.tower import tower
from kblocks import check
from kblocks.contracts import Block, Merge
from kblocks.naming import scope
from kblocks.pool import global_pool
from kblocks.tower import euclidean


@dataclass(frozen=True, kw_only=True)
class Triplet:
    """Configuration.

    Attributes:
        tower: the features of an image, such as `architectures.tower("resnet20")`; followed by a global average pooling
            if they are not vectors.
        units: length of the embedding, the output of a dense layer; 0 for the features themselves.
        unit_norm: whether embeddings are divided by their norm.
        distance: a merge of two embeddings with output `(batch, 1)`.
        joint_norm: whether the images pass through the tower as one batch, with common statistics of a batch
            normalisation.
    """

    tower: Block
    units: int = 128
    unit_norm: bool = True
    distance: Merge = euclidean
    joint_norm: bool = False


_three = partial(Variant, input_shape=((28, 28, 1),) * 3, classes=2)
_SOURCE = "Schroff et al. 2015, arXiv 1503.03832, section 3: embeddings of length 128 and norm 1"
_DISTANCE = "the tower is {}; distances are not squared"

VARIANTS = {
    "triplet_lenet": _three(
        Triplet(tower=tower(lenet.FAMILY, "lenet")), params=642_560, macs=12_982_784,
        source=_SOURCE, departures=_DISTANCE.format("the LeNet of the MNIST tutorials")),
    "triplet_mnist_cnn": _three(
        Triplet(tower=tower(mnist_cnn.FAMILY, "mnist_cnn")), params=223_744, macs=7_889_792,
        source=_SOURCE, departures=_DISTANCE.format("the convnet of the MNIST tutorials")),
    "triplet_resnet20": _three(
        Triplet(tower=tower(resnet.FAMILY, "resnet20"), joint_norm=True), params=277_104, macs=92_486_912,
        source=_SOURCE, departures=_DISTANCE.format("ResNet-20")),
    "triplet_tiny": _three(
        Triplet(tower=tower(lenet.FAMILY, "lenet_tiny"), units=8), params=3_112, macs=332_960, source="for tests"),
}  # fmt: skip


def backbone(inputs: Sequence[KerasTensor], spec: Triplet, *, name: str | None = None) -> list[KerasTensor]:
    """The embeddings of the three images.

    Args:
        inputs: the anchor, the positive and the negative, images of one shape, `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        Three vectors, `(batch, spec.units)`.

    Raises:
        ValueError: not three inputs, inputs of different shapes, or too small for the tower.
    """
    check.tensors(inputs, "inputs", 3)
    part = scope(name, "triplet")

    def embedding(x: KerasTensor, *, name: str | None) -> KerasTensor:
        x = global_pool(spec.tower(x, name=name), name=f"{name}_pool")
        if spec.units:
            x = layers.Dense(int(spec.units), name=f"{name}_embedding")(x)
        return layers.UnitNormalization(name=f"{name}_unit_norm")(x) if spec.unit_norm else x

    model = kb.tower.as_model(embedding, inputs[0].shape[1:], name=part("tower"))
    return kb.tower.embed(inputs, model, joint_norm=spec.joint_norm, name=part("joined"))


def head(
    features: list[KerasTensor], spec: Triplet, classes: int, pooling: str | None, /
) -> KerasTensor | list[KerasTensor]:
    """The distances of the positive and of the negative from the anchor, or with no classes the embeddings."""
    if pooling is not None:
        raise ValueError(f"`pooling` must be None where the features are vectors already; got {pooling!r}")
    if not classes:
        return features
    if classes != 2:
        raise ValueError(f"`classes` must be 2, for two distances, or 0, for the embeddings; got {classes}")
    return kb.tower.triplet_distances(features, distance=spec.distance, name="distances")


FAMILY = Family("triplet", VARIANTS, backbone, head)
