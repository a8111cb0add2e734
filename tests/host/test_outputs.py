"""Output messages become the outputs that a notebook would hold, and never more than the limits."""

from __future__ import annotations

from codex_nb.host.capture import OutputCollector, error_line


def stream(text: str, name: str = "stdout") -> dict[str, str]:
    return {"name": name, "text": text}


def display(text: str, display_id: str | None = None) -> dict[str, object]:
    transient = {} if display_id is None else {"display_id": display_id}
    return {"data": {"text/plain": text}, "metadata": {}, "transient": transient}


def shown(text: str) -> dict[str, object]:
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}


def test_texts_of_one_stream_are_joined_until_something_else_comes() -> None:
    fold = OutputCollector()
    fold.add("stream", stream("a"))
    fold.add("stream", stream("b"))
    fold.add("stream", stream("c", "stderr"))
    fold.add("display_data", display("shown"))
    fold.add("stream", stream("d"))
    assert fold.outputs() == (
        {"output_type": "stream", "name": "stdout", "text": "ab"},
        {"output_type": "stream", "name": "stderr", "text": "c"},
        shown("shown"),
        {"output_type": "stream", "name": "stdout", "text": "d"},
    )


def test_an_update_replaces_every_display_with_its_id_in_place() -> None:
    fold = OutputCollector()
    for text, display_id in (("first", "x"), ("other", None), ("second", "x")):
        fold.add("display_data", display(text, display_id))
    fold.add("update_display_data", display("new", "x"))
    fold.add("update_display_data", display("nobody's", "y"))
    assert fold.outputs() == (shown("new"), shown("other"), shown("new"))


def test_clearing_forgets_at_once_or_when_the_next_output_comes() -> None:
    fold = OutputCollector()
    fold.add("stream", stream("one"))
    fold.add("clear_output", {"wait": False})
    assert fold.outputs() == ()
    fold.add("stream", stream("two"))
    fold.add("clear_output", {"wait": True})
    assert fold.outputs() == ({"output_type": "stream", "name": "stdout", "text": "two"},)
    fold.add("stream", stream("three"))
    assert fold.outputs() == ({"output_type": "stream", "name": "stdout", "text": "three"},)


def test_a_long_stream_keeps_its_two_ends_and_says_what_is_missing() -> None:
    fold = OutputCollector(text_limit=10)
    for _ in range(1_000):
        fold.add("stream", stream("ab"))
    [output] = fold.outputs()
    text = str(output["text"])
    assert (text[:5], text[-5:]) == ("ababa", "babab")
    kept = len(text) - len("\n… [1,984 characters left out] …\n")
    assert f"[{2_000 - kept:,} characters left out]" in text
    assert fold.size() <= 20


def test_a_mime_type_that_is_too_large_is_left_out_of_its_bundle() -> None:
    fold = OutputCollector(text_limit=10)
    data = {"text/plain": "small", "text/html": "<p>much too large</p>", "image/png": "x" * 1_000}
    fold.add("display_data", {"data": data})
    fold.add("execute_result", {"data": {"text/plain": "y" * 100}, "execution_count": 3})
    assert fold.outputs() == (
        {
            "output_type": "display_data",
            "data": {"text/plain": "small", "image/png": "x" * 1_000},
            "metadata": {},
        },
        {
            "output_type": "execute_result",
            "data": {"text/plain": "y" * 10},
            "metadata": {},
            "execution_count": 3,
        },
    )


def test_only_the_newest_outputs_are_kept() -> None:
    fold = OutputCollector(count_limit=2)
    for text in "abc":
        fold.add("display_data", display(text))
    assert (fold.outputs(), fold.dropped) == ((shown("b"), shown("c")), 1)


def test_an_exception_whose_text_fails_still_has_a_line() -> None:
    class Sulking(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert error_line(ZeroDivisionError("by nothing")) == "ZeroDivisionError: by nothing"
    assert error_line(Sulking()).endswith("Sulking: <exception str() failed>")
