"""RaTE-NER."""

from __future__ import annotations

import json
from pathlib import Path

from .tensors import SIZE, fill, save
from .texts import WORDS

RATE_LABELS = (
    "O",
    *(f"{s}-{t}" for t in ("ABNORMALITY", "NON-ABNORMALITY", "DISEASE", "NON-DISEASE", "ANATOMY") for s in "BI"),
)


def rate_ner(folder: Path) -> None:
    """A DeBERTa token classifier with a unigram tokenizer."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import DebertaV2Config, DebertaV2ForTokenClassification

    folder.mkdir(parents=True, exist_ok=True)
    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    whole = [f"▁{word}" for word in dict.fromkeys([*WORDS, *(word.capitalize() for word in WORDS)])]
    single = [*"▁.,:;!?()-/", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"]
    vocabulary = [
        *((token, 0.0) for token in specials),
        *((token, -2.0) for token in whole),
        *((token, -8.0) for token in dict.fromkeys(single)),
        ("[MASK]", 0.0),
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.normalizer = normalizers.Replace("\n", " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.add_special_tokens([*specials, "[MASK]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **names})
    )
    labels = dict(enumerate(RATE_LABELS))
    config = DebertaV2Config(
        vocab_size=len(vocabulary),
        hidden_size=SIZE,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=512,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        id2label=labels,
        label2id={label: place for place, label in labels.items()},
    )
    save(fill(DebertaV2ForTokenClassification(config), 0.3), folder)
