"""Models in formats of other runtimes: `FORMATS[name](model, inputs, folder)` is what they compute there."""

from pathlib import Path

import keras
import numpy as np

PACKAGES = {"SavedModel": ("tensorflow",), "ONNX": ("tf2onnx", "onnxruntime"), "LiteRT": ("ai_edge_litert",)}


def saved_model(model, inputs, folder):
    import tensorflow as tf

    path = Path(folder, "model")
    model.export(path, verbose=False)
    loaded = tf.saved_model.load(str(path))  # its functions live as long as it does
    given = [tf.convert_to_tensor(x) for x in inputs]
    return [y.numpy() for y in tf.nest.flatten(loaded.serve(given if len(given) > 1 else given[0]))]


def onnx(model, inputs, folder):
    import onnxruntime

    path = Path(folder, "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {each.name: x for each, x in zip(session.get_inputs(), inputs, strict=True)})


def litert(model, inputs, folder):
    from ai_edge_litert.interpreter import Interpreter

    path = Path(folder, "model.tflite")
    model.export(path, format="litert", verbose=False)
    run = Interpreter(str(path)).get_signature_runner()
    given = dict(zip(sorted(run.get_input_details()), inputs, strict=True))
    # An unknown batch is a batch of one there.
    rows = [run(**{name: x[i : i + 1] for name, x in given.items()}) for i in range(len(inputs[0]))]
    return [np.concatenate([row[name] for row in rows]) for name in sorted(rows[0])]


FORMATS = {"SavedModel": saved_model, "ONNX": onnx, "LiteRT": litert}


def difference(expected, found):
    """The largest difference of the outputs, as a fraction of the largest expected value."""
    assert len(found) == len(expected)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True))


def outputs(model, inputs):
    """What Keras computes, as a list."""
    y = model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
    return [np.asarray(each) for each in keras.tree.flatten(y)]


def refusal(model, form):
    """Why a format does not take a model; `None` if it does."""
    layers = list(model._flatten_layers())
    if form == "ONNX" and any(getattr(layer, "activation", None) is keras.activations.gelu for layer in layers):
        return "the exact GELU"
    if form == "ONNX" and any(getattr(layer, "groups", 1) > 1 for layer in layers):
        return "grouped convolutions"
    return None
