"""The loss is the library's own, from fewer logits."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch

from instruct.testing.tiny import FAMILIES
from instruct.training.collate import Collator
from instruct.training.loss import keeps_logits, supervised_loss


@pytest.fixture(scope="module")
def batch_of(processor_of, demo_rows):
    def make(family):
        batch = Collator(processor_of(family))(demo_rows[:5])
        assert batch.pop("facts").supervised > 50
        return batch

    return make


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_to_the_stock_loss_and_its_gradients(family, model_of, batch_of):
    model, batch = copy.deepcopy(model_of(family)), batch_of(family)
    stock = model(**batch).loss
    stock.backward()
    expected = gradients(model)
    model.zero_grad()
    loss, outputs = supervised_loss(model, batch)
    loss.backward()
    assert abs(float(loss.detach() - stock.detach())) <= 1e-5
    found = gradients(model)
    assert set(found) == set(expected)
    assert max(float((found[name] - expected[name]).abs().max()) for name in found) <= 1e-5
    supervised = (batch["labels"][:, 1:] != -100).any(0).sum()
    assert outputs.logits.shape[1] == supervised < batch["labels"].shape[1], "logits were computed at other positions"


@pytest.mark.parametrize("family", FAMILIES)
def test_divided_by_the_number_given(family, model_of, batch_of):
    batch = batch_of(family)
    with torch.no_grad():
        own, _ = supervised_loss(model_of(family), batch)
        count = int((batch["labels"] != -100).sum())
        for number in (7, torch.tensor(7)):
            given, _ = supervised_loss(model_of(family), batch, number)
            assert float(given) == pytest.approx(float(own) * count / 7, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_supervised_gives_no_loss_and_no_gradient(family, model_of, batch_of):
    model, batch = copy.deepcopy(model_of(family)), batch_of(family)
    batch["labels"] = torch.full_like(batch["labels"], -100)
    for number in (None, torch.tensor(0), torch.tensor(9)):
        loss, _ = supervised_loss(model, batch, number)
        loss.backward()
        assert float(loss.detach()) == 0.0
    assert all(not grad.any() for grad in gradients(model).values())


def test_parts_of_a_batch_add_up_to_it(model_of, processor_of, demo_rows):
    collate = Collator(processor_of("llava"))
    whole, *parts = collate(demo_rows[:4]), collate(demo_rows[:1]), collate(demo_rows[1:4])
    for batch in (whole, *parts):
        batch.pop("facts")
    count = (whole["labels"] != -100).sum()
    with torch.no_grad():
        together, _ = supervised_loss(model_of("llava"), whole)
        apart = sum(supervised_loss(model_of("llava"), part, count)[0] for part in parts)
    assert float(apart) == pytest.approx(float(together), abs=1e-5)


def test_wrapped_models_are_opened(model_of):
    from peft import LoraConfig, get_peft_model

    model = copy.deepcopy(model_of("llava"))
    assert keeps_logits(model)
    assert keeps_logits(SimpleNamespace(module=model)) and keeps_logits(SimpleNamespace(_orig_mod=model))
    assert keeps_logits(SimpleNamespace(module=get_peft_model(model, LoraConfig(target_modules="all-linear"))))


def test_models_that_cannot_keep_logits_get_the_stock_loss(model_of, batch_of):
    model, batch = copy.deepcopy(model_of("llava")), batch_of("llava")
    kept, _ = supervised_loss(model, batch, 50)
    model.config.model_type = "paligemma"
    assert not keeps_logits(model)
    stock, outputs = supervised_loss(model, batch, 50)
    assert outputs.logits.shape[1] == batch["labels"].shape[1]
    assert float(stock.detach()) == pytest.approx(float(kept.detach()), abs=1e-4)
    empty, _ = supervised_loss(model, {**batch, "labels": torch.full_like(batch["labels"], -100)})
    empty.backward()
    assert float(empty.detach()) == 0.0


def test_encoder_decoders_and_old_models_get_the_stock_loss():
    from transformers import T5Config, T5ForConditionalGeneration

    class Old(torch.nn.Module):
        config = SimpleNamespace(is_encoder_decoder=False, model_type="old")

        def forward(self, input_ids, labels=None): ...

    assert not keeps_logits(Old())

    small = T5Config(vocab_size=20, d_model=8, d_ff=8, d_kv=4, num_layers=1, num_heads=2, decoder_start_token_id=0)
    model = T5ForConditionalGeneration(small).eval()
    assert not keeps_logits(model)
    ids, labels = torch.tensor([[3, 4, 5], [6, 7, 1]]), torch.tensor([[8, 9], [2, -100]])
    with torch.no_grad():
        loss, outputs = supervised_loss(model, {"input_ids": ids, "labels": labels}, 6)
    assert float(loss) == pytest.approx(float(outputs.loss) * 3 / 6)
