"""Reports: count table and dataset card of a build."""
