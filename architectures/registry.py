"""All families, and the functions that look up and build their networks."""

import difflib
import fnmatch
import os
from collections.abc import Collection, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import keras
from keras import KerasTensor

import kblocks as kb
from architectures import (
    airbench,
    alexnet,
    allcnn,
    autoencoder,
    convmixer,
    convnext,
    deeplab,
    densenet,
    dla,
    dpn,
    efficientnet,
    fpn,
    fractalnet,
    ghostnet,
    googlenet,
    highway,
    inception,
    inception_resnet,
    lenet,
    mlp,
    mlp_mixer,
    mnasnet,
    mnist_cnn,
    mobilenet,
    mobilenet_v2,
    mobilenet_v3,
    multi_input,
    nasnet,
    nin,
    pyramidnet,
    regnet,
    repvgg,
    resnet,
    resnet9,
    rir,
    ror,
    shared_dense,
    shufflenet,
    shufflenet_v2,
    siamese,
    squeezenet,
    triplet,
    unet,
    vgg,
    vit,
    xception,
)
from architectures.common.family import Family, Shape, Variant, shapes
from architectures.common.overrides import override
from architectures.common.tower import tower as make_tower
from architectures.weights import from_torch, loading, porting
from architectures.weights.preprocessing import in_row
from kblocks import check
from kblocks.contracts import Block
from kblocks.naming import resolve

FAMILIES: tuple[Family, ...] = (
    mlp.FAMILY,
    multi_input.FAMILY,
    shared_dense.FAMILY,
    lenet.FAMILY,
    mnist_cnn.FAMILY,
    alexnet.FAMILY,
    nin.FAMILY,
    allcnn.FAMILY,
    highway.FAMILY,
    resnet.FAMILY,
    resnet9.FAMILY,
    airbench.FAMILY,
    googlenet.FAMILY,
    vgg.FAMILY,
    inception.FAMILY,
    inception_resnet.FAMILY,
    xception.FAMILY,
    squeezenet.FAMILY,
    mobilenet.FAMILY,
    mobilenet_v2.FAMILY,
    mobilenet_v3.FAMILY,
    shufflenet.FAMILY,
    shufflenet_v2.FAMILY,
    mnasnet.FAMILY,
    ghostnet.FAMILY,
    densenet.FAMILY,
    pyramidnet.FAMILY,
    ror.FAMILY,
    rir.FAMILY,
    fractalnet.FAMILY,
    repvgg.FAMILY,
    regnet.FAMILY,
    dla.FAMILY,
    dpn.FAMILY,
    nasnet.FAMILY,
    efficientnet.FAMILY,
    convnext.FAMILY,
    vit.FAMILY,
    mlp_mixer.FAMILY,
    convmixer.FAMILY,
    siamese.FAMILY,
    triplet.FAMILY,
    unet.FAMILY,
    fpn.FAMILY,
    deeplab.FAMILY,
    autoencoder.FAMILY,
)

# Up to this size, that of CIFAR, an image that a network reduces to 1×1 is taken for a mistake.
SMALL = 32

# How to keep more of a small image, by the field of the spec that decides it.
REMEDIES = {
    "stem": "use `stem=kblocks.stem.mnist` at 28×28 or `stem=kblocks.stem.cifar` at 32×32, before pre-activation units "
    "`stem=kblocks.stem.bare`, or pass `stem=` explicitly to allow 1×1",
    "pools": "use fewer `pools=`, or pass `pools=` explicitly to allow 1×1",
    "stages": "use fewer `stages=`, or pass `stages=` explicitly to allow 1×1",
}


def _index(families: Sequence[Family]) -> dict[str, Family]:
    """The family of each row.

    Raises:
        ValueError: two rows have the same name.
    """
    index: dict[str, Family] = {}
    for each in families:
        for name in each.variants:
            if name in index:
                raise ValueError(f"names must be unique; {name!r} is in {index[name].name} and in {each.name}")
            index[name] = each
    return index


_FAMILY_OF = _index(FAMILIES)


def names(pattern: str = "*") -> list[str]:
    """The names of all architectures that match a shell pattern, family by family.

    Raises:
        TypeError: the pattern is not a string.

    >>> names("resnet*_v1_5")
    ['resnet50_v1_5']
    """
    if not isinstance(pattern, str):
        raise TypeError(f"`pattern` must be a shell pattern; got {pattern!r}")
    return [name for name in _FAMILY_OF if fnmatch.fnmatchcase(name, pattern)]


def closest(name: str) -> str:
    """The names most similar to `name`, as a phrase for errors; empty if there are none."""
    close = difflib.get_close_matches(name, _FAMILY_OF, n=3)
    return f"the closest are {', '.join(close)}" if close else ""


def family(arch: str) -> str:
    """The name of an architecture's family.

    Raises:
        ValueError: `arch` is unknown; the error lists the closest names.

    >>> family("resnet20")
    'resnet'
    """
    return _family_of(arch).name


def variant(arch: str) -> Variant:
    """The row of an architecture in its family's table.

    Raises:
        ValueError: `arch` is unknown; the error lists the closest names.

    >>> variant("resnet20").params
    269722
    """
    return _family_of(arch).variants[arch]


def create(
    arch: str,
    /,
    *,
    input_shape: Shape | tuple[Shape, ...] | None = None,
    classes: int | None = None,
    pooling: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    preprocessing: bool | None = None,
    name: str | None = None,
    **overrides: Any,
) -> keras.Model:
    """Builds a network.

    Args:
        arch: the name of an architecture, see `names`.
        input_shape: without the batch axis, a tuple of shapes for several inputs; `None` for the architecture's own.
        classes: number of logits, of a network for segmentation those of each pixel, of an autoencoder the channels of
            its images; 0 for the features without a head; `None` for the architecture's own.
        pooling: pooling of the features, `"avg"`, `"max"` or `"flatten"`; `None` for the family's default, and with
            `classes=0` for none.
        weights: pretrained weights. `"imagenet"` for those of keras.applications, which Keras downloads; or a file: a
            `.weights.h5` of exactly this network; a `.keras` of this network, perhaps with another head, or of a model
            that it is nested in; an `.h5` of keras.applications. Layers of the head that the file lacks, or has for
            another number of classes, keep their initial weights. (A `.weights.h5` holds no strides, so those are not
            compared.)
        preprocessing: whether the network contains the preprocessing of its pretrained weights and takes images of 0 to
            255; `None` for `True` with weights of keras.applications, and for what the network in the file does. A
            Rescaling or Normalization in front of the network in a `.keras` file is kept, whatever its numbers; other
            layers there are refused, unless `preprocessing=False`. Without preprocessing the network takes what
            the `preprocess_input` of keras.applications returns, or for EfficientNet, ConvNeXt and MobileNetV3 the
            first layers there.
        name: the model's name; `None` for `arch`.
        **overrides: fields of the spec, such as `stem=`, `style=`, `dropout=`.

    Returns:
        A functional model of stock Keras layers.

    Raises:
        ValueError: `arch` is unknown, an argument is out of range, or the input is too small for the network: images of
            up to 32×32 must not be reduced to 1×1 unless `stem=` or `pools=` is given; or the weights are of another
            network, or in a damaged file.
        TypeError: an override is not a field of the spec, or an argument has the wrong type.
        FileNotFoundError: the file `weights` does not exist.

    >>> create("lenet5").count_params()
    61706
    """
    found, row = _family_of(arch), variant(arch)
    if name == "":
        raise ValueError("`name` must not be empty; got ''")
    name = resolve(arch if name is None else name, "")
    sizes = row.input_shapes if input_shape is None else shapes(input_shape)
    if len(sizes) != len(row.input_shapes):
        raise ValueError(f"`input_shape` must give {len(row.input_shapes)} input(s) for {arch}; got {input_shape!r}")
    classes = row.classes if classes is None else classes
    if not isinstance(classes, Integral) or isinstance(classes, bool) or classes < 0:
        raise ValueError(f"`classes` must be an integer of at least 0; got {classes!r}")
    if pooling not in (None, "avg", "max", "flatten"):
        raise ValueError(f"`pooling` must be 'avg', 'max', 'flatten' or None; got {pooling!r}")
    if preprocessing not in (None, True, False):
        raise TypeError(f"`preprocessing` must be True, False or None; got {preprocessing!r}")
    if weights is not None:
        loading.check(arch, row, weights)
    saved = weights is not None and str(weights).endswith(".keras")
    if preprocessing is None and weights is not None and not saved:
        preprocessing = row.preprocessing is not None and loading.has_layer(arch, row, weights)
    if preprocessing and not saved:
        loading.check_preprocessing(arch, row)
    spec = override(arch, row.spec, overrides)
    several = len(sizes) > 1

    def build(prepare: loading.Preparation) -> keras.Model:
        inputs = [keras.Input(shape, name=f"input{i}" if several else "input") for i, shape in enumerate(sizes, 1)]
        try:
            images = [prepare(x) for x in inputs] if prepare else inputs
            features = found.backbone(images if several else images[0], spec, name="")
            if found.downsampling not in (None, *overrides) and not _is_meant(found, row, spec, sizes, features):
                _check_reduction(sizes[0], features, spec, found.downsampling)
            head: Any = partial(found.head, image=images[0]) if found.per_pixel else found.head
            outputs = head(features, spec, int(classes), pooling)
            return keras.Model(inputs if several else inputs[0], outputs, name=name)
        except ValueError as error:
            raise ValueError(f"{arch} can't be built for inputs of {_text(sizes)}: {error}") from error

    if saved:
        return loading.from_model(arch, row, weights, preprocessing, build)
    model = build(in_row(row.preprocessing) if preprocessing else None)
    if weights is not None:
        loading.load(model, arch, row, weights, found.keras_names)
    return model


def tower(arch: str, /, *, pooling: str = "avg", **overrides: Any) -> Block:
    """A network without its head, as a block that computes one vector for each image.

        create("siamese_lenet", tower=tower("resnet56"), joint_norm=True, input_shape=((32, 32, 3),) * 2)

    Args:
        arch: the name of an architecture of one image, see `names`.
        pooling: pooling of the features where they are not vectors: `"avg"`, `"max"` or `"flatten"`.
        **overrides: fields of its spec, as in `create`.

    Returns:
        A function `(x, *, name) -> tensor`, from `(batch, height, width, channels)` to `(batch, features)`.

    Raises:
        ValueError: `arch` is unknown or has several inputs, or `pooling` is not one of the three.
        TypeError: an override is not a field of the spec, or has the wrong type.

    >>> tower("resnet20")(keras.Input((32, 32, 3)), name="tower").shape
    (None, 64)
    """
    found = _family_of(arch)
    check.choice(pooling, ("avg", "max", "flatten"), "pooling")
    if len(found.variants[arch].input_shapes) > 1:
        raise ValueError(f"`arch` must be an architecture of one image; got {arch!r}")
    return make_tower(found, arch, pooling, **overrides)


def port_from_keras(
    model: keras.Model, keras_model: keras.Model, *, arch: str | None = None, skip: Collection[str] = ()
) -> None:
    """Copies the weights of a network of keras.applications into ours of the same architecture, layer by layer.

    Where theirs has a bias before a normalisation and ours has none, the bias goes into the moving mean. The outputs
    are then equal: built with `preprocessing=True` for images of 0 to 255, else for what the `preprocess_input` of
    theirs returns, or for EfficientNet, ConvNeXt and MobileNetV3 the first layers of theirs.

    Args:
        model: ours.
        keras_model: theirs, with its head, with none, or with one of your own, which is left out: layers with vectors
            for inputs behind all that are copied. It may also be a model that theirs is nested in.
        arch: the architecture of `model`; `None` if that is the model's name.
        skip: names of our layers that keep their weights, such as `logits` if the head is another.

    Raises:
        TypeError: an argument is not a model, or `skip` is a string.
        ValueError: `arch` is not in keras.applications; a layer of ours has no counterpart, or one of another shape or
            stride; a layer of theirs, the head aside, has no counterpart in ours; or `keras_model` has layers with
            weights in front of theirs, or two such networks. No weights are changed then.
    """
    found = _family_of_model(model, arch)
    check.model(keras_model, "keras_model")
    if found.keras_names is None:
        raise ValueError(f"`arch` must be of a family in keras.applications; got one of {found.name}")
    porting.port(model, keras_model, found.keras_names, skip=skip)


def port_from_torch(
    model: keras.Model,
    weights: from_torch.Weights,
    source: str = "torchvision",
    *,
    arch: str | None = None,
    skip: Collection[str] = (),
) -> None:
    """Copies the weights of a network of torchvision or timm into ours of the same architecture, layer by layer.

    The outputs are then equal in inference, for the same images, channels last here, if the model is built with padding
    and epsilon of that network; they are no part of the weights:

    - ResNet-18, ResNet-34, `resnet50_v1_5`, VGG, DenseNet and ConvNeXt as they are; ResNet-50 to 152 with
      `unit=kblocks.residual.bottleneck`, which has the stride in the 3×3 convolution.
    - ConvNeXt V2, ViT, DeiT, MLP-Mixer and ConvMixer of timm as they are.
    - MobileNetV2 with `style=replace(kblocks.style.RELU6_BN, padding="symmetric")`, EfficientNet with
      `style=replace(kblocks.style.SWISH_BN, padding="symmetric")`; `replace` is that of `dataclasses`.
    - EfficientNet-B5 to B7 and version 2 of torchvision have the epsilon of ours: with
      `style=replace(architectures.efficientnet.STYLE, padding="symmetric")`.
    - EfficientNet of timm, version 1 and 2, as it is if the name there begins with `tf_`.

    A bias before a normalisation goes into the moving mean. VGG's dense layers fit only images of 224×224.

    Args:
        model: ours, with its head or without.
        weights: a state dict of the network, of tensors or arrays, or the path of a `.safetensors` file.
        source: `"torchvision"` or `"timm"`.
        arch: the architecture of `model`; `None` if that is the model's name.
        skip: names of our layers that keep their weights, such as `logits` if the classes differ.

    Raises:
        TypeError: `model` is not a model, `weights` neither a mapping of arrays nor a path, or `skip` is a string.
        ValueError: the family has no such map; a layer of ours has no counterpart, or one of another shape; weights,
            those of the head aside, have no counterpart in ours; or padding, epsilon, strides or preprocessing of ours
            are others. No weights are changed then.
        FileNotFoundError: the file does not exist.
        ImportError: a `.safetensors` file is given, and the package safetensors is not installed.

    >>> import numpy as np
    >>> model = create("vgg_tiny", depths=(1,), widths=(4,), pools=1, classes=0)
    >>> port_from_torch(model, {"features.0.weight": np.ones((4, 3, 3, 3)), "features.0.bias": np.ones(4)})
    """
    found = _family_of_model(model, arch)
    from_torch.port(model, weights, found, model.name if arch is None else arch, source, skip=skip)


def _family_of_model(model: keras.Model, arch: str | None) -> Family:
    check.model(model, "model")
    if arch is None and model.name not in _FAMILY_OF:
        raise ValueError(f"`arch` must be given, as the model's name is not an architecture; got {model.name!r}")
    return _family_of(model.name if arch is None else arch)


def _family_of(arch: str) -> Family:
    if not isinstance(arch, str) or arch not in _FAMILY_OF:
        hint = closest(str(arch)) or "python -m architectures lists all"
        raise ValueError(f"`arch` must be the name of an architecture; got {arch!r} ({hint})")
    return _FAMILY_OF[arch]


def _is_meant(
    family: Family, row: Variant, spec: Any, sizes: tuple[Shape, ...], features: KerasTensor | list[KerasTensor]
) -> bool:
    """Whether the features are larger than 1×1, or the row itself reduces images of its own size to 1×1."""
    if isinstance(features, list) or features.shape[1:-1] != (1, 1):
        return True
    if sizes == row.input_shapes and spec == row.spec:
        return True
    own: KerasTensor = family.backbone(keras.Input(row.input_shapes[0]), row.spec, name="")
    return bool(own.shape[1:-1] == (1, 1))


def _check_reduction(shape: Shape, features: KerasTensor | list[KerasTensor], spec: Any, field: str) -> None:
    """Raise if a small image is reduced to 1×1."""
    if isinstance(features, list) or features.shape[1:-1] != (1, 1):
        return
    if 1 < max(size or 0 for size in shape[:2]) <= SMALL:
        small = getattr(spec, field) in (kb.stem.mnist, kb.stem.cifar, kb.stem.bare)
        remedy = f"pass `{field}=` explicitly to allow it" if small else REMEDIES[field]
        raise ValueError(f"the features would be 1×1 ({remedy})")


def _text(several: Sequence[Shape]) -> str:
    return " and ".join("×".join("any" if n is None else str(n) for n in shape) for shape in several)
