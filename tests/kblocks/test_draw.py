"""`kblocks.graph.draw`: what the pictures hold."""

import re
import shutil

import keras
import pytest
from keras import layers

import architectures
from kblocks.graph import draw

with_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


def text(model, tmp_path, **options):
    return draw(model, tmp_path / "net.dot", **options).read_text()


def nodes(drawn):
    return re.findall(r'^"([^"]*)" \[label', drawn, re.MULTILINE)


def edges(drawn):
    return re.findall(r'^"([^"]*)" -> "([^"]*)" \[label=" (.*?)"\]', drawn, re.MULTILINE)


def test_stages_units_and_layers(tmp_path):
    net = architectures.create("resnet20")
    stages = text(net, tmp_path, level="stages")
    assert nodes(stages)[1:-1] == ["stem", "stage1", "stage2", "stage3", "pool", "logits"]
    assert ("stage1", "stage2", "32×32×16") in edges(stages)
    units = text(net, tmp_path, level="units")
    assert sum(re.fullmatch(r"stage\d_unit\d", name) is not None for name in nodes(units)) == 9
    layered = text(net, tmp_path, level="layers")
    assert set(nodes(layered)) >= {layer.name for layer in net.layers if not isinstance(layer, layers.InputLayer)}
    assert len(nodes(layered)) == len(net.layers) + 1


def test_units_of_keras_applications(tmp_path):
    net = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)
    assert {"conv2_block1", "conv5_block3"} <= set(nodes(text(net, tmp_path)))


@pytest.mark.parametrize("level", ["stages", "units", "layers"])
def test_every_edge_joins_two_boxes(tmp_path, level):
    for arch in ("googlenet_tiny", "siamese_tiny", "multi_input_tiny", "shared_dense_tiny", "nasnet_tiny"):
        drawn = text(architectures.create(arch), tmp_path, level=level)
        known = nodes(drawn)
        assert len(known) == len(set(known))
        for a, b, _ in edges(drawn):
            assert {a, b} <= set(known), (arch, a, b)
        # Every box but the inputs is reached.
        assert {b for _, b, _ in edges(drawn)} == {n for n in known if not n.startswith("input ")}, arch


def test_a_tower_is_opened_once(tmp_path):
    drawn = text(architectures.create("siamese_tiny"), tmp_path, level="layers")
    assert drawn.count("subgraph") == 1
    assert drawn.count("the same weights") == 1


@with_graphviz
@pytest.mark.parametrize("ending", [".svg", ".png", ".pdf"])
def test_pictures(tmp_path, ending):
    path = draw(architectures.create("resnet_tiny"), tmp_path / f"net{ending}")
    start = path.read_bytes()[:200]
    assert {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF"}[ending] in start or b"<?xml" in start


def test_without_graphviz_one_sentence_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"drawing needs Graphviz, whose program dot is not on the path: install it"):
        draw(architectures.create("resnet_tiny"), tmp_path / "net.svg")
    assert not (tmp_path / "net.svg").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to_file": "net.gif"}, r"`to_file` must end in .svg, .png, .pdf, .dot; got 'net.gif'"),
        (
            {"to_file": "net.dot", "level": "blocks"},
            r"`level` must be one of 'stages', 'units', 'layers'; got 'blocks'",
        ),
        ({"to_file": "net.dot", "direction": "up"}, r"`direction` must be one of 'TB', 'LR'; got 'up'"),
    ],
)
def test_what_is_no_picture(options, message):
    with pytest.raises(ValueError, match=message):
        draw(architectures.create("lenet_tiny"), **options)
