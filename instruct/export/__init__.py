"""Export: a finished build in the formats that the Hugging Face Hub and other trainers read. See ``docs/export.md``."""
