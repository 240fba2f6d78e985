"""The device's peak: the accounting is exact, by a clock of our own, and what is timed is truly done, on each backend.

That no time is lost in between can't be told by a test: no machine that it runs on need be quiet.
"""

import importlib.util
import json
import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import keras
import pytest

from benchmarks.backends import base
from benchmarks.measure import peak
from benchmarks.terminal.errors import UsageError
from tests.support.process import python

PROBE = """
import contextlib, json
from dataclasses import asdict, replace
import keras, numpy as np
from benchmarks import backends
from benchmarks.backends import base
from benchmarks.measure import peak

def numpy(x):
    return np.array(keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")), copy=True)

workload = backends.current().workload()
told = {"is_cpu": workload.scale is base.CPU, "policies": {}}
small = replace(workload.scale, first_n=1024, long_seconds=0.0, array_bytes=2**24)
for policy in ("float32", "mixed_bfloat16", "bfloat16", "mixed_float16"):
    seen = []
    def multiply(a, b):
        c = workload.multiply(a, b)
        seen[:] = a, b, c
        return c
    result = peak.measure(policy, workload=replace(workload, scale=small, multiply=multiply))
    a, b, c = map(numpy, seen)
    told["policies"][policy] = {
        "result": asdict(result),
        "dtypes": [keras.backend.standardize_dtype(x.dtype) for x in seen],
        "shapes": [x.shape for x in (a, b, c)],
        "error": float(np.std(c - a @ b) / np.std(a @ b)),
        "zeros": float(np.mean(a == 0) + np.mean(b == 0)),
        "moments": [float(np.mean(a)), float(np.std(a)), float(np.mean(b)), float(np.std(b))],
        "correlation": float(np.corrcoef(a.ravel(), b.ravel())[0, 1]),
        "largest_share": float(np.unique(a, return_counts=True)[1].max() / a.size),
    }

def address(x):
    if keras.backend.backend() == "jax":
        return x.unsafe_buffer_pointer()
    if keras.backend.backend() == "torch":
        return x.data_ptr()
    return x.read_value()._numpy_internal().ctypes.data

x = peak._random((2**20,), "float32", 2)
told["array"] = [list(x.shape), keras.backend.standardize_dtype(x.dtype)]
before = numpy(x)
sweep = workload.sweeper(x)
del x
told["added_once"] = float(np.abs(numpy(sweep(1)) - before - 1).max())
told["added"] = float(np.abs(numpy(sweep(3)) - before - 4).max())
# After one pass each: of two, the second could be back where the first began.
told["addresses"] = len({address(sweep(1)) for _ in range(3)})

if keras.backend.backend() == "torch":
    import torch
    matmul, told["precision"] = keras.ops.matmul, []
    def spy(a, b):
        told["precision"].append(torch.get_float32_matmul_precision())
        return matmul(a, b)
    keras.ops.matmul = spy
    operand = peak._random((512, 512), "float32", 0)
    for tf32 in (False, True):
        backends.BACKENDS["torch"].may_use_tf32 = lambda self: tf32
        workload.multiply(operand, operand)
    told["precision"].append(torch.get_float32_matmul_precision())
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def probe():
    """A function from a backend to what was seen on it, in a fresh process."""
    known = {}

    def look_up(backend):
        if importlib.util.find_spec(backend) is None:
            pytest.skip(f"{backend} is not installed")
        if backend not in known:
            answer = python("-c", PROBE, KERAS_BACKEND=backend)
            assert answer.returncode == 0, answer.stderr
            known[backend] = json.loads(answer.stdout.splitlines()[-1])
        return known[backend]

    return look_up


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize(
    ("policy", "dtype"),
    [
        ("float32", "float32"),
        ("mixed_bfloat16", "bfloat16"),
        ("bfloat16", "bfloat16"),
        ("mixed_float16", "float16"),
    ],
)
def test_products_of_random_matrices_in_the_dtype_that_the_policy_computes_in(backend, policy, dtype, probe):
    told = probe(backend)["policies"][policy]
    assert told["dtypes"] == [dtype] * 3
    assert told["shapes"] == [[1024, 1024]] * 3
    assert told["error"] < 0.01, "it is the product"
    assert told["zeros"] < 1e-3
    assert told["moments"] == pytest.approx([0, 1, 0, 1], abs=0.02)
    assert abs(told["correlation"]) < 0.02, "two different matrices"
    assert told["largest_share"] < 0.02
    assert all(math.isfinite(rate) and rate > 0 for rate in told["result"].values())


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_pass_changes_every_element_in_place(backend, probe):
    told = probe(backend)
    assert told["array"] == [[2**20], "float32"]
    assert told["added_once"] < 1e-6
    assert told["added"] < 1e-5
    if told["is_cpu"]:
        assert told["addresses"] == 1


def test_pytorch_uses_tf32_only_where_something_may_and_is_left_as_it_was(probe):
    assert probe("torch")["precision"] == ["highest", "high", "highest"]


def test_a_real_call_gives_positive_numbers():
    result = peak.measure("float32")
    assert 1e8 < result.flops_per_second < math.inf
    assert 1e7 < result.bytes_per_second < math.inf


class FakeDevice:
    """A device whose work takes the time that it is told to, and a clock that shows it."""

    def __init__(self, *, product=lambda n, run: n**3 / 2**33, one_pass=lambda size, run: size / 2**33):
        self.now, self._product, self._one_pass = 0.0, product, one_pass
        self.products, self.sizes, self.passes = Counter(), Counter(), []
        scale = base.Scale(first_n=512, long_seconds=0.5, array_bytes=2**28, passes=4)
        self.workload = base.Workload(scale, self._multiply, self._sweeper)

    def measure(self, policy="float32"):
        return peak.measure(policy, clock=lambda: self.now, workload=self.workload)

    def _multiply(self, a, b):
        assert a.shape == b.shape == (a.shape[0], a.shape[0])
        n = a.shape[0]
        self.products[n] += 1
        self.now += self._product(n, self.products[n] - 1)

    def _sweeper(self, x):
        (count,) = x.shape
        assert x.dtype == "float32"
        size = 4 * count

        def sweep(passes):
            self.sizes[size] += 1
            self.passes.append(passes)
            self.now += passes * self._one_pass(size, self.sizes[size] - 1)

        return sweep


@pytest.fixture(autouse=True)
def _no_large_arrays(request, monkeypatch):
    """Fake devices get fake arrays."""
    if "fake" in request.node.name:
        monkeypatch.setattr(
            peak, "_random", lambda shape, dtype, seed: SimpleNamespace(shape=shape, dtype=dtype, seed=seed)
        )


def test_fake_rates_are_two_flops_a_multiply_add_and_bytes_read_plus_written():
    fake = FakeDevice()
    # All of 2 · n³ in n³ / 2³³ seconds, all of 2 · size bytes in size / 2³³.
    assert fake.measure() == peak.Peak(flops_per_second=2.0**34, bytes_per_second=2.0**34)
    assert fake.sizes == {2**28: peak.TRIALS + 1}
    assert set(fake.passes) == {4}


@pytest.mark.parametrize(
    ("long_seconds", "sizes"), [(0.0, [512]), (2**-6, [512]), (0.015626, [512, 1024]), (1.0, [512, 1024, 2048])]
)
def test_fake_products_grow_until_one_takes_long(long_seconds, sizes):
    fake = FakeDevice()
    fake.workload = replace(fake.workload, scale=replace(fake.workload.scale, long_seconds=long_seconds))
    fake.measure()
    assert fake.products == dict.fromkeys(sizes, peak.TRIALS + 1)


def test_fake_products_grow_to_the_largest_at_most():
    fake = FakeDevice(product=lambda n, run: 2**-10)
    assert fake.measure().flops_per_second == 2 * 16384**3 * 2**10
    assert list(fake.products) == [512, 1024, 2048, 4096, 8192, 16384]


def test_fake_times_the_best_of_the_trials_counts_and_the_first_run_does_not():
    # The first run would be the fastest; of the others the fourth is.
    seconds = [2**-20, 4, 3, 2.5, 2, 7]
    fake = FakeDevice(product=lambda n, run: seconds[run], one_pass=lambda size, run: seconds[run])
    assert fake.measure() == peak.Peak(flops_per_second=2 * 512**3 / 2, bytes_per_second=2 * 2**28 / 2)


def test_fake_sizes_the_best_counts_even_if_it_is_not_the_largest():
    rates = {512: 2**31, 1024: 2**34, 2048: 2**33}
    fake = FakeDevice(product=lambda n, run: 2 * n**3 / rates[n])
    assert fake.measure().flops_per_second == 2**34
    assert list(fake.products) == [512, 1024, 2048]


def out_of_memory_above(limit, error):
    """Times of work that needs more memory the larger it is."""

    def seconds(size, run):
        if size > limit:
            raise error
        return size / 2**33

    return seconds


def test_fake_device_that_is_nearly_full_is_measured_with_what_fits():
    fake = FakeDevice(
        product=out_of_memory_above(1024, MemoryError()), one_pass=out_of_memory_above(2**26, MemoryError())
    )
    result = fake.measure()
    assert result == peak.Peak(flops_per_second=2 * 1024**3 / (1024 / 2**33), bytes_per_second=2.0**34)
    assert list(fake.products) == [512, 1024, 2048]
    assert list(fake.sizes) == [2**28, 2**27, 2**26]


@pytest.mark.parametrize("work", ["product", "one_pass"])
def test_fake_device_with_no_room_at_all_raises(work):
    fake = FakeDevice(**{work: out_of_memory_above(0, MemoryError("no room"))})
    with pytest.raises(MemoryError, match="no room"):
        fake.measure()
    assert list(fake.products)[:1] == [512]
    assert list(fake.sizes) == ([] if work == "product" else [2**28, 2**27, 2**26, 2**25, 2**24])


@pytest.mark.parametrize("work", ["product", "one_pass"])
def test_fake_error_of_another_kind_is_not_hidden(work):
    limit = {"product": 512, "one_pass": 2**26}[work]
    fake = FakeDevice(**{work: out_of_memory_above(limit, ValueError("something else"))})
    with pytest.raises(ValueError, match="something else"):
        fake.measure()


@pytest.mark.parametrize(("shape", "block"), [((512, 512), 512), ((2048, 1024), 512), ((4096,), 512), ((64,), 64)])
def test_random_numbers_fill_the_whole_shape(shape, block):
    x = keras.ops.convert_to_numpy(peak._random(shape, "float32", seed=3))
    assert x.shape == shape
    assert (x != 0).all()
    assert x.std() == pytest.approx(1, abs=0.2)
    other = keras.ops.convert_to_numpy(peak._random(shape, "float32", seed=4))
    assert (x != other).all()


@pytest.mark.parametrize("scale", [base.CPU, base.ACCELERATOR])
def test_scales_are_whole_blocks_and_beyond_caches(scale):
    assert scale.first_n % peak.BLOCK == 0
    assert scale.array_bytes % (4 * peak.BLOCK) == 0
    assert scale.array_bytes >= 256 * 2**20


def test_no_peak_is_made_up_for_another_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(UsageError, match="KERAS_BACKEND=openvino: pass --nopeak"):
        peak.measure("float32")
