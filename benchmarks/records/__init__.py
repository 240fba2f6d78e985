"""Records: one JSON object per line for each run."""

from benchmarks.records.files import VERSION, append, check_writable, describe, gather, read

__all__ = ["VERSION", "append", "check_writable", "describe", "gather", "read"]
