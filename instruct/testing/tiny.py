"""Tiny vision-language models of four families, built offline: the real classes, under a million parameters.

They learn: weights are drawn five times wider than the families' default. LoRA on a frozen random base of the default
width (0.02) hardly gets below its starting loss; of width 0.1 it fits a small corpus in a hundred steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Family = Literal["llava", "qwen2_vl", "idefics3", "gemma3"]
FAMILIES: tuple[Family, ...] = get_args(Family)

_WIDTH = 0.1  # standard deviation of the weights
_WORDS = 512  # vocabulary beside the control tokens; 256 of it are bytes
_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": _WIDTH,
}
_VISION = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
    "initializer_range": _WIDTH,
}

_PARTS = (
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
)
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}" + _PARTS + "{{ '<|im_end|>' }}{% endgeneration %}"
    "{% else %}" + _PARTS + "{{ '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_UTTERANCES = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize + ':' }}"
    "{% set blank = '' if message['content'][0]['type'] == 'image' else ' ' %}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ blank }}" + _PARTS + "{{ '<end_of_utterance>' }}"
    "{% endgeneration %}{% else %}{{ blank }}" + _PARTS + "{{ '<end_of_utterance>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_TURNS = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}" + _PARTS + "{{ '<end_of_turn>' }}{% endgeneration %}"
    "{% else %}" + _PARTS + "{{ '<end_of_turn>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


@dataclass(frozen=True)
class _Dialect:
    """Control tokens of a family by the name the tokenizer gives them, and its chat template."""

    template: str
    image: str  # what stands for an image in the template
    pad: str
    eos: str
    bos: str | None
    named: dict[str, str]  # attributes of the tokenizer that the processor reads
    others: tuple[str, ...] = ()

    def chat_template(self, marks: bool) -> str:
        text = self.template.replace("IMAGE", self.image)
        return text if marks else text.replace("{% generation %}", "").replace("{% endgeneration %}", "")


_DIALECTS: dict[str, _Dialect] = {
    "llava": _Dialect(
        _CHATML, "<image>", "<|endoftext|>", "<|im_end|>", None, {"image_token": "<image>"}, ("<|im_start|>",)
    ),
    "qwen2_vl": _Dialect(
        _CHATML,
        "<|vision_start|><|image_pad|><|vision_end|>",
        "<|endoftext|>",
        "<|im_end|>",
        None,
        {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
        ("<|im_start|>", "<|vision_start|>", "<|vision_end|>"),
    ),
    "idefics3": _Dialect(
        _UTTERANCES,
        "<image>",
        "<|endoftext|>",
        "<end_of_utterance>",
        "<|im_start|>",
        {"image_token": "<image>"},
        (
            "<fake_token_around_image>",
            "<global-img>",
            *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
        ),
    ),
    "gemma3": _Dialect(
        _TURNS,
        "<start_of_image>",
        "<pad>",
        "<eos>",
        "<bos>",
        {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
        ("<start_of_turn>", "<end_of_turn>"),
    ),
}


def build_tiny(
    family: Family,
    out: Path,
    texts: Iterable[str],
    *,
    seed: int = 0,
    generation_marks: bool = True,
    pad_token: bool = True,
) -> Path:
    """Write a model folder: config, random weights, a tokenizer trained on `texts`, processor, chat template.

    Returns `out`. The same arguments give the same bytes.

    Args:
        family: whose classes and chat template the model has.
        out: folder to write; made if it is not there.
        texts: what the tokenizer is trained on.
        seed: of the weights.
        generation_marks: whether the chat template marks the assistant's tokens with ``{% generation %}``.
        pad_token: whether the tokenizer has a padding token.
    """
    import torch
    from transformers import AutoModelForImageTextToText, GenerationConfig

    dialect = _DIALECTS[family]
    tokenizer = _tokenizer(dialect, texts, pad_token)
    tokenizer.chat_template = dialect.chat_template(generation_marks)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    for name, content in _processor_files(family, tokenizer).items():
        (out / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")

    config = _config(family, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
        for name, weight in model.named_parameters():
            if name.endswith("mm_input_projection_weight"):  # Gemma's starts at zero: no image would reach the text
                torch.nn.init.normal_(weight, std=_WIDTH)
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")} - {None}
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(ends) if len(ends) > 1 else tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(out)
    return out


def _tokenizer(dialect: _Dialect, texts: Iterable[str], pad_token: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = [dialect.pad] if pad_token else []
    special += [token for token in (dialect.eos, dialect.bos) if token]
    special += [*dialect.named.values(), *dialect.others]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=_WORDS + len(special),
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if dialect.bos == "<bos>":  # Gemma's tokenizer opens every text with it, and so does its template
        core.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", core.token_to_id("<bos>"))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=dialect.eos,
        bos_token=dialect.bos,
        pad_token=dialect.pad if pad_token else None,
        extra_special_tokens=dialect.named,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


def _config(family: Family, tokenizer: Any) -> Any:
    from transformers import (
        CLIPVisionConfig,
        Gemma3Config,
        Idefics3Config,
        LlavaConfig,
        Qwen2Config,
        Qwen2VLConfig,
        SiglipVisionConfig,
    )

    one = tokenizer.convert_tokens_to_ids
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {**_TEXT, **ids, "vocab_size": len(tokenizer)}
    if family == "llava":
        return LlavaConfig(
            vision_config=CLIPVisionConfig(**_VISION, projection_dim=64),
            text_config=Qwen2Config(**text),
            image_token_index=one("<image>"),
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
        )
    if family == "qwen2_vl":
        rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
        return Qwen2VLConfig(
            text_config={**text, "rope_parameters": rope},
            vision_config={
                "depth": 2,
                "embed_dim": 64,
                "hidden_size": _TEXT["hidden_size"],
                "num_heads": 4,
                "mlp_ratio": 2,
                "initializer_range": _WIDTH,
            },
            image_token_id=one("<|image_pad|>"),
            video_token_id=one("<|video_pad|>"),
            vision_start_token_id=one("<|vision_start|>"),
            vision_end_token_id=one("<|vision_end|>"),
        )
    if family == "idefics3":
        return Idefics3Config(
            text_config={**text, "model_type": "llama"},
            vision_config=_VISION,
            image_token_id=one("<image>"),
            scale_factor=2,
            pad_token_id=tokenizer.pad_token_id,
        )
    return Gemma3Config(
        text_config={**text, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 64},
        vision_config=SiglipVisionConfig(**_VISION, vision_use_head=False),
        mm_tokens_per_image=4,
        image_token_index=one("<image_soft_token>"),
        boi_token_index=one("<start_of_image>"),
        eoi_token_index=one("<end_of_image>"),
        initializer_range=_WIDTH,
    )


def _processor_files(family: Family, tokenizer: Any) -> dict[str, Any]:
    """Processor configuration as it lies on the Hub, a video part included where the family has one."""
    square = {"height": 64, "width": 64}
    if family == "llava":
        return {
            "processor_config.json": {
                "processor_class": "LlavaProcessor",
                "image_token": "<image>",
                "patch_size": 16,
                "num_additional_image_tokens": 1,
                "vision_feature_select_strategy": "default",
            },
            "preprocessor_config.json": {
                "image_processor_type": "CLIPImageProcessor",
                "processor_class": "LlavaProcessor",
                "size": {"shortest_edge": 64},
                "crop_size": square,
            },
        }
    if family == "qwen2_vl":
        pixels = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
        return {
            "preprocessor_config.json": {
                "image_processor_type": "Qwen2VLImageProcessor",
                "processor_class": "Qwen2VLProcessor",
                "size": pixels,
            },
            "video_preprocessor_config.json": {
                "video_processor_type": "Qwen2VLVideoProcessor",
                "processor_class": "Qwen2VLProcessor",
                "size": pixels,
            },
        }
    if family == "idefics3":
        return {
            "processor_config.json": {"processor_class": "Idefics3Processor", "image_seq_len": 4},
            "preprocessor_config.json": {
                "image_processor_type": "Idefics3ImageProcessor",
                "processor_class": "Idefics3Processor",
                "do_image_splitting": False,
                "size": {"longest_edge": 64},
                "max_image_size": {"longest_edge": 64},
            },
        }
    return {
        "processor_config.json": {"processor_class": "Gemma3Processor", "image_seq_length": 4},
        "preprocessor_config.json": {
            "image_processor_type": "Gemma3ImageProcessor",
            "processor_class": "Gemma3Processor",
            "size": square,
            "do_pan_and_scan": False,
        },
    }
