"""The order and shapes of each row's weights, pinned: weight files pair weights by order, so a reordered branch would
silently permute them.

    python -m tests.support.pinned

from the repository's root writes `weights.json` anew. Do so for a new row; for an old one only if its files may break.
"""

import hashlib
import json
from pathlib import Path

import keras

import architectures

PATH = Path(__file__).with_name("weights.json")


def digest(model: keras.Model) -> str:
    """The number of weights, and a hash of the ordered list of their names and shapes."""
    text = "\n".join(f"{weight.path} {tuple(weight.shape)}" for weight in model.weights)
    return f"{len(model.weights)} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def read() -> dict[str, str]:
    """The pinned digest of each row."""
    return json.loads(PATH.read_text(encoding="utf-8"))


if __name__ == "__main__":
    pinned = {arch: digest(architectures.create(arch)) for arch in architectures.names()}
    PATH.write_text(json.dumps(pinned, indent=2) + "\n", encoding="utf-8")
