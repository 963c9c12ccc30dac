"""Tiny models for tests and the demo, made on the spot."""
