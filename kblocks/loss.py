"""Losses that Keras does not have, on every backend: for `model.compile`, or as functions of two tensors.

Each function here takes the settings and returns the loss, `(y_true, y_pred) -> values`, one value for each example:

    model.compile("adam", loss=kb.loss.focal(gamma=2.0))
    values = kb.loss.focal(gamma=2.0)(labels, logits)

The values are float32 (float64 if `y_pred` is), whatever the dtype policy. Losses of pairs and triplets within a batch
leave out examples that have no partner there; the values of the others are scaled, so that the mean of all is theirs.

A compiled model is saved with the name of its loss alone. `keras.saving.load_model` then takes `compile=False`, or
`custom_objects={"focal": kb.loss.focal(gamma=2.0)}`.
"""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from keras import backend, ops

from kblocks import check

__all__ = [
    "Loss",
    "contrastive",
    "focal",
    "label_smoothed_crossentropy",
    "nt_xent",
    "prototypical",
    "triplet",
    "triplet_margin",
]


def __dir__() -> list[str]:
    return __all__


Tensor = Any
Loss = Callable[[Tensor, Tensor], Tensor]
"""`(y_true, y_pred) -> values`."""

# Stands for infinity where a zero times infinity would be NaN.
LARGE = 1e30


def contrastive(*, margin: float = 1.0) -> Loss:
    """`½ y d² + ½ (1 − y) max(margin − d, 0)²`.

    Args:
        margin: distance beyond which two different examples cost nothing.

    Returns:
        A loss of `y`, `(batch,)` or `(batch, 1)`, 1 for two examples of one class and 0 for others, and the distances
        `d`, of one of these shapes, as `kblocks.tower.euclidean` returns them. Its values are `(batch,)`.

    Raises:
        ValueError: `margin` is not a positive number; in the loss, a shape is another.

    Source: Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", 2006, equation 4,
    where `y` is 0 for two examples of one class.

    >>> [round(float(value), 3) for value in contrastive(margin=1.0)([1, 0, 0], [[0.5], [0.2], [3.0]])]
    [0.125, 0.32, 0.0]
    """
    check.positive_number(margin, "margin")

    def contrastive(y_true: Tensor, y_pred: Tensor) -> Tensor:
        distance = _column(_floats(y_pred), "y_pred")
        same = ops.cast(_column(ops.convert_to_tensor(y_true), "y_true"), distance.dtype)
        near, far = ops.square(distance), ops.square(ops.relu(margin - distance))
        return 0.5 * (same * near + (1 - same) * far)

    return contrastive


def triplet(*, margin: float | None = 0.2) -> Loss:
    """`max(d(anchor, positive) − d(anchor, negative) + margin, 0)`.

    Args:
        margin: what the second distance must exceed the first by; `None` for the soft margin, `log(1 + exp(·))`.

    Returns:
        A loss of the two distances, `(batch, 2)`, as `kblocks.tower.triplet` returns them; `y_true` is not read. Its
        values are `(batch,)`.

    Raises:
        ValueError: `margin` is not a positive number; in the loss, `y_pred` has another shape.

    Source: Schroff, Kalenichenko and Philbin, "FaceNet", 2015, arXiv 1503.03832, equation 3, there of squared
    distances; the soft margin after Hermans, Beyer and Leibe, "In Defense of the Triplet Loss", 2017, arXiv 1703.07737,
    section 2.

    >>> [round(float(value), 3) for value in triplet(margin=0.2)([0, 0], [[0.5, 0.6], [0.5, 2.0]])]
    [0.1, 0.0]
    """
    _check_margin(margin)

    def triplet(y_true: Tensor, y_pred: Tensor) -> Tensor:
        distances = _floats(y_pred)
        if len(distances.shape) != 2 or distances.shape[-1] != 2:
            raise ValueError(f"`y_pred` must have shape (batch, 2); got {tuple(distances.shape)}")
        return _hinge(distances[:, 0] - distances[:, 1], margin)

    return triplet


def triplet_margin(*, margin: float | None = 0.2, mining: str = "batch_hard", squared: bool = False) -> Loss:
    """`max(d(a, p) − d(a, n) + margin, 0)` of triplets of a batch: `p` has the label of `a`, `n` another.

    Args:
        margin: what the second distance must exceed the first by; `None` for the soft margin, `log(1 + exp(·))`.
        mining: `"batch_hard"`: for each example `a` its farthest `p` and its closest `n`. `"batch_all"`: all triplets
            whose loss is not zero; needs memory for `batch³` numbers.
        squared: whether `d` is the squared Euclidean distance.

    Returns:
        A loss of labels, `(batch,)` or `(batch, 1)`, and embeddings, `(batch, features)`, which the network normalises
        if they are to be (`keras.layers.UnitNormalization`). Its values are `(batch,)`; their mean is the mean of the
        triplets.

    Raises:
        ValueError: `margin` is not a positive number, or `mining` is neither; in the loss, a shape is another.

    Source: Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, arXiv
    1703.07737, equations 5 and 6, "BA≠0" and "BH".

    >>> loss = triplet_margin(margin=1.0)
    >>> [round(float(value), 3) for value in loss([0, 0, 1], [[0.0], [1.0], [3.0]])]
    [0.0, 0.0, 0.0]
    """
    _check_margin(margin)
    check.choice(mining, ("batch_hard", "batch_all"), "mining")

    def triplet_margin(y_true: Tensor, y_pred: Tensor) -> Tensor:
        x = _floats(y_pred)
        check.rank(x, 2, "y_pred")
        distance = _squared_distances(x, x)
        if not squared:
            distance = _root(distance)
        same = _equal(_column(ops.convert_to_tensor(y_true), "y_true"))
        positive = ops.logical_and(same, ops.logical_not(_diagonal(same)))
        negative = ops.logical_not(same)
        if mining == "batch_hard":
            farthest = ops.max(ops.where(positive, distance, 0.0), axis=1)
            closest = ops.min(ops.where(negative, distance, LARGE), axis=1)
            counted = ops.logical_and(ops.any(positive, axis=1), ops.any(negative, axis=1))
            values = ops.where(counted, _hinge(farthest - closest, margin), 0.0)
            return _scaled(values, ops.sum(ops.cast(counted, x.dtype)))
        losses = _hinge(distance[:, :, None] - distance[:, None, :], margin)
        losses = ops.where(ops.logical_and(positive[:, :, None], negative[:, None, :]), losses, 0.0)
        return _scaled(ops.sum(losses, axis=(1, 2)), ops.sum(ops.cast(losses > 0, x.dtype)))

    return triplet_margin


def nt_xent(*, temperature: float = 0.5) -> Loss:
    """`−log(exp(cos(z, p) / temperature) / Σ exp(cos(z, k) / temperature))`, for a positive `p`; `k` is not `z`.

    Args:
        temperature: divides the cosines.

    Returns:
        A loss of labels, `(batch,)` or `(batch, 1)`, and embeddings, `(batch, features)` or several views of each
        example, `(batch, views, features)`. The positives of an embedding are the others of its label; with one label
        for each example these are its other views. Its values are `(batch,)`, the means over positives and views.

    Raises:
        ValueError: `temperature` is not a positive number; in the loss, a shape is another.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, arXiv
    2002.05709, equation 1. With the labels of classes it is the loss of Khosla et al., "Supervised Contrastive
    Learning", 2020, arXiv 2004.11362, equation 2.

    >>> views = [[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]
    >>> [round(float(value), 3) for value in nt_xent(temperature=1.0)([0, 1], views)]
    [0.551, 0.551]
    """
    check.positive_number(temperature, "temperature")

    def nt_xent(y_true: Tensor, y_pred: Tensor) -> Tensor:
        x = _floats(y_pred)
        if len(x.shape) not in (2, 3) or None in x.shape[1:]:
            raise ValueError(
                "`y_pred` must have shape (batch, features) or (batch, views, features), both known; "
                f"got {tuple(x.shape)}"
            )
        labels = _column(ops.convert_to_tensor(y_true), "y_true")
        views = x.shape[1] if len(x.shape) == 3 else 1
        x = ops.reshape(x, (-1, x.shape[-1]))
        x = x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)
        same = _equal(ops.repeat(labels, views, axis=0))
        diagonal = _diagonal(same)
        similarity = ops.matmul(x, ops.transpose(x)) / temperature
        log_share = ops.log_softmax(ops.where(diagonal, -LARGE, similarity), axis=1)
        positive = ops.cast(ops.logical_and(same, ops.logical_not(diagonal)), x.dtype)
        count = ops.sum(positive, axis=1)
        # Not a sum of products: those of -LARGE on the diagonal would leave nothing of the others.
        total = ops.sum(ops.where(positive > 0, log_share, 0.0), axis=1)
        values = _scaled(-total / ops.maximum(count, 1.0), ops.sum(ops.cast(count > 0, x.dtype)))
        return ops.mean(ops.reshape(values, (-1, views)), axis=1)

    return nt_xent


def prototypical(*, shots: int = 1) -> Loss:
    """`−log softmax(−|z − c|²)` of the right class: `c` is the mean of a class's first embeddings, its prototype.

    Args:
        shots: number of examples of each class in a batch that make its prototype, the first ones; the others are
            classified.

    Returns:
        A loss of labels, `(batch,)` or `(batch, 1)`, and embeddings, `(batch, features)`. The classes are those in the
        batch, of which each should have more than `shots` examples. Its values are `(batch,)`, zero for the first
        `shots` of a class.

    Raises:
        ValueError: `shots` is not a positive integer; in the loss, a shape is another.

    Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv 1703.05175, equation 2
    and Algorithm 1.

    >>> loss = prototypical(shots=1)
    >>> [round(float(value), 3) for value in loss([0, 1, 0], [[0.0], [1.0], [0.5]])]
    [0.0, 0.0, 2.079]
    """
    check.positive(shots, "shots")

    def prototypical(y_true: Tensor, y_pred: Tensor) -> Tensor:
        x = _floats(y_pred)
        check.rank(x, 2, "y_pred")
        same = ops.cast(_equal(_column(ops.convert_to_tensor(y_true), "y_true")), x.dtype)
        # How many of its class stand before each example.
        before = ops.sum(ops.tril(same, -1), axis=1)
        support = ops.cast(before < shots, x.dtype)
        weights = same * support[None]
        # The prototype of each example's class; the classes are the columns of their first examples.
        prototypes = ops.matmul(weights / ops.sum(weights, axis=1, keepdims=True), x)
        first = before[None] == 0
        scores = ops.where(first, -_squared_distances(x, prototypes), -LARGE)
        right = ops.sum(ops.where(first, same * ops.log_softmax(scores, axis=1), 0.0), axis=1)
        query = 1 - support
        return _scaled(-right * query, ops.sum(query))

    return prototypical


def focal(*, gamma: float = 2.0, alpha: Sequence[float] | None = None) -> Loss:
    """`−α (1 − p)^gamma log p`, where `p` is the probability of the right class.

    Args:
        gamma: 0 for the cross-entropy; the higher, the less examples count that are classified well.
        alpha: a weight for each class; of a single logit those of 0 and 1, such as the paper's `(0.75, 0.25)`.

    Returns:
        A loss of labels and logits, `(batch, …, classes)`. Labels are integers, `(batch, …)` or `(batch, …, 1)`, or
        probabilities of the shape of the logits; of a single logit 0 or 1, or the probability of 1. Its values are
        `(batch, …)`.

    Raises:
        TypeError: `alpha` is not a sequence.
        ValueError: `gamma` is not a number of at least 0; in the loss, a shape is another, or `alpha` has another
            number of weights.

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, arXiv 1708.02002, equation 5.

    >>> [round(float(value), 3) for value in focal(gamma=2.0)([0, 1], [[0.0, 0.0], [0.0, 3.0]])]
    [0.173, 0.0]
    """
    if isinstance(gamma, bool) or not isinstance(gamma, Real) or not 0 <= float(gamma) < float("inf"):
        raise ValueError(f"`gamma` must be a number of at least 0; got {gamma!r}")
    if alpha is not None and (not isinstance(alpha, Sequence) or isinstance(alpha, str)):
        raise TypeError(f"`alpha` must hold a weight for each class; got {alpha!r}")

    def focal(y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets, log_p = _targets_and_logs(y_true, y_pred)
        if alpha is not None:
            if len(alpha) != log_p.shape[-1]:
                raise ValueError(
                    f"`alpha` must hold a weight for each of {log_p.shape[-1]} classes; got {len(alpha)} weights"
                )
            targets = targets * ops.convert_to_tensor(list(alpha), dtype=log_p.dtype)
        # The slope of a power below 1 is infinite at zero.
        rest = ops.maximum(1 - ops.exp(log_p), 1e-7)
        return -ops.sum(targets * ops.power(rest, gamma) * log_p, axis=-1)

    return focal


def label_smoothed_crossentropy(*, rate: float = 0.1) -> Loss:
    """`−Σ ((1 − rate) y + rate / classes) log p`.

    Args:
        rate: fraction of the probability that is spread over all classes.

    Returns:
        A loss of labels and logits; both, and its values, as for `focal`. (`keras.losses.CategoricalCrossentropy` has
        `label_smoothing=`, but takes no integers.)

    Raises:
        ValueError: `rate` is not at least 0 and below 1; in the loss, a shape is another.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    section 7.

    >>> [round(float(value), 3) for value in label_smoothed_crossentropy(rate=0.1)([0], [[2.0, 0.0]])]
    [0.227]
    """
    check.fraction(rate, "rate")

    def label_smoothed_crossentropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets, log_p = _targets_and_logs(y_true, y_pred)
        return -ops.sum(((1 - rate) * targets + rate / log_p.shape[-1]) * log_p, axis=-1)

    return label_smoothed_crossentropy


def _check_margin(margin: float | None) -> None:
    if margin is not None:
        check.positive_number(margin, "margin")


def _floats(y: Tensor) -> Tensor:
    y = ops.convert_to_tensor(y)
    return ops.cast(y, backend.result_type(backend.standardize_dtype(y.dtype), "float32"))


def _column(y: Tensor, argument: str) -> Tensor:
    """`(batch,)` of a tensor that has this shape or `(batch, 1)`."""
    if len(y.shape) not in (1, 2) or (len(y.shape) == 2 and y.shape[1] != 1):
        raise ValueError(f"`{argument}` must have shape (batch,) or (batch, 1); got {tuple(y.shape)}")
    return ops.reshape(y, (-1,))


def _equal(labels: Tensor) -> Tensor:
    """`(batch, batch)`, whether two examples have one label."""
    return labels[:, None] == labels[None]


def _diagonal(pairs: Tensor) -> Tensor:
    """`(batch, batch)`, whether two examples are the same one."""
    place = ops.cumsum(ops.ones_like(pairs[0], dtype="int32"))
    return place[:, None] == place[None]


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """`|a_i − b_j|²`, at least 0."""
    # Of vectors far from zero the difference of the large squares would be inexact.
    centre = ops.mean(a, axis=0, keepdims=True)
    a, b = a - centre, b - centre
    squares = ops.sum(ops.square(a), axis=1)[:, None] + ops.sum(ops.square(b), axis=1)[None]
    return ops.relu(squares - 2 * ops.matmul(a, ops.transpose(b)))


def _root(x: Tensor) -> Tensor:
    """The square root, with a gradient of 0 at 0, where it is infinite."""
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1.0)), 0.0)


def _hinge(x: Tensor, margin: float | None) -> Tensor:
    return ops.softplus(x) if margin is None else ops.relu(x + margin)


def _scaled(values: Tensor, counted: Tensor) -> Tensor:
    """Values with the mean `sum(values) / counted`; zeros if none is counted."""
    size = ops.sum(ops.ones_like(values))
    return values * (size / ops.maximum(counted, 1.0))


def _targets_and_logs(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities that are wanted, and logarithms of those that the logits stand for, both `(batch, …, classes)`."""
    logits, y_true = _floats(y_pred), ops.convert_to_tensor(y_true)
    rank, classes = len(logits.shape), logits.shape[-1] if len(logits.shape) else None
    if rank < 2 or classes is None:
        raise ValueError(f"`y_pred` must have shape (batch, …, classes); got {tuple(logits.shape)}")
    if len(y_true.shape) not in (rank - 1, rank) or (
        len(y_true.shape) == rank and y_true.shape[-1] not in (1, classes, None)
    ):
        raise ValueError(
            f"`y_true` must have shape (batch, …), (batch, …, 1) or that of `y_pred`; got {tuple(y_true.shape)} for "
            f"{tuple(logits.shape)}"
        )
    if classes == 1:
        # A logit is that of 1 beside a logit of 0 for 0.
        logits = ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
        one = ops.cast(y_true if len(y_true.shape) == rank else y_true[..., None], logits.dtype)
        targets = ops.concatenate([1 - one, one], axis=-1)
    elif len(y_true.shape) == rank and y_true.shape[-1] == classes:
        targets = ops.cast(y_true, logits.dtype)
    else:
        labels = y_true[..., 0] if len(y_true.shape) == rank else y_true
        targets = ops.one_hot(ops.cast(labels, "int32"), classes, dtype=logits.dtype)
    return targets, ops.log_softmax(logits, axis=-1)
