"""What a network is trained on: its inputs, loss and score; and the recipe to train it."""

from keras import Model

from benchmarks.data import Dataset
from benchmarks.tasks.base import Arrays, Task
from benchmarks.tasks.classification import Classification
from benchmarks.tasks.crossentropy import outputs_are_logits
from benchmarks.tasks.few_shot import few_shot_accuracy
from benchmarks.tasks.pairs import Pairs
from benchmarks.tasks.synthetic import Synthetic
from benchmarks.tasks.triplets import Triplets
from benchmarks.terminal.errors import UsageError

__all__ = ["Arrays", "Classification", "Pairs", "Synthetic", "Task", "Triplets", "few_shot_accuracy", "for_model"]


def for_model(model: Model, dataset: Dataset, *, augment: bool) -> Task:
    """The task for a model's inputs: classification of one image, a pair of images, or a triple.

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
    if any(shape != dataset.image_shape for shape in shapes) or len(shapes) > 3:
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
        raise UsageError("--augment is for classification: pairs and triples are not augmented")
    if len(shapes) == 3:
        vectors = len(outputs) == 3 and len(set(outputs)) == 1 and len(outputs[0]) == 2
        if not vectors and [shape[1:] for shape in outputs] != [(2,)]:
            raise UsageError(
                f"{model.name} must have three embeddings or two distances for a triple of images; "
                f"got outputs of {' and '.join(map(str, outputs))}"
            )
        return Triplets(dataset)
    if outputs[0][1:] != (1,):
        raise UsageError(f"{model.name} must have one output for a pair of images; got an output of {outputs[0]}")
    return Pairs(dataset, from_logits=from_logits[0])
