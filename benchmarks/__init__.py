"""The harness: commands that train networks and time them. Run from the checkout, as `python -m benchmarks.train`.

At the top are the commands. Below them are rooms, each of which imports only those after it: `cli` (flags, job),
`reporting` (tables, plots), `measure` (time, memory, energy, cost), `peers`, `engines` (how steps are run), `tasks`,
`data`, `records`, `backends` (what the harness asks of TensorFlow, JAX or PyTorch) and `terminal` (messages).

From Python, a model of your own is timed like this:

    from benchmarks import data, engines, tasks
    from benchmarks.measure import timing

    task = tasks.for_model(model, data.load("mnist"), augment=False)
    engine = engines.create(model, keras.optimizers.Adam(), task, engines.Plan(batch_size=128))
    timed = timing.measure(engine, steps=100)
    print(timed.images_per_second, timed.interval)
"""

from importlib.util import find_spec

for _package in ("keras", "absl", "rich"):
    if find_spec(_package) is None:
        raise SystemExit(f"the benchmarks need the package {_package}: pip install -e '.[bench]'")
