"""Stand-ins for the backends on GPUs and for NVML."""

import threading
import time
from types import ModuleType, SimpleNamespace


def fake_tensorflow(*, gpus=2, capability=(9, 0), tf32=True):
    """TensorFlow as far as the harness uses it; its peak is 600 bytes, and 100 after a reset."""
    devices = {"GPU": [f"gpu{i}" for i in range(gpus)], "CPU": ["cpu0"]}
    peaks = {"GPU:0": 600}
    experimental = SimpleNamespace(
        get_memory_info=lambda device: {"current": 100, "peak": peaks[device]},
        reset_memory_stats=lambda device: peaks.update({device: 100}),
        tensor_float_32_execution_enabled=lambda: tf32,
        get_device_details={
            "gpu0": {"device_name": "Big GPU"} | ({"compute_capability": capability} if capability else {})
        }.get,
    )
    return SimpleNamespace(
        config=SimpleNamespace(get_visible_devices=lambda kind: devices.get(kind, []), experimental=experimental),
        sysconfig=SimpleNamespace(get_build_info=lambda: {"cuda_version": "12.5.1"}),
    )


def fake_jax(*, platform="gpu", capability="9.0", precision=None, statistics=True):
    """JAX likewise."""
    device = SimpleNamespace(
        platform=platform,
        device_kind="Big GPU",
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
            get_device_name=lambda: "Big GPU",
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


class NvmlError(Exception):
    """As pynvml's own, which is of no other class either."""


class FakeNvml(ModuleType):
    """A GPU that draws `watts(now)`; what is named in `failing`, or a sample of that number, raises an error."""

    def __init__(self, *, watts=lambda at: 300.0, counter=None, failing=()):
        super().__init__("pynvml")
        self.now, self.open, self.handles, self.samples = 0.0, 0, [], 0
        self._watts, self._counter, self._failing = watts, counter, failing
        self.failed = threading.Event()

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
            self.failed.set()
            raise NvmlError(self.samples)
        self.samples += 1
        return int(1000 * self._watts(self.now))

    def wait_for(self, samples):
        """Waits until that many samples were taken."""
        until = time.monotonic() + 60
        while self.samples < samples:
            assert time.monotonic() < until, f"{self.samples} samples within a minute, not {samples}"
            time.sleep(0.001)

    def recover(self):
        """Waits until a sample has failed; later ones do not."""
        assert self.failed.wait(60)
        self._failing = ()
