"""Names: prefixes, fresh prefixes, and what is refused."""

import keras
import pytest

from kblocks import residual, stem
from kblocks.naming import resolve, scope


def test_a_given_name_is_the_prefix():
    part = scope("stage2_unit1", "bottleneck")
    assert (part("conv1"), part("out")) == ("stage2_unit1_conv1", "stage2_unit1_out")


def test_the_empty_name_is_no_prefix():
    assert scope("", "resnet")("stem") == "stem"


def test_fresh_prefixes_differ_and_stay_within_a_block():
    first, second = scope(None, "probe"), scope(None, "probe")
    assert first("a").rsplit("_", 1)[0] == first("b").rsplit("_", 1)[0]
    assert first("a") != second("a")
    assert first("a").startswith("probe_")


def test_fresh_prefixes_begin_anew_with_the_session():
    keras.backend.clear_session()
    assert resolve(None, "probe") == "probe_1"
    assert resolve(None, "probe") == "probe_2"


@pytest.mark.parametrize("function", [resolve, scope])
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("a/b", ValueError, r"`name` must not contain '/'; got 'a/b' \(join parts with '_'\)"),
        (3, TypeError, "`name` must be a string or None; got 3"),
        (True, TypeError, "`name` must be a string or None; got True"),
    ],
)
def test_a_wrong_name_is_refused(function, name, error, message):
    with pytest.raises(error, match=message):
        function(name, "probe")


def names(x, y):
    return [layer.name for layer in keras.Model(x, y).layers[1:]]


def test_the_layers_of_a_unit_tell_where_they_are():
    x = keras.Input((8, 8, 4))
    y = residual.basic(x, 8, stride=2, drop_path=0.1, name="stage2_unit1")
    assert sorted(names(x, y)) == [
        "stage2_unit1_add",
        "stage2_unit1_conv1",
        "stage2_unit1_conv1_act",
        "stage2_unit1_conv1_norm",
        "stage2_unit1_conv2",
        "stage2_unit1_conv2_norm",
        "stage2_unit1_drop_path",
        "stage2_unit1_out",
        "stage2_unit1_shortcut",
        "stage2_unit1_shortcut_norm",
    ]
    assert y._keras_history.operation.name == "stage2_unit1_out"


def test_without_a_prefix_the_parts_stand_alone():
    x = keras.Input((28, 28, 1))
    assert names(x, stem.mnist(x, 4, name="")) == ["pad", "conv", "conv_norm", "out"]
