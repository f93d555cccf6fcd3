"""Further families of policies, of every kind of layer that transformers caches: tried by the slow tests."""

from __future__ import annotations

from tests.families.policies import ATTENTION, SPREAD, STATE, WINDOW, PolicyCase

GPT: dict[str, object] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": SPREAD}
EXPERTS: dict[str, object] = {"num_local_experts": 4, "num_experts_per_tok": 2}
IN_TURN: dict[str, object] = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
COMPRESSED: dict[str, object] = {
    **ATTENTION,
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
LINEAR: dict[str, object] = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}


def case(name: str, model_type: str, special: str, *parts: dict[str, object], **changes: object) -> PolicyCase:
    """A slow case without chat template; later parts win."""
    architecture: dict[str, object] = {"model_type": model_type}
    for part in (*parts, changes):
        architecture |= part
    return PolicyCase(name, architecture, "none", special, slow=True)


MORE_POLICIES = (
    case("Mixtral", "mixtral", "experts", ATTENTION, EXPERTS),
    case(
        "Qwen3 MoE",
        "qwen3_moe",
        "experts",
        ATTENTION,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
    ),
    case("gpt-oss", "gpt_oss", "experts, sinks, windows in turn", ATTENTION, EXPERTS, IN_TURN, head_dim=8),
    case("DeepSeek-V2", "deepseek_v2", "compressed cache", COMPRESSED, first_k_dense_replace=2),
    case(
        "DeepSeek-V3",
        "deepseek_v3",
        "compressed cache, experts",
        COMPRESSED,
        first_k_dense_replace=1,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_group=2,
        topk_group=1,
        moe_intermediate_size=16,
    ),
    case("OLMo 2", "olmo2", "norms behind attention", ATTENTION),
    case("OLMo 3", "olmo3", "windows in turn", ATTENTION, IN_TURN),
    case("Granite", "granite", "scaled residuals", ATTENTION),
    case("SmolLM3", "smollm3", "layers without rotation", ATTENTION, no_rope_layers=[1, 0]),
    case("Cohere 2", "cohere2", "windows in turn, scaled logits", ATTENTION, IN_TURN),
    case("GLM-4", "glm4", "rotation of half of each head", ATTENTION, head_dim=8),
    case("StableLM", "stablelm", "rotation of a quarter of each head", ATTENTION),
    case("StarCoder2", "starcoder2", "sliding window", ATTENTION, sliding_window=WINDOW),
    case("Phi", "phi", "attention and feed-forward side by side", ATTENTION),
    case(
        "Llama 3 rotation",
        "llama",
        "positions stretched by `rope_type: llama3`",
        ATTENTION,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ),
    case("GPT-J", "gptj", "rotation of half of each head", GPT, rotary_dim=4),
    case("GPTBigCode", "gpt_bigcode", "one key-value head", GPT),
    case(
        "GPT-Neo",
        "gpt_neo",
        "local attention in turn",
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=WINDOW,
        max_position_embeddings=512,
        initializer_range=SPREAD,
    ),
    case("BLOOM", "bloom", "ALiBi", hidden_size=32, n_layer=2, n_head=4, initializer_range=SPREAD),
    case("MPT", "mpt", "ALiBi", d_model=32, n_layers=2, n_heads=4, max_seq_len=512, initializer_range=SPREAD),
    case(
        "Falcon",
        "falcon",
        "one key-value head",
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=SPREAD,
    ),
    case(
        "Jamba",
        "jamba",
        "recurrent and attention layers in turn, experts",
        ATTENTION,
        attn_layer_period=2,
        attn_layer_offset=1,
        num_experts=2,
        expert_layer_period=2,
        expert_layer_offset=1,
    ),
    case(
        "Zamba2",
        "zamba2",
        "recurrent layers, shared attention",
        ATTENTION,
        layers_block_type=["mamba", "hybrid"],
        mamba_d_state=8,
        mamba_expand=2,
        n_mamba_heads=8,
        mamba_ngroups=1,
        mamba_headdim=8,
        chunk_size=16,
        attention_head_dim=16,
        num_mem_blocks=1,
    ),
    case(
        "Nemotron-H",
        "nemotron_h",
        "recurrent and attention layers in turn",
        ATTENTION,
        layers_block_type=["mamba", "attention"],
        mamba_num_heads=8,
        mamba_head_dim=8,
        ssm_state_size=16,
        n_groups=1,
        chunk_size=16,
    ),
    case(
        "Falcon-H1",
        "falcon_h1",
        "recurrence and attention in the same layer",
        ATTENTION,
        STATE,
        mamba_d_ssm=32,
        mamba_n_heads=4,
        mamba_d_head=8,
    ),
    case(
        "LFM2",
        "lfm2",
        "convolutions and attention in turn",
        ATTENTION,
        layer_types=["conv", "full_attention"],
        block_multiple_of=8,
    ),
    case(
        "Qwen3-Next",
        "qwen3_next",
        "linear and full attention in turn, experts",
        ATTENTION,
        LINEAR,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
    ),
)
