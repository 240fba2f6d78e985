"""Makes the tables and pictures of docs/graph.md: `python -m docs.graph` from the checkout, with Graphviz installed."""

from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

import architectures
import kblocks as kb
from benchmarks.data import glyphs
from docs.page import fill

PAGE = Path(__file__).with_suffix(".md")
PICTURES = Path(__file__).with_suffix("")


def main() -> None:
    keras.utils.set_random_seed(0)
    net = architectures.create("resnet20")
    tables = {
        "endpoints": endpoints(net),
        "profile": kb.graph.profile(net).to_markdown(by_stage=True),
        "memory": memory(net),
        "fold": fold(),
        "surgery": surgery(net),
    }
    fill(PAGE, tables)
    kb.graph.draw(net, PICTURES / "resnet20.svg", level="stages", direction="LR")
    kb.graph.draw(architectures.create("siamese_resnet20"), PICTURES / "siamese.svg")
    kb.graph.draw(architectures.create("googlenet_tiny"), PICTURES / "googlenet.svg", level="layers")
    kb.graph.draw(unet(), PICTURES / "unet.svg")
    gradcam()


def table(head: list[str], rows: list[list[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ruler, *rows))


def endpoints(net: keras.Model) -> str:
    shown = [
        each for each in kb.graph.endpoints(net) if each.name.endswith(("stem_out", "unit3_out", "pool", "logits"))
    ]
    rows = [
        [
            f"`{each.name}`",
            "×".join(map(str, each.shape[1:])),
            "" if each.stride is None else f"{each.stride}",
            "" if each.receptive_field is None else "×".join(map(str, each.receptive_field)),
        ]
        for each in shown
    ]
    return table(["some of them", "shape", "stride", "receptive field"], rows)


def memory(net: keras.Model) -> str:
    counts = kb.graph.profile(net)
    rows = []
    for batch_size in (1, 128):
        for dtype in ("float32", "bfloat16"):
            for training in (False, True):
                need = counts.memory(batch_size, dtype=dtype, training=training)
                parts = (need.weights, need.gradients, need.optimizer, need.activations, need.total)
                mode = "training" if training else "inference"
                rows.append([mode, str(batch_size), dtype, *(f"{part / 2**20:,.2f}" for part in parts)])
    return table(["", "batch", "activations", "weights, MiB", "gradients", "optimiser", "activations", "all"], rows)


def fold() -> str:
    rows = []
    for arch in ("resnet20", "resnet50", "mobilenet_v2", "efficientnet_b0", "densenet121", "inception_v3"):
        net = architectures.create(arch)
        folded = kb.graph.fold(net)
        counts = [sum(isinstance(x, keras.layers.BatchNormalization) for x in model.layers) for model in (net, folded)]
        sizes = [f"{len(model.layers)} → {len(folded.layers)}" for model in (net,)]
        rows.append([f"`{arch}`", *sizes, f"{counts[0]} → {counts[1]}"])
    return table(["network", "layers", "normalisations"], rows)


def surgery(net: keras.Model) -> str:
    changed = {
        "replace": kb.graph.replace(
            net, keras.layers.Activation, lambda old: keras.layers.Activation("silu", name=old.name)
        ),
        "insert_after": kb.graph.insert_after(
            net, "stage*_out", lambda old: keras.layers.Dropout(0.1, name=f"{old.name}_dropout")
        ),
        "replace_head": kb.graph.replace_head(net, classes=5),
        "freeze": kb.graph.freeze(net, upto="stage2_unit3_out"),
        "widen_input": kb.graph.widen_input(net, channels=1),
    }
    rows = []
    for name, model in {"the network": net, **changed}.items():
        counts = kb.graph.profile(model)
        shapes = ["×".join(map(str, x[1:])) for x in (model.input_shape, model.output_shape)]
        rows.append([name, *shapes, str(len(model.layers)), f"{counts.params:,}", f"{counts.trainable_params:,}"])
    return table(["", "input", "output", "layers", "parameters", "trainable"], rows)


def unet() -> keras.Model:
    net = architectures.create("resnet20", classes=0)
    x, *skips = kb.graph.features(net, strides=(4, 2, 1)).outputs
    for i, (skip, width) in enumerate(zip(skips, (32, 16), strict=True), 1):
        x = keras.layers.UpSampling2D(name=f"up{i}_size")(x)
        x = kb.compose.concat([x, skip], name=f"up{i}_concat")
        x = kb.conv.conv_norm_act(x, width, 3, name=f"up{i}_conv")
    return keras.Model(net.input, keras.layers.Conv2D(2, 1, name="mask")(x), name="unet")


def gradcam() -> None:
    x_train, y_train = glyphs.digits(6000, seed=0)
    x_test, y_test = glyphs.digits(8, seed=1)
    inputs = keras.Input((28, 28, 1))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for i, width in enumerate((16, 32), 1):
        x = kb.conv.conv_norm_act(x, width, 3, stride=2, name=f"conv{i}")
    x = kb.conv.conv_norm_act(x, 64, 3, name="conv3")
    model = keras.Model(inputs, kb.head.classifier(x, 10, name="head"))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x_train, y_train, batch_size=64, epochs=1, verbose=0)
    images = x_test.astype("float32")
    heat = kb.graph.gradcam(model, images)
    chosen = keras.ops.convert_to_numpy(model(images)).argmax(axis=1)
    heat = keras.ops.convert_to_numpy(keras.ops.image.resize(heat[..., None], (28, 28)))[..., 0]
    figure, axes = plt.subplots(1, len(images), figsize=(9, 1.5), layout="constrained")
    for axis, image, map_, label, guess in zip(axes, x_test, heat, y_test, chosen, strict=True):
        axis.imshow(image[..., 0], cmap="gray")
        axis.imshow(map_, cmap="magma", alpha=0.55, vmin=0, vmax=1)
        axis.set_title(f"{label}, taken for {guess}", fontsize=8)
        axis.axis("off")
    figure.savefig(PICTURES / "gradcam.png", dpi=110)
    assert np.isfinite(heat).all()


if __name__ == "__main__":
    main()
