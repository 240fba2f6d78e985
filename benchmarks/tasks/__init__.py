"""What a network is trained to do: its inputs, loss and score; and the recipe to train it."""

from keras import Model

from benchmarks.data import Dataset
from benchmarks.tasks.base import Arrays, Task
from benchmarks.tasks.classification import Classification
from benchmarks.tasks.pairs import Pairs
from benchmarks.tasks.synthetic import Synthetic
from benchmarks.terminal.errors import UsageError

__all__ = ["Arrays", "Classification", "Pairs", "Synthetic", "Task", "for_model"]


def for_model(model: Model, dataset: Dataset, *, augment: bool) -> Task:
    """The task that a model's inputs ask for: pairs for two images, classification for one.

    Raises:
        UsageError: the model takes something else than images of the data set's shape.
    """
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    if any(shape != dataset.image_shape for shape in shapes) or len(shapes) > 2:
        raise UsageError(
            f"{model.name} takes inputs of {' and '.join(map(str, shapes))}, not images of {dataset.image_shape}; "
            "--dataset=synthetic fits any network"
        )
    if len(shapes) == 1:
        return Classification(dataset, augment=augment)
    if augment:
        raise UsageError("--augment is for classification; pairs are drawn as they are")
    return Pairs(dataset)
