"""Sections of the options, and old names."""
