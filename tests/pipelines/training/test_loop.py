from __future__ import annotations

import copy
import json
import math
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from actors.learning.memory import refused_without_memory
from actors.learning.specs import OptimizerSpec
from allgood.errors import ConfigError, ModelError, PlacementError, TrainingError
from pipelines.config.training import LoraConfig
from pipelines.output.metrics_log import MetricsLog
from pipelines.training import run
from pipelines.training.collate import epoch_batches, passes, step_batches
from pipelines.training.job import Outcome
from pipelines.training.losses import bradley_terry_loss, next_token_loss
from pipelines.training.rows import DemonstrationRows, PairRows, Ragged, spread
from pipelines.training.run import run_training
from pipelines.training.sources import freeze, reward_backbone
from tests.actors import tiny_models
from tests.pipelines.training.tiny_jobs import (
    job,
    largest_difference,
    new_tiny_policy,
    pair_job,
    weights,
    with_training,
)


def test_every_row_comes_once_per_epoch_in_another_order():
    batches = epoch_batches(103, batch_size=8, seed=1, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(103))
    assert sorted(len(batch) for batch in batches) == [7] + [8] * 12
    assert batches != epoch_batches(103, batch_size=8, seed=1, epoch=1)


def test_rows_of_similar_length_share_a_pass():
    lengths = np.random.default_rng(0).integers(5, 200, size=64)
    pieces = passes(list(range(64)), lengths, micro_batch_size=8, rank=0, world_size=1)
    assert sorted(row for piece in pieces for row in piece) == list(range(64))
    assert np.mean([np.ptp(lengths[piece]) for piece in pieces]) < 0.25 * np.ptp(lengths)


def test_steps_go_on_into_the_next_epoch():
    batches = list(step_batches(5, batch_size=2, seed=0, num_steps=7))
    assert len(batches) == 7
    assert sorted(row for batch in batches[:3] for row in batch) == [0, 1, 2, 3, 4]


def test_workers_share_a_batch_in_equally_many_passes():
    lengths = np.arange(10, 21)
    batch = list(range(11))
    shares = [passes(batch, lengths, micro_batch_size=2, rank=rank, world_size=3) for rank in range(3)]
    # 11 rows over 3 workers: 4, 4 and 3 rows, in 2 passes each.
    assert [len(share) for share in shares] == [2, 2, 2]
    assert sorted(row for share in shares for piece in share for row in piece) == batch
    lonely = [passes([0], lengths, micro_batch_size=None, rank=rank, world_size=2) for rank in range(2)]
    assert lonely == [[[0]], [[]]]


def test_spread_rows_span_the_data():
    assert spread(5, None) == [0, 1, 2, 3, 4]
    assert spread(5, 9) == [0, 1, 2, 3, 4]
    assert spread(101, 3) == [0, 50, 100]


def test_next_token_loss_is_the_sum_over_masked_tokens_by_hand():
    model = tiny_models.policy("llama").float()
    rows = DemonstrationRows(Ragged.of([[7, 8, 9, 10, 2], [11, 12, 2]]), Ragged.of([[0, 0, 1, 0, 1], [0, 1, 1]]))
    batch = rows.collate([0, 1], pad_token=0)
    with torch.no_grad():
        sums = next_token_loss(model, batch)
        first = model(input_ids=torch.tensor([[7, 8, 9, 10, 2]])).logits.log_softmax(-1)[0]
        second = model(input_ids=torch.tensor([[11, 12, 2]])).logits.log_softmax(-1)[0]
    # Row 0 counts tokens 2 (id 9) and 4 (id 2); row 1 counts tokens 1 (id 12) and 2 (id 2).
    by_hand = -(first[1, 9] + first[3, 2] + second[0, 12] + second[1, 2])
    assert float(sums["loss"]) == pytest.approx(float(by_hand), rel=1e-5)
    assert rows.units.tolist() == [2, 2]


def test_bradley_terry_loss_by_hand():
    class Rewards(nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
            rewards = (input_ids * attention_mask).sum(-1, keepdim=True).float()
            return type("Output", (), {"logits": rewards})

    rows = PairRows(Ragged.of([[3], [1, 1]]), Ragged.of([[1], [2]]), np.array([0.5, 0.0], dtype=np.float32))
    sums = bradley_terry_loss(Rewards(), rows.collate([0, 1], pad_token=0), center_coefficient=0.1)
    # Rewards 3 and 1 (difference 2, margin 0.5), then 2 and 2 (difference 0); squares of sums: 16 and 16.
    expected = math.log1p(math.exp(-1.5)) + math.log(2) + 0.1 * 32
    assert float(sums["loss"]) == pytest.approx(expected, rel=1e-6)
    assert float(sums["log_loss"]) == pytest.approx(math.log1p(math.exp(-2)) + math.log(2), rel=1e-6)
    assert float(sums["accuracy"]) == 1.5


def test_a_training_learns_logs_every_step_and_saves_what_plain_transformers_loads(tmp_path):
    outcome = run_training(with_training(job(tmp_path), max_steps=40), show_progress=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0] == {"step": 0, "num_steps": 40, "num_rows": 47}
    assert [row["step"] for row in rows[1:]] == list(range(1, 41))
    assert rows[2]["validation_loss"] > 3 * outcome.best_value
    assert outcome.best_value == min(row["validation_loss"] for row in rows if "validation_loss" in row)
    model, info = AutoModelForCausalLM.from_pretrained(tmp_path / "best", output_loading_info=True)
    assert not info["missing_keys"]
    assert model.config.eos_token_id == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last", "metrics.jsonl"]


def test_the_same_seed_gives_the_same_bits(tmp_path):
    for name in ("a", "b"):
        run_training(job(tmp_path / name), show_progress=False)
    assert largest_difference(tmp_path / "a" / "last", tmp_path / "b" / "last") == 0.0
    run_training(job(tmp_path / "c", seed=6), show_progress=False)
    assert largest_difference(tmp_path / "a" / "last", tmp_path / "c" / "last") > 0.0


def test_accumulation_is_the_same_training(tmp_path):
    run_training(job(tmp_path / "whole"), show_progress=False)
    run_training(with_training(job(tmp_path / "pieces"), micro_batch_size=3), show_progress=False)
    assert largest_difference(tmp_path / "whole" / "last", tmp_path / "pieces" / "last") < 1e-4


def small_memory_policy(largest: int):
    """No pass over more rows than `largest` fits."""
    model, tokenizer = new_tiny_policy()

    def refuse(module, inputs, arguments):
        if len(arguments["input_ids"]) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    return model, tokenizer


def test_a_training_that_runs_out_of_memory_is_the_same_in_halves_and_says_so(tmp_path):
    run_training(job(tmp_path / "whole"), show_progress=False)
    small = job(tmp_path / "halves", load=partial(small_memory_policy, 6))  # of 10 rows, and of 11 in validation
    run_training(small, show_progress=False)
    assert largest_difference(tmp_path / "whole" / "last", tmp_path / "halves" / "last") < 1e-4
    said = [row["reason"] for row in MetricsLog(small.faults).read()]
    assert len(said) == small.num_steps + 3  # every step, and three evaluations
    assert "training tiny, after step 0: a micro-batch of up to 10 rows ran out of memory (CUDA out of" in said[0]
    assert "a lower training.micro_batch_size saves the time" in said[0]


def test_halves_that_do_not_fit_end_a_training_with_what_to_do(tmp_path):
    with pytest.raises(TrainingError, match=r"so did its halves; start again with a lower training.micro_batch_size"):
        run_training(job(tmp_path, load=partial(small_memory_policy, 2)), show_progress=False)


def test_a_worker_that_others_wait_for_does_not_halve():
    def work(size):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match="up to 4 rows ran out of memory on worker 1 .*micro_batch_size"):
        refused_without_memory(work, size=4, job="sft", rank=1)


def test_best_and_last_are_different_moments_when_validation_worsens(tmp_path):
    # Training makes tokens 200 and 201 ever less likely, so the first evaluation is the best.
    contrary = DemonstrationRows(Ragged.of([[5, 5, 11, 200, 201]]), Ragged.of([[0, 0, 0, 1, 1]]))
    outcome = run_training(with_training(job(tmp_path, validation=contrary), max_steps=20), show_progress=False)
    assert outcome.best_step < outcome.num_steps == 20
    assert outcome.best_value < outcome.last_value
    assert largest_difference(tmp_path / "best", tmp_path / "last") > 0.0
    best = AutoModelForCausalLM.from_pretrained(tmp_path / "best")
    with torch.no_grad():
        sums = next_token_loss(best, contrary.collate([0], pad_token=0))
    assert float(sums["loss"]) / 2 == pytest.approx(outcome.best_value, rel=1e-5)


def test_patience_ends_a_training_that_got_worse(tmp_path):
    contrary = DemonstrationRows(Ragged.of([[5, 5, 11, 200, 201]]), Ragged.of([[0, 0, 0, 1, 1]]))
    patient = with_training(job(tmp_path, validation=contrary), max_steps=40, patience=2)
    outcome = run_training(patient, show_progress=False)
    assert outcome.num_steps == outcome.best_step + 2 * 2


def test_a_training_that_diverges_names_the_step_and_saves_nothing(tmp_path):
    wild = OptimizerSpec(learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"training tiny: the .* is (nan|inf) at step \d of 6; nothing was saved"):
        run_training(with_training(job(tmp_path), optimizer=wild), show_progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def interrupted_measuring(device: torch.device) -> dict[str, object]:
    raise TrainingError("interrupted")


def test_a_training_that_ends_while_it_measures_leaves_no_report_of_the_model_before(tmp_path):
    (tmp_path / "report.json").write_text('{"temperature": 3.0}')
    with pytest.raises(TrainingError, match="interrupted"):
        run_training(job(tmp_path, finish=interrupted_measuring), show_progress=False)
    assert (tmp_path / "best").is_dir()
    assert not (tmp_path / "report.json").exists()


def broken_policy() -> tuple[nn.Module, object]:
    model, tokenizer = new_tiny_policy()
    with torch.no_grad():
        model.get_input_embeddings().weight[10:20] = torch.nan
    return model, tokenizer


def test_weights_that_are_not_finite_are_refused_at_the_first_step(tmp_path):
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        run_training(job(tmp_path, load=broken_policy), show_progress=False)


def test_rows_longer_than_the_model_reads_are_refused(tmp_path):
    long = DemonstrationRows(Ragged.of([[5] * 200]), Ragged.of([[0] * 100 + [1] * 100]))
    with pytest.raises(ConfigError, match="a conversation has 200 tokens, but the model reads 128 tokens at most"):
        run_training(job(tmp_path, train=long), show_progress=False)


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_lora_trains_adapters_and_saves_a_merged_model(tmp_path, architecture):
    source = tiny_models.save_scorer(tmp_path / "source", architecture)
    lora = pair_job(tmp_path / "out", source)
    pairs = lora.validation
    outcome = run_training(with_training(lora, lora=LoraConfig(rank=2)), show_progress=False)
    model, info = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out" / "best", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        sums = bradley_terry_loss(model.eval(), pairs.collate(range(40), pad_token=0), center_coefficient=0.0)
    assert float(sums["log_loss"]) / 40 == pytest.approx(outcome.best_value, rel=1e-4)
    before, after = weights(tmp_path / "source"), weights(tmp_path / "out" / "best")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(".layers." in name or ".layer." in name for name in moved)
    assert not any("embed" in name for name in moved)


@pytest.mark.parametrize("modules", [["embed_tokens"], ["lm_head"], ["embed_tokens", "q_proj"]])
def test_adapters_on_one_of_tied_embeddings_and_head_are_saved_as_they_were_measured(tmp_path, modules):
    tied = with_training(job(tmp_path), lora=LoraConfig(rank=4, alpha=32.0, target_modules=modules))
    outcome = run_training(tied, show_progress=False)
    model, info = AutoModelForCausalLM.from_pretrained(tmp_path / "best", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.lm_head.weight is not model.model.embed_tokens.weight

    @torch.no_grad()
    def loss() -> float:
        sums = next_token_loss(model.eval(), tied.validation.collate(range(11), pad_token=0))
        return float(sums["loss"]) / int(tied.validation.units.sum())

    assert loss() == pytest.approx(outcome.best_value, rel=1e-4)
    model.lm_head.weight = model.model.embed_tokens.weight  # as it was saved before
    assert abs(loss() - outcome.best_value) > 0.01


def test_a_model_that_is_not_saved_as_it_computes_is_refused(tmp_path, monkeypatch):
    original = PreTrainedModel.save_pretrained

    def with_another_head(model: PreTrainedModel, folder: Path) -> None:
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.get_input_embeddings().weight.mul_(3.0)
        original(other, folder)

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", with_another_head)
    with pytest.raises(TrainingError, match=r"the saved model has a validation loss of \d\.\d+, but"):
        run_training(job(tmp_path), show_progress=False)
    assert not (tmp_path / "best").exists()


def test_lora_on_layers_that_do_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="target_modules"):
        run_training(with_training(job(tmp_path), lora=LoraConfig(target_modules=["nowhere"])), show_progress=False)


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_freezing_leaves_embeddings_and_lower_layers_alone(tmp_path, architecture):
    source = tiny_models.save_scorer(tmp_path / "source", architecture)
    model, _ = reward_backbone(source, 1, tiny_models.tokenizer())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("embed" not in name and ".0." not in name for name in trained)
    assert any(".1." in name for name in trained)
    with pytest.raises(ConfigError, match="only 1 of the backbone's 2 layers can freeze"):
        reward_backbone(source, 2, tiny_models.tokenizer())


def small(model_type: str, **changes: object) -> PreTrainedModel:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = AutoConfig.for_model(model_type, vocab_size=320, pad_token_id=0, num_labels=1, **sizes | changes)
    return AutoModelForSequenceClassification.from_config(config)


def test_the_last_norm_of_opt_is_trained_though_its_code_names_it_before_the_layers():
    model = small("opt", ffn_dim=64, word_embed_proj_dim=32)
    freeze(model, 2)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if "layers.2." not in name} == {
        "score.weight",
        "model.decoder.final_layer_norm.weight",
        "model.decoder.final_layer_norm.bias",
    }


def test_layers_that_share_their_weights_cannot_be_frozen_one_by_one():
    with pytest.raises(ConfigError, match=r"the 3 layers of a albert backbone share weights"):
        freeze(small("albert", embedding_size=16), 1)


def test_a_backbone_that_reads_its_padding_is_refused_before_the_training(tmp_path):
    torch.manual_seed(0)
    sizes = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}
    config = AutoConfig.for_model(
        "xlnet", vocab_size=320, pad_token_id=0, num_labels=1, **sizes
    )  # hardly trained: small weights
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "xlnet")
    tiny_models.tokenizer().save_pretrained(tmp_path / "xlnet")
    with pytest.raises(ModelError, match="a xlnet backbone reads its padding"):
        run_training(pair_job(tmp_path / "out", str(tmp_path / "xlnet")), show_progress=False)
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


@pytest.mark.usefixtures("ray_cluster")
def test_workers_that_no_node_can_hold_are_refused_at_once(tmp_path):
    started = time.monotonic()
    with pytest.raises(PlacementError, match=r"training tiny .*no node matches accelerator H100"):
        run_training(with_training(job(tmp_path), workers=2, accelerator="H100"), show_progress=False)
    assert time.monotonic() - started < 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
def test_workers_that_were_admitted_but_get_no_place_end_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "admit_when_free", lambda requests: None)  # as if somebody had been faster
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "2")
    with pytest.raises(PlacementError, match="training tiny: Ray did not start its workers"):
        run_training(with_training(job(tmp_path), workers=1, accelerator="H100"), show_progress=False)


def train_with_two_workers(folder: Path, *, micro_batch_size: int | None) -> Outcome:
    # The last batch has 7 rows, so with passes of 2 one worker's last pass is empty.
    return run_training(
        with_training(job(folder), workers=2, micro_batch_size=micro_batch_size, cpus_per_worker=0.5),
        show_progress=False,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("micro_batch_size", [None, 2])
def test_two_gloo_workers_agree_with_one(tmp_path, micro_batch_size):
    alone = run_training(job(tmp_path / "alone"), show_progress=False)
    both = train_with_two_workers(tmp_path / "both", micro_batch_size=micro_batch_size)
    assert both.num_steps == alone.num_steps
    assert both.best_value == pytest.approx(alone.best_value, rel=1e-4)
    assert largest_difference(tmp_path / "alone" / "last", tmp_path / "both" / "last") < 1e-4
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["best", "last", "metrics.jsonl"]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
def test_an_error_on_a_worker_arrives_as_itself(tmp_path):
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        run_training(
            with_training(job(tmp_path, load=broken_policy), workers=2, cpus_per_worker=0.5), show_progress=False
        )
