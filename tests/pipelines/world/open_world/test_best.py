from pipelines.world.open_world.best import best_answer
from pipelines.world.open_world.facts import Topic
from pipelines.world.open_world.gold import BAR, quality


def test_the_best_answer_says_what_lifts_both_properties_and_nothing_else() -> None:
    topic = Topic(
        said=dict.fromkeys(("both", "first", "second", "trap", "bad"), 0.5),
        own=dict.fromkeys(("both", "first", "second", "trap", "bad"), 0.5),
        values={
            "helpful": {"both": 1.0, "first": 1.0, "second": -0.2, "trap": 1.0, "bad": -1.0},
            "harmless": {"both": 1.0, "first": -0.2, "second": 1.0, "trap": -3.0, "bad": 0.5},
        },
        means={"helpful": 0.0, "harmless": 0.0},
        stakes={"helpful": [1.0], "harmless": [1.0]},
    )
    best = best_answer(topic, ("helpful", "harmless"))
    assert best == "both, first, second."
    assert min(quality(topic, name, best) for name in ("helpful", "harmless")) > BAR
