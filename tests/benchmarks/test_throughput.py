"""How many steps are timed at once."""

import pytest
from absl import flags
from absl.testing import flagsaver

from benchmarks import throughput


@pytest.fixture(autouse=True)
def _parsed():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["throughput"])


@pytest.mark.parametrize(
    ("steps", "least", "most", "expected"),
    [
        (50, 1, 64, [2, 3] * 10),  # long steps are run as asked for
        (7, 1, 64, [1] * 7),
        (3000, 1, 64, [150] * 20),
        (50, 10, 64, [10] * 20),  # short ones are too few
        (50, 33, 64, [64] * 20),  # and if they are many, they are whole blocks of the engine's
        (50, 65, 64, [128] * 20),
        (1, 500, 64, [512]),
        (50, 65, 1, [65] * 20),
    ],
)
def test_a_block_is_long_enough_to_be_timed(steps, least, most, expected):
    assert throughput.blocks(steps, least, most) == expected
    assert sum(expected) >= steps


def test_fit_is_timed_in_a_few_blocks():
    with flagsaver.flagsaver(input="fit"):
        assert throughput.blocks(50, 1, 1875) == [10] * 5
        assert throughput.blocks(50, 1500, 1875) == [1875] * 5


class Clock:
    """A run of steps that costs a second, and a hundredth for each step."""

    def __init__(self, monkeypatch, call=1.0, step=0.01):
        self.now, self.call, self.step, self.runs = 0.0, call, step, []
        monkeypatch.setattr(throughput.time, "perf_counter", lambda: self.now)

    def run(self, steps):
        self.runs.append(steps)
        self.now += self.call + steps * self.step
        return 0.0


def test_what_is_mostly_the_calls_own_time_tells_nothing_of_the_steps(monkeypatch):
    clock = Clock(monkeypatch, call=1e-4, step=1e-5)
    tried, least = throughput.lasting(clock.run, 1, 1.1e-4)
    assert clock.runs == [4, 16, 64, 256, 1024, 4096][: len(clock.runs)]
    assert tried == sum(clock.runs)
    # 0.05 s are 5,000 steps of 10 µs, less the call.
    assert 4900 <= least <= 5000


def test_long_steps_and_a_fixed_warm_up_are_taken_as_they_are(monkeypatch):
    clock = Clock(monkeypatch)
    assert throughput.lasting(clock.run, 2, 0.5) == (0, 1)
    with flagsaver.flagsaver(warmup_steps=1):
        assert throughput.lasting(clock.run, 1, 0.001) == (0, 50)
    assert clock.runs == []
