"""Further families of reward models: tried by the slow tests."""

from __future__ import annotations

from tests.families.policies import ATTENTION, ENCODER, GPT
from tests.families.scorers import BERT_ENDS, ROBERTA_ENDS, ScorerCase

MORE_SCORERS = (
    ScorerCase("Qwen3", {"model_type": "qwen3", **ATTENTION, "head_dim": 8}, "reasoning", slow=True),
    ScorerCase("Phi-3", {"model_type": "phi3", **ATTENTION}, "chatml", slow=True),
    ScorerCase("GPT-2", {"model_type": "gpt2", **GPT}, special="learned positions", slow=True),
    ScorerCase("GPT-NeoX", {"model_type": "gpt_neox", **ATTENTION}, slow=True),
    ScorerCase(
        "DistilBERT",
        {
            "model_type": "distilbert",
            "dim": 32,
            "hidden_dim": 48,
            "n_layers": 2,
            "n_heads": 4,
            "initializer_range": 0.3,
        },
        ends=BERT_ENDS,
        slow=True,
    ),
    ScorerCase(
        "ALBERT",
        {"model_type": "albert", **ENCODER, "embedding_size": 16},
        ends=BERT_ENDS,
        special="layers share their weights",
        slow=True,
    ),
    ScorerCase("ELECTRA", {"model_type": "electra", **ENCODER, "embedding_size": 16}, ends=BERT_ENDS, slow=True),
    ScorerCase("XLM-RoBERTa", {"model_type": "xlm-roberta", **ENCODER}, ends=ROBERTA_ENDS, slow=True),
    ScorerCase("MPNet", {"model_type": "mpnet", **ENCODER}, ends=ROBERTA_ENDS, special="relative positions", slow=True),
)
