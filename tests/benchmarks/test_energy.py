"""The energy of a run: the figure is right, `None` if it can't be had, and no error of NVML reaches the run."""

import sys
import threading

import pytest

from benchmarks.measure.energy import Energy
from tests.benchmarks.fakes import FakeNvml, fake_jax, fake_tensorflow, fake_torch


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
    with Energy() as energy:
        assert energy.joules is None
        assert gpu.open == 1
        gpu.now = 2.5
    assert energy.joules == 750.0
    assert (gpu.open, gpu.samples, gpu.handles) == (0, 0, [0])


@pytest.mark.parametrize("after", [5_000_000, 10])
def test_a_counter_that_stood_still_or_began_anew_tells_nothing(nvml, after):
    gpu = nvml(counter=lambda at: after if at else 5_000_000)
    with Energy() as energy:
        gpu.now = 1.0
    assert energy.joules is None


def test_energy_is_the_area_under_the_samples(nvml):
    # 100 W rising by 40 W a second, over 5 s: 500 + 40 · 25 / 2 joules, wherever the samples fall.
    gpu = nvml(watts=lambda at: 100 + 40 * at)
    energy = Energy(interval=0.001, clock=lambda: gpu.now)
    with energy:
        for at in (1, 2.5, 4):
            gpu.now = at
            # Two samples begin after the time is set, so one of them sees it; the rest falls on a straight line.
            gpu.wait_for(gpu.samples + 2)
        gpu.now = 5
    assert energy.joules == pytest.approx(1000, rel=0.2)
    assert gpu.samples >= 8
    assert gpu.open == 0
    assert "energy" not in {thread.name for thread in threading.enumerate()}


def test_two_samples_are_enough_for_a_short_time(nvml):
    gpu = nvml(watts=lambda at: 100 + 40 * at)
    with Energy(interval=60, clock=lambda: gpu.now) as energy:
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
    with Energy(interval=0.001) as energy:
        gpu.now = 1
        if 3 in options.get("failing", ()):
            gpu.wait_for(3)
    assert energy.joules is None
    assert gpu.open == 0


def test_a_sampler_that_failed_is_not_trusted_though_nvml_answers_again(nvml):
    gpu = nvml(failing=(2,))
    with Energy(interval=0.001) as energy:
        gpu.recover()
    assert energy.joules is None


def test_an_error_at_shutdown_does_not_take_the_figure_away(nvml):
    gpu = nvml(counter=lambda at: round(1000 * at), failing=("shutdown",))
    with Energy() as energy:
        gpu.now = 4
    assert energy.joules == 4


def test_without_the_package_there_is_no_energy(nvml, monkeypatch):
    nvml()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with Energy() as energy:
        pass
    assert energy.joules is None


def test_the_runs_own_error_goes_through(nvml):
    gpu = nvml()
    with pytest.raises(ZeroDivisionError), Energy():
        _ = 1 / 0
    assert gpu.open == 0


def test_a_meter_can_be_used_again(nvml):
    gpu = nvml(counter=lambda at: round(1000 * at))
    energy = Energy()
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
    with Energy():
        pass
    assert gpu.handles == [handle]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("tensorflow", fake_tensorflow(gpus=0)),
        ("jax", fake_jax(platform="cpu")),
        ("torch", fake_torch(available=False)),
        ("openvino", None),
    ],
)
def test_a_gpu_that_the_backend_does_not_use_is_not_asked(fake_backend, monkeypatch, name, module):
    fake_backend(name, module)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(counter=lambda at: round(1000 * at)))
    with Energy() as energy:
        sys.modules["pynvml"].now = 1
    assert energy.joules is None
