"""Meters: what they tell is right, what they can't tell is `None`, and nothing else is ever raised."""

import importlib.util
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import keras
import numpy as np
import pytest

from benchmarks.measure import environment, meters
from tests.support.process import python

MIB = 2**20

# The module under test, without the memory of a backend.
WITHOUT_KERAS = """
import importlib.machinery, json, sys, types
sys.modules["keras"] = types.ModuleType("keras")
sys.modules["keras"].__spec__ = importlib.machinery.ModuleSpec("keras", None)
from benchmarks.measure import meters
"""


# Starts a script from a process that holds little.
LAUNCH = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', sys.argv[1]]))"


def in_a_fresh_process(script, *, launcher=(), **environment):
    """What a script prints last, from JSON."""
    done = python("-c", *launcher, script, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_no_backend_is_imported_before_it_is_asked_for():
    script = WITHOUT_KERAS + (
        "from benchmarks import peak\n"
        "print(json.dumps(sorted({'tensorflow', 'jax', 'torch', 'pynvml'} & set(sys.modules))))"
    )
    assert in_a_fresh_process(script) == []


# Main memory.


needs_resource = pytest.mark.skipif(
    importlib.util.find_spec("resource") is None, reason="the system does not tell a process's memory"
)


@needs_resource
@pytest.mark.parametrize("has_proc", [True, False])
def test_the_resident_peak_grows_by_what_is_touched_and_stays(has_proc):
    script = WITHOUT_KERAS + (
        ("" if has_proc else "from pathlib import Path; meters.PROCESS = Path('/no/such/folder')\n")
        + f"""
before = meters.peak_resident_bytes()
held = bytearray({200 * MIB})
held[::4096] = b"1" * len(held[::4096])
after = meters.peak_resident_bytes()
del held
print(json.dumps([before, after, meters.peak_resident_bytes()]))
"""
    )
    # `getrusage`, which is asked where there is no /proc, counts what the starting process held too.
    before, after, later = in_a_fresh_process(script, launcher=[LAUNCH])
    assert 2 * MIB < before < 2**30
    assert 190 * MIB < after - before < 260 * MIB
    assert later > after - 10 * MIB, "the system counts roughly"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_the_resident_peak_is_not_that_of_the_process_that_started_this_one():
    held = np.ones(600 * MIB, "uint8")
    assert in_a_fresh_process(WITHOUT_KERAS + "print(json.dumps(meters.peak_resident_bytes()))") < 500 * MIB
    assert held.all()


def test_the_resident_peak_is_read_from_the_process_status(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t 999999 kB\nVmHWM:\t   1234 kB\nVmRSS:\t 1000 kB\n")
    monkeypatch.setattr(meters, "PROCESS", tmp_path)
    assert meters.peak_resident_bytes() == 1234 * 1024


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1), ("sunos5", None)])
def test_the_unit_of_the_resident_peak_is_the_systems(monkeypatch, tmp_path, system, unit):
    usage = SimpleNamespace(ru_maxrss=777)
    monkeypatch.setattr(meters, "PROCESS", tmp_path)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setitem(sys.modules, "resource", SimpleNamespace(RUSAGE_SELF=0, getrusage={0: usage}.get))
    assert meters.peak_resident_bytes() == (777 * unit if unit else None)


def test_where_no_resource_module_is_there_is_no_resident_peak(monkeypatch, tmp_path):
    monkeypatch.setattr(meters, "PROCESS", tmp_path)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert meters.peak_resident_bytes() is None


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """`groups("0::/a/b", {"a/b/memory.max": "100"})`: a process in control groups with these limits."""

    def make(process, limits):
        (tmp_path / "cgroup").write_text(process)
        for path, limit in limits.items():
            file = tmp_path / "fs" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(limit)
        monkeypatch.setattr(meters, "PROCESS", tmp_path)
        monkeypatch.setattr(meters, "CGROUPS", tmp_path / "fs")
        pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
        monkeypatch.setattr(os, "sysconf", pages.__getitem__, raising=False)
        return meters.device_details()["memory_bytes"]

    return make


@pytest.mark.parametrize(
    ("process", "limits", "granted"),
    [
        ("0::/\n", {"memory.max": "100000\n"}, 100_000),
        ("0::/\n", {"memory.max": "max\n"}, 4_096_000),
        ("0::/\n", {}, 4_096_000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2000\n", "memory.max": "3000\n"}, 2000),
        ("0::/a\n", {"b/memory.max": "5\n", "a/memory.max": "99999999999\n"}, 4_096_000),
        # Version 1, seen from the host and from within a container, where the group's path leads nowhere.
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "7000\n"}, 7000),
        ("4:cpu,memory:/docker/123\n", {"memory/memory.limit_in_bytes": "8000\n"}, 8000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4_096_000),
        ("4:cpu:/a\n", {"memory/a/memory.limit_in_bytes": "7000\n", "a/memory.max": "5\n"}, 4_096_000),
    ],
)
def test_the_memory_granted_is_the_least_of_all_limits(groups, process, limits, granted):
    assert groups(process, limits) == granted


def test_where_the_system_does_not_count_pages_the_memory_is_unknown(monkeypatch):
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert meters.device_details()["memory_bytes"] is None


# The device.


@pytest.fixture
def fake_backend(monkeypatch):
    """`fake_backend("torch", module)`: Keras's backend is this module."""

    def install(name, module):
        monkeypatch.setattr(keras.backend, "backend", lambda: name)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return install


def fake_tensorflow(*, gpus=2, capability=(9, 0), tf32=True):
    """TensorFlow as far as the meters ask it; its peak is 600 bytes, and 100 when it was reset."""
    devices = {"GPU": [f"gpu{i}" for i in range(gpus)], "CPU": ["cpu0"]}
    peaks = {"GPU:0": 600}
    experimental = SimpleNamespace(
        get_memory_info=lambda device: {"current": 100, "peak": peaks[device]},
        reset_memory_stats=lambda device: peaks.update({device: 100}),
        tensor_float_32_execution_enabled=lambda: tf32,
        get_device_details={"gpu0": {"compute_capability": capability} if capability else {}}.get,
    )
    return SimpleNamespace(
        config=SimpleNamespace(get_visible_devices=lambda kind: devices.get(kind, []), experimental=experimental),
        sysconfig=SimpleNamespace(get_build_info=lambda: {"cuda_version": "12.5.1"}),
    )


def fake_jax(*, platform="gpu", capability="9.0", precision=None, statistics=True):
    """JAX likewise."""
    device = SimpleNamespace(
        platform=platform,
        memory_stats=lambda: {"bytes_in_use": 100, "peak_bytes_in_use": 600} if statistics else None,
        client=SimpleNamespace(platform_version="PJRT C API\ncuda 12080"),
    )
    if capability:
        device.compute_capability = capability
    return SimpleNamespace(
        devices=lambda: [device, device],
        device_count=lambda: 2,
        config=SimpleNamespace(jax_default_matmul_precision=precision),
    )


def fake_torch(*, cuda="12.6", capability=(9, 0), matmul=False, cudnn=True, available=True):
    """PyTorch likewise."""
    peaks = [600]
    return SimpleNamespace(
        cuda=SimpleNamespace(
            is_available=lambda: available,
            device_count=lambda: 2 if available else 0,
            max_memory_allocated=lambda: peaks[-1],
            reset_peak_memory_stats=lambda: peaks.append(100),
            get_device_capability=lambda: capability,
        ),
        version=SimpleNamespace(cuda=cuda),
        backends=SimpleNamespace(
            cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=matmul)), cudnn=SimpleNamespace(allow_tf32=cudnn)
        ),
    )


@pytest.mark.parametrize(("name", "module"), [("tensorflow", fake_tensorflow()), ("torch", fake_torch())])
def test_the_peak_of_the_device_is_reset(fake_backend, name, module):
    fake_backend(name, module)
    assert meters.peak_device_bytes() == 600
    assert meters.reset_peak_device_bytes() is True
    assert meters.peak_device_bytes() == 100


def test_the_peak_of_the_device_can_not_be_reset_on_jax(fake_backend):
    fake_backend("jax", fake_jax())
    assert meters.reset_peak_device_bytes() is False
    assert meters.peak_device_bytes() == 600
    fake_backend("jax", fake_jax(statistics=False))
    assert meters.peak_device_bytes() is None
    fake_backend("jax", fake_jax(platform="tpu"))
    assert meters.peak_device_bytes() == 600


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("tensorflow", fake_tensorflow(gpus=0)),
        ("jax", fake_jax(platform="cpu")),
        ("torch", fake_torch(available=False)),
        ("openvino", None),
    ],
)
def test_on_cpu_there_is_no_device_memory_and_no_energy(fake_backend, monkeypatch, name, module):
    fake_backend(name, module)
    # A GPU that the backend does not use is not asked.
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(counter=lambda at: round(1000 * at)))
    assert not meters.on_gpu()
    assert meters.peak_device_bytes() is None
    assert meters.reset_peak_device_bytes() is False
    told = meters.device_details()
    assert (told["driver"], told["cuda"], told["tf32"]) == (None, None, False)
    with meters.Energy() as energy:
        sys.modules["pynvml"].now = 1
    assert energy.joules is None


@pytest.mark.parametrize(
    ("name", "module", "tf32"),
    [
        ("tensorflow", fake_tensorflow(), True),
        ("tensorflow", fake_tensorflow(tf32=False), False),
        ("tensorflow", fake_tensorflow(capability=(7, 5)), False),
        ("tensorflow", fake_tensorflow(capability=None), None),
        ("jax", fake_jax(), True),
        ("jax", fake_jax(precision="default"), True),
        ("jax", fake_jax(precision="tensorfloat32"), True),
        ("jax", fake_jax(precision="highest"), False),
        ("jax", fake_jax(precision="float32"), False),
        ("jax", fake_jax(capability="7.0"), False),
        ("jax", fake_jax(capability="10.0"), True),
        ("jax", fake_jax(capability="gfx942"), None),
        ("jax", fake_jax(capability=None), None),
        ("jax", fake_jax(platform="tpu"), False),
        ("torch", fake_torch(), True),
        ("torch", fake_torch(cudnn=False, matmul=True), True),
        ("torch", fake_torch(cudnn=False), False),
        ("torch", fake_torch(capability=(7, 5)), False),
        ("torch", fake_torch(cuda=None), None),
    ],
)
def test_tf32_is_told_by_settings_and_device(fake_backend, monkeypatch, name, module, tf32):
    fake_backend(name, module)
    assert meters.may_use_tf32() is tf32
    assert meters.device_details()["tf32"] is tf32
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert meters.may_use_tf32() is False


@pytest.mark.parametrize(
    ("name", "module", "cuda"),
    [("tensorflow", fake_tensorflow(), "12.5.1"), ("jax", fake_jax(), "12.8"), ("torch", fake_torch(), "12.6")],
)
def test_the_versions_of_cuda_and_of_the_driver(fake_backend, monkeypatch, tmp_path, name, module, cuda):
    fake_backend(name, module)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    told = meters.device_details()
    assert (told["device_count"], told["driver"], told["cuda"]) == (2, "570.86.15", cuda)
    assert sys.modules["pynvml"].open == 0

    # Without NVML, from the driver itself; without both, unknown.
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(meters, "DRIVER", tmp_path / "version")
    assert meters.device_details()["driver"] is None
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12\n"
    )
    assert meters.device_details()["driver"] == "550.54.15"
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (root@build)\n"
    )
    assert meters.device_details()["driver"] == "570.86.15"


def test_details_that_fail_are_unknown(fake_backend):
    def fails(*arguments):
        raise RuntimeError("no answer")

    module = fake_torch()
    module.version = None
    module.cuda.device_count = module.cuda.get_device_capability = fails
    fake_backend("torch", module)
    told = meters.device_details()
    assert [told[key] for key in ("device_count", "cuda", "tf32")] == [None] * 3


def test_the_details_of_this_machine():
    told = json.loads(json.dumps(meters.device_details(), allow_nan=False))
    assert set(told) == {"device_count", "driver", "cuda", "tf32", "memory_bytes"}
    assert told["device_count"] >= 1
    assert told["memory_bytes"] is None or 2**28 < told["memory_bytes"] < 2**50
    assert meters.on_gpu() == (meters.peak_device_bytes() is not None)
    if environment.device() == "CPU":
        assert (told["driver"], told["cuda"], told["tf32"]) == (None, None, False)


# Energy.


class NvmlError(Exception):
    """As pynvml's own, which is of no other class either."""


class FakeNvml(ModuleType):
    """A GPU that draws `watts` of the time since NVML was opened, which `now` shows."""

    def __init__(self, *, watts=lambda at: 300.0, counter=None, failing=()):
        super().__init__("pynvml")
        self.now, self.open, self.handles, self.samples = 0.0, 0, [], 0
        self._watts, self._counter, self._failing = watts, counter, failing
        self.lock = threading.Lock()

    def _check(self, name):
        if name in self._failing:
            raise NvmlError(name)

    def nvmlInit(self):
        self._check("init")
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1
        self._check("shutdown")

    def nvmlSystemGetDriverVersion(self):
        return b"570.86.15"

    def nvmlDeviceGetHandleByIndex(self, index):
        self._check("handle")
        self.handles.append(index)
        return "gpu"

    def nvmlDeviceGetHandleByUUID(self, uuid):
        self.handles.append(uuid)
        return "gpu"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        assert (handle, self.open) == ("gpu", 1)
        if self._counter is None:
            raise NvmlError("Not Supported")
        return self._counter(self.now)

    def nvmlDeviceGetPowerUsage(self, handle):
        assert (handle, self.open) == ("gpu", 1)
        if self.samples in self._failing:
            raise NvmlError(self.samples)
        self.samples += 1
        return int(1000 * self._watts(self.now))

    def wait_for(self, samples):
        """Until that many samples were taken, and a moment longer."""
        until = time.monotonic() + 20
        while self.samples < samples and time.monotonic() < until:
            time.sleep(0.001)


@pytest.fixture
def nvml(monkeypatch, fake_backend):
    """`nvml(...)`: a backend on a GPU, with this NVML."""

    def install(**options):
        fake_backend("torch", fake_torch())
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(**options))
        return sys.modules["pynvml"]

    return install


def test_energy_is_the_difference_of_the_counter(nvml):
    gpu = nvml(counter=lambda at: 5_000_000 + round(300_000 * at))
    with meters.Energy() as energy:
        assert energy.joules is None
        assert gpu.open == 1
        gpu.now = 2.5
    assert energy.joules == 750.0
    assert (gpu.open, gpu.samples, gpu.handles) == (0, 0, [0])


@pytest.mark.parametrize("after", [5_000_000, 10])
def test_a_counter_that_stood_still_or_began_anew_tells_nothing(nvml, after):
    gpu = nvml(counter=lambda at: after if at else 5_000_000)
    with meters.Energy() as energy:
        gpu.now = 1.0
    assert energy.joules is None


def test_energy_is_the_area_under_the_samples(nvml):
    # 100 W rising by 40 W a second, over 5 s: 500 + 40 · 25 / 2 joules, wherever the samples fall.
    gpu = nvml(watts=lambda at: 100 + 40 * at)
    energy = meters.Energy(interval=0.001, clock=lambda: gpu.now)
    threads = threading.active_count()
    with energy:
        for at in (1, 2.5, 4):
            gpu.now = at
            # Two samples begin after the time is set, so one of them sees it; the rest falls on a straight line.
            gpu.wait_for(gpu.samples + 2)
        gpu.now = 5
    assert energy.joules == pytest.approx(1000, rel=0.2)
    assert gpu.samples >= 8
    assert (gpu.open, threading.active_count()) == (0, threads)


def test_two_samples_are_enough_for_a_short_time(nvml):
    gpu = nvml(watts=lambda at: 100 + 40 * at)
    with meters.Energy(interval=60, clock=lambda: gpu.now) as energy:
        gpu.now = 5
    assert energy.joules == 1000
    assert gpu.samples == 2


@pytest.mark.parametrize(
    "options",
    [
        {"failing": ("init",)},
        {"failing": ("handle",)},
        {"failing": (0,)},
        {"failing": (3,)},
        {"counter": lambda at: 1 / (1 - at)},
    ],
    ids=["init", "handle", "first sample", "later sample", "counter at the end"],
)
def test_errors_of_nvml_tell_nothing_and_fail_nothing(nvml, options):
    gpu = nvml(**options)
    with meters.Energy(interval=0.001) as energy:
        gpu.now = 1
        if 3 in options.get("failing", ()):
            gpu.wait_for(3)
    assert energy.joules is None
    assert gpu.open == 0


def test_a_sampler_that_failed_is_not_trusted_though_nvml_answers_again(nvml):
    gpu = nvml(failing=(2,))
    with meters.Energy(interval=0.001) as energy:
        gpu.wait_for(2)
        thread = next(thread for thread in threading.enumerate() if thread.name == "energy")
        thread.join(20)
        gpu._failing = ()
    assert energy.joules is None


def test_an_error_at_shutdown_does_not_take_the_figure_away(nvml):
    gpu = nvml(counter=lambda at: round(1000 * at), failing=("shutdown",))
    with meters.Energy() as energy:
        gpu.now = 4
    assert energy.joules == 4


def test_without_the_package_there_is_no_energy(nvml, monkeypatch):
    nvml()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with meters.Energy() as energy:
        pass
    assert energy.joules is None


def test_the_runs_own_error_goes_through(nvml):
    gpu = nvml()
    with pytest.raises(ZeroDivisionError), meters.Energy():
        _ = 1 / 0
    assert gpu.open == 0


def test_a_meter_can_be_used_again(nvml):
    gpu = nvml(counter=lambda at: round(1000 * at))
    energy = meters.Energy()
    for start, end in ((0, 3), (3, 10)):
        gpu.now = start
        with energy:
            assert energy.joules is None
            gpu.now = end
        assert energy.joules == end - start


@pytest.mark.parametrize(
    ("visible", "handle"), [(None, 0), ("", 0), ("2,0", 2), ("GPU-8932f937-d72c", "GPU-8932f937-d72c")]
)
def test_the_gpu_is_the_first_visible_one(nvml, monkeypatch, visible, handle):
    gpu = nvml(counter=lambda at: 1)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with meters.Energy():
        pass
    assert gpu.handles == [handle]


# Errors of memory.


RUN_OUT = """
import json, keras
from benchmarks.measure import meters

backend = keras.backend.backend()
if backend == "torch":
    import torch
    attempts = [lambda: torch.empty(2**50, dtype=torch.uint8)]
    others = [lambda: torch.zeros(2) @ torch.zeros(3), lambda: torch.zeros(2).reshape(5)]
elif backend == "jax":
    import jax
    from jax import numpy as jnp
    attempts = [lambda: jnp.zeros((2**20, 2**26)).block_until_ready()]
    others = [lambda: jnp.zeros(2) @ jnp.zeros(3), lambda: jnp.zeros(2).reshape(5)]
else:
    import tensorflow as tf
    attempts = []  # each waits ten seconds for memory to become free: the one below has to do
    others = [
        lambda: tf.matmul(tf.zeros((2, 3)), tf.zeros((2, 3))),
        # A full disk: the same class of error, where there is such a device.
        lambda: tf.io.write_file("/dev/full", "x" * 100_000),
    ]
# As a layer of Keras passes them on.
attempts.append(lambda: keras.layers.ZeroPadding2D(2**23)(keras.ops.zeros((1, 1, 1, 1))))
told = []
for group in (attempts, others):
    told.append([])
    for attempt in group:
        try:
            attempt()
        except BaseException as error:
            told[-1].append([meters.is_out_of_memory(error), type(error).__name__, str(error)])
        else:
            raise SystemExit("an attempt did not fail")
print(json.dumps(told))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_real_errors_are_told_apart(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    if backend == "tensorflow" and not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    out_of_memory, others = in_a_fresh_process(RUN_OUT, KERAS_BACKEND=backend, CUDA_VISIBLE_DEVICES="")
    assert [told for told, *_ in out_of_memory] == [True] * len(out_of_memory), out_of_memory
    assert [told for told, *_ in others] == [False] * len(others), others


def test_numpy_and_python_run_out():
    with pytest.raises(MemoryError) as caught:
        np.empty(2**60, "uint8")
    assert meters.is_out_of_memory(caught.value)
    assert meters.is_out_of_memory(MemoryError())


def error(path, message, base=Exception):
    """An error of a class that is not installed."""
    module, _, name = path.rpartition(".")
    return type(name, (base,), {"__module__": module})(message)


TENSORFLOW = "tensorflow.python.framework.errors_impl"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            f"{TENSORFLOW}.ResourceExhaustedError",
            "Graph execution error:\nOOM when allocating tensor with shape[9999,9999] and type float on GPU:0",
        ),
        (f"{TENSORFLOW}.ResourceExhaustedError", "Out of memory while trying to allocate 123456 bytes."),
        (f"{TENSORFLOW}.ResourceExhaustedError", "failed to allocate memory [Op:Mul]"),
        (f"{TENSORFLOW}.InternalError", "Failed copying input tensor: Dst tensor is not initialized."),
        ("jaxlib.xla_extension.XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."),
        (
            "jaxlib._jax.XlaRuntimeError",
            "RESOURCE_EXHAUSTED: Failed to allocate request for 2.0GiB on device ordinal 0",
        ),
        (
            "jax.errors.JaxRuntimeError",
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20G",
        ),
        ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("torch.AcceleratorError", "CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
        ("builtins.RuntimeError", "CUDA error: out of memory"),
        ("builtins.RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        ("builtins.RuntimeError", "MPS backend out of memory (MPS allocated: 9.0 GB)"),
        (
            "builtins.RuntimeError",
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
        ),
    ],
)
def test_memory_that_ran_out_is_known(path, message):
    assert meters.is_out_of_memory(error(path, message))
    subclass = type("Wrapped", (type(error(path, message)),), {"__module__": "elsewhere"})
    assert meters.is_out_of_memory(subclass(f"Exception encountered when calling Conv2D.call().\n\n{message}"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("builtins.ValueError", "out of memory of ideas"),
        ("builtins.ValueError", "CUDA out of memory"),
        ("builtins.RuntimeError", "out of memory of ideas"),
        ("builtins.RuntimeError", "RESOURCE_EXHAUSTED"),
        ("builtins.RuntimeError", "CUDA error: device-side assert triggered"),
        ("builtins.OSError", "[Errno 12] Cannot allocate memory"),
        ("builtins.KeyboardInterrupt", ""),
        (f"{TENSORFLOW}.ResourceExhaustedError", "/checkpoint.tmp; No space left on device"),
        (f"{TENSORFLOW}.ResourceExhaustedError", "Received message larger than max (5 vs. 4)"),
        (f"{TENSORFLOW}.InvalidArgumentError", "OOM when allocating"),
        (f"{TENSORFLOW}.InternalError", "libdevice not found at ./libdevice.10.bc"),
        ("mylibrary.ResourceExhaustedError", "OOM when allocating tensor"),
        ("mylibrary.OutOfMemoryError", "CUDA out of memory"),
        ("torchlike.OutOfMemoryError", "CUDA out of memory"),
        ("jax.errors.JaxRuntimeError", "INVALID_ARGUMENT: Executable expected parameter 0 of size 4"),
        ("jax.errors.JaxRuntimeError", "INTERNAL: a message about running out of memory of ideas"),
        (
            "jaxlib._jax.XlaRuntimeError",
            "RESOURCE_EXHAUSTED: Shared memory size limit exceeded: requested 9, available: 8",
        ),
        ("jaxlib._jax.XlaRuntimeError", "RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem."),
        ("torch.AcceleratorError", "CUDA error: an illegal memory access was encountered"),
    ],
)
def test_no_other_error_is_taken_for_it(path, message):
    assert not meters.is_out_of_memory(error(path, message, BaseException))


def test_an_error_raised_because_of_another_is_itself():
    raised = ValueError("the batch is too large")
    raised.__cause__ = MemoryError()
    assert not meters.is_out_of_memory(raised)
