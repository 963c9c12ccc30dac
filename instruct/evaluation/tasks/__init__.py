"""Metrics of the tasks that are no report generation, one module per kind of answer."""
