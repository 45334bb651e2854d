"""The pool keeps order, never nests, and passes errors on."""

import threading

import pytest

from scanroom.operators.threads import each, n_threads, one_thread


def test_results_come_in_the_order_of_the_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCANROOM_THREADS", "3")
    assert each(lambda item: item**2, 50) == [item**2 for item in range(50)]


def test_work_within_work_stays_in_its_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCANROOM_THREADS", "3")

    def outer(_: int) -> bool:
        mine = threading.get_ident()
        return all(each(lambda _: threading.get_ident() == mine, 4))

    assert all(each(outer, 6))


def test_one_thread_may_be_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCANROOM_THREADS", "3")
    mine = threading.get_ident()
    with one_thread():
        assert each(lambda _: threading.get_ident(), 4) == [mine] * 4
    assert mine not in each(lambda _: threading.get_ident(), 4)


def test_an_error_reaches_the_caller():
    def work(item: int) -> int:
        if item == 3:
            raise KeyError(item)
        return item

    with pytest.raises(KeyError):
        each(work, 8)


@pytest.mark.parametrize("wanted", ["0", "-2", "many", ""])
def test_a_wish_that_is_no_count_is_not_followed(monkeypatch: pytest.MonkeyPatch, wanted: str):
    monkeypatch.setenv("SCANROOM_THREADS", wanted)
    assert n_threads() >= 1
