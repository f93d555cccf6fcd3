"""The page works for people: by keyboard, on a phone's width, with a token, and without anything from elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipelines.serve.settings import Limits
from tests.browser import Page, opened
from tests.pipelines.serve.in_process import served_in_process

pytestmark = pytest.mark.slow  # a browser takes seconds of both cores

SHOT = os.environ.get("ALLGOOD_SCREENSHOT")  # docs/images/serve_page.png is made with it
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_in_process(Limits(characters=5000)) as url:
        yield url


async def text(page: Page, selector: str) -> str:
    found: str = await page.run(f"document.querySelector({selector!r}).textContent")
    return found


async def judged(page: Page) -> None:
    """Two responses, typed and judged with the keyboard alone."""
    await page.until("document.getElementById('objective').options.length")
    await page.run("document.getElementById('prompt').select(), document.getElementById('prompt').focus()")
    await page.type("What is tea?")
    await page.press("Tab")
    await page.type("A drink made of leaves and hot water.")
    await page.press("Tab")
    await page.type("No.")
    await page.press("Tab")
    assert await page.run("document.activeElement.id") == "judge"
    await page.press("Enter")
    await page.until("!document.getElementById('result').hidden")


def test_a_person_compares_two_responses_and_moves_a_reference_by_keyboard(url: str) -> None:
    rows = [{"prompt": "What is tea?", "response": text} for text in ("A drink made of leaves and hot water.", "No.")]
    first, second = httpx.post(f"{url}/v1/score", json={"rows": rows}).json()["rows"]

    async def use() -> None:
        async with opened(url) as page:
            await page.size(1000, 900)
            await judged(page)
            better, nats = ("A" if first["utility"] > second["utility"] else "B"), first["utility"] - second["utility"]
            assert await text(page, "#verdict") == f"{better} is better by {abs(nats):.3f} nats."
            shown = await page.run("[...document.querySelectorAll('.answer:first-child dd')].map(e => e.textContent)")
            brief = first["properties"]["brief"]
            assert shown[:2] == [f"{first['utility']:.3f}", f"{first['p_all_good']:.3f}"]
            assert shown[2:6] == [f"{brief[key]:.3f}" for key in ("reward", "reference", "margin", "p_good")]
            if SHOT:
                await page.screenshot(Path(SHOT))
            await page.run("document.getElementById('reference-brief').focus()")
            await page.press("ArrowLeft", times=10)
            await page.until(f"document.querySelector('.answer dd').textContent !== {shown[0]!r}")
            moved = await page.run("[...document.querySelectorAll('.answer:first-child dd')].map(e => e.textContent)")
            assert float(moved[3]) < brief["reference"]
            assert float(moved[0]) > first["utility"]  # a lower bar is easier to pass
            assert all(asked.startswith(url) for asked in page.requested)

    asyncio.run(use())


def test_on_a_phone_nothing_is_wider_than_the_screen(url: str) -> None:
    async def use() -> None:
        async with opened(url) as page:
            await page.size(360, 740)
            await judged(page)
            assert await page.run("document.documentElement.scrollWidth") <= 360
            assert not await page.run("document.getElementById('token-field').checkVisibility()")

    asyncio.run(use())


def test_a_problem_is_shown_and_a_failed_row_has_its_reason(url: str) -> None:
    async def use() -> None:
        async with opened(url) as page:
            await page.until("document.getElementById('objective').options.length")
            for response, selector, words in (
                ("A beverage.", ".failed", "free_of_b: scoring failed"),
                ("x" * 6000, "#problem", "6000 characters"),
            ):
                await page.run(f"document.getElementById('response-a').value = {response!r}")
                await page.run("document.getElementById('ask').requestSubmit()")
                await page.until(f"document.querySelector({selector!r})?.textContent.includes({words!r})")

    asyncio.run(use())


def test_where_a_token_is_needed_the_page_asks_for_it() -> None:
    async def use(url: str) -> None:
        async with opened(url) as page:
            await page.until("document.activeElement.id === 'token'")
            await page.type(TOKEN)
            await page.press("Tab")
            await page.until("document.getElementById('objective').options.length")
            assert await text(page, "#problem") == ""

    with served_in_process(Limits(), token=TOKEN) as url:
        asyncio.run(use(url))
