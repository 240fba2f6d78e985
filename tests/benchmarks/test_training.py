"""The training loop: all steps of all epochs, and what an interrupt says."""

from types import SimpleNamespace

import pytest

from benchmarks.measure import training
from benchmarks.terminal.errors import UsageError


def engine(run, *, whole_epochs=False, steps_per_epoch=10):
    calls = []

    def count(steps):
        calls.append(steps)
        return run(sum(calls))

    return SimpleNamespace(
        run=count, calls=calls, warm_up=lambda: 1.5, sync=lambda: calls.append("sync"), batch_size=8,
        block=steps_per_epoch if whole_epochs else 4,
        whole_epochs=whole_epochs, steps_per_epoch=steps_per_epoch,
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [0.01, 0.2, 0.7])
def test_the_loss_is_that_of_the_last_block_at_any_pace(monkeypatch, seconds):
    """Slow steps run one by one, fast ones by the block: that must not change what is recorded."""
    clock, calls = [0.0], []

    def run(steps):
        clock[0] += seconds * steps
        first = sum(calls)
        calls.append(steps)
        return sum(range(first, first + steps)) / steps

    made = SimpleNamespace(
        run=run, warm_up=lambda: 1.0, sync=lambda: None, batch_size=8, block=4, whole_epochs=False, steps_per_epoch=10
    )
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    # The losses of steps 16 to 19.
    assert training.train(made, 20).loss == pytest.approx((16 + 17 + 18 + 19) / 4)
    assert sum(calls) == 20


def test_blocks_end_with_the_epoch():
    made, shown = engine(lambda done: 1 / done), []
    trained = training.train(made, 30, lambda steps, note: shown.append((steps, note)))
    *calls, last = made.calls
    assert last == "sync"
    assert (trained.steps, sum(calls), trained.compile_seconds) == (30, 30, 1.5)
    done = [sum(calls[: i + 1]) for i in range(len(calls))]
    assert {10, 20, 30} <= set(done)
    assert [steps for steps, _ in shown] == calls
    assert shown[-1][1].startswith("epoch 3  loss 0.0333")


def test_an_engine_of_whole_epochs_is_called_once_per_epoch():
    made = engine(lambda done: 1.0, whole_epochs=True)
    training.train(made, 30)
    assert made.calls == [10, 10, 10, "sync"]


def test_a_loss_that_is_not_finite_ends_the_training():
    with pytest.raises(UsageError, match=r"the loss became inf between steps 0 and 1; .*--learning_rate"):
        training.train(engine(lambda done: float("inf")), 30)


def test_an_interrupt_says_how_far_it_got():
    def run(done):
        if done > 10:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt, match=r"after 10 of 30 steps: neither the network nor a record was written"):
        training.train(engine(run, whole_epochs=True), 30)


@pytest.mark.parametrize(("whole_epochs", "first"), [(False, 1.0), (True, None)])
def test_the_first_loss_is_that_of_the_first_step(whole_epochs, first):
    made = engine(lambda done: 1 / done, whole_epochs=whole_epochs)
    assert training.train(made, 10).first_loss == first


def test_fewer_steps_than_a_block():
    made = engine(lambda done: 1 / done)
    trained = training.train(made, 2)
    assert (trained.steps, sum(made.calls[:-1]), made.calls[-1]) == (2, 2, "sync")
    assert trained.loss == pytest.approx((1 + 1 / 2) / 2)
