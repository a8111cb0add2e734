"""Output messages become the outputs that a notebook would hold, within the limits."""

from __future__ import annotations

from codex_nb.host.shell import OutputCollector, error_line


def stream(text: str, name: str = "stdout") -> dict[str, str]:
    return {"name": name, "text": text}


def display(text: str, display_id: str | None = None) -> dict[str, object]:
    transient = {} if display_id is None else {"display_id": display_id}
    return {"data": {"text/plain": text}, "metadata": {}, "transient": transient}


def shown(text: str) -> dict[str, object]:
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}


def test_texts_of_one_stream_are_joined_until_something_else_comes() -> None:
    collector = OutputCollector()
    collector.add("stream", stream("a"))
    collector.add("stream", stream("b"))
    collector.add("stream", stream("c", "stderr"))
    collector.add("display_data", display("shown"))
    collector.add("stream", stream("d"))
    assert collector.outputs() == (
        {"output_type": "stream", "name": "stdout", "text": "ab"},
        {"output_type": "stream", "name": "stderr", "text": "c"},
        shown("shown"),
        {"output_type": "stream", "name": "stdout", "text": "d"},
    )


def test_an_update_replaces_every_display_with_its_id_in_place() -> None:
    collector = OutputCollector()
    for text, display_id in (("first", "x"), ("other", None), ("second", "x")):
        collector.add("display_data", display(text, display_id))
    collector.add("update_display_data", display("new", "x"))
    collector.add("update_display_data", display("other", "y"))
    assert collector.outputs() == (shown("new"), shown("other"), shown("new"))


def test_clearing_forgets_at_once_or_when_the_next_output_comes() -> None:
    collector = OutputCollector()
    collector.add("stream", stream("one"))
    collector.add("clear_output", {"wait": False})
    assert collector.outputs() == ()
    collector.add("stream", stream("two"))
    collector.add("clear_output", {"wait": True})
    assert collector.outputs() == ({"output_type": "stream", "name": "stdout", "text": "two"},)
    collector.add("stream", stream("three"))
    assert collector.outputs() == ({"output_type": "stream", "name": "stdout", "text": "three"},)


def test_a_long_stream_keeps_its_two_ends_and_reports_what_is_missing() -> None:
    collector = OutputCollector(text_limit=10)
    for _ in range(1_000):
        collector.add("stream", stream("ab"))
    [output] = collector.outputs()
    text = str(output["text"])
    assert (text[:5], text[-5:]) == ("ababa", "babab")
    kept = len(text) - len("\n… [1,984 characters left out] …\n")
    assert f"[{2_000 - kept:,} characters left out]" in text
    assert collector.size() <= 20


def test_a_mime_type_that_is_too_large_is_left_out_of_its_bundle() -> None:
    collector = OutputCollector(text_limit=10)
    data = {"text/plain": "small", "text/html": "<p>much too large</p>", "image/png": "x" * 1_000}
    collector.add("display_data", {"data": data})
    collector.add("execute_result", {"data": {"text/plain": "y" * 100}, "execution_count": 3})
    assert collector.outputs() == (
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


def test_only_the_newest_outputs_are_collected() -> None:
    collector = OutputCollector(count_limit=2)
    for text in "abc":
        collector.add("display_data", display(text))
    assert collector.outputs() == (shown("b"), shown("c"))


def test_an_exception_whose_str_raises_has_a_line() -> None:
    class Sulking(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert error_line(ZeroDivisionError("by nothing")) == "ZeroDivisionError: by nothing"
    assert error_line(Sulking()).endswith("Sulking: <exception str() failed>")
