"""Mixture: which built examples are drawn how often, and in which order."""
