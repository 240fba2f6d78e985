"""Records: one JSON object per line for each run."""

from benchmarks.records.files import append, check_writable, describe, gather, read
from benchmarks.records.schema import VERSION

__all__ = ["VERSION", "append", "check_writable", "describe", "gather", "read"]
