"""Measuring a run: time, memory, energy, cost, and the environment it ran in."""
