"""Siamese networks: one tower for two images, and a logit for whether they show the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures import lenet, mnist_cnn, resnet
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from architectures.common.tower import tower
from kblocks.contracts import Block, Merge
from kblocks.naming import scope
from kblocks.pool import global_pool
from kblocks.tower import abs_difference


@dataclass(frozen=True, kw_only=True)
class Siamese:
    """Configuration.

    Attributes:
        tower: the features of an image, such as `architectures.tower("resnet20")`; followed by a global average pooling
            if they are not vectors.
        merge: makes one vector of the two.
        joint_norm: whether both images pass through the tower as one batch, with common statistics of a batch
            normalisation.
    """

    tower: Block
    merge: Merge = abs_difference
    joint_norm: bool = False


_pair = partial(Variant, input_shape=((28, 28, 1), (28, 28, 1)), classes=1)
_SOURCE = "Koch, Zemel and Salakhutdinov 2015, Siamese Neural Networks for One-shot Image Recognition, Figure 3"


VARIANTS = {
    "siamese_lenet": _pair(
        Siamese(tower=tower(lenet.FAMILY, "lenet")), params=577_409, macs=8_524_288,
        source=_SOURCE, departures="the tower is the LeNet of the MNIST tutorials"),
    "siamese_mnist_cnn": _pair(
        Siamese(tower=tower(mnist_cnn.FAMILY, "mnist_cnn")), params=20_417, macs=4_851_520,
        source=_SOURCE, departures="the tower is the convnet of the MNIST tutorials"),
    "siamese_resnet20": _pair(
        Siamese(tower=tower(resnet.FAMILY, "resnet20"), joint_norm=True), params=268_849, macs=61_641_280,
        source=_SOURCE, departures="the tower is ResNet-20"),
    "siamese_tiny": _pair(
        Siamese(tower=tower(lenet.FAMILY, "lenet_tiny")), params=2_993, macs=221_712, source="for tests"),
}  # fmt: skip


def backbone(inputs: Sequence[KerasTensor], spec: Siamese, *, name: str | None = None) -> KerasTensor:
    """The merged vectors of the two images.

    Args:
        inputs: two images of one shape, `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        The output of `spec.merge` for two vectors `(batch, features)`.

    Raises:
        ValueError: not two inputs, inputs of different shapes, or too small for the tower.
    """
    part = scope(name, "siamese")

    def vector(x: KerasTensor, *, name: str | None) -> KerasTensor:
        return global_pool(spec.tower(x, name=name), name=f"{name}_pool")

    model = kb.tower.as_model(vector, inputs[0].shape[1:], name=part("tower"))
    return kb.tower.siamese(inputs, model, merge=spec.merge, joint_norm=spec.joint_norm, name=part("pair"))


FAMILY = Family("siamese", VARIANTS, backbone, head=partial(classify, style=kb.PLAIN))
