"""Which sources reuse studies and images of which others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence


class Derived:
    """Sources and their upstreams.

    Args:
        upstream: source to the sources it reuses, as its task spec says.
    """

    def __init__(self, upstream: Mapping[str, Sequence[str]]) -> None:
        self._direct = upstream

    def upstream(self, source: str) -> list[str]:
        """Every source that a source reuses, through others too."""
        found: list[str] = []
        waiting = list(self._direct.get(source, ()))
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found.append(name)
                waiting += self._direct.get(name, ())
        return found

    def copies(self, sources: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Of some sources, pairs that may hold the same image files: a source, and one it reuses.

        Sources nearer to the originals come first, so that a copy of a copy gets the keys of the original.
        """
        present = set(sources)
        for source in sorted(present, key=lambda name: (len(self.upstream(name)), name)):
            yield from ((source, upstream) for upstream in self.upstream(source) if upstream in present - {source})
