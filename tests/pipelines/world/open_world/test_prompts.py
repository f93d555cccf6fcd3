import random
from collections import Counter

from allgood.conversations import parse
from pipelines.config.open_world import OpenWorldConfig
from pipelines.world.open_world.gold import asked
from pipelines.world.open_world.prompts import draw_prompts
from pipelines.world.open_world.vocabulary import STAKES, TOPICS


def test_prompts_have_distinct_first_turns_and_all_topics_and_endings_equally_often() -> None:
    prompts = draw_prompts(2 * len(TOPICS) * len(STAKES), random.Random(0))
    assert len({parse(prompt)[0].content for prompt in prompts}) == len(prompts)
    world = OpenWorldConfig()
    questions = [asked(prompt, world) for prompt in prompts]
    counts = Counter((id(question.topic), question.ending) for question in questions)
    assert set(counts.values()) == {2}
    assert len(counts) == len(TOPICS) * len(STAKES)


def test_the_largest_world_that_a_run_file_may_ask_for_has_its_prompts() -> None:
    (most,) = [bound.le for bound in OpenWorldConfig.model_fields["num_prompts"].metadata if hasattr(bound, "le")]
    assert len(draw_prompts(most, random.Random(0))) == most
