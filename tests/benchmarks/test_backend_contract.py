"""The contract of a backend: device, TF32, errors of memory; and who may know which backend it is."""

import ast
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import backends
from benchmarks.backends.tensorflow import for_input
from benchmarks.measure import environment, nvidia
from tests.support.fakes import FakeNvml, fake_jax, fake_tensorflow, fake_torch
from tests.support.process import ROOT, python


def last_line(script, **variables):
    """What a script prints last, from JSON."""
    done = python("-c", script, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# The device.


@pytest.mark.parametrize(("name", "module"), [("tensorflow", fake_tensorflow()), ("torch", fake_torch())])
def test_the_peak_of_the_device_is_reset(fake_backend, name, module):
    fake_backend(name, module)
    assert backends.current().peak_bytes() == 600
    assert backends.current().reset_peak_bytes() is True
    assert backends.current().peak_bytes() == 100


def test_the_peak_of_the_device_can_not_be_reset_on_jax(fake_backend):
    fake_backend("jax", fake_jax())
    assert backends.current().reset_peak_bytes() is False
    assert backends.current().peak_bytes() == 600
    fake_backend("jax", fake_jax(statistics=False))
    assert backends.current().peak_bytes() is None
    fake_backend("jax", fake_jax(platform="tpu"))
    assert backends.current().peak_bytes() == 600


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("tensorflow", fake_tensorflow(gpus=0)),
        ("jax", fake_jax(platform="cpu")),
        ("torch", fake_torch(available=False)),
        ("openvino", None),
    ],
)
def test_on_cpu_there_are_no_figures_of_a_gpu(fake_backend, monkeypatch, name, module):
    fake_backend(name, module)
    # A GPU that the backend does not use.
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert not backends.current().is_gpu()
    assert backends.current().peak_bytes() is None
    assert backends.current().reset_peak_bytes() is False
    found = environment.machine()
    assert (found["device"], found["driver"], found["cuda"], found["tf32"]) == ("CPU", None, None, False)


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
def test_tf32_depends_on_settings_and_device(fake_backend, monkeypatch, name, module, tf32):
    fake_backend(name, module)
    assert backends.current().may_use_tf32() is tf32
    assert environment.machine()["tf32"] is tf32
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert backends.current().may_use_tf32() is False


@pytest.mark.parametrize(
    ("name", "module", "cuda"),
    [("tensorflow", fake_tensorflow(), "12.5.1"), ("jax", fake_jax(), "12.8"), ("torch", fake_torch(), "12.6")],
)
def test_the_versions_of_cuda_and_of_the_driver(fake_backend, monkeypatch, tmp_path, name, module, cuda):
    fake_backend(name, module)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    found = environment.machine()
    assert (found["device"], found["device_count"]) == ("Big GPU", 2)
    assert (found["driver"], found["cuda"]) == ("570.86.15", cuda)
    assert sys.modules["pynvml"].open == 0

    # Without NVML, from the driver itself; without both, unknown.
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(nvidia, "DRIVER", tmp_path / "version")
    assert environment.machine()["driver"] is None
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12\n"
    )
    assert environment.machine()["driver"] == "550.54.15"
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (root@build)\n"
    )
    assert environment.machine()["driver"] == "570.86.15"


def test_details_that_fail_are_unknown(fake_backend):
    def fails(*arguments):
        raise RuntimeError("no answer")

    module = fake_torch()
    module.version = None
    module.cuda.device_count = module.cuda.get_device_capability = fails
    fake_backend("torch", module)
    found = environment.machine()
    assert [found[key] for key in ("device_count", "cuda", "tf32")] == [None] * 3


def test_the_machine_of_these_tests():
    found = json.loads(json.dumps(environment.machine(), allow_nan=False))
    assert found["device_count"] >= 1
    assert found["memory_bytes"] is None or 2**28 < found["memory_bytes"] < 2**50
    assert backends.current().is_gpu() == (backends.current().peak_bytes() is not None)
    if found["device"] == "CPU":
        assert (found["driver"], found["cuda"], found["tf32"]) == (None, None, False)


def test_a_backend_without_a_file_has_no_figures(fake_backend):
    fake_backend("openvino", None)
    backend = backends.current()
    assert (backend.device_name(), backend.device_count(), backend.cuda_version()) == ("CPU", None, None)
    assert (backend.is_gpu(), backend.can_trace) == (False, False)


@pytest.mark.parametrize("is_late", [False, True])
def test_for_input_tensorflow_is_kept_off_the_gpu(fake_backend, monkeypatch, is_late):
    hidden = []

    def set_visible_devices(devices, kind):
        if is_late:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        hidden.append((devices, kind))

    tensorflow = fake_tensorflow()
    tensorflow.config.set_visible_devices = set_visible_devices
    fake_backend("jax", fake_jax())
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    assert for_input() is tensorflow
    assert hidden == ([] if is_late else [([], "GPU")])
    hidden.clear()
    fake_backend("tensorflow", tensorflow)
    assert for_input() is tensorflow
    assert hidden == []


def test_a_backend_is_added_by_one_class(monkeypatch, fake_backend):
    class OpenVino(backends.Backend):
        name = "openvino"
        out_of_memory = (("openvino", "Error", "no memory"),)

        def device_name(self):
            return "NPU"

    fake_backend("openvino", None)
    assert not backends.is_out_of_memory(error("openvino.Error", "no memory"))
    monkeypatch.setitem(backends.BACKENDS, "openvino", OpenVino)
    assert environment.machine()["device"] == "NPU"
    assert backends.is_out_of_memory(error("openvino.Error", "no memory"))


# Errors of memory.


RUN_OUT = """
import json, keras
from benchmarks import backends

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
found = []
for group in (attempts, others):
    found.append([])
    for attempt in group:
        try:
            attempt()
        except BaseException as error:
            found[-1].append([backends.is_out_of_memory(error), type(error).__name__, str(error)])
        else:
            raise SystemExit("an attempt did not fail")
print(json.dumps(found))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_real_errors_are_distinguished(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    if backend == "tensorflow" and not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    out_of_memory, others = last_line(RUN_OUT, KERAS_BACKEND=backend, CUDA_VISIBLE_DEVICES="")
    assert [is_memory for is_memory, *_ in out_of_memory] == [True] * len(out_of_memory), out_of_memory
    assert [is_memory for is_memory, *_ in others] == [False] * len(others), others


def test_numpy_and_python_run_out():
    with pytest.raises(MemoryError) as caught:
        np.empty(2**60, "uint8")
    assert backends.is_out_of_memory(caught.value)
    assert backends.is_out_of_memory(MemoryError())


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
    assert backends.is_out_of_memory(error(path, message))
    subclass = type("Wrapped", (type(error(path, message)),), {"__module__": "elsewhere"})
    assert backends.is_out_of_memory(subclass(f"Exception encountered when calling Conv2D.call().\n\n{message}"))


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
    assert not backends.is_out_of_memory(error(path, message, BaseException))


def test_an_error_raised_because_of_another_is_itself():
    raised = ValueError("the batch is too large")
    raised.__cause__ = MemoryError()
    assert not backends.is_out_of_memory(raised)


# Imports.

# Who may import a backend; nobody else does, in a function either.
MAY_IMPORT = {
    "tensorflow": {"backends/tensorflow.py", "engines/tensorflow.py", "engines/fused_norm.py"},
    "jax": {"backends/jax.py", "engines/jax.py"},
    "torch": {"backends/torch.py", "engines/torch.py", "peers/plain_torch.py"},
}
MAY_IMPORT = {name: {f"benchmarks/{file}" for file in files} for name, files in MAY_IMPORT.items()}
SOURCES = sorted(path for name in ("kblocks", "architectures", "benchmarks") for path in (ROOT / name).rglob("*.py"))


def backends_imported(text):
    """The backends that a file imports, by a statement or by name."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {name.partition(".")[0] for name in found} & set(MAY_IMPORT)


def is_backend(node):
    """Whether an expression is the backend's name: `keras.backend.backend()`, or a variable or field `backend`."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in ("backend", "keras.backend.backend", "keras.config.backend")
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "backend"
    return ast.unparse(node).endswith(("backend", "current().name", "backend.name"))


def names_compared(text):
    """The lines that compare the backend with a constant or match it."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Match) and is_backend(node.subject):
            found.append(node.lineno)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            constants = {each.value for side in sides for each in ast.walk(side) if isinstance(each, ast.Constant)}
            if any(map(is_backend, sides)) and constants & set(MAY_IMPORT):
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_backend_is_known_only_where_it_may(path):
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    assert [backend for backend in backends_imported(text) if name not in MAY_IMPORT[backend]] == []
    if not name.startswith("benchmarks/backends/"):
        assert names_compared(text) == []


def test_all_that_may_import_a_backend_do():
    for backend, files in MAY_IMPORT.items():
        for file in files:
            assert backend in backends_imported(Path(ROOT, file).read_text(encoding="utf-8")), file


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("import tensorflow as tf", "tensorflow"),
        ("def f():\n  from jax import numpy", "jax"),
        ("try:\n  import torch.nn\nexcept ImportError: pass", "torch"),
        ("import importlib\nimportlib.import_module('torch')", "torch"),
    ],
)
def test_an_import_is_seen(text, backend):
    assert backends_imported(text) == {backend}
    assert backends_imported(f"from benchmarks.backends import {backend}\nfrom .{backend} import a") == set()


@pytest.mark.parametrize(
    "text",
    [
        "keras.backend.backend() == 'jax'",
        "'torch' != keras.backend.backend()",
        "keras.config.backend() in ('jax', 'torch')",
        "backend() not in {'jax'}",
        "backend == 'tensorflow'",
        "record['backend'] == 'tensorflow'",
        "backends.current().name == 'jax'",
        "match keras.backend.backend():\n  case 'jax': pass",
    ],
)
def test_a_comparison_is_seen(text):
    assert names_compared(text) == [1]


@pytest.mark.parametrize("text", ["peer in ('torch', 'fit')", "backend == other", "jax.default_backend() == 'cpu'"])
def test_another_comparison_is_none(text):
    assert names_compared(text) == []


def test_no_backend_is_imported_before_it_is_asked_for():
    script = """
import importlib.machinery, json, sys, types
sys.modules["keras"] = types.ModuleType("keras")
sys.modules["keras"].__spec__ = importlib.machinery.ModuleSpec("keras", None)
from benchmarks import backends
from benchmarks.backends.tensorflow import for_input
from benchmarks.measure import energy, environment, memory, peak
print(json.dumps(sorted({"tensorflow", "jax", "torch", "pynvml"} & set(sys.modules))))
"""
    assert last_line(script) == []
