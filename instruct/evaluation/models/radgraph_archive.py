"""The released RadGraph archive: ``config.json``, ``vocabulary/`` and ``weights.th``, packed (tar.gz) or not.

An archive is read in memory and never unpacked to disk.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct.errors import DataError
from instruct.evaluation.models.runtime import damaged, empty_model, fill_model, load_tokenizer, read_state

_ENCODER = "_embedder.token_embedder_bert._matched_embedder.transformer_model."
_NAMES = ("radgraph", "None")
_FILES = ("config.json", "weights.th")
Layers = tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class RadGraph:
    """The loaded model; every layer is a pair of weight (outputs, inputs) and bias (outputs,).

    Attributes:
        encoder: transformer.
        tokenizer: its word pieces.
        device: torch device of all tensors.
        segment: most word pieces the encoder reads at once, special ones included.
        widest: most words of an entity.
        spans_per_word: spans per word that are kept as ends of relations.
        widths: vectors of the span widths 1, 2 …, shape (widest, size).
        ner: layers that score the labels of a span, the last without activation.
        mention: layers that score a span as an end of relations.
        relation: layers that score the types of a pair of spans.
        labels: entity labels; "" is the first.
        types: relation types.
    """

    encoder: Any
    tokenizer: Any
    device: Any
    segment: int
    widest: int
    spans_per_word: float
    widths: Any
    ner: Layers
    mention: Layers
    relation: Layers
    labels: tuple[str, ...]
    types: tuple[str, ...]


def load_radgraph(archive: Path, encoder: Path, device: Any) -> RadGraph:
    """The model of an archive.

    Args:
        archive: ``radgraph.tar.gz``, or the folder of its content.
        encoder: folder with the config and tokenizer of the encoder that the archive's config names.
        device: torch device.

    Raises:
        DataError: the archive is damaged, holds foreign objects, or is another model.
    """
    files = _content(archive)
    try:
        config = json.loads(files["config.json"])
        reader, model = config["dataset_reader"], config["model"]
        segment = int(model["embedder"]["token_embedders"]["bert"]["max_length"])
        widest = int(reader["max_span_width"])
        spans_per_word = float(model["modules"]["relation"]["spans_per_word"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{archive}: config.json is not RadGraph's ({type(error).__name__}: {error})") from None
    name, labels, types = _vocabulary(archive, files)
    state = read_state(archive / "weights.th" if archive.is_dir() else archive, io.BytesIO(files["weights.th"]))
    body = {key.removeprefix(_ENCODER): state.pop(key) for key in list(state) if key.startswith(_ENCODER)}
    loaded = fill_model(empty_model(encoder), body, archive).to(device)

    ner = f"_ner._ner_scorers.{name}__ner_labels"
    mention = f"_relation._mention_pruners.{name}__relation_labels._scorer"
    relation = f"_relation._relation_{{}}.{name}__relation_labels"
    width = "_endpoint_span_extractor._span_width_embedding.weight"
    hidden = "0._module._linear_layers"
    try:
        found = RadGraph(
            loaded,
            load_tokenizer(encoder),
            device,
            segment,
            widest,
            spans_per_word,
            state[width].to(device),
            _layers(state, f"{ner}.{hidden}", f"{ner}.1._module", device),
            _layers(state, f"{mention}.{hidden}", f"{mention}.1._module", device),
            _layers(state, relation.format("feedforwards") + "._linear_layers", relation.format("scorers"), device),
            labels,
            types,
        )
    except KeyError as error:
        raise DataError(f"{archive}: weights.th lacks {error}; expected the released RadGraph model") from None
    sizes = len(found.ner[-1][1]), len(found.relation[-1][1]), len(found.widths)
    if sizes != (len(labels) - 1, len(types), widest):
        raise DataError(
            f"{archive}: weights.th scores {sizes[0]} entity labels, {sizes[1]} relation types and {sizes[2]} widths; "
            f"vocabulary/ and config.json have {len(labels) - 1}, {len(types)} and {widest}"
        )
    return found


def _layers(state: dict[str, Any], stack: str, last: str, device: Any) -> Layers:
    """The linear layers ``stack.0``, ``stack.1`` …, then ``last``."""
    names: list[str] = []
    while f"{stack}.{len(names)}.weight" in state:
        names.append(f"{stack}.{len(names)}")
    if not names:
        raise KeyError(f"{stack}.0.weight")
    return tuple((state[f"{name}.weight"].to(device), state[f"{name}.bias"].to(device)) for name in (*names, last))


def _content(archive: Path) -> dict[str, bytes]:
    """The needed files: ``config.json``, ``weights.th`` and, by bare name, those of ``vocabulary/``."""
    files: dict[str, bytes] = {}
    try:
        if archive.is_dir():
            paths = [archive / "config.json", archive / "weights.th", *sorted((archive / "vocabulary").glob("*.txt"))]
            files = {path.name: path.read_bytes() for path in paths if path.is_file()}
        else:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = Path(member.name)
                    if member.isfile() and (
                        name.name in ("config.json", "weights.th") or name.parent.name == "vocabulary"
                    ):
                        content = tar.extractfile(member)
                        files[name.name] = content.read() if content is not None else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise damaged(archive, error) from None
    lacks = [name for name in _FILES if name not in files]
    if lacks:
        raise DataError(
            f"{archive}: holds no {' and no '.join(lacks)}; expected RadGraph's config, vocabulary and weights"
        )
    return files


def _vocabulary(archive: Path, files: dict[str, bytes]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    there = sorted(name.removesuffix("__ner_labels.txt") for name in files if name.endswith("__ner_labels.txt"))
    name = next((name for name in _NAMES if name in there), None)
    if name is None or f"{name}__relation_labels.txt" not in files:
        raise DataError(
            f"{archive}: vocabulary/ has the labels of {', '.join(there) or 'nothing'}; "
            "expected the original RadGraph model, whose tokens and labels this metric is defined on"
        )
    labels, types = (
        tuple(files[f"{name}__{kind}_labels.txt"].decode("utf-8").removesuffix("\n").split("\n"))
        for kind in ("ner", "relation")
    )
    if labels[0]:
        raise DataError(f"{archive}: the first entity label is {labels[0]!r}; expected the empty one, for no entity")
    return name, labels, types
