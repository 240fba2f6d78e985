"""The energy that the GPU uses during a run."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

from benchmarks import backends
from benchmarks.measure import nvidia


class Energy:
    """The energy that the GPU uses while the context is open.

        with Energy() as energy:
            ...
        energy.joules

    `joules` is `None` inside the context, on CPU, without the package nvidia-ml-py and whenever NVML fails; an error of
    NVML never fails the run. It is the energy of the whole board, including what other processes use, of the first GPU
    in CUDA_VISIBLE_DEVICES, or of the first GPU. The driver updates its counter a few times per second, so that the
    figure is imprecise for runs of less than a few seconds.

    Args:
        interval: seconds between samples of the power, on a GPU that has no energy counter.
        clock: returns the time in seconds.
    """

    joules: float | None

    def __init__(self, *, interval: float = 0.05, clock: Callable[[], float] = time.perf_counter) -> None:
        self._interval, self._clock = interval, clock
        self.joules = None

    def __enter__(self) -> "Energy":
        self.joules = None
        self._read: Callable[[], float | None] = lambda: None
        self._opened = ExitStack()
        # NVML, its Python package and the driver each have their own classes of errors.
        try:
            if backends.current().is_gpu():
                self._read = self._start(self._opened.enter_context(nvidia.nvml()))
        except Exception:
            self._opened.close()
        return self

    def __exit__(self, *error: object) -> None:
        with self._opened:
            try:
                self.joules = self._read()
            except Exception:
                self.joules = None

    def _start(self, nvml: Any) -> Callable[[], float | None]:
        """Starts measuring; returns a function that stops it and returns the joules."""
        gpu = nvidia.first_gpu(nvml)
        try:
            before = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
        except Exception:
            return self._sample(lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000)

        def end() -> float | None:
            millijoules = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) - before
            # A GPU always uses some: the counter was not updated in the meantime, or was reset.
            return float(millijoules) / 1000 if millijoules > 0 else None

        return end

    def _sample(self, watts: Callable[[], float]) -> Callable[[], float | None]:
        """Samples the power in a thread; the returned function stops it and integrates the samples."""
        samples = [(self._clock(), watts())]
        stop, failed = threading.Event(), threading.Event()

        def sample() -> None:
            try:
                while not stop.wait(self._interval):
                    samples.append((self._clock(), watts()))
            except Exception:
                failed.set()

        thread = threading.Thread(target=sample, name="energy", daemon=True)
        thread.start()

        def end() -> float | None:
            stop.set()
            thread.join()
            samples.append((self._clock(), watts()))
            joules = sum((later - earlier) * (p + q) / 2 for (earlier, p), (later, q) in pairwise(samples))
            return None if failed.is_set() else joules

        return end
