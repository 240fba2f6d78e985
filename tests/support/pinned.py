"""What is known of each row by building it.

The order and shapes of each row's weights, pinned: weight files pair weights by order, so a reordered branch would
silently permute them.

    python -m tests.support.pinned [PATTERN]

from the repository's root adds new rows to `weights.json`, and writes those anew that match the pattern, which may be
done only if their files may break.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import keras

import architectures
from architectures import facts

PATH = Path(__file__).with_name("weights.json")


def digest(model: keras.Model) -> str:
    """The number of weights, and a hash of the ordered list of their names and shapes."""
    text = "\n".join(f"{weight.path} {tuple(weight.shape)}" for weight in model.weights)
    return f"{len(model.weights)} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def read() -> dict[str, str]:
    """The pinned digest of each row."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def write(path: Path, known: dict, again: set[str], make: Callable[[str], object]) -> None:
    """Makes what is missing or to be made again; the file is complete after each, so that it can be interrupted."""
    found = {arch: known[arch] for arch in architectures.names() if arch in known and arch not in again}
    for arch in architectures.names():
        if arch not in found:
            found[arch] = make(arch)
            ordered = {name: found[name] for name in architectures.names() if name in found}
            lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in ordered.items())
            path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
            keras.backend.clear_session(free_memory=False)


if __name__ == "__main__":
    chosen = set(architectures.names(sys.argv[1])) if sys.argv[1:] else set()
    write(PATH, read(), chosen, lambda arch: digest(architectures.create(arch)))
    # Networks of one family often take the same sizes.
    guesses = {architectures.family(arch): known["smallest"] for arch, known in facts.read().items()}

    def measure(arch: str) -> dict:
        made = facts.measure(arch, guesses.get(architectures.family(arch)))
        guesses[architectures.family(arch)] = made["smallest"]
        return made

    write(facts.PATH, facts.read(), chosen, measure)
