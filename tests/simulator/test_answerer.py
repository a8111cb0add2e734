"""The canned answers to requests as notebooks send them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator.asking import Asker, text_of, user

PYTHON = {
    "type": "function",
    "name": "run_python",
    "parameters": {"type": "object", "properties": {"code": {"type": "string"}}},
}
CONTEXT = """\
Cell 1 (code):
df = pd.read_csv("iris.csv")
Variables:
- other: pandas.DataFrame (3 rows \u00d7 2 columns)
- df: pandas.DataFrame (1,500 rows \u00d7 4 columns)
"""


def output_of(call: dict[str, Any], output: object) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


def looked(asker: Asker, question: str, output: object, **more: Any) -> tuple[str, str]:
    """The code that the answer runs, and the report on its output."""
    items = [user(CONTEXT, question)]
    first = asker.final(*items, **({"tools": [PYTHON]} | more))
    reasoning, call = first["output"]
    second = asker.final(*items, reasoning, call, output_of(call, output), **({"tools": [PYTHON]} | more))
    return json.loads(call["arguments"])["code"], text_of(second)


def test_a_frame_is_looked_at_and_reported_with_its_real_numbers(asker: Asker) -> None:
    import pandas as pd

    frame = pd.DataFrame({"length": [1.0, 2.0, 4.5], "width": [10, 20, 33]})
    printed = f"rows, columns: {frame.shape}\n{frame.describe().to_string()}\n"
    code, report = looked(asker, "What is in df?", printed)
    assert "df.describe()" in code
    assert "`df` has **3 rows** and **2 columns**" in report
    assert "| `length` | 3 | 2.5 | 1.80278 | 1 | 2 | 4.5 |" in report
    assert "| `width` | 3 | 21 | 11.5326 | 10 | 20 | 33 |" in report
    assert "simulator" in report


def test_the_code_really_prints_what_the_report_reads(
    asker: Asker, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    code, _ = looked(asker, "What is in df?", "")
    exec(code, {"df": pd.DataFrame({"x": [1, 2, 3, None]})})  # noqa: S102 - the code under test
    _, report = looked(asker, "What is in df?", capsys.readouterr().out)
    assert "**4 rows** and **1 column**" in report
    assert "| `x` | 3 | 2 | 1 | 1 | 2 | 3 |" in report
    assert "1 in `x`" in report


def test_the_frame_that_the_question_names_is_looked_at(asker: Asker) -> None:
    assert "other.describe()" in looked(asker, "And other?", "")[0]


def test_a_second_question_is_answered_from_the_first_look(asker: Asker) -> None:
    printed = "rows, columns: (9, 2)\nmissing: {'length': 1, 'width': 4}\n"
    question = user(CONTEXT, "What is in df?")
    reasoning, call = asker.final(question, tools=[PYTHON])["output"]
    history = [question, reasoning, call, output_of(call, printed)]
    report = asker.final(*history, tools=[PYTHON])["output"]
    answer = asker.final(*history, *report, user("Which column of df worries you most?"), tools=[PYTHON])
    assert "`width` has the most missing values: 4 of 9." in text_of(answer)
    drawing = asker.final(*history, *report, user("Now plot df"), tools=[PYTHON])["output"]
    assert [item["type"] for item in drawing] == ["reasoning", "function_call"]


def test_a_frame_without_missing_values_is_reported_as_such(asker: Asker) -> None:
    question = user(CONTEXT, "What is in df?")
    reasoning, call = asker.final(question, tools=[PYTHON])["output"]
    output = output_of(call, "rows, columns: (9, 2)\nmissing: {'length': 0}\n")
    answer = asker.final(question, reasoning, call, output, user("Does df worry you?"), tools=[PYTHON])
    assert "No column of `df` has missing values." in text_of(answer)


def test_a_frame_of_another_library_is_only_described(asker: Asker) -> None:
    question = user("q: polars.DataFrame, 2 rows by 1 columns", "What is in q?")
    _, call = asker.final(question, tools=[PYTHON])["output"]
    code = json.loads(call["arguments"])["code"]
    assert code == 'print("rows, columns:", q.shape)\nprint(q.describe())'


def test_a_frame_that_only_the_question_names_is_looked_at(asker: Asker) -> None:
    _, call = asker.final(user("What is in sales_df?"), tools=[PYTHON])["output"]
    assert "sales_df.describe()" in call["arguments"]


def test_a_question_for_a_plot_draws_one(asker: Asker) -> None:
    assert "plt.show()" in looked(asker, "Please plot df", "")[0]


def test_a_tool_of_the_users_own_is_called_when_the_question_names_it(asker: Asker) -> None:
    product = {"type": "string", "enum": ["kettle", "lamp"]}
    schema = {"type": "object", "properties": {"product": product}, "required": ["product"]}
    tool = {"type": "function", "name": "stock_of", "parameters": schema}
    question = user("Use stock_of: is there a lamp left?")
    reasoning, call = asker.final(question, tools=[tool, PYTHON])["output"]
    assert (call["name"], json.loads(call["arguments"])) == ("stock_of", {"product": "lamp"})
    fenced = '<data-2c976228dc60 of="stock_of">\n7\n</data-2c976228dc60>'
    answer = asker.final(question, reasoning, call, output_of(call, fenced), tools=[tool, PYTHON])
    assert text_of(answer).startswith("`stock_of` returned:\n\n```text\n7\n```")


def test_the_markers_around_an_untrusted_output_are_not_quoted(asker: Asker) -> None:
    fenced = 'What ran:\nprint(1)\n\n<data-2c976228dc60 of="run_python">\n1\n</data-2c976228dc60>'
    _, report = looked(asker, "What is in df?", fenced)
    assert "```text\nWhat ran:\nprint(1)\n\n1\n```" in report


def test_a_rejected_call_is_reported(asker: Asker) -> None:
    _, report = looked(asker, "What is in df?", "The user rejected this call; it did not run.")
    assert "The code was not approved" in report


def test_a_failed_call_is_reported_with_its_error(asker: Asker) -> None:
    trace = "Traceback (most recent call last)\n  ...\nNameError: name 'df' is not defined"
    _, report = looked(asker, "What is in df?", trace)
    assert "NameError: name 'df' is not defined" in report


def test_output_that_is_no_table_is_quoted(asker: Asker) -> None:
    _, report = looked(asker, "What is in df?", [{"type": "input_text", "text": "shape: (3, 2)"}])
    assert "```text\nshape: (3, 2)\n```" in report


INSERT = {
    "type": "function",
    "name": "insert_cells",
    "parameters": {
        "type": "object",
        "properties": {
            "where": {"type": "string"},
            "new": {
                "type": "array",
                "items": {"properties": {"cell_type": {"type": "string"}, "source": {"type": "string"}}},
            },
        },
    },
}


def test_cells_are_inserted_with_the_field_names_of_the_tool(asker: Asker) -> None:
    question = user(CONTEXT, "Please add three cells about df")
    reasoning, call = asker.final(question, tools=[PYTHON, INSERT])["output"]
    assert json.loads(call["arguments"])["new"] == [
        {"cell_type": "markdown", "source": "## Summary of `df`"},
        {"cell_type": "code", "source": "df.describe()"},
        {"cell_type": "code", "source": "df.isna().sum()"},
    ]
    report = asker.final(
        question, reasoning, call, output_of(call, "3 cells inserted"), tools=[PYTHON, INSERT]
    )
    assert "The tool returned: 3 cells inserted" in text_of(report)


FAILED = """\
temperature = 5
```python
print(temprature)
```
NameError: name 'temprature' is not defined"""


def test_a_misspelled_name_is_corrected(asker: Asker) -> None:
    text = text_of(asker.final(user(FAILED, "Please fix this")))
    assert "There is no `temprature`; did you mean `temperature`?" in text
    assert "```python\nprint(temperature)\n" in text
    _, call = asker.final(user(FAILED, "Please fix this"), tools=[INSERT])["output"]
    assert json.loads(call["arguments"]) == {"new": [{"cell_type": "code", "source": "print(temperature)\n"}]}


def test_a_failed_cell_with_a_frame_beside_it_is_corrected_not_described(asker: Asker) -> None:
    question = f"This cell failed. Propose a corrected cell: insert it below.\n{FAILED}"
    _, call = asker.final(user(CONTEXT), user(question), tools=[PYTHON, INSERT])["output"]
    assert "print(temperature)" in call["arguments"]


def test_a_failed_cell_with_an_id_is_corrected_in_place(asker: Asker) -> None:
    edit = PYTHON | {"name": "edit_cell"}
    failed = f"The failed cell (id=cell-7):\n{FAILED}"
    _, call = asker.final(user(failed), user("A cell failed."), tools=[INSERT, edit])["output"]
    assert call["name"] == "edit_cell"
    assert json.loads(call["arguments"]) == {"cell_id": "cell-7", "source": "print(temperature)\n"}


def test_a_missing_import_is_named(asker: Asker) -> None:
    text = text_of(asker.final(user("NameError: name 'pd' is not defined", "What is wrong?")))
    assert "`pd` is not imported: `import pandas as pd`." in text


def test_an_error_that_says_nothing_is_only_seen(asker: Asker) -> None:
    text = text_of(asker.final(user("NameError: name 'zzz' is not defined", "What is wrong?")))
    assert "an error: `NameError: name 'zzz' is not defined`" in text


def test_a_lite_model_finds_the_tool_in_the_input(asker: Asker) -> None:
    tools = {
        "type": "additional_tools",
        "role": "developer",
        "tools": [{"type": "namespace", "name": "functions", "tools": [PYTHON]}],
    }
    response = asker.final(tools, user(CONTEXT, "What is in df?"), model="simulator-lite")
    call = response["output"][1]
    assert (call["type"], call["name"], call["namespace"]) == ("function_call", "run_python", "functions")


def test_a_custom_tool_gets_the_code_as_it_is(asker: Asker) -> None:
    response = asker.final(user(CONTEXT, "What is in df?"), tools=[{"type": "custom", "name": "run_python"}])
    call = response["output"][1]
    assert call["type"] == "custom_tool_call"
    assert call["input"].startswith('print("rows, columns:"')


def test_without_the_tool_it_says_what_it_sees(asker: Asker) -> None:
    text = text_of(asker.final(user(CONTEXT + "ValueError: bad value", "What now?")))
    assert "the data frame `df` (1,500 \u00d7 4)" in text
    assert "an error: `ValueError: bad value`" in text
    assert "1 notebook cell" in text


def test_images_are_counted(asker: Asker) -> None:
    message = user("What is this?")
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    message["content"] = [image, image, *message["content"]]
    assert "2 images" in text_of(asker.final(message))


def test_a_trigger_compacts_the_thread_and_the_item_is_understood_later(asker: Asker) -> None:
    question = user("Tell me about whales")
    (item,) = asker.final(question, {"type": "compaction_trigger"})["output"]
    assert item["type"] == "compaction"
    text = text_of(asker.final(item, user("Go on")))
    assert "a summary of earlier turns" in text
    (again,) = asker.final(item, {"type": "compaction_trigger"})["output"]
    assert again["encrypted_content"] != item["encrypted_content"]


def test_the_api_compacts_at_its_own_address(asker: Asker) -> None:
    asker.headers["authorization"] = f"Bearer {asker.sim.new_api_key()}"
    url = f"{asker.sim.api_base_url}/responses/compact"
    question = user("Tell me about whales")
    answer = asker.client.post(url, headers=asker.headers, json={"model": "m", "input": [question]}).json()
    assert [item["type"] for item in answer["output"]] == ["message", "compaction"]
    assert asker.client.post(url, headers=asker.headers, json={}).status_code == 400


def test_a_request_for_a_summary_gets_one(asker: Asker) -> None:
    response = asker.final(user("Tell me about whales"), user("Summarize this conversation for later."))
    assert "Tell me about whales" in text_of(response)


def test_a_schema_is_answered_by_json_that_fits(asker: Asker) -> None:
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["negative", "positive"]}, "why": {"type": "string"}},
        "required": ["mood", "why"],
    }
    text_format = {"type": "json_schema", "name": "mood", "strict": True, "schema": schema}
    answer = json.loads(text_of(asker.final(user("So positive!"), text={"format": text_format})))
    assert answer["mood"] == "positive"
    assert "Simulated" in answer["why"]
