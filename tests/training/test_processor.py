"""Processors: loading with and without torchvision, padding token, control tokens."""

from __future__ import annotations

import json
import pickle
import shutil
from importlib.util import find_spec

import pytest
from PIL import Image

from instruct.errors import DataError
from instruct.testing.tiny import FAMILIES, build_tiny
from instruct.training.processor import (
    align_pad_token,
    load_processor,
    processor_backend,
    set_pad_token,
    special_tokens,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_and_pickles(family, tiny):
    processor = load_processor(tiny(family))
    again = pickle.loads(pickle.dumps(processor))
    text, image = processor.image_token + "clear", Image.new("RGB", (90, 60), "gray")
    made, remade = (one(text=[text], images=[[image]], return_tensors="pt") for one in (processor, again))
    assert set(made) == set(remade) and all((made[key] == remade[key]).all() for key in made)
    assert again.chat_template == processor.chat_template


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed: the usual loading works")
def test_without_torchvision_a_family_with_videos_loads_for_images_only(tiny):
    from transformers import AutoProcessor

    with pytest.raises(ImportError, match="Torchvision"):
        AutoProcessor.from_pretrained(tiny("qwen2_vl"))
    processor = load_processor(tiny("qwen2_vl"))
    assert processor_backend(processor) == "Qwen2VLProcessor, Qwen2VLImageProcessorPil, no video"
    assert processor_backend(load_processor(tiny("llava"))) == "LlavaProcessor, CLIPImageProcessorPil"


def test_a_folder_saved_without_its_video_part_loads(tiny, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny("qwen2_vl"), folder)
    (folder / "video_preprocessor_config.json").unlink()
    assert load_processor(folder).image_token == "<|image_pad|>"


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}: no processor can be loaded"):
        load_processor(tmp_path)


@pytest.mark.parametrize("path", ["/nowhere/model", "demo/train/model", "~/model", "a b/c"])
def test_a_folder_that_is_not_there_says_so(path):
    with pytest.raises(DataError, match=f"{path}: there is no such folder, nor is this a name on the Hugging Face Hub"):
        load_processor(path)


def test_a_model_without_chat_template_is_refused(tiny, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny("llava"), folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match="no chat template"):
        load_processor(folder)


def test_a_text_model_is_refused(tiny, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny("llava") / name, tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": 600}))
    with pytest.raises(DataError, match="no processor"):
        load_processor(tmp_path)


def test_a_missing_padding_token_becomes_the_end_token(tiny, model_of):
    processor = load_processor(tiny("llava", True, False))
    assert processor.tokenizer.pad_token == "<|im_end|>" == processor.tokenizer.eos_token
    assert set_pad_token(processor) == "<|im_end|>"


def test_a_missing_padding_token_becomes_an_unused_one_if_there_is_any(tiny):
    processor = load_processor(tiny("llava", True, False))
    processor.tokenizer.pad_token = None
    processor.tokenizer.add_special_tokens({"additional_special_tokens": ["<|pad|>"]})
    assert set_pad_token(processor) == "<|pad|>"


def test_a_padding_token_that_is_there_stays(processor_of):
    assert set_pad_token(processor_of("gemma3")) == "<pad>"


def test_the_model_is_told_the_padding_token(tmp_path):
    from transformers import AutoModelForImageTextToText

    folder = build_tiny("llava", tmp_path, ["No effusion."], pad_token=False)
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), load_processor(folder)
    assert model.generation_config.pad_token_id is None
    align_pad_token(model, processor)
    number = processor.tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == model.config.get_text_config().pad_token_id == number


@pytest.mark.parametrize(
    ("family", "tokens"),
    [
        ("llava", {"<image>", "<|im_end|>", "<|im_start|>", "<|endoftext|>"}),
        ("qwen2_vl", {"<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|im_end|>"}),
        ("idefics3", {"<image>", "<end_of_utterance>", "<fake_token_around_image>", "<row_1_col_1>", "<global-img>"}),
        ("gemma3", {"<start_of_image>", "<image_soft_token>", "<end_of_turn>", "<bos>", "<eos>", "<pad>"}),
    ],
)
def test_control_tokens_of_a_family(family, tokens, processor_of):
    found = special_tokens(processor_of(family))
    assert tokens <= found
    assert all(token.startswith("<") for token in found), "an ordinary word counts as a control token"
