"""The profile: where it is written, which operations it names, and what is refused before anything runs."""

from types import SimpleNamespace

import keras
import pytest

import architectures
from benchmarks import backends, engines
from benchmarks.measure import trace
from benchmarks.tasks import Classification
from benchmarks.terminal.errors import UsageError

BACKEND = keras.backend.backend()
profiled = pytest.mark.skipif(BACKEND not in ("tensorflow", "jax"), reason="there is no profiler")
of_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow's profile is read")


def engine_of(arch, images, **plan):
    """An engine that is warmed up."""
    model = architectures.create(arch)
    work = Classification(images, augment=False)
    engine = engines.create(model, keras.optimizers.SGD(0.1), work, engines.Plan(batch_size=8, **plan))
    engine.warm_up()
    return engine


def profiles(folder):
    """The files of all profiles."""
    return list(folder.glob("plugins/profile/*/*.xplane.pb"))


@profiled
def test_the_longest_operations_of_a_profile(small, tmp_path):
    engine = engine_of("mlp_tiny" if BACKEND == "jax" else "lenet_tiny", small(60))
    assert profiles(tmp_path) == []
    longest = trace.write(str(tmp_path), engine)
    (profile,) = profiles(tmp_path)
    assert profile.stat().st_size > 1000
    if BACKEND == "jax":
        assert longest is None
        return
    pytest.importorskip("tensorflow.tsl.profiler.protobuf.xplane_pb2")
    assert any("Conv2D" in kind for kind in longest)
    assert any("MatMul" in kind for kind in longest)
    assert not any("Mkl" in kind for kind in longest)
    assert len(longest) <= trace.LONGEST
    assert list(longest.values()) == sorted(longest.values(), reverse=True)
    assert min(longest.values()) >= 0


@of_tensorflow
def test_a_second_profile_in_the_folder_is_read_by_itself(small, tmp_path):
    pytest.importorskip("tensorflow.tsl.profiler.protobuf.xplane_pb2")
    images = small(60)
    tables = [trace.write(str(tmp_path), engine_of(arch, images, jit="off")) for arch in ("lenet_tiny", "mlp_tiny")]
    assert [any("Conv2D" in kind for kind in longest) for longest in tables] == [True, False]
    assert all(any("MatMul" in kind for kind in longest) for longest in tables)


@of_tensorflow
def test_compiled_steps_have_no_table_of_operations(small, tmp_path):
    assert trace.write(str(tmp_path), engine_of("mlp_tiny", small(60), jit="on")) is None
    assert profiles(tmp_path)


@of_tensorflow
@pytest.mark.parametrize(("block", "steps"), [(1, 1), (3, 3), (64, 5)])
def test_a_few_steps_of_one_block_are_profiled(monkeypatch, tmp_path, block, steps):
    ran = []
    monkeypatch.setattr(type(backends.current()), "operation_ms", lambda self, folder: {"Conv2D": 30.0, "Add": 60.0})
    longest = trace.write(str(tmp_path), SimpleNamespace(block=block, jit=False, run=ran.append))
    assert ran == [steps]
    assert list(longest.items()) == [("Add", 60 / steps), ("Conv2D", 30 / steps)]


@of_tensorflow
def test_times_are_summed_by_kind(tmp_path):
    protobuf = pytest.importorskip("tensorflow.tsl.profiler.protobuf.xplane_pb2")
    space = protobuf.XSpace()
    # Two threads, whose milliseconds are summed; names without a kind are those of the calls around the operations.
    names = [
        "net/conv1/Conv2D:_MklNativeConv2D",
        "net/conv2/Conv2D:Conv2D",
        "net/dense:_MklMatMul",
        "RunBlock",
        "a::b:c",
    ]
    for thread in ([(0, 6.0), (2, 1.0), (3, 90.0)], [(1, 2.0), (2, 0.5), (4, 90.0), (2, 0.25)]):
        plane = space.planes.add()
        for index, name in enumerate(names):
            plane.event_metadata[index].name = name
        line = plane.lines.add()
        for index, milliseconds in thread:
            line.events.add(metadata_id=index, duration_ps=int(milliseconds * 1e9))
    path = tmp_path / "plugins" / "profile" / "2026" / "machine.xplane.pb"
    path.parent.mkdir(parents=True)
    path.write_bytes(space.SerializeToString())
    assert backends.current().operation_ms(tmp_path) == {"Conv2D": 8.0, "MatMul": pytest.approx(1.75)}
    path.write_bytes(protobuf.XSpace().SerializeToString())
    assert backends.current().operation_ms(tmp_path) == {}


@of_tensorflow
def test_without_operations_there_is_no_table(monkeypatch, tmp_path):
    for answer in ({}, None):
        monkeypatch.setattr(type(backends.current()), "operation_ms", lambda self, folder, answer=answer: answer)
        assert trace.write(str(tmp_path), SimpleNamespace(block=1, jit=False, run=lambda steps: None)) is None


@of_tensorflow
def test_only_the_longest_operations_are_kept(monkeypatch, tmp_path):
    every = {f"Op{i}": float(i) for i in range(100)}
    monkeypatch.setattr(type(backends.current()), "operation_ms", lambda self, folder: every)
    longest = trace.write(str(tmp_path), SimpleNamespace(block=1, jit=False, run=lambda steps: None))
    assert list(longest) == [f"Op{i}" for i in range(99, 99 - trace.LONGEST, -1)]


@profiled
def test_the_folder_is_made(tmp_path):
    trace.check(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    trace.check(str(tmp_path))


@profiled
@pytest.mark.parametrize("inside", ["file", "file/folder"])
def test_a_file_is_no_folder(tmp_path, inside):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        trace.check(str(tmp_path / inside))
    assert str(caught.value).startswith(f"--trace={tmp_path / inside} can't be made a folder: ")


def test_a_backend_without_a_profiler_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(UsageError, match="--trace needs KERAS_BACKEND=tensorflow or jax; got openvino"):
        trace.check(str(tmp_path / "folder"))
    assert not (tmp_path / "folder").exists()
