"""Which runs are the same: comparison and report agree, and both decide by the table of fields."""

import pytest

from benchmarks.records import identity, schema
from benchmarks.reporting import significance, summary
from tests.support.records import ENVIRONMENT, record, trained

# Another value of each field that identifies a run.
OTHER = {
    "arch": "lenet", "model_hash": "12ab", "overrides": ["depth=3"], "mode": "inference", "dataset": "mnist",
    "data": "npz:mine.npz", "input_shapes": [[64, 64, 3]], "examples": 128, "augment": False, "input": "stream",
    "peer": "torch", "batch_size": 64, "backend": "torch", "dtype_policy": "mixed_bfloat16", "jit": False,
    "optimizer": "adam", "optimizer_arguments": {"momentum": 0.9}, "macs": 7, "tf32": True, "onednn": False,
    "device": "Big GPU", "device_count": 2, "cpu": "Other", "cpu_cores": 4, "cpu_flags": ["abc"],
    "memory_bytes": 2**35, "kernel": "6.2",
}  # fmt: skip
SOFTWARE = {"versions": ENVIRONMENT["versions"] | {"jax": "0.8"}, "commit": "b" * 40, "commit_is_changed": True}
# Other values that make no other run.
SAME = [
    {"seed": 7}, {"learning_rate": 0.7}, {"params": 7}, {"steps": 7}, {"final_loss": 0.1}, {"time": "later"},
    {"python": "3.13"}, {"platform": "other"}, {"driver": "5"}, {"command": ["throughput.py"]},
    {"parent_command": ["versus.py"]}, {"memory_bytes": 2**34 + 2**20}, {"cpu_flags": ["xyz", "abc"]},
    {"is_steady": False}, {"versions": ENVIRONMENT["versions"] | {"numpy": "9"}}, {"trainable_params": 7},
    {"onednn": True},
]  # fmt: skip


def names(*groups):
    return {field.name for group in groups for field, _ in schema.identifying(group)}


def count(*found):
    """How many rows the report and the comparison make of the records."""
    rows = [row for section in summary.sections(found) for row in section.rows]
    return len(rows), len(significance.sides("a.jsonl", found, ()))


def test_every_field_of_the_identity_has_been_tried():
    assert set(OTHER) | {"script"} == names(schema.CONFIGURATION, schema.DEVICE)
    assert set(SOFTWARE) == names(schema.SOFTWARE)
    assert names(schema.TRAINING) == {"learning_rate", "epochs"}
    assert set(identity.FIELDS) == names(schema.CONFIGURATION) | {"device"}
    assert tuple(identity.configuration(record())) == identity.FIELDS


@pytest.mark.parametrize("field", OTHER)
def test_report_and_comparison_agree_on_what_differs(field):
    assert count(record(), record(**{field: OTHER[field]})) == (2, 2)


@pytest.mark.parametrize("change", SAME, ids=lambda change: next(iter(change)))
def test_report_and_comparison_agree_on_what_is_the_same(change):
    assert count(record(), record(**change)) == (1, 1)


def test_a_training_and_a_timing_are_not_the_same():
    assert count(record(), trained()) == (2, 2)


@pytest.mark.parametrize("field", SOFTWARE)
def test_software_makes_rows_and_a_warning_in_a_comparison(field, capsys):
    assert count(record(), record(**{field: SOFTWARE[field]})) == (2, 1)
    assert f"a.jsonl holds runs of resnet20 that differ in {field}" in capsys.readouterr().err


def test_training_makes_rows_and_has_the_same_throughput():
    assert count(trained(), trained(epochs=3), trained(learning_rate=0.7)) == (3, 1)


def test_overrides_are_the_last_of_each_key_in_any_order():
    a, b = record(overrides=["a=1", "b=2"]), record(overrides=["b=3", "b=2", "a=1"])
    assert count(a, b) == (1, 1)
    assert count(a, record(overrides=["b=1", "a=2"])) == (2, 2)


def test_the_path_of_a_data_set_is_no_matter():
    assert count(record(data="npz:/here/mine.npz"), record(data="npz:there.npz")) == (1, 1)


def test_tf32_counts_where_products_are_of_float32():
    half = {"dtype_policy": "mixed_bfloat16"}
    assert count(record(**half), record(**half, tf32=True)) == (1, 1)
