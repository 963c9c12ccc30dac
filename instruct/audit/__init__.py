"""Audit: whether the same patient, study, image or report text stands in two splits of a dataset folder."""
