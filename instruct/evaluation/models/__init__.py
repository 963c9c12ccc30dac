"""Inference for the metrics that need a trained model: small code on torch and transformers, imported when it runs.

Every module reads the checkpoint layout that its owners released. Texts are scored once each, in batches of similar
length; labels do not depend on the batch, floats do so by rounding alone (about 1e-7).
"""
