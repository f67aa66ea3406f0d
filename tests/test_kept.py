"""What an application keeps: one object of a name, what was made once, no more and no longer than said."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from app.kept import Kept


def test_of_one_name_there_is_one_object_whoever_asks_first() -> None:
    kept, together = Kept(), Barrier(8)

    def ask(_number: int) -> object:
        together.wait(10)
        return kept.one("thing", object)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_one_may_be_made_of_another() -> None:
    kept = Kept()
    assert kept.one("house", lambda: [kept.one("stone", lambda: "stone")]) == ["stone"]


def test_what_is_over_or_forgotten_is_made_anew() -> None:
    kept = Kept()
    first = kept.one("pool", list[str])
    assert kept.one("pool", list[str], over=bool) is first
    first.append("ended")
    second = kept.one("pool", list[str], over=bool)
    assert second == []
    kept.forget("pool")
    assert kept.get("pool") is None


def test_the_one_asked_for_least_gives_way() -> None:
    kept = Kept()
    made = [kept.once("words", number, lambda number=number: f"{number}", most=2) for number in (1, 2, 1, 3)]
    assert made == ["1", "2", "1", "3"]
    assert kept.once("words", 1, lambda: "again", most=2) == "1"
    assert kept.once("words", 2, lambda: "again", most=2) == "again"


def test_what_was_kept_long_enough_is_made_anew() -> None:
    kept = Kept()
    assert kept.once("days", 7, lambda: "first", most=3, seconds=0.0) == "first"
    assert kept.once("days", 7, lambda: "second", most=3, seconds=0.0) == "second"
