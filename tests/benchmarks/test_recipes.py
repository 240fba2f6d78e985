"""How networks are trained by default: the learning rate over a run, a recipe for every family, wrong optimisers."""

import keras
import numpy as np
import pytest

import architectures
from benchmarks.tasks import recipes
from benchmarks.terminal.errors import UsageError


def rates(optimizer, steps):
    """The rate at each step and after the last one."""
    schedule = optimizer._learning_rate
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    return np.array([float(schedule(step)) for step in range(steps + 1)])


@pytest.mark.parametrize("steps", [1, 2, 50, 333])
def test_without_warm_up_the_rate_falls_linearly_to_zero(steps):
    made = recipes.optimizer("adam", 0.4, {}, steps=steps, warmup=0.0)
    np.testing.assert_allclose(rates(made, steps), np.linspace(0.4, 0, steps + 1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("steps", "warmup", "rise"), [(50, 0.2, 10), (100, 0.1, 10), (7, 0.5, 4), (3, 0.2, 1)])
def test_the_rate_rises_linearly_and_falls_as_a_cosine(steps, warmup, rise):
    made = recipes.optimizer("sgd", 0.2, {"momentum": 0.9}, steps=steps, warmup=warmup)
    values = rates(made, steps)
    np.testing.assert_allclose(values[: rise + 1], np.linspace(0, 0.2, rise + 1), rtol=1e-5, atol=1e-7)
    fallen = np.arange(steps - rise + 1) / (steps - rise)
    np.testing.assert_allclose(values[rise:], 0.1 * (1 + np.cos(np.pi * fallen)), rtol=1e-4, atol=1e-7)
    # The optimiser steps by it: the rate after a step is that of the next.
    weight = keras.Variable(np.zeros(3, "float32"))
    made.build([weight])
    assert float(made.learning_rate) == pytest.approx(values[0], abs=1e-7)
    made.apply([keras.ops.ones(3)])
    assert float(made.learning_rate) == pytest.approx(values[1], rel=1e-5)


def test_a_run_that_is_all_warm_up_still_has_a_rate():
    assert np.isfinite(rates(recipes.optimizer("sgd", 0.2, {}, steps=1, warmup=0.9), 1)).all()


@pytest.mark.parametrize("family", sorted({architectures.family(arch) for arch in architectures.names()}))
def test_every_family_has_a_recipe_that_makes_its_optimiser(family):
    plan = recipes.recipe(family)
    made = recipes.optimizer(plan.optimizer, plan.learning_rate, plan.arguments, steps=20, warmup=plan.warmup)
    assert type(made).__name__.lower() == plan.optimizer
    config = made.get_config()
    assert {key: config[key] for key in plan.arguments} == dict(plan.arguments)
    assert rates(made, 20).max() == pytest.approx(plan.learning_rate, rel=1e-5)
    assert plan.batch_size >= 1


def test_what_has_no_recipe_has_the_default():
    assert recipes.recipe(None) == recipes.recipe("no such family") == recipes.Recipe()
    assert recipes.recipe("resnet") != recipes.Recipe()


def test_a_recipe_is_for_a_family_that_exists():
    assert set(recipes.RECIPES) <= {architectures.family(arch) for arch in architectures.names()}


@pytest.mark.parametrize("name", ["sgd", "SGD", "adam", "AdamW", "rmsprop", "lion", "nadam", "adagrad", "lamb"])
def test_an_optimiser_is_known_by_its_name(name):
    made = recipes.optimizer(name, 0.1, {"clipnorm": 1.0}, steps=10, warmup=0.0)
    assert type(made).__name__.lower() == name.lower()
    assert made.clipnorm == 1.0


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("sdg", {}, ["--optimizer", "'sdg'", "sgd"]),
        ("adamww", {}, ["'adamww'", "adamw"]),
        ("", {}, ["--optimizer"]),
        ("lossscaleoptimizer", {}, ["'lossscaleoptimizer'"]),
        ("optimizer", {}, ["'optimizer'"]),
        ("sgd", {"momentun": 0.9}, ["sgd", "momentun"]),
        ("adam", {"momentum": 0.9}, ["adam", "momentum"]),
        ("sgd", {"momentum": 9}, ["sgd", "momentum"]),
        ("sgd", {"learning_rate": 0.5}, ["learning_rate", "--learning_rate"]),
    ],
)
def test_a_wrong_optimiser_is_said_in_a_sentence(name, arguments, parts):
    with pytest.raises(UsageError) as caught:
        recipes.optimizer(name, 0.1, arguments, steps=10, warmup=0.0)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    for part in parts:
        assert part in text


@pytest.mark.parametrize(("policy", "scaled"), [("float32", False), ("mixed_bfloat16", False), ("mixed_float16", True)])
def test_float16_gradients_are_scaled(policy, scaled):
    keras.config.set_dtype_policy(policy)
    made = recipes.optimizer("adam", 0.1, {}, steps=10, warmup=0.0)
    assert isinstance(made, keras.optimizers.LossScaleOptimizer) == scaled
