"""Scores of pairs by each model: load once per evaluation, read each distinct text once, compare.

BERTScore alone reads a text again in every block of pairs, for the vectors of all tokens would not fit in memory.

Weights are looked for before torch is imported; without them a metric is skipped in milliseconds, with one message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct.evaluation.metric import Scores, Settings
from instruct.evaluation.models.runtime import device_of, once_each, require_torch
from instruct.evaluation.models.weights import Found, find_weights
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.radgraph import Annotation
from instruct.evaluation.ratescore import ratescore

if TYPE_CHECKING:
    from instruct.evaluation.models.chexbert import Reading

Scorer = Callable[[Pairs, Settings], Scores]
_LAYER = 5


def _loaded(
    names: tuple[str, ...], settings: Settings, load: Callable[[list[Found], Any], Any]
) -> tuple[Any, dict[str, str]]:
    """A model and the digests of its files, once per evaluation."""

    def make() -> tuple[Any, dict[str, str]]:
        found = find_weights(names, settings)
        require_torch()
        model = load(found, device_of(settings))
        return model, {file: digest for weights in found for file, digest in weights.digests().items()}

    made: tuple[Any, dict[str, str]] = settings.session.once(names, make)
    return made


def bertscore_by(weights: str, column: str, baseline: float | None, *, prefix_space: bool) -> Scorer:
    """BERTScore F1 at layer 5 of an encoder.

    Args:
        weights: name of the encoder's weights.
        column: name of the column.
        baseline: rescale with this baseline; None for raw scores.
        prefix_space: see :func:`~instruct.evaluation.models.bertscore.load_encoder`.
    """

    def score(pairs: Pairs, settings: Settings) -> Scores:
        from instruct.evaluation.models.bertscore import bertscore_f1, load_encoder, rescale

        encoder, made_with = _loaded(
            (weights,),
            settings,
            lambda found, device: load_encoder(found[0].folder, _LAYER, device, prefix_space=prefix_space),
        )
        values = bertscore_f1(encoder, pairs.predictions, pairs.texts)
        cut = sum(len(row) > encoder.limit for row in encoder.tokens([*pairs.predictions, *pairs.texts]))
        values = values if baseline is None else rescale(values, baseline)
        return Scores({column: values}, {f"{column}_texts_cut": cut} if cut else {}, made_with)

    return score


def _chexbert(pairs: Pairs, settings: Settings) -> tuple[list[Reading], list[Reading], dict[str, int], dict[str, str]]:
    from instruct.evaluation.models.chexbert import load_chexbert

    model, made_with = _loaded(
        ("chexbert", "bert-base-uncased"),
        settings,
        lambda found, device: load_chexbert(found[0].folder / "chexbert.pth", found[1].folder, device),
    )
    held: dict[str, Reading] = settings.session.once("chexbert readings", dict)
    said = once_each(held, pairs.predictions, model.read)
    true = once_each(held, pairs.texts, model.read)
    cut = sum(reading.cut for reading in (*said, *true))
    return said, true, {"chexbert_texts_cut": cut} if cut else {}, made_with


def sembscore(pairs: Pairs, settings: Settings) -> Scores:
    """Cosine of the CheXbert vectors of each pair."""
    from instruct.evaluation.models.chexbert import cosine

    said, true, counts, made_with = _chexbert(pairs, settings)
    values = [cosine(one.vector, other.vector) for one, other in zip(said, true, strict=True)]
    return Scores({"sembscore": np.array(values)}, counts, made_with)


def chexbert_labels(pairs: Pairs, settings: Settings) -> Scores:
    """CheXbert labels of predictions and references, 14 numbers 0/1 each."""
    said, true, counts, made_with = _chexbert(pairs, settings)
    columns = {
        "chexbert_prediction": np.stack([reading.labels for reading in said]),
        "chexbert_reference": np.stack([reading.labels for reading in true]),
    }
    return Scores(columns, counts, made_with)


def radgraph_by(column: str, compare: Callable[[Annotation, Annotation], float]) -> Scorer:
    """A comparison of the RadGraph annotations of each pair.

    Args:
        column: name of the column.
        compare: annotation of the prediction and of the reference to a score.
    """

    def score(pairs: Pairs, settings: Settings) -> Scores:
        from instruct.evaluation.models.radgraph_archive import load_radgraph
        from instruct.evaluation.models.radgraph_network import annotate
        from instruct.evaluation.models.radgraph_words import is_cut

        def load(found: list[Found], device: Any) -> Any:
            archive, encoder = found
            packed = archive.folder / "radgraph.tar.gz"
            return load_radgraph(packed if packed.name in archive.files else archive.folder, encoder.folder, device)

        model, made_with = _loaded(("radgraph", "radgraph-encoder"), settings, load)
        held: dict[str, Annotation] = settings.session.once("radgraph annotations", dict)
        said = once_each(held, pairs.predictions, lambda new: annotate(model, new))
        true = once_each(held, pairs.texts, lambda new: annotate(model, new))
        cut = sum(map(is_cut, (*pairs.predictions, *pairs.texts)))
        values = np.array([compare(one, other) for one, other in zip(said, true, strict=True)], dtype=np.float64)
        return Scores({column: values}, {"radgraph_texts_cut": cut} if cut else {}, made_with)

    return score


def ratescores(pairs: Pairs, settings: Settings) -> Scores:
    """RaTEScore of each pair, one score per pair whatever the texts; 0.5 where a report has no entity."""
    from instruct.evaluation.models.rate import load_embedder, load_tagger
    from instruct.evaluation.models.sentences import sentences

    (tagger, embedder), made_with = _loaded(
        ("rate-ner", "biolord"),
        settings,
        lambda found, device: (load_tagger(found[0].folder, device), load_embedder(found[1].folder, device)),
    )
    texts = sorted({*pairs.predictions, *pairs.texts})
    parts = {text: sentences(text) for text in texts}
    tagged: dict[str, list[tuple[str, str]]] = settings.session.once("rate entities", dict)
    once_each(tagged, [part for text in texts for part in parts[text]], tagger.entities)
    entities = {text: [entity for part in parts[text] for entity in tagged[part]] for text in texts}
    vectors: dict[str, Any] = settings.session.once("rate vectors", dict)
    once_each(vectors, [name for text in texts for name, _ in entities[text]], embedder.vectors)
    sides = {
        text: (np.stack([vectors[name] for name, _ in found]), [kind for _, kind in found]) if found else None
        for text, found in entities.items()
    }
    values = [ratescore(sides[said], sides[true]) for said, true in zip(pairs.predictions, pairs.texts, strict=True)]
    none = sum(sides[text] is None for text in (*pairs.predictions, *pairs.texts))
    counts = {"ratescore_texts_without_entity": none} if none else {}
    return Scores({"ratescore": np.array(values, dtype=np.float64)}, counts, made_with)
