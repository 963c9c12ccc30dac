"""``cxr-instruct train``."""

from instruct.training.__main__ import command

__all__ = ["command"]
