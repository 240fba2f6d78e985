"""The search behind `--batch_size=max`: the largest batch that memory holds.

    throughput --batch_size=max  →  largest  →  throughput … --batch_size=224
                                       └ throughput … --steps=1 --batch_size=128, then 256, 192, 224, …

Each trial is a process of its own, since a process whose memory has run out is not reliable. The search, too, replaces
the process that started it: on a GPU, TensorFlow and JAX allocate most of the memory with their first array.

On CPU the search kills a trial that uses more than its share of main memory, which could otherwise make the whole
machine unusable. A limit set with the operating system is no alternative: it makes small allocations fail too, after
which TensorFlow and JAX ended by SIGSEGV or SIGABRT, with errors that do not mention memory, or not at all.
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
from benchmarks.terminal import console, parent
from benchmarks.terminal.errors import UsageError

PROGRAM = ("-m", "benchmarks.throughput")
TRIAL = ("--steps=1", "--warmup_steps=1", "--nopeak", "--trace=")
KERNEL = Path("/proc")
SHARE = 0.9  # of the free main memory, for a trial
INTERVAL = 0.01  # seconds between checks of a trial

# Messages on standard error of a process that ran out of memory before it could record it. TensorFlow's kernels for CPU
# log a failed allocation, then crash; if the message adds that this "is not a failure", TensorFlow continues.
MEMORY_RAN_OUT = (
    r"\boom when allocating|(?<!ran )out of memory|ran out of memory trying to allocate(?!.*not a failure)"
    r"|\bstd::bad_alloc|memoryerror\b|(can't|cannot) allocate memory|not enough memory|more memory than there is"
)


def hand_over(first: int, most: int | None, row: dict[str, Any], out: str | None) -> NoReturn:
    """Replaces this process by the search, and then by the script with the batch size that was found.

    Args:
        first: the first size to try.
        most: the largest size to try; `None` for no limit.
        row: the record of a batch that does not fit, without its size and status.
        out: the file that such records are appended to, if any.
    """
    request = json.dumps({"first": first, "most": most, "row": row, "out": out})
    _become("-m", "benchmarks.measure.largest", "--", request, *sys.argv[1:])


def main(arguments: list[str]) -> None:
    """Continues what `hand_over` started."""
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
    """The largest batch size that fits, see `largest`; prints a line for each trial.

    Args:
        arguments: command-line arguments of the script.
        first: see `hand_over`.
        most: see `hand_over`.
        row: see `hand_over`.
        out: see `hand_over`.
        limit_bytes: main memory that a trial may use; `None` for no limit.
    """

    def fits(size: int) -> bool:
        is_fit = attempt(arguments, size, limit_bytes)
        console.say(f"batch {size}: {'fits' if is_fit else 'out of memory'}")
        if out and not is_fit:
            records.append(out, {**row, "batch_size": size, "status": "out_of_memory"})
        return is_fit

    return largest(fits, first, most)


def largest(fits: Callable[[int], bool], first: int, most: int | None = None, *, resolution: float = 1 / 16) -> int:
    """Approximately the largest size that fits: doubles or halves `first`, then bisects, preferring multiples of 8.

    Args:
        fits: returns whether a size fits; called once per size.
        first: the first size to try.
        most: the largest size to try; `None` for no limit.
        resolution: the smallest size that did not fit exceeds the result by at most this share, or by 1.

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
    """Whether a batch fits: runs a step in a process of its own.

    Raises:
        UsageError: the process failed, and nothing indicates that memory ran out.
    """
    kills = _oom_kills()
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder, "trial.jsonl"), Path(folder, "errors")
        # If a flag is given twice, the last one counts.
        command = [sys.executable, *PROGRAM, *arguments, *TRIAL, f"--batch_size={size}", f"--out={out}"]
        # At this level TensorFlow logs failed allocations.
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"}
        with (
            errors.open("wb") as stream,
            parent.child(command, environment, stdout=subprocess.DEVNULL, stderr=stream) as child,
        ):
            if _outgrows(child, limit_bytes):
                return False
        if out.exists():
            return bool(records.read(str(out))[-1]["status"] == "ok")
        text = errors.read_text(errors="replace")
    # Errors that were logged before the last one may have been handled.
    *_, message = re.split(r"^(?=Traceback |error: )", text, flags=re.MULTILINE)
    if re.search(MEMORY_RAN_OUT, message, re.IGNORECASE):
        return False
    if child.returncode == -signal.SIGKILL and _oom_kills() > kills:
        return False
    raise UsageError(f"--batch_size=max: a batch of {size} {_ending(child.returncode, text)}")


def spare_bytes(granted: int | None) -> int | None:
    """Main memory that a trial may use.

    Args:
        granted: limit of a process, if any.

    Returns:
        A share of the free memory or of the limit; `None` if the system does not provide the free memory.
    """
    free = _figure("meminfo", r"^MemAvailable:\s*(\d+) kB$")
    return free and int(SHARE * min(free * 1024, granted or math.inf))


def _outgrows(child: subprocess.Popen[bytes], limit_bytes: int | None) -> bool:
    """Waits for a process; returns early, with `True`, if it uses more memory than the limit."""
    while child.poll() is None:
        if limit_bytes is not None:
            # In pages. Shared pages belong to files, which the system can read again.
            resident, shared = map(int, (KERNEL / str(child.pid) / "statm").read_text().split()[1:3])
            if (resident - shared) * os.sysconf("SC_PAGE_SIZE") > limit_bytes:
                return True
        time.sleep(INTERVAL)
    return False


def _ending(code: int, text: str) -> str:
    """Describes how a process ended, from its exit status and standard error."""
    # Python indents the lines of a traceback, and after a crash it prints its threads, which don't help here.
    lines = re.findall(r"^\S.*$", text.partition("Fatal Python error")[0], re.MULTILINE)
    last = lines[-1].removeprefix("error: ") if lines else "it left no message"
    if code >= 0:
        return f"failed: {last}"
    return f"was ended by {signal.Signals(-code).name}, and nothing shows that memory had run out: {last}"


def _oom_kills() -> int:
    """Number of processes that the kernel has killed to free memory; 0 if it does not count them."""
    return _figure("vmstat", r"^oom_kill (\d+)$") or 0


def _figure(file: str, pattern: str) -> int | None:
    """A number from a file of the kernel; `None` if it is not there."""
    try:
        found = re.search(pattern, (KERNEL / file).read_text(), re.MULTILINE)
    except OSError:
        return None
    return found and int(found[1])


def _become(*arguments: str) -> NoReturn:
    """Replaces this process by Python with these arguments, which frees all of its memory."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    from benchmarks.terminal.launch import launch

    launch(main, positional=True)
