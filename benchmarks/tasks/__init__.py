"""What a network is trained on: its inputs, loss and score; and the recipe to train it."""

from keras import Model

from benchmarks.data import Dataset
from benchmarks.tasks.base import Arrays, Task
from benchmarks.tasks.classification import Classification
from benchmarks.tasks.crossentropy import outputs_are_logits
from benchmarks.tasks.pairs import Pairs
from benchmarks.tasks.synthetic import Synthetic
from benchmarks.terminal.errors import UsageError

__all__ = ["Arrays", "Classification", "Pairs", "Synthetic", "Task", "for_model"]


def for_model(model: Model, dataset: Dataset, *, augment: bool) -> Task:
    """The task for a model's inputs: classification of one image, or a pair of images.

    Args:
        model: its outputs are logits, or all of them probabilities.
        dataset: the images.
        augment: whether training images are cropped and flipped at random; for classification only.

    Returns:
        The task.

    Raises:
        UsageError: the model's inputs or outputs do not fit the data set.
    """
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    if any(shape != dataset.image_shape for shape in shapes) or len(shapes) > 2:
        raise UsageError(
            f"{model.name} takes inputs of {' and '.join(map(str, shapes))}, not images of {dataset.image_shape}; "
            "--dataset=synthetic fits any network"
        )
    from_logits = outputs_are_logits(model)
    if len(set(from_logits)) > 1:
        raise UsageError(f"the outputs of {model.name} must be all logits or all probabilities; got both")
    outputs = [tuple(y.shape) for y in model.outputs]
    if len(shapes) == 1:
        if any(len(shape) != 2 or shape[1] < dataset.classes for shape in outputs):
            raise UsageError(
                f"{model.name} must have an output for each of the {dataset.classes} classes; "
                f"got outputs of {' and '.join(map(str, outputs))}"
            )
        return Classification(dataset, augment=augment, from_logits=from_logits[0])
    if augment:
        raise UsageError("--augment is for classification: pairs are not augmented")
    if outputs[0][1:] != (1,):
        raise UsageError(f"{model.name} must have one output for a pair of images; got an output of {outputs[0]}")
    return Pairs(dataset, from_logits=from_logits[0])
