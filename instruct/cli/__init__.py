"""The command line: one module per command, imported light; the work is imported when the command runs."""
