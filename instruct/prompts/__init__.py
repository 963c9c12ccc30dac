"""Prompts: Jinja templates that word a task's records, rendered by the batch."""
