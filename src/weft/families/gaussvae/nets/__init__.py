"""Encoders and decoders of splat sets."""
