"""Makes the table of docs/export.md: `python -m docs.export` from the checkout, with tf2onnx, onnxruntime and
ai-edge-litert installed."""

import tempfile
from pathlib import Path

import numpy as np

import architectures
from docs.page import fill
from tests.support.exports import FORMATS, difference, outputs, refusal
from tests.support.networks import TINY
from tests.support.weights import randomise

PAGE = Path(__file__).with_suffix(".md")


def main() -> None:
    rows = ["| family | network | " + " | ".join(FORMATS) + " |", "| --- | --- |" + " ---: |" * len(FORMATS)]
    for family, arch in sorted(TINY.items()):
        model = randomise(architectures.create(arch))
        rng = np.random.default_rng(0)
        x = [rng.normal(size=(2, *each.shape[1:])).astype("float32") for each in model.inputs]
        expected = outputs(model, x)
        cells = []
        for form, export in FORMATS.items():
            if (reason := refusal(model, form)) is not None:
                cells.append(f"not {reason}")
                continue
            with tempfile.TemporaryDirectory() as folder:
                cells.append(f"{difference(expected, export(model, x, folder)):.0e}")
        rows.append(f"| {family} | `{arch}` | {' | '.join(cells)} |")
        fill(PAGE, {"table": "\n".join(rows)})


if __name__ == "__main__":
    main()
