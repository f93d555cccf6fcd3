"""What an inspection says in sentences and tables, on the terminal and on the page alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.inspection.ending import Ending
from pipelines.inspection.inspection import Conversation, Inspection, Rewarded
from pipelines.inspection.reading import Cuts, Reading
from pipelines.inspection.roles import Role

REWARD_COLUMNS = ("scorer", "min", "median", "max", "std within", "std between", "failed", "shown alone", "in a batch")
MEMORY_COLUMNS = (
    "role",
    "on",
    "weights",
    "gradients",
    "Adam",
    "passes",
    "cache",
    "total",
    "copies",
    "at once",
    "TFLOP",
)
MEMORY_NOTE = (
    "Estimates by formula, per process; the libraries themselves, about 0.5 GB each and 1 GB on a GPU, come on top. "
    "Copies of weights lie in main memory. TFLOP are the floating-point operations, in 10^12, of one step "
    "of the alignment with texts as long as they may be."
)
_WHERE = {"cpu": "CPU", "gpu": "GPU"}


def title_of(conversation: Conversation) -> str:
    """What a conversation is."""
    return f"{conversation.source}: the response is {conversation.said_by}"


def caption(reading: Reading, cuts: Cuts) -> str:
    """How much is read, and what is lost."""
    if reading.response_start is None:
        return f"the response does not fit, so the conversation is left out; {_losses(cuts)}"
    num_tokens = len(reading.tokens)
    start = reading.response_start
    starts = f"the response starts at token {start}" if start < num_tokens else "the policy goes on from there"
    lost = f"; {reading.num_cut} tokens cut from the prompt" if reading.num_cut else ""
    return f"{num_tokens} tokens, {starts}{lost}; {_losses(cuts)}"


def ending_text(ending: Ending) -> str:
    """Where generation stops."""
    tokens = ", ".join(f"{token.text} ({token.id})" for token in ending.tokens)
    stop = ", ".join(map(repr, ending.stop))
    return f"A response ends at the token {tokens}" + (f" or at the text {stop}." if stop else ", and at no text.")


def rewards_text(inspection: Inspection) -> str:
    """What the rewards were measured on."""
    return (
        f"Rewards of {inspection.num_prompts} prompts x {inspection.samples_per_prompt} samples of pi_0. `std within` "
        "is between answers to one prompt, `std between` between the prompts' means. The answer that is shown was "
        "scored alone and among the others."
    )


def reward_rows(inspection: Inspection) -> list[list[str]]:
    """Cells under `REWARD_COLUMNS`."""
    return [[name, *_reward_cells(found)] for name, found in inspection.rewards.items()]


def warnings(inspection: Inspection) -> list[str]:
    """Everything that looks wrong, a sentence each."""
    return [
        f"{name}: {text}" for name, found in inspection.rewards.items() for text in [*found.suspicions, *_parity(found)]
    ]


def memory_rows(roles: Sequence[Role]) -> list[list[str]]:
    """Cells under `MEMORY_COLUMNS`."""
    return [
        [
            role.name if role.replicas == 1 else f"{role.name} (each of {role.replicas})",
            _WHERE[role.device],
            *(
                size(number)
                for number in (
                    role.memory.parameters,
                    role.memory.gradients,
                    role.memory.optimizer,
                    role.memory.activations,
                    role.memory.cache,
                    role.total,
                    role.memory.copies,
                )
            ),
            role.work,
            f"{role.operations / 1e12:.3g}" if role.operations else "–",
        ]
        for role in roles
    ]


def size(num_bytes: int) -> str:
    """Bytes with a unit, in powers of 1000: "6.4 GB"; a dash for none.

    >>> size(6_420_000_000), size(512_000), size(0)
    ('6.4 GB', '0.5 MB', '–')
    """
    if not num_bytes:
        return "–"
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.{0 if num_bytes >= 1e7 else 1}f} MB"


def _losses(cuts: Cuts) -> str:
    dropped = f", {cuts.num_dropped} do not fit" if cuts.num_dropped else ""
    return f"of the first {cuts.num_rows} rows {cuts.num_cut} are cut{dropped}"


def _reward_cells(found: Rewarded) -> list[str]:
    measured = found.range
    numbers = (measured.minimum, measured.median, measured.maximum, measured.std_within, measured.std_between)
    alone, together = found.shown.alone, found.shown.together
    return [*map(_number, numbers), str(measured.num_failed), _number(alone), _number(together)]


def _parity(found: Rewarded) -> list[str]:
    if found.shown.agree or math.isnan(found.shown.alone):
        return []
    return [
        f"the shown answer gets {found.shown.alone:.4g} alone and {found.shown.together:.4g} in a batch, so its "
        "reward depends on its neighbours; of a model check pad_token_id in its config.json against its tokenizer"
    ]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}" if abs(value) < 1e4 else f"{value:.3g}"
