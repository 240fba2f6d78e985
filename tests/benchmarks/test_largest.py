"""The search for the largest batch: what it finds and how often it asks, and what is taken for memory that ran out."""

import json
import math
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from benchmarks import backends, records
from benchmarks.measure import largest
from benchmarks.terminal.errors import UsageError

ROOT = Path(__file__).parents[2]
MIB = 2**20


def search(threshold, *arguments, **options):
    """What is found where sizes up to a threshold fit, and the sizes that were asked for."""
    asked = []

    def fits(size):
        asked.append(size)
        return size <= threshold

    return largest.largest(fits, *arguments, **options), asked


# The search alone.


@pytest.mark.parametrize("resolution", [1 / 2, 1 / 16, 1 / 100])
@pytest.mark.parametrize("first", [1, 7, 32, 100, 4096])
def test_the_result_fits_and_little_more_does_not(first, resolution):
    for threshold in [*range(1, 300), *range(300, 100_000, 997)]:
        found, asked = search(threshold, first, resolution=resolution)
        assert found in asked
        assert found <= threshold
        refused = min(size for size in asked if size > threshold)
        assert refused - found <= max(1, resolution * found)
        assert len(set(asked)) == len(asked)
        # Steps of two between the first size and the threshold, then halvings of what is left.
        doublings = abs(math.log2(threshold / first)) + 2
        assert len(asked) <= doublings + math.log2(1 / resolution) + 3


@pytest.mark.parametrize("most", [1, 5, 100, 4000])
@pytest.mark.parametrize("first", [1, 64, 128])
def test_no_size_above_the_limit_is_tried(first, most):
    for threshold in (1, 3, 50, 99, 100, 101, 3999, 4000, 10**9):
        found, asked = search(threshold, first, most)
        assert max(asked) <= most
        assert len(set(asked)) == len(asked)
        if threshold >= most:
            assert found == most
        else:
            assert found <= threshold < found + max(1, found / 16)


@pytest.mark.parametrize(
    ("threshold", "first", "expected"),
    [
        (1000, 100, [100, 200, 400, 800, 1600, 1200, 1000, 1104, 1056]),
        (230, 128, [128, 256, 192, 224, 240, 232]),
        (5, 32, [32, 16, 8, 4, 6, 5]),
        (13, 4, [4, 8, 16, 12, 14, 13]),
        (60_000, 32_768, [32_768, 65_536, 49_152, 57_344, 61_440, 59_392]),
    ],
)
def test_sizes_are_multiples_of_8_where_there_is_room(threshold, first, expected):
    found, asked = search(threshold, first)
    assert asked == expected
    assert found == max(size for size in expected if size <= threshold)


@pytest.mark.parametrize("first", [1, 2, 100])
def test_a_usage_error_if_nothing_fits(first):
    with pytest.raises(UsageError, match="--batch_size=max: not even one example fits"):
        search(0, first)


# A trial, by a program that stands in for the script. `--arch` says what becomes of it.

STAND_IN = r"""
import json, os, sys, time
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("batch_size", None, "")
flags.DEFINE_string("out", None, "")
flags.DEFINE_string("arch", "", "")
flags.DEFINE_integer("steps", 50, "")
flags.DEFINE_integer("warmup_steps", None, "")
flags.DEFINE_bool("peak", True, "")
flags.DEFINE_string("trace", None, "")
left = FLAGS(sys.argv)[1:]
what, _, value = FLAGS.arch.partition(":")


def record(status):
    figures = {"images_per_second": 1.0} if status == "ok" else {}
    with open(FLAGS.out, "a") as out:
        print(json.dumps({"script": "throughput", "status": status, **figures}), file=out)


def end(code):
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


if what == "holds":  # so many MiB, for so many seconds
    size, seconds = value.split(":")
    held = b"1" * (int(size) * 2**20)
    time.sleep(float(seconds))
    record("ok")
elif what == "up_to":
    if int(FLAGS.batch_size) > int(value):
        record("out_of_memory")
        sys.exit("error: too large")
    record("ok")
elif what == "crashes_after_the_record":
    record("out_of_memory")
    os.abort()
elif what == "dumps":
    found = {name: FLAGS[name].value for name in ("batch_size", "steps", "warmup_steps", "peak", "arch", "out")}
    found |= {"left": left, "level": os.environ["TF_CPP_MIN_LOG_LEVEL"]}
    with open(value, "w") as file:
        json.dump(found, file)
    print("noise")
    record("ok")
elif what == "says":  # and ends as the file's first line has it
    with open(value) as file:
        code, text = file.readline(), file.read()
    print(text, file=sys.stderr, flush=True)
    end(int(code))
elif what == "counts":  # a kill, in a file as the kernel's, and ends
    code, _, path = value.partition(":")
    with open(path, "w") as file:
        file.write("pgfault 7\noom_kill 4\n")
    end(int(code))
"""


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch, tmp_path):
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    monkeypatch.setattr(largest, "PROGRAM", (str(program),))


@pytest.mark.parametrize(
    "given",
    [
        ["--batch_size=max", "--steps=9", "--peak", "--out={folder}/mine.jsonl"],
        ["--batch_size", "max", "--warmup_steps", "7", "--peak=true", "--out", "{folder}/mine.jsonl"],
        ["-batch_size=max", "-steps", "9"],
        ["--flagfile={folder}/flags"],
    ],
)
def test_a_trial_takes_the_flags_as_given_but_for_its_own(given, tmp_path, capfd):
    (tmp_path / "flags").write_text(f"--batch_size=max\n--steps=9\n--peak\n--out={tmp_path}/mine.jsonl\n")
    arguments = [argument.replace("{folder}", str(tmp_path)) for argument in given]
    assert largest.attempt([f"--arch=dumps:{tmp_path}/flags.json", *arguments], 48, None)
    found = json.loads((tmp_path / "flags.json").read_text())
    assert found.pop("arch") == f"dumps:{tmp_path}/flags.json"
    out = Path(found.pop("out"))
    # The trial's own file, gone with its folder.
    assert (out.name, out.parent.exists()) == ("trial.jsonl", False)
    # TensorFlow logs an allocation that failed at level 1, and not at 2.
    assert found == {"batch_size": "48", "steps": 1, "warmup_steps": 1, "peak": False, "left": [], "level": "1"}
    assert not (tmp_path / "mine.jsonl").exists()
    assert capfd.readouterr() == ("", "")


def test_the_record_shows_whether_a_batch_fits():
    assert largest.attempt(["--arch=up_to:100"], 100, None)
    assert not largest.attempt(["--arch=up_to:100"], 101, None)
    assert not largest.attempt(["--arch=crashes_after_the_record"], 101, None)


ON_THE_WAY = 'Traceback (most recent call last):\n  File "a.py", line 1, in main\n    raise memory_ran_out\n'

# How it ended, and what was on standard error: the backends' own words.
RAN_OUT = {
    "NumPy": (1, f"{ON_THE_WAY}numpy._core._exceptions._ArrayMemoryError: Unable to allocate 2.19 GiB for an array"),
    "Python": (1, f"{ON_THE_WAY}MemoryError\n"),
    "the script": (1, "error: lenet in batches of 9 takes more memory than there is: try a smaller --batch_size"),
    "TensorFlow": (
        1,
        f"{ON_THE_WAY}tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{{{node Relu}}}} OOM when "
        "allocating tensor with shape[9,24] and type float\n\t [[{{node Relu}}]] [Op:__inference__train_block_936]",
    ),
    "TensorFlow crashed": (
        -11,
        "W0000 00:00:1 2 op_kernel.cc:1858] OP_REQUIRES failed at mkl_util.h:848 : RESOURCE_EXHAUSTED: OOM when "
        "allocating tensor with shape[16384,24,24,32]\nFatal Python error: Segmentation fault\n\nThread 0x00007f5f",
    ),
    "TensorFlow's allocator": (
        -11,
        "W0000 00:00:1 2 bfc_allocator.cc:502] Allocator (mklcpu) ran out of memory trying to allocate 254.19MiB "
        "(rounded to 266534912)requested by op \nW0000 <allocator contains no memory>\nFatal Python error: Segmenta",
    ),
    "JAX": (
        1,
        f"{ON_THE_WAY}jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 266534912 bytes.\n"
        "--------------------\nFor simplicity, JAX has removed its internal frames from the traceback",
    ),
    "PyTorch": (1, f"{ON_THE_WAY}RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    "PyTorch on Windows": (1, f"{ON_THE_WAY}RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory: you"),
    "C++": (-6, "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"),
}
ANOTHER = {
    "an exception": (1, f"{ON_THE_WAY}ValueError: no such thing\n", "failed: ValueError: no such thing"),
    "what a person can put right": (1, "W0000 noise\nerror: --arch must be known\n", "failed: --arch must be known"),
    "no message": (3, "", "failed: it left no message"),
    "a crash": (
        -11,
        "W0000 on the way\nFatal Python error: Segmentation fault\n\nExtension modules: numpy (total: 1)",
        "was ended by SIGSEGV, and nothing shows that memory had run out: W0000 on the way",
    ),
    "a crash after what was no failure": (
        -11,
        "W0000 Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.50GiB with freed_by_count=0. The caller "
        "indicates that this is not a failure, but this may mean",
        "was ended by SIGSEGV",
    ),
    "an exception after what was dealt with": (
        1,
        f"E0000 failed to alloc 2147483648 bytes: out of memory\n{ON_THE_WAY}MemoryError\n\nDuring handling of the "
        f"above exception, another exception occurred:\n\n{ON_THE_WAY}KeyError: 'x'\n",
        "failed: KeyError: 'x'",
    ),
    "an error after what was dealt with": (
        1,
        "E0000 failed to alloc 2147483648 bytes: out of memory\nerror: the loss became nan\n",
        "failed: the loss became nan",
    ),
    "a kill": (-9, "W0000 on the way", "was ended by SIGKILL, and nothing shows that memory had run out"),
}


def said(folder, code, text):
    """The flag with which the program ends like this."""
    (folder / "said").write_text(f"{code}\n{text}")
    return f"--arch=says:{folder}/said"


@pytest.mark.parametrize("name", RAN_OUT)
def test_messages_of_memory_that_ran_out(tmp_path, name):
    assert not largest.attempt([said(tmp_path, *RAN_OUT[name])], 64, None)


@pytest.mark.parametrize("name", ANOTHER)
def test_another_failure_is_reported(tmp_path, name):
    code, text, expected = ANOTHER[name]
    with pytest.raises(UsageError) as caught:
        largest.attempt([said(tmp_path, code, text)], 64, None)
    message = str(caught.value)
    assert message.startswith("--batch_size=max: a batch of 64 ")
    assert expected in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("before", "code", "is_memory"), [(3, -9, True), (4, -9, False), (None, -9, False), (3, -11, False), (3, 1, False)]
)
def test_a_kill_counts_if_the_kernel_was_out_of_memory(monkeypatch, tmp_path, before, code, is_memory):
    monkeypatch.setattr(largest, "KERNEL", tmp_path)
    file = tmp_path / ("vmstat" if before else "elsewhere")
    file.write_text(f"pgfault 7\noom_kill {before}\n")
    arguments = [f"--arch=counts:{code}:{file}"]
    if is_memory:
        assert not largest.attempt(arguments, 64, None)
    else:
        with pytest.raises(UsageError, match={-9: "SIGKILL", -11: "SIGSEGV", 1: "failed"}[code]):
            largest.attempt(arguments, 64, None)


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system has no /proc")


@needs_proc
def test_a_trial_above_its_limit_is_killed():
    assert not largest.attempt(["--arch=holds:400:60"], 64, 200 * MIB)
    assert largest.attempt(["--arch=holds:400:0.5"], 64, 600 * MIB)
    assert largest.attempt(["--arch=holds:400:0.5"], 64, None)


def test_an_interrupted_trial_is_killed(monkeypatch):
    started = []

    class Started(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(largest.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        largest.attempt(["--arch=holds:1:60"], 64, None)
    (child,) = started
    assert child.returncode == -9


@pytest.mark.parametrize(
    ("meminfo", "granted", "expected"),
    [
        ("MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable:    2000 kB\n", None, 0.9 * 2000 * 1024),
        ("MemAvailable: 2000 kB\n", 10**12, 0.9 * 2000 * 1024),
        ("MemAvailable: 2000 kB\n", 1_000_000, 900_000),
        ("MemTotal: 9000 kB\n", 1_000_000, None),
        (None, 1_000_000, None),
    ],
)
def test_the_limit_is_a_share_of_free_memory(monkeypatch, tmp_path, meminfo, granted, expected):
    monkeypatch.setattr(largest, "KERNEL", tmp_path)
    if meminfo:
        (tmp_path / "meminfo").write_text(meminfo)
    assert largest.spare_bytes(granted) == (expected and int(expected))


# The search over trials.

ROW = {
    "script": "throughput",
    "arch": "a",
    "batch_size": 64,
    "environment": {"device": "CPU", "memory_bytes": None},
}


def test_trials_are_printed_and_failures_recorded(tmp_path, capsys):
    out = str(tmp_path / "runs.jsonl")
    assert largest.find(["--arch=up_to:230"], 128, None, ROW, out, None) == 224
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "batch 128: fits",
        "batch 256: out of memory",
        "batch 192: fits",
        "batch 224: fits",
        "batch 240: out of memory",
        "batch 232: out of memory",
    ]
    assert records.read(out) == [{**ROW, "batch_size": size, "status": "out_of_memory"} for size in (256, 240, 232)]


def test_without_a_file_nothing_is_recorded(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert largest.find(["--arch=up_to:230"], 128, 150, ROW, None, None) == 150
    assert [path.name for path in tmp_path.iterdir()] == ["stand_in.py"]


# The whole of it in processes of its own, with a light script in place of the real one.

SCRIPT = """
import time
from absl import flags
from benchmarks.terminal.launch import launch
from benchmarks.terminal.errors import UsageError
from benchmarks.measure import largest
from benchmarks import records

FLAGS = flags.FLAGS
flags.DEFINE_string("batch_size", "64", "")
flags.DEFINE_string("out", None, "")
flags.DEFINE_integer("fits", 0, "")
flags.DEFINE_integer("memory_bytes", None, "")
flags.DEFINE_string("fifo", None, "")
flags.DEFINE_integer("steps", 50, "")
flags.DEFINE_integer("warmup_steps", None, "")
flags.DEFINE_bool("peak", True, "")
flags.DEFINE_string("trace", None, "")


def main():
    row = {"script": "throughput", "environment": {"device": "CPU", "memory_bytes": FLAGS.memory_bytes}}
    if FLAGS.batch_size == "max":
        print("asked")
        largest.hand_over(16, 1000, {**row, "steps": FLAGS.steps}, FLAGS.out)
    size = int(FLAGS.batch_size)
    if FLAGS.fifo:  # open as long as the trial runs
        with open(FLAGS.fifo, "w") as fifo:
            print("started", file=fifo, flush=True)
            time.sleep(600)
    if FLAGS.memory_bytes:
        held = b"1" * (size * 2**20)
        time.sleep(60 if size >= 180 else 0.1)
    if size > FLAGS.fits:
        raise UsageError("it takes more memory than there is")
    print("timed", size, FLAGS.steps)
    if FLAGS.out:
        found = {"status": "ok", "images_per_second": 1.0, "batch_size": size, "steps": FLAGS.steps}
        records.append(FLAGS.out, {**row, **found})
    raise SystemExit(5)


launch(main)
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with the script and what it needs; `run(flags)` runs it there."""
    package = tmp_path / "checkout" / "benchmarks"
    shutil.copytree(ROOT / "benchmarks", package, ignore=shutil.ignore_patterns("results", "__pycache__"))
    (package / "throughput.py").write_text(SCRIPT)

    def run(*arguments, start=subprocess.run, **options):
        return start(
            [sys.executable, "-m", "benchmarks.throughput", *arguments],
            cwd=package.parent,
            env={**os.environ, "PYTHONPATH": "", "PYTHONUNBUFFERED": ""},
            **options or {"capture_output": True, "text": True, "timeout": 300, "check": False},
        )

    return run


def test_the_script_continues_with_the_batch_that_fits(checkout, tmp_path):
    done = checkout("--batch_size", "max", "--fits=40", "--steps=7", f"--out={tmp_path}/runs.jsonl")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "asked",
        "batch 16: fits",
        "batch 32: fits",
        "batch 64: out of memory",
        "batch 48: out of memory",
        "batch 40: fits",
        "batch 44: out of memory",
        "batch 42: out of memory",
        "the largest batch that fits: 40",
        "timed 40 7",
    ]
    assert done.returncode == 5
    written = records.read(f"{tmp_path}/runs.jsonl")
    found = [(record["status"], record["batch_size"], record["steps"]) for record in written]
    refused = [("out_of_memory", size, 7) for size in (64, 48, 44, 42)]
    assert found == [*refused, ("ok", 40, 7)]


@needs_proc
def test_the_available_memory_limits_the_search(checkout):
    done = checkout("--batch_size=max", "--fits=1000", f"--memory_bytes={200 * MIB}")
    found = int(done.stdout.splitlines()[-1].split()[1])
    # Of 180 MiB the interpreter takes some.
    assert 120 <= found < 180
    assert done.stderr == ""


def test_the_script_ends_with_one_line_if_nothing_fits(checkout):
    done = checkout("--batch_size=max", "--fits=0")
    assert done.returncode == 1
    assert done.stderr == "error: --batch_size=max: not even one example fits in memory\n"


def test_a_killed_search_leaves_no_trial(checkout, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        search = checkout("--batch_size=max", f"--fifo={tmp_path}/fifo", start=subprocess.Popen, stdout=subprocess.PIPE)
        with search:
            assert select.select([reader], [], [], 120)[0]
            assert os.read(reader, 100) == b"started\n"
            search.kill()
        # The end of the file: no process has it open any more.
        assert select.select([reader], [], [], 120)[0]
        assert os.read(reader, 100) == b""
    finally:
        os.close(reader)


# The real script, on Keras's backend.


@pytest.fixture
def real(monkeypatch):
    """`real(size, limit_bytes)`: whether a batch fits."""
    monkeypatch.setattr(largest, "PROGRAM", ("-m", "benchmarks.throughput"))
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    monkeypatch.chdir(ROOT)
    arguments = ["--batch_size=max", "--arch=lenet_tiny", "--dataset=synthetic"]
    return lambda size, limit_bytes: largest.attempt(arguments, size, limit_bytes)


def test_a_real_batch_that_fits(real):
    assert real(16, None)


@needs_proc
@pytest.mark.slow
@pytest.mark.skipif(backends.current().device_name() != "CPU", reason="a GPU's driver takes main memory of its own")
def test_a_real_batch_that_main_memory_does_not_hold(real):
    assert real(16, 2**31)
    assert not real(300_000, 2**31)
