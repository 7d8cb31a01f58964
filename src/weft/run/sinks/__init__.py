"""Sinks: further receivers of a run's scalars beside metrics.jsonl."""
