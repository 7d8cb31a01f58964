"""Keras' Adam, and the schedule that watches held-out data."""
