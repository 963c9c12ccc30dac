"""Build: recipes become dataset folders."""
