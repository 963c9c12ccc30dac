"""The RadGraph archive."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from .encoders import bert
from .tensors import SIZE, values

_FEATURE = 8
_HIDDEN = 16
_WIDEST = 5


def radgraph(folder: Path, encoder: Path, *, segment: int = 128) -> None:
    """``config.json``, ``vocabulary/`` and ``weights.th``, with the parts that inference leaves out too."""
    import torch

    (folder / "vocabulary").mkdir(parents=True, exist_ok=True)
    model = bert(encoder, weights=False, positions=segment)
    (folder / "vocabulary" / "radgraph__ner_labels.txt").write_text("\nOBS-DP\nANAT-DP\nOBS-U\nOBS-DA\n")
    (folder / "vocabulary" / "radgraph__relation_labels.txt").write_text("modify\nlocated_at\nsuggestive_of\n")
    (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n*tags\n")
    bert_part = {"max_length": segment, "model_name": str(encoder)}
    config = {
        "dataset_reader": {
            "type": "dygie",
            "max_span_width": _WIDEST,
            "token_indexers": {"bert": {"type": "pretrained_transformer_mismatched", **bert_part}},
        },
        "model": {
            "type": "dygie",
            "embedder": {"token_embedders": {"bert": {"type": "pretrained_transformer_mismatched", **bert_part}}},
            "initializer": {},
            "module_initializer": {},
            "feature_size": _FEATURE,
            "feedforward_params": {"num_layers": 2, "hidden_dims": _HIDDEN, "dropout": 0.4},
            "loss_weights": {"coref": 0.0, "ner": 0.2, "relation": 1.0, "events": 0.0},
            "max_span_width": _WIDEST,
            "modules": {
                "coref": {"coref_prop": 0, "max_antecedents": 100, "spans_per_word": 0.3},
                "events": {
                    "argument_spans_per_word": 0.8,
                    "trigger_spans_per_word": 0.3,
                    "loss_weights": {"arguments": 1.0, "trigger": 0.2},
                },
                "ner": {},
                "relation": {"spans_per_word": 0.5},
            },
            "target_task": "relation",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    span = 2 * SIZE + _FEATURE
    state = {
        f"_embedder.token_embedder_bert._matched_embedder.transformer_model.{n}": t
        for n, t in model.state_dict().items()
    }
    shapes = {
        "_endpoint_span_extractor._span_width_embedding.weight": (_WIDEST, _FEATURE),
        "_coref._distance_embedding.weight": (10, _FEATURE),
        "_events._distance_embedding.weight": (10, _FEATURE),
    }

    def forward(prefix: str, inputs: int) -> None:
        shapes[f"{prefix}._linear_layers.0.weight"], shapes[f"{prefix}._linear_layers.0.bias"] = (
            (_HIDDEN, inputs),
            (_HIDDEN,),
        )
        shapes[f"{prefix}._linear_layers.1.weight"], shapes[f"{prefix}._linear_layers.1.bias"] = (
            (_HIDDEN, _HIDDEN),
            (_HIDDEN,),
        )

    def linear(prefix: str, outputs: int, inputs: int = _HIDDEN) -> None:
        shapes[f"{prefix}.weight"], shapes[f"{prefix}.bias"] = (outputs, inputs), (outputs,)

    forward("_ner._ner_scorers.radgraph__ner_labels.0._module", span)
    linear("_ner._ner_scorers.radgraph__ner_labels.1._module", 4)
    forward("_relation._mention_pruners.radgraph__relation_labels._scorer.0._module", span)
    linear("_relation._mention_pruners.radgraph__relation_labels._scorer.1._module", 1)
    forward("_relation._relation_feedforwards.radgraph__relation_labels", 3 * span)
    linear("_relation._relation_scorers.radgraph__relation_labels", 3)
    forward("_coref._antecedent_feedforward._module", 3 * span + _FEATURE)
    forward("_coref._mention_pruner._scorer.0._module", span)
    linear("_coref._mention_pruner._scorer.1._module", 1)
    linear("_coref._antecedent_scorer._module", 1)
    linear("_coref._f_network._linear_layers.0", span, 2 * span)
    state |= {name: torch.from_numpy(values(name, shape, 0.4)) for name, shape in shapes.items()}
    state["_ner._ner_scorers.radgraph__ner_labels.1._module.bias"] -= 0.4  # fewer entities, or all spans are some
    torch.save(state, folder / "weights.th")


def pack(folder: Path, archive: Path) -> None:
    """The folder as the archive that is published."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                tar.add(path, path.relative_to(folder).as_posix())
