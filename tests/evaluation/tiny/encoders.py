"""Text encoders: BERT, RoBERTa, CheXbert over BERT, MPNet; and a causal language model."""

from __future__ import annotations

import json
from pathlib import Path

from .tensors import SIZE, fill, save, values
from .texts import WORDS

BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LAYERS = 6


def _pieces() -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    marks = ".,:;!?()-/"
    return [
        *marks,
        *letters,
        *(f"##{letter}" for letter in letters),
        *(word for word in WORDS if len(word) > 1 and word != "atelectasis"),
        "atel",
        "##ect",
        "##asis",
    ]


def word_pieces(folder: Path, specials: tuple[str, ...], kind: str, **config: object) -> int:
    """Vocabulary of an uncased word-piece tokenizer; returns its size."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = list(dict.fromkeys([*specials, *_pieces()]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": kind, "do_lower_case": True, "model_max_length": 512, **config})
    )
    return len(vocabulary)


def bert(folder: Path, *, weights: bool = True, layers: int = 2, positions: int = 512):
    """A BERT encoder with its tokenizer."""
    from transformers import BertConfig, BertModel

    size = word_pieces(folder, BERT_SPECIALS, "BertTokenizer")
    config = BertConfig(
        vocab_size=size,
        hidden_size=SIZE,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=positions,
    )
    model = fill(BertModel(config), 0.4)
    save(model, folder)
    if not weights:
        (folder / "model.safetensors").unlink()
    return model


def roberta(folder: Path) -> None:
    """distilroberta-base: six layers, byte-level pairs that make whole words of those that follow a space."""
    from transformers import RobertaConfig, RobertaModel

    folder.mkdir(parents=True, exist_ok=True)
    # the printable stand-ins of byte-level vocabularies
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_ins = {byte: chr(byte) for byte in plain}
    stand_ins |= {byte: chr(256 + place) for place, byte in enumerate(byte for byte in range(256) if byte not in plain)}
    merges, made = [], []
    for word in dict.fromkeys([*WORDS, *(word.capitalize() for word in WORDS)]):
        left = stand_ins[32]
        for letter in word:
            if (pair := f"{left} {letter}") not in merges:
                merges.append(pair)
                made.append(left + letter)
            left += letter
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *stand_ins.values(), *made]
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "RobertaTokenizer", "model_max_length": 512})
    )
    config = RobertaConfig(
        vocab_size=len(tokens),
        hidden_size=SIZE,
        num_hidden_layers=_LAYERS,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    save(fill(RobertaModel(config, add_pooling_layer=False), 0.3), folder)


def chexbert(folder: Path, encoder: Path) -> None:
    """``chexbert.pth`` over the encoder's config."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    model = bert(encoder, weights=False)
    state = {f"module.bert.{name}": tensor for name, tensor in model.state_dict().items()}
    for head in range(14):
        classes = 2 if head == 13 else 4
        for part, shape in (("weight", (classes, SIZE)), ("bias", (classes,))):
            name = f"module.linear_heads.{head}.{part}"
            state[name] = torch.from_numpy(values(name, shape, 0.5))
    torch.save({"epoch": 1, "model_state_dict": state}, folder / "chexbert.pth")


def biolord(folder: Path) -> None:
    """An MPNet encoder."""
    from transformers import MPNetConfig, MPNetModel

    size = word_pieces(folder, ("<s>", "<pad>", "</s>", "[UNK]", "<mask>"), "MPNetTokenizer")
    config = MPNetConfig(
        vocab_size=size,
        hidden_size=SIZE,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=514,
    )
    save(fill(MPNetModel(config), 0.3), folder)


def llama(folder: Path) -> None:
    """A causal language model over bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: place for place, token in enumerate(["<s>", "</s>", *letters])}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    config = LlamaConfig(
        vocab_size=len(letters) + 2,
        hidden_size=SIZE,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
    )
    save(fill(LlamaForCausalLM(config)), folder)
