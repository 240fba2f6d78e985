"""The search behind `--batch_size=max`: the largest batch that memory holds.

    throughput --batch_size=max  →  largest  →  throughput … --batch_size=224
                                       └ throughput … --steps=1 --batch_size=128, then 256, 192, 224, …

A trial has a process of its own, since nothing is sure in one whose memory has run out. The search, too, goes on in a
new process in place of the one that asked: on a GPU, TensorFlow and JAX take most of the memory at their first array.

On CPU a trial is watched from outside and ended when it holds more than its share of main memory; left alone, it could
take the whole machine down. A limit set by the system makes any allocation fail, small ones too: under one, TensorFlow
and JAX ended by SIGSEGV or SIGABRT, in errors that say nothing of memory, or not at all.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import records
from benchmarks.cli.launch import launch
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError

PROGRAM = ("-m", "benchmarks.throughput")
TRIAL = ("--steps=1", "--warmup_steps=1", "--nopeak", "--trace=")
KERNEL = Path("/proc")
SHARE = 0.9  # of the free main memory, for a trial
INTERVAL = 0.01  # seconds between looks at a trial

# What a process leaves on standard error that could not record that memory ran out. TensorFlow's kernels for CPU log an
# allocation that failed, then crash; where it adds that this "is not a failure", it goes on with less.
MEMORY_RAN_OUT = (
    r"\boom when allocating|(?<!ran )out of memory|ran out of memory trying to allocate(?!.*not a failure)"
    r"|\bstd::bad_alloc|memoryerror\b|(can't|cannot) allocate memory|not enough memory|more memory than there is"
)


def hand_over(first: int, most: int | None, row: dict[str, Any], out: str | None) -> NoReturn:
    """Goes on as the search in place of this process, and after it as the script with the batch that was found.

    Args:
        first: the size to begin with.
        most: the largest size to try; `None` for no bound.
        row: the record of a batch that does not fit, but for its size and status.
        out: the file that such records are appended to, if any.
    """
    request = json.dumps({"first": first, "most": most, "row": row, "out": out})
    _become("-m", "benchmarks.measure.largest", "--", request, *sys.argv[1:])


def main(arguments: list[str]) -> None:
    """What was handed over."""
    request, arguments = json.loads(arguments[0]), arguments[1:]
    where = request["row"]["environment"]
    limit = spare_bytes(where["memory_bytes"]) if where["device"] == "CPU" else None
    size = find(arguments, **request, limit_bytes=limit)
    console.say(f"the largest batch that fits: {size}")
    _become(*PROGRAM, *arguments, f"--batch_size={size}")


def find(
    arguments: Sequence[str],
    first: int,
    most: int | None,
    row: dict[str, Any],
    out: str | None,
    limit_bytes: int | None,
) -> int:
    """The largest batch that fits, as `largest` has it; every trial is told in a line.

    Args:
        arguments: of the script, as its user gave them.
        first: this and the next three: see `hand_over`.
        most: see there.
        row: see there.
        out: see there.
        limit_bytes: of main memory that a trial may hold; `None` for no limit.
    """

    def fits(size: int) -> bool:
        is_fit = attempt(arguments, size, limit_bytes)
        console.say(f"batch {size}: {'fits' if is_fit else 'out of memory'}")
        if out and not is_fit:
            records.append(out, {**row, "batch_size": size, "status": "out_of_memory"})
        return is_fit

    return largest(fits, first, most)


def largest(fits: Callable[[int], bool], first: int, most: int | None = None, *, resolution: float = 1 / 16) -> int:
    """The largest size that fits, about: by doubling or halving from `first`, then by bisection, at multiples of 8.

    Args:
        fits: whether a size does; asked once for each.
        first: the size to begin with.
        most: the largest size to try; `None` for no bound.
        resolution: the least size known not to fit is larger than the result by at most this share, or by one.

    Returns:
        A size that fits.

    Raises:
        UsageError: 1 does not fit.
    """
    fitting, failing, size = 0, None, first if most is None else min(first, most)
    while True:
        if fits(size):
            fitting = size
        else:
            failing = size
        if failing == 1:
            raise UsageError("--batch_size=max: not even one example fits in memory")
        if failing is None:
            size = 2 * fitting if most is None else min(2 * fitting, most)
            if size == fitting:
                return fitting
        elif not fitting:
            size = failing // 2
        elif failing - fitting <= max(1, resolution * fitting):
            return fitting
        else:
            size = (fitting + failing) // 2
            if fitting < (rounded := 8 * round(size / 8)) < failing:
                size = rounded


def attempt(arguments: Sequence[str], size: int, limit_bytes: int | None) -> bool:
    """Whether a batch fits: a step of it in a process of its own.

    Raises:
        UsageError: the process failed, and nothing shows that memory ran out.
    """
    kills = _oom_kills()
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder, "trial.jsonl"), Path(folder, "errors")
        # Of a flag that is given twice, the last counts.
        command = [sys.executable, *PROGRAM, *arguments, *TRIAL, f"--batch_size={size}", f"--out={out}"]
        # At this level TensorFlow logs an allocation that failed.
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"}
        with errors.open("wb") as stream:
            child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=stream)
        try:
            if _outgrows(child, limit_bytes):
                return False
        finally:
            child.kill()
            child.wait()
        if out.exists():
            return records.read(str(out))[-1]["status"] == "ok"
        text = errors.read_text(errors="replace")
    # What was logged before the error that ended it may have been dealt with.
    *_, told = re.split(r"^(?=Traceback |error: )", text, flags=re.MULTILINE)
    if re.search(MEMORY_RAN_OUT, told, re.IGNORECASE):
        return False
    if child.returncode == -signal.SIGKILL and _oom_kills() > kills:
        return False
    raise UsageError(f"--batch_size=max: a batch of {size} {_ending(child.returncode, text)}")


def spare_bytes(granted: int | None) -> int | None:
    """Main memory that a trial may hold, of what is `granted` to a process; `None` where the system does not tell."""
    free = _figure("meminfo", r"^MemAvailable:\s*(\d+) kB$")
    return free and int(SHARE * min(free * 1024, granted or math.inf))


def _outgrows(child: subprocess.Popen[bytes], limit_bytes: int | None) -> bool:
    """Waits until a process ends, or holds more than it may."""
    while child.poll() is None:
        if limit_bytes is not None:
            # In pages. The shared ones are of files, which the system can read again.
            resident, shared = map(int, (KERNEL / str(child.pid) / "statm").read_text().split()[1:3])
            if (resident - shared) * os.sysconf("SC_PAGE_SIZE") > limit_bytes:
                return True
        time.sleep(INTERVAL)
    return False


def _ending(code: int, text: str) -> str:
    """How a process ended that left a text on standard error."""
    # Python indents what leads to an exception, and adds to a crash what tells nothing.
    lines = re.findall(r"^\S.*$", text.partition("Fatal Python error")[0], re.MULTILINE)
    last = lines[-1].removeprefix("error: ") if lines else "it left no message"
    if code >= 0:
        return f"failed: {last}"
    return f"was ended by {signal.Signals(-code).name}, and nothing shows that memory had run out: {last}"


def _oom_kills() -> int:
    """How many processes the kernel has killed for want of memory; always 0 where it does not tell."""
    return _figure("vmstat", r"^oom_kill (\d+)$") or 0


def _figure(file: str, pattern: str) -> int | None:
    """A number that the kernel tells; `None` where it does not."""
    try:
        found = re.search(pattern, (KERNEL / file).read_text(), re.MULTILINE)
    except OSError:
        return None
    return found and int(found[1])


def _become(*arguments: str) -> NoReturn:
    """Runs Python with these arguments in place of this process, whose memory is all given back."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    launch(main, positional=True)
