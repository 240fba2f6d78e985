"""What the flags describe: a network, its data, its optimiser and its engine."""

from dataclasses import dataclass
from typing import Any

import keras

import architectures
from benchmarks import data, engines, peers, records, tasks
from benchmarks.cli import models
from benchmarks.cli.options import Name, Options, pair
from benchmarks.measure import environment
from benchmarks.tasks import recipes
from benchmarks.terminal import quiet
from benchmarks.terminal.errors import UsageError
from kblocks.graph import Profile, fold, profile


@dataclass(frozen=True, kw_only=True)
class Job:
    """A network with what is needed to train and to time it.

    Attributes:
        options: the flags that it was made from.
        network: the name of the architecture, or what `--model` gave.
        dataset: name of the data set, as records have it.
        source: where the data comes from, as records have it.
        optimizer_name: see `recipes.optimizer`, as are the next two.
        optimizer_arguments: besides the learning rate.
        learning_rate: its peak.
    """

    options: Options
    network: str
    dataset: str
    source: str
    model: keras.Model
    task: tasks.Task
    engine: engines.Engine
    profile: Profile
    recipe: recipes.Recipe
    batch_size: int
    augment: bool
    optimizer_name: str
    optimizer_arguments: dict[str, Any]
    learning_rate: float

    def record(self, script: str) -> dict[str, Any]:
        """The fields that the records of all commands share."""
        options = self.options
        trains = options.mode == "training"
        return {
            "version": records.VERSION,
            "script": script,
            "arch": self.network,
            "model_hash": options.model and models.fingerprint(options.model),
            "overrides": list(options.overrides),
            "input_shapes": [list(x.shape[1:]) for x in self.model.inputs],
            "dataset": self.dataset,
            "data": self.source,
            "examples": self.task.count,
            "input": options.input,
            "mode": options.mode,
            "peer": options.peer,
            "batch_size": self.batch_size,
            "augment": self.augment,
            "backend": keras.backend.backend(),
            "dtype_policy": options.dtype_policy,
            "jit": self.engine.jit,
            "optimizer": self.optimizer_name if trains else None,
            "optimizer_arguments": self.optimizer_arguments if trains else None,
            "learning_rate": self.learning_rate if trains else None,
            "seed": options.seed,
            "params": self.profile.params,
            "trainable_params": self.profile.trainable_params,
            "macs": self.profile.macs,
            "environment": environment.collect(),
        }


def create(options: Options, *, arch: str, dataset: str, steps: int | None = None, epochs: int | None = None) -> Job:
    """Loads the data, builds the network and its engine.

    Args:
        options: the flags.
        arch: the architecture if the flags name no network.
        dataset: the data set if the flags name none.
        steps: number of steps of the run; `None` if `epochs` is given.
        epochs: number of epochs of the run; `None` if `steps` is given.

    Raises:
        UsageError: the flags contradict each other, or the data or the network can't be had.
    """
    network, dataset = options.network or arch, options.dataset or dataset
    if options.model is None:
        try:
            architectures.variant(network)
        except ValueError as error:
            raise UsageError(f"--arch: {error}") from None
    if options.peer is not None:
        peers.check_network(options.peer, network, options.mode)
    keras.config.set_dtype_policy(options.dtype_policy)
    with quiet.start_up():  # Keras seeds TensorFlow too if it is installed, and imports it for that.
        keras.utils.set_random_seed(options.seed)
    recipe = recipes.recipe(architectures.family(network) if options.model is None else None)
    batch_size = options.batch_size or recipe.batch_size
    if options.augment and not engines.find(options.input).augments:
        raise UsageError(f"--input={options.input} does not augment: leave out --augment")
    if dataset == "synthetic":
        name = source = "synthetic"
        model = _peer(options, models.create(options, network, options.input_shape, options.classes))
        task: tasks.Task = tasks.Synthetic(model, batch_size=batch_size, seed=options.seed)
        augment = False
    else:
        images = _load(options, dataset)
        name, source = images.name, images.source
        model = _peer(options, models.create(options, network, images.image_shape, images.classes))
        augment = options.augment if options.augment is not None else _augments(options, recipe, images, model)
        task = tasks.for_model(model, images, augment=augment)
    optimizer_name = options.optimizer or recipe.optimizer
    arguments = dict(recipe.arguments) if options.optimizer is None else {}
    arguments |= dict(_argument(text) for text in options.optimizer_arguments)
    learning_rate = recipe.learning_rate if options.learning_rate is None else options.learning_rate
    if steps is None:
        assert epochs is not None
        steps = epochs * max(1, task.count // batch_size)
    optimizer = recipes.optimizer(optimizer_name, learning_rate, arguments, steps=steps, warmup=recipe.warmup)
    plan = engines.Plan(
        batch_size=batch_size, seed=options.seed, input=options.input, mode=options.mode, jit=options.jit
    )
    return Job(
        options=options,
        network=network,
        dataset=name,
        source=source,
        model=model,
        task=task,
        engine=_engine(options, model, optimizer, task, plan),
        profile=profile(model),
        recipe=recipe,
        batch_size=batch_size,
        augment=augment,
        optimizer_name=optimizer_name,
        optimizer_arguments=arguments,
        learning_rate=learning_rate,
    )


def _load(options: Options, dataset: str) -> data.Dataset:
    """The images that the flags ask for; if they ask for none, generated digits are a fallback."""
    if options.data is None and options.dataset is None:
        return data.load_or_generate(dataset, options.data_dir)
    return data.load(dataset, options.data, options.data_dir)


def _augments(options: Options, recipe: recipes.Recipe, images: data.Dataset, model: keras.Model) -> bool:
    """Whether images are augmented if the flags don't say."""
    is_possible = engines.find(options.input).augments and options.mode == "training"
    return recipe.augment and is_possible and images.image_shape[0] >= 32 and len(model.inputs) == 1


def _argument(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` of an argument of the optimiser."""
    key, value = pair(text, "optimizer_argument")
    if isinstance(value, Name):
        raise UsageError(f"--optimizer_argument={text}: {str(value)!r} is no Python literal")
    return key, value


def _peer(options: Options, model: keras.Model) -> keras.Model:
    """The network of keras.applications that the peer's name stands for, or our folded one; else the model itself."""
    if options.peer == peers.FOLDED:
        return fold(model)
    if options.peer is None or not options.peer.startswith(peers.KERAS_APPLICATIONS):
        return model
    from benchmarks.peers import keras_applications

    return keras_applications.application(options.peer.removeprefix(peers.KERAS_APPLICATIONS), model)


def _engine(
    options: Options,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    task: tasks.Task,
    plan: engines.Plan,
) -> engines.Engine:
    """The engine for our network or the one of keras.applications; or for the peer's in PyTorch."""
    needed = None if options.peer is None else peers.find(options.peer).backend
    if options.peer is None or needed is None:
        return engines.create(model, optimizer, task, plan)
    if keras.backend.backend() != needed:
        raise UsageError(f"--peer={options.peer} needs KERAS_BACKEND={needed}; got {keras.backend.backend()}")
    from benchmarks.peers.plain_torch import PlainTorchEngine

    return PlainTorchEngine(model, optimizer, task, plan, network=options.peer)
