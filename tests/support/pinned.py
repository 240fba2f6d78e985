"""The order and shapes of each row's weights, pinned: weight files pair weights by order, so a reordered branch would
silently permute them.

    python -m tests.support.pinned [PATTERN]

from the repository's root adds new rows to `weights.json`, and writes those anew that match the pattern, which may be
done only if their files may break.
"""

import hashlib
import json
import sys
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
    pinned, again = read(), set(architectures.names(sys.argv[1])) if sys.argv[1:] else set()
    found = {
        arch: digest(architectures.create(arch)) if arch in again or arch not in pinned else pinned[arch]
        for arch in architectures.names()
    }
    PATH.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
