"""``python -m instruct.cli``: the same as ``cxr-instruct``."""

from instruct.cli.main import main

main()
