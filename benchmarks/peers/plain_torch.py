"""The peers in PyTorch: the same networks and the same steps, written by hand in PyTorch, or timm's networks.

No code of Keras runs in a step. The data lies on the device as uint8, as in the resident engines; images are channels
last.
"""

import math
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.engines.base import Engine, Plan
from benchmarks.peers import TIMM, TORCH_NETWORKS, check_network
from benchmarks.tasks import Classification, Synthetic, Task
from benchmarks.tasks.images import PAD
from benchmarks.terminal.errors import UsageError, closest
from kblocks.graph import profile

Size = tuple[int, int]
"""Height and width."""


def mlp(channels: int, size: Size, classes: int) -> nn.Module:
    """The 784–64–10 network."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * math.prod(size), 64), nn.ReLU(), nn.Linear(64, classes))


def lenet(channels: int, size: Size, classes: int) -> nn.Module:
    """LeNet, 32–64–512."""
    positions = math.prod(((side - 4) // 2 - 4) // 2 for side in size)
    return nn.Sequential(
        nn.Conv2d(channels, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * positions, 512), nn.ReLU(), nn.Linear(512, classes),
    )  # fmt: skip


class Unit(nn.Module):  # type: ignore[misc]  # PyTorch is not typed here
    """A basic residual unit with the shortcut without parameters."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.stride, self.more = stride, after - before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))`."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)), inplace=True)))
        if self.more:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu(y + x, inplace=True)


def resnet20(channels: int, size: Size, classes: int) -> nn.Module:
    """ResNet-20 with option A shortcuts."""
    units, width = [], 16
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range(3):
            units.append(Unit(width, filters, stride if i == 0 else 1))
            width = filters
    stem = (nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    return nn.Sequential(*stem, *units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


NETWORKS: dict[str, Callable[[int, Size, int], nn.Module]] = dict(
    zip(TORCH_NETWORKS, (mlp, lenet, resnet20), strict=True)
)
PRECISIONS = {"float32": None, "mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}


class PlainTorchEngine(Engine):
    """Runs the peer of a model; of the model itself only the parameters are counted.

    Args:
        network: `"torch"` for one of `NETWORKS`, `"timm:NAME"` for one of timm's.
    """

    def __init__(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task, plan: Plan, *, network: str
    ) -> None:
        if not isinstance(task, Classification | Synthetic) or len(model.inputs) > 1 or len(model.outputs) > 1:
            raise UsageError(f"--peer={network} classifies single images; {model.name} does not")
        if plan.input != "resident":
            raise UsageError(f"--peer={network} takes --input=resident; got {plan.input}")
        policy = keras.config.dtype_policy().name
        if policy not in PRECISIONS:
            raise UsageError(f"--peer={network} takes --dtype_policy {', '.join(PRECISIONS)}; got {policy}")
        super().__init__(model, optimizer, task, plan)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.jit = self._device.type == "cuda" if plan.jit == "auto" else plan.jit == "on"
        torch.manual_seed(plan.seed)
        torch.backends.cudnn.benchmark = True  # as usual where speed matters
        shape, classes = model.input_shape[1:], model.output_shape[-1]
        *size, channels = (28, 28, 1) if len(shape) == 1 else shape
        size = tuple(size)
        made = make(network, model.name, channels, size, classes)
        count, expected = sum(p.numel() for p in made.parameters()), profile(model).trainable_params
        if count != expected:
            raise UsageError(
                f"--peer={network} has {count:,} trainable parameters and {model.name} {expected:,}: no comparison"
            )
        self._network = made.to(self._device, memory_format=torch.channels_last).train(plan.trains)
        if plan.trains:
            self._torch_optimizer = torch_optimizer(optimizer, self._network)
        self._autocast = partial(torch.autocast, self._device.type, PRECISIONS[policy], enabled=policy != "float32")
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=policy == "mixed_float16")
        self._augment = isinstance(task, Classification) and task.randoms > 0
        self._size = size
        if isinstance(task, Classification):
            images, labels, (mean, std) = task.train["images"], task.train["labels"], task.statistics
        else:  # random numbers, normalised to between -1 and 1; of a network of vectors they are vectors
            images, labels, mean = task.train["x0"], task.train["y"], np.full(channels, 0.5, "float32")
            std = mean
        images = images.reshape(len(images), *size, channels) if images.ndim == 2 else images
        self._images = torch.from_numpy(images).to(self._device)
        self._labels = torch.from_numpy(labels.reshape(len(images))).long().to(self._device)
        self._scale = torch.tensor([1 / (255 * s) for s in std], device=self._device)
        self._shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=self._device)
        self._done = 0
        self._loss = torch.compile(self._compute_loss) if self.jit else self._compute_loss
        self._step = self._train_step if plan.trains else self._infer_step

    def run(self, steps: int) -> float:
        """Runs `steps` steps; returns their mean loss when the device is done."""
        total = torch.zeros((), device=self._device)
        for _ in range(steps):
            at = self._done % self.steps_per_epoch
            if at == 0:
                self._shuffle()
            total += self._step(self._order[at])
            self._done += 1
        return float(total) / steps

    def _compile(self) -> None:
        # One step of the peer's remains: nothing of it is saved.
        self._shuffle()
        float(self._step(self._order[0]))

    def _shuffle(self) -> None:
        order = torch.randperm(self._task.count, device=self._device)[: self.steps_per_epoch * self.batch_size]
        self._order = order.view(-1, self.batch_size)

    def _train_step(self, rows: torch.Tensor) -> torch.Tensor:
        self._torch_optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self._loss(self._images[rows], self._labels[rows])
        self._scaler.scale(loss).backward()
        self._scaler.step(self._torch_optimizer)
        self._scaler.update()
        return loss.detach()

    def _infer_step(self, rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), self._autocast():
            return self._loss(self._images[rows], self._labels[rows])

    def _compute_loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self._augment:
            images = self._crop_and_flip(images)
        x = (images.float() * self._scale - self._shift).permute(0, 3, 1, 2)
        return F.cross_entropy(self._network(x), labels)

    def _crop_and_flip(self, images: torch.Tensor) -> torch.Tensor:
        """A random window of each framed image, mirrored with probability one half."""
        n, (rows, columns) = len(images), (torch.arange(side, device=self._device) for side in self._size)
        top, left = torch.randint(2 * PAD + 1, (2, n, 1), device=self._device)
        across = torch.where(torch.rand(n, 1, device=self._device) < 0.5, columns, columns.flip(0)) + left
        return images[torch.arange(n, device=self._device)[:, None, None], (top + rows)[:, :, None], across[:, None, :]]


def make(network: str, arch: str, channels: int, size: Size, classes: int) -> nn.Module:
    """The network that a peer's name stands for.

    Raises:
        UsageError: there is none.
    """
    if network == "torch":
        check_network(network, arch, "training")
        return NETWORKS[arch](channels, size, classes)
    name = network.removeprefix(TIMM)
    try:
        import timm
    except ImportError as error:
        raise UsageError(f"--peer={network} needs the package timm ({error}): pip install timm") from None
    if name not in timm.list_models():
        raise UsageError(f"--peer={network}: timm has no model {name}{closest(name, timm.list_models())}")
    return timm.create_model(name, in_chans=channels, num_classes=classes)


# What PyTorch's optimisers of these names do alike, besides their rate.
HONOURED = {
    "sgd": {"momentum", "nesterov", "weight_decay"},
    "adam": {"beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay"},
    "adamw": {"beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay"},
}
RATE = 1e-3


def torch_optimizer(optimizer: keras.optimizers.Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's optimiser of the same name and arguments, but at a constant rate: it does not change a step's time.

    As in Keras, weight decay is decoupled: `w ← w − rate · decay · w` before each step, and no term of the gradient.

    Raises:
        UsageError: PyTorch has no such optimiser, or none that takes all of its arguments.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    name, config = type(optimizer).__name__.lower(), optimizer.get_config()
    if name not in HONOURED:
        raise UsageError(f"--peer takes the optimisers sgd, adam and adamw; got {name}")
    usual = type(optimizer)().get_config()
    given = {key for key in usual if config[key] != usual[key]} - {"name", "learning_rate"} - HONOURED[name]
    if given:
        raise UsageError(
            f"--peer can't take --optimizer_argument {', '.join(sorted(given))}: PyTorch's {name} has no such"
        )
    weights, decay = list(network.parameters()), config["weight_decay"] or 0.0
    if name != "sgd":
        betas = config["beta_1"], config["beta_2"]
        return torch.optim.AdamW(weights, RATE, betas, config["epsilon"], decay, amsgrad=config["amsgrad"])
    momentum = config["momentum"]
    made = torch.optim.SGD(weights, RATE, momentum, nesterov=config["nesterov"] and momentum > 0)
    if decay:
        made.register_step_pre_hook(lambda *_: _shrink(weights, 1 - RATE * decay))
    return made


def _shrink(weights: list[nn.Parameter], factor: float) -> None:
    """Multiplies all weights at once, as PyTorch's own optimisers do."""
    with torch.no_grad():
        torch._foreach_mul_(weights, factor)
