"""How many steps are timed as one block, and what the blocks say."""

from types import SimpleNamespace

import pytest

from benchmarks.engines import Engine
from benchmarks.engines.fit import FitEngine
from benchmarks.measure import timing
from benchmarks.terminal.errors import UsageError


def engine(block=64, kind=Engine, **attributes):
    """What `timing` reads of an engine."""
    return SimpleNamespace(
        block=block, timed_blocks=kind.timed_blocks, block_seconds=kind.block_seconds, batch_size=8, **attributes
    )


@pytest.mark.parametrize(
    ("steps", "least", "most", "expected"),
    [
        (50, 1, 64, [2, 3] * 10),  # long steps are run as asked for
        (7, 1, 64, [1] * 7),
        (3000, 1, 64, [150] * 20),
        (50, 10, 64, [10] * 20),  # short steps are repeated
        (50, 33, 64, [64] * 20),  # and if a block has many, it has a multiple of the engine's
        (50, 65, 64, [128] * 20),
        (1, 500, 64, [512]),
        (50, 65, 1, [65] * 20),
    ],
)
def test_a_block_is_long_enough_to_be_timed(steps, least, most, expected):
    assert timing.blocks(engine(most), steps, least) == expected
    assert sum(expected) >= steps


def test_fit_is_timed_in_a_few_blocks():
    assert timing.blocks(engine(1875, FitEngine), 50, 1) == [10] * 5
    assert timing.blocks(engine(1875, FitEngine), 50, 1500) == [1875] * 5


class Clock:
    """An engine whose calls cost `call` seconds, and `step` seconds for each step, on a clock of its own."""

    def __init__(self, monkeypatch, call=1.0, step=0.01, losses=(0.5,), kind=Engine):
        self.now, self.call, self.step, self.runs = 0.0, call, step, []
        self.losses = list(losses)
        self.engine = engine(kind=kind, run=self.run, warm_up=lambda: 7.0)
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def run(self, steps):
        self.runs.append(steps)
        self.now += self.call + steps * self.step
        return self.losses[min(len(self.runs), len(self.losses)) - 1]


def test_the_fixed_cost_of_a_call_is_not_mistaken_for_steps(monkeypatch):
    clock = Clock(monkeypatch, call=1e-4, step=1e-5)
    probed, least = timing.block_size(clock.engine, 1, 1.1e-4, probe=True)
    assert clock.runs == [4, 16, 64, 256, 1024, 4096][: len(clock.runs)]
    assert probed == sum(clock.runs)
    # 0.05 s are 5,000 steps of 10 µs, less the call.
    assert 4900 <= least <= 5000


def test_no_steps_are_probed_if_they_are_long_or_fixed(monkeypatch):
    clock = Clock(monkeypatch)
    assert timing.block_size(clock.engine, 2, 0.5, probe=True) == (0, 1)
    assert timing.block_size(clock.engine, 1, 0.001, probe=False) == (0, 50)
    assert clock.runs == []


def test_the_rate_is_all_images_over_all_seconds(monkeypatch):
    clock = Clock(monkeypatch, call=0.1, step=0.01)
    timed = timing.measure(clock.engine, steps=40)
    # 20 blocks of 2 steps, each of 0.12 s.
    assert timed.steps == [2] * 20
    assert timed.images_per_second == pytest.approx(8 * 40 / (20 * 0.12))
    assert timed.interval == pytest.approx((timed.images_per_second,) * 2)


def test_the_warm_up_counts_each_step_and_its_time(monkeypatch):
    clock = Clock(monkeypatch, call=0.0, step=0.5)
    warm = timing.warm_up(clock.engine)
    assert (warm.compile_seconds, warm.first_step_end) == (7.0, 0.5)
    assert (warm.steps, warm.seconds) == (sum(clock.runs), pytest.approx(clock.now))
    assert warm.is_steady
    assert warm.block_steps == 1


def test_a_fixed_number_of_warm_up_steps_is_kept(monkeypatch):
    clock = Clock(monkeypatch, call=0.0, step=0.5)
    assert timing.warm_up(clock.engine, 3).steps == sum(clock.runs) == 3


def test_a_loss_that_is_not_finite_names_the_steps(monkeypatch):
    clock = Clock(monkeypatch, losses=[1.0, float("nan")])
    with pytest.raises(UsageError, match=r"the loss became nan between the timed steps 5 and 7"):
        timing.run_blocks(clock.engine, [5, 2, 3])
