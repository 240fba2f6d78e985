"""Peers: networks and training loops of others that are measured in place of ours.

| peer | what runs | our side |
|---|---|---|
| `fit` | plain `model.fit` on our network | `--input=resident`, no augmentation |
| `torch`, `torch_compile` | the network written by hand in PyTorch, eager or compiled | `--input=resident` |
| `timm:NAME` | timm's network in PyTorch | `--input=resident` |
| `keras_applications:NAME` | the network of keras.applications on our engine | any but `fit` |
| `folded` | our network after `kblocks.graph.fold` | `--mode=inference`, any input but `fit` |

This module needs neither Keras nor PyTorch.
"""

from dataclasses import dataclass

from benchmarks.terminal.errors import UsageError, closest

KERAS_APPLICATIONS = "keras_applications:"
TIMM = "timm:"
FOLDED = "folded"
TORCH_NETWORKS = ("mlp_784_64_10", "lenet", "resnet20")
"""The architectures that `torch` has: the builders are in `plain_torch`."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What `benchmarks.versus` runs on the peer's side.

    Attributes:
        name: as `--peer` gives it.
        flags: of `benchmarks.throughput`, for the peer's side.
        backend: Keras's backend on the peer's side; `None` for the same as ours.
        network: the network in place of ours, one of `NETWORKS`; `None` for ours.
        inputs: values of `--input` that our side may have.
        augments: whether the peer can augment images.
    """

    name: str
    flags: tuple[str, ...]
    backend: str | None = None
    network: str | None = None
    inputs: tuple[str, ...] = ("resident",)
    augments: bool = True


VERSUS = ("fit", "torch", "torch_compile", f"{TIMM}NAME", f"{KERAS_APPLICATIONS}NAME", FOLDED)
"""What `--peer` of `benchmarks.versus` takes."""

NETWORKS = ("torch", f"{TIMM}NAME", f"{KERAS_APPLICATIONS}NAME", FOLDED)
"""What `--peer` of `benchmarks.throughput` takes: a network in place of ours."""


def find(name: str) -> Peer:
    """The peer of `benchmarks.versus` with a name.

    Raises:
        UsageError: there is no such peer.
    """
    if name == "fit":
        return Peer(name=name, flags=("--input=fit",), augments=False)
    if name in ("torch", "torch_compile"):
        jit = "on" if name == "torch_compile" else "off"
        return Peer(name=name, flags=("--peer=torch", f"--jit={jit}"), backend="torch", network="torch")
    if name.startswith(TIMM):
        return Peer(name=name, flags=(f"--peer={name}",), backend="torch", network=name)
    if name.startswith(KERAS_APPLICATIONS):
        return Peer(name=name, flags=(f"--peer={name}",), network=name, inputs=("resident", "stream"))
    if name == FOLDED:
        return Peer(name=name, flags=(f"--peer={name}",), network=name, inputs=("resident", "stream"))
    raise UsageError(f"--peer must be one of {', '.join(VERSUS)}; got {name!r}{closest(name, VERSUS)}")


def check_network(peer: str, arch: str, mode: str) -> None:
    """Raises a `UsageError` unless `peer`, one of `NETWORKS`, may stand in for the architecture in the mode."""
    if peer == FOLDED and mode != "inference":
        raise UsageError(f"--peer={FOLDED} needs --mode=inference: what is folded is not trained; got --mode={mode}")
    if peer.startswith((TIMM, KERAS_APPLICATIONS)) or peer == FOLDED:
        return
    if peer != "torch":
        raise UsageError(f"--peer must be one of {', '.join(NETWORKS)}; got {peer!r}{closest(peer, NETWORKS)}")
    if arch not in TORCH_NETWORKS:
        raise UsageError(f"--peer=torch has the networks {', '.join(TORCH_NETWORKS)}; got --arch={arch}")
