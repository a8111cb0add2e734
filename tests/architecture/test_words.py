"""Every word that a person reads stands in ``codex_nb/words``, and is plain English: what happened, why, what next."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter

import pytest

from tests import words
from tests.architecture.sentences import Sentence, script_sentences, sentences, texts_in
from tests.architecture.sources import PACKAGE, modules
from tests.words import Entry, advice, definitions, entries, module_names, uses

ELSEWHERE = ("words", "simulator")  # the words themselves, and a backend that is not the product
LINES = 250

# What speaks to the model, whole modules or what stands in them by its name. Nothing here is shown to a person but as
# what it is: what the model was told.
TO_THE_MODEL = {
    "host/outputs.py": "outputs of cells, as they are told",
    "magics/cell.py:CONTINUE": "what the Continue button asks",
    "magics/document.py:insert": "why cells were not inserted, for the tool's result",
    "magics/manage.py:fix": "the name of a block of data",
    "session/call.py": "what came of a call",
    "session/cells.py:cell_text": "what of a cell is not told",
    "session/compaction.py:_ASK": "the request for a summary",
    "session/compaction.py:_SUMMARY": "the summary in the place of a history",
    "session/context.py:place": "where a question is asked",
    "session/context.py:_fitting": "the marks of what was shortened",
    "session/conversation.py:ABORTED_OUTPUT": "the output of a call that was cut off",
    "session/instructions.py": "the instructions",
    "session/mentions.py:_file": "the rest of a mentioned file",
    "session/mentions.py:_image_file": "the place of a mentioned picture",
    "session/redaction.py:redact": "the mark of what was shortened",
    "session/repair.py": "the questions of fix and explain, and the error in words",
    "session/sections.py": "the headings of a context",
    "session/turn.py:NOT_RUN": "the output of a call that was not carried out",
    "session/turn.py:REPAIR": "the request for a corrected value",
    "session/turn.py:_goes_on": "the name of a block of data",
    "tools/files.py": "a tool, its description and its results",
    "tools/frames.py": "values in words",
    "tools/functions.py:as_result": "the result of a function that returns nothing",
    "tools/functions.py:check": "what is wrong with a call's arguments",
    "tools/insertion.py": "a tool, its description and its results",
    "tools/inspection.py": "a tool, its description and its results",
    "tools/kernel.py": "a tool, its description and its results",
    "tools/outputs.py": "outputs of cells, as they are told",
    "tools/plan.py": "a tool, its description and its results",
    "tools/secrecy.py": "what stands in the place of a secret value",
    "tools/tool.py:find": "that there is no such tool",
    "tools/tool.py:parse": "what is wrong with a call's arguments",
    "tools/values.py": "values in words",
    "tools/variables.py": "values in words",
}
# Names that are written in two words, and are nobody's sentence.
NAMES = {
    "auth/browser_login.py:_answer": "HTTP's own status lines",
    "auth/keyring_store.py:SERVICE": "the CLI's name in the keyring",
    "http.py:_operating_system": "a system's name in the User-Agent",
    "providers.py:_LOCAL_SERVERS": "a product's name",
    "session/key_formats.py:KEY_FORMATS": "the end of a key's file",
}
ALLOWED = TO_THE_MODEL | NAMES

IMPERATIVES = {
    "Add", "Allow", "Ask", "Change", "Check", "Choose", "Close", "Copy", "Define", "Give", "Install", "Leave", "Let",
    "Make", "Mend", "Name", "Reinstall", "Remove", "Run", "See", "Send", "Set", "Sign", "Start", "Try", "Turn",
    "Unlock", "Unset", "Upgrade", "Use", "Wait", "Write", "end",
}  # fmt: skip
JARGON = re.compile(
    r"\b(?:traceback|exception|stack|null|payload|callback|boolean|deserial\w*|serial\w*|parse\w*|invalid"
    r"|unexpected|fatal|oops|sorry|unfortunately|successfully|e\.g|i\.e|etc)\b|!|  ",
    re.IGNORECASE,
)
ALIGNED = {"reference.HEAD"}  # its columns are kept apart by spaces


def strays() -> dict[str, list[Sentence]]:
    """Return the sentences that stand outside of the words, by module."""
    found = {
        module.as_posix(): sentences((PACKAGE / module).read_text())
        for module in modules()
        if module.parts[0] not in ELSEWHERE
    }
    return {module: told for module, told in found.items() if told}


def allowance(module: str, sentence: Sentence) -> str | None:
    """Return the line of the table that allows a sentence to stand where it does."""
    if sentence.is_told:
        return None
    return next((key for key in (module, f"{module}:{sentence.place}") if key in ALLOWED), None)


def test_no_sentence_for_a_person_stands_outside_of_the_words() -> None:
    assert [
        f"{module}:{sentence.line}: {sentence.text}"
        for module, told in strays().items()
        for sentence in told
        if allowance(module, sentence) is None
    ] == []


def test_what_is_allowed_to_stand_elsewhere_still_stands_there() -> None:
    needed = {allowance(module, sentence) for module, told in strays().items() for sentence in told}
    assert set(ALLOWED) - needed == set()


def test_the_front_end_halves_know_no_sentence() -> None:
    found = {text for path in PACKAGE.rglob("*.js") for text in script_sentences(path.read_text())}
    assert found == {"no notebook", "cell not found"}  # why a tool's cells were not inserted, for the model


def test_the_scan_of_scripts_finds_a_planted_sentence() -> None:
    script = """
    // A comment in words.
    button.textContent = "Copy the code"; /* another comment */
    box.title = `Stop after ${count} steps`; node.matches("pre, code"); line.append('Done now.');
    """
    assert script_sentences(script) == ["Copy the code", "Stop after ${count} steps", "Done now."]


PLANTED = '''
"""A module's docstring, in many words."""
HINT = "Sign in again with %codex login."
SEE = "See %codex usage."
LABEL: str = "an API key"
TABLE = {"a key": "half-written and forgotten files", "b": ("Stopped.", "x")}
PATTERN = re.compile(r"(?i)try again in\\s*")
MOMENT = "%Y-%m-%d %H:%M UTC"
PAGE = "<p>not a sentence</p>"

class Store:
    """A class's docstring."""

    def read(self, path: "a path") -> "some text":
        """A docstring."""
        logger.warning("The file could not be read.")
        if not path:
            message = f"The login {path} cannot be read."
            raise CredentialsUnreadable(message, hint="Remove it.")
        raise InvalidArguments("not a sentence for a person")

    def told(self):
        yield Notice("hint", f"{self.count} of the cells")
        return f"others may read it (mode {self.mode:04o})" if self else "there is none"
'''


def test_the_scan_finds_a_planted_sentence_whatever_it_stands_in() -> None:
    assert [(found.place, found.text, found.is_told) for found in sentences(PLANTED)] == [
        ("HINT", "Sign in again with %codex login.", False),
        ("SEE", "See %codex usage.", False),
        ("LABEL", "an API key", False),
        ("TABLE", "a key", False),
        ("TABLE", "half-written and forgotten files", False),
        ("TABLE", "Stopped.", False),
        ("read", "The login {…} cannot be read.", True),
        ("read", "Remove it.", True),
        ("read", "not a sentence for a person", False),
        ("told", "{…} of the cells", True),
        ("told", "others may read it (mode {…})", False),
        ("told", "there is none", False),
    ]


@pytest.mark.parametrize("module", module_names())
def test_a_module_of_words_is_short_and_knows_words_alone(module: str) -> None:
    source = (words.WORDS / f"{module}.py").read_text()
    imported = {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name and name.partition(".")[0] == "codex_nb"} == {
        name for name in imported if name and name.startswith("codex_nb.words")
    }
    assert len(source.splitlines()) <= LINES


@pytest.mark.parametrize("module", module_names())
def test_a_function_of_words_takes_texts_and_says_one_thing(module: str) -> None:
    for name, value in definitions(module):
        if not inspect.isfunction(value):
            continue
        signature = inspect.signature(value)
        assert {one.annotation for one in signature.parameters.values()} == {"str"}, name
        assert {one.default for one in signature.parameters.values()} == {inspect.Parameter.empty}, name
        assert signature.return_annotation in {"str", "Message"}, name
        body = ast.parse(inspect.getsource(value)).body[0]
        assert isinstance(body, ast.FunctionDef)
        assert [type(node) for node in body.body] == [ast.Expr, ast.Return], name
        assert all(words.braced(parameter) in said(module, name) for parameter in signature.parameters), name


def said(module: str, name: str) -> str:
    """Return all that an entry says, its hint included."""
    return " ".join(
        f"{entry.text} {entry.hint or ''}"
        for entry in entries()
        if (entry.module, entry.name) == (module, f"{name}()")
    )


def test_every_entry_is_used() -> None:
    used = uses()
    defined = [f"{module}.{name}" for module in module_names() for name, _ in definitions(module)]
    assert [place for place in defined if place not in used] == []


def test_no_sentence_is_written_twice() -> None:
    written = Counter(
        text
        for module in module_names()
        for text in texts_in((words.WORDS / f"{module}.py").read_text())
        if len(text.split()) > 2
    )
    assert {text: count for text, count in written.items() if count > 1} == {}


def messages() -> list[Entry]:
    return [entry for entry in entries() if entry.is_message]


def test_an_errors_message_is_a_sentence() -> None:
    # What somebody else said may stand at the end, as it was said.
    ends = (".", '".', "}")
    assert [entry.place for entry in messages() if not entry.text.endswith(ends)] == []
    begins = re.compile(r"[A-Z{%'-]|map\b|codex_nb\b")
    assert [entry.place for entry in messages() if not begins.match(entry.text)] == []


def test_every_error_says_what_to_do_next() -> None:
    used = uses()
    assert [entry.place for entry in messages() if not advice(entry, used)] == []


def test_advice_is_an_imperative_sentence() -> None:
    given = {entry.hint for entry in entries() if entry.hint}
    given |= {entry.text for entry in entries() if entry.module == "next_steps"}
    given |= {entry.text for entry in entries() if entry.name.startswith("ADVICE_")}
    assert sorted(hint for hint in given if not is_advice(hint)) == []


def is_advice(hint: str) -> bool:
    """Whether a hint tells what to do, and ends with a full stop unless with something to copy."""
    ends_well = hint.endswith(".") or re.search(r"with: \S.*$", hint) is not None
    return ends_well and any(word in IMPERATIVES for word in re.findall(r"(?:^|[.;,] )([A-Za-z]+)", hint))


def test_the_words_are_plain() -> None:
    assert [
        (entry.place, found[0])
        for entry in entries()
        if entry.place not in ALIGNED and (found := JARGON.search(f"{entry.text.strip()}|{entry.hint or ''}"))
    ] == []


def test_nobody_is_begged() -> None:
    assert [entry.place for entry in entries() if entry.text.lower().count("please") > 1] == []


def test_every_module_of_words_has_its_chapter_in_the_catalog() -> None:
    assert sorted(module for chapter in words.CHAPTERS.values() for module in chapter) == module_names()


def test_the_catalog_is_the_words_as_they_are() -> None:
    assert words.PAGE.read_text() == words.page(), "python -m tests.words writes it anew"
