"""Gold of the user's own function: whatever is not one finite number per response is reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import ConfigError
from pipelines.config.loading import load_config
from pipelines.objective.gold import gold_of
from tests.pipelines.tiny_run import tiny_config


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("[1.0]", "must return one 'short' score per response"),
        ("[1.0, float('nan')]", "returned 1 'short' scores of 2 that are no finite numbers"),
        ("[float('inf'), float('nan')]", "returned 2 'short' scores of 2"),
        ("[1.0, 2.0], 'length': [3.0, 4.0]", "returned 'length' too, for which evaluate.bars says"),
    ],
)
def test_a_gold_function_that_does_not_know_every_response_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returned: str, words: str
) -> None:
    name = f"gold_{abs(hash(returned))}"
    (tmp_path / f"{name}.py").write_text(f"def gold(prompts, responses):\n    return {{'short': {returned}}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    gold = gold_of(tiny_config(tmp_path, evaluate={"gold": f"{name}:gold", "bars": {"short": 0.0}}))
    assert gold is not None
    with pytest.raises(ConfigError, match=words):
        gold.score(["p", "p"], ["a", "b"])


def test_gold_of_each_world_scores_its_properties_and_has_its_bars() -> None:
    prompt = "\n\nHuman: how do i fix the kettle?\n\nAssistant:"  # both worlds know kettles
    three = "world.properties=[helpful, harmless, courteous]"
    for file, overrides, names in (
        ("quickstart", [], ["helpful", "harmless"]),
        ("open_world", [three], ["helpful", "harmless", "courteous"]),
    ):
        gold = gold_of(load_config(Path(f"configs/{file}.yaml"), overrides))
        assert gold is not None
        scores = gold.score([prompt, prompt], ["", "thank you."])
        assert list(scores) == list(gold.bars) == names
        assert gold.all_good(scores).tolist() == [False, False]
