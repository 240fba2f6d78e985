"""Records that no run wrote, for tests of what is made of them."""

import numpy as np

from benchmarks.records import schema

ENVIRONMENT = {
    "time": "2030-01-01T00:00:00+00:00", "device": "CPU", "device_count": 1, "driver": None, "cuda": None,
    "tf32": False, "onednn": None, "memory_bytes": 2**34, "cpu": "Abacus 9", "cpu_cores": 2,
    "cpu_flags": ["abc", "xyz"], "kernel": "6.1", "platform": "Linux", "python": "3.12.0",
    "versions": {"keras": "3.12.0", "jax": "0.9", "torch": "2.9", "tensorflow": "2.21"},
    "commit": "a" * 40, "commit_is_changed": False, "command": ["throughput.py", "--arch=resnet20"],
    "parent_command": None,
}  # fmt: skip


def record(rate=1000.0, **fields):
    """A record of the throughput script whose blocks all go at one rate; the environment's fields are put there."""
    environment = ENVIRONMENT | {field: fields.pop(field) for field in ENVIRONMENT if field in fields}
    batch_size = fields.get("batch_size", 128)
    made = {
        "version": 3, "script": "throughput", "status": "ok", "arch": "resnet20", "overrides": [],
        "dataset": "cifar10", "data": "tfds", "examples": 50000, "input": "resident", "mode": "training", "peer": None,
        "batch_size": batch_size, "augment": True, "backend": "jax", "dtype_policy": "float32", "jit": True,
        "optimizer": "sgd", "optimizer_arguments": {}, "learning_rate": 0.1, "seed": 0, "params": 271000,
        "trainable_params": 270000, "macs": 40000000, "steps": 20, "block_steps": [5] * 4,
        "block_seconds": [5 * batch_size / rate] * 4, "images_per_second": rate, "images_per_second_low": 0.9 * rate,
        "images_per_second_high": 1.2 * rate, "is_steady": True, "peak_memory_bytes": None,
        "peak_resident_bytes": 3 * 2**20, "flops_per_step": 240000000 * batch_size,
        "flops_per_second": 240000000 * rate, "peak_flops_per_second": 1e12, "peak_bytes_per_second": 5e10,
        "peak_share": 240000000 * rate / 1e12, "environment": environment,
    }  # fmt: skip
    return made | fields


def failed(**fields):
    """A record without figures."""
    made = record(**{"status": "out_of_memory", **fields})
    figures = ("images_per_second", "block_", "peak_", "flops_", "is_steady")
    return {field: value for field, value in made.items() if not field.startswith(figures)}


def trained(rate=1000.0, score=0.9, metric="accuracy", **fields):
    """A record of the training script."""
    made = failed(script="train", status="ok", **{"epochs": 2, "train_seconds": 30.0, **fields})
    return made | {"images_per_second": rate, f"test_{metric}": score}


def compared(**fields):
    """A record of a comparison."""
    made = {field: value for field, value in record().items() if field in schema.fields("versus")}
    figures = {"peer_images_per_second": 10.0, "ratio": 2.0, "ratio_low": 1.9, "ratio_high": 2.1, "p_value": 0.01}
    return made | figures | {"script": "versus", "peer": "fit", "runs": 5} | fields


def large_set():
    """Twelve networks with long names at five batch sizes on two backends, with scores and runs out of memory."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(12):
        what = {"arch": f"network_number_{i}_with_a_name_that_is_rather_long", "trainable_params": int(50_000 * 1.7**i)}
        for backend in ("tensorflow", "jax"):
            for batch_size in (32, 128, 512, 2048, 8192):
                how = {**what, "backend": backend, "batch_size": batch_size, "dtype_policy": "mixed_bfloat16"}
                rate = float(3e6 / 1.7**i * batch_size / (batch_size + 300) * rng.uniform(0.8, 1.2))
                if i + batch_size / 1000 > 15:
                    found.append(failed(**how))
                    continue
                seconds = (5 * batch_size / rate * rng.uniform(0.98, 1.05, 20)).tolist()
                bytes_per_step = 240000000 * batch_size / rng.uniform(5, 90)
                roof = {"peak_flops_per_second": 2e15, "peak_bytes_per_second": 4e12, "bytes_per_step": bytes_per_step}
                found.append(record(rate, block_steps=[5] * 20, block_seconds=seconds, **how, **roof))
            found.append(trained(rate, float(0.9 + 0.003 * i * rng.uniform(0.9, 1)), **{**how, "batch_size": 128}))
    return found
