"""Second homes for a run's scalars beside metrics.jsonl."""
