"""Specs: YAML task specs and recipes, and the SQL record queries in them."""
