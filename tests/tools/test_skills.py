"""Skills and saved prompts: which files count, what is read of them, how arguments are put into a prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.errors import CodexError
from codex_nb.tools.skills import (
    Skill,
    expand_prompt,
    find_skills,
    saved_prompts,
    selected_skills,
    skills_listing,
    split_front_matter,
)


def write_skill(place: Path, name: str = "", description: str = "Does it.", body: str = "Body.") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    named = f"name: {name}\n" if name else ""
    file = place / "SKILL.md"
    file.write_text(f"---\n{named}description: {description}\n---\n{body}\n")
    return file


def names(skills: tuple[Skill, ...]) -> list[str]:
    return [skill.name for skill in skills]


def test_skills_are_found_where_the_cli_finds_them_the_nearest_of_a_name_first(tmp_path: Path) -> None:
    home, repository = tmp_path / "codex", tmp_path / "repository"
    folder = repository / "a"
    folder.mkdir(parents=True)
    (repository / ".git").mkdir()
    expected = [
        write_skill(folder / ".codex" / "skills" / "one", "one"),
        write_skill(folder / ".agents" / "skills" / "two", "two"),
        write_skill(repository / ".agents" / "skills" / "three"),
        write_skill(home / "skills" / "deep" / "er" / "four", "four"),
        write_skill(tmp_path / "user" / ".agents" / "skills" / "five", "five"),
    ]
    write_skill(home / "skills" / "again", "one", "Another one.")
    write_skill(home / "skills" / ".system" / "imagegen", "imagegen")
    write_skill(tmp_path / ".agents" / "skills" / "above", "above")
    found = find_skills(home, folder, {"HOME": str(tmp_path / "user")})
    assert names(found) == ["one", "two", "three", "four", "five"]
    assert [skill.file for skill in found] == expected
    assert names(find_skills(home, None, {})) == ["one", "four"]


SKIPPED = {
    "no front matter": "Just text.",
    "no description": "---\nname: x\n---\n",
    "an empty description": "---\nname: x\ndescription:\n---\n",
    "an unfinished front matter": "---\nname: x\ndescription: y\n",
    "a name that is too long": f"---\nname: {'x' * 65}\ndescription: y\n---\n",
}


@pytest.mark.parametrize("text", SKIPPED.values(), ids=SKIPPED)
def test_what_the_cli_skips_is_skipped(tmp_path: Path, text: str) -> None:
    write_skill(tmp_path / "skills" / "x").write_text(text)
    assert find_skills(tmp_path, None, {}) == ()


DESCRIPTIONS = {
    "Plain: with a colon": "Plain: with a colon",
    '"In quotes # here"': "In quotes # here",
    "'Single'": "Single",
    "Cut # here": "Cut",
    ">\n  Over two\n  lines": "Over two lines",
    "|-\n  Kept\n  lines": "Kept lines",
    "\n  On the next": "On the next",
    "Continued\n  below": "Continued below",
}


@pytest.mark.parametrize(("written", "read"), DESCRIPTIONS.items())
def test_a_description_is_one_line_however_it_is_written(tmp_path: Path, written: str, read: str) -> None:
    write_skill(tmp_path / "skills" / "x", "x", written)
    [skill] = find_skills(tmp_path, None, {})
    assert skill.description == read


@given(st.text(max_size=200))
def test_any_text_has_a_front_matter_or_none(text: str) -> None:
    table, body = split_front_matter(text)
    assert text.endswith(body)
    assert body == text or text.startswith("---")
    assert all(isinstance(value, str) for value in table.values())


def test_a_link_leads_a_projects_skill_nowhere_else_but_the_users_own_anywhere(tmp_path: Path) -> None:
    outside = write_skill(tmp_path / "outside", "secret")
    project, home = tmp_path / "project", tmp_path / "codex"
    (project / ".git").mkdir(parents=True)
    for place in (project / ".agents" / "skills", home / "skills"):
        (place / "file").mkdir(parents=True)
        (place / "file" / "SKILL.md").symlink_to(outside)
        (place / "folder").symlink_to(outside.parent, target_is_directory=True)
    assert find_skills(tmp_path / "none", project, {}) == ()
    assert names(find_skills(home, None, {})) == ["secret"]


def test_a_long_description_is_cut(tmp_path: Path) -> None:
    write_skill(tmp_path / "skills" / "x", "x", "y" * 3_000)
    [skill] = find_skills(tmp_path, None, {})
    assert skill.description == "y" * 1_021 + "..."


def test_a_skill_may_lie_in_another_ones_folder(tmp_path: Path) -> None:
    for place, name in (("x", "x"), ("x/deeper", "y")):
        write_skill(tmp_path / "skills" / place, name)
    assert names(find_skills(tmp_path, None, {})) == ["x", "y"]


def test_a_loop_of_folders_ends(tmp_path: Path) -> None:
    (tmp_path / "skills" / "a").mkdir(parents=True)
    (tmp_path / "skills" / "a" / "b").symlink_to(tmp_path / "skills", target_is_directory=True)
    write_skill(tmp_path / "skills" / "x", "x")
    assert names(find_skills(tmp_path, None, {})) == ["x"]


def test_a_listing_is_bounded(tmp_path: Path) -> None:
    skills = tuple(Skill(f"s{number}", "d" * 500, tmp_path) for number in range(100))
    assert len(skills_listing(skills)) < 9_000
    assert skills_listing(()) == ""


def test_a_question_selects_the_skills_that_it_names(tmp_path: Path) -> None:
    for name in ("one", "one-more", "other"):
        write_skill(tmp_path / "skills" / name, name, body=f"Body of {name}.")
    skills = find_skills(tmp_path, None, {})
    [text] = selected_skills("Use $one-more; it costs $other2, $$one and x$one.", skills)
    assert "Body of one-more." in text


EXPANSIONS: list[tuple[str, str, str]] = [
    ("Plain.", "", "Plain."),
    ("Plain.", "a b", "Plain."),
    ("1: $1, 2: $2, 3: $3.", "a 'b c'", "1: a, 2: b c, 3: ."),
    ("All: $ARGUMENTS.", "a 'b c'", "All: a b c."),
    ("All: $ARGUMENTS.", "", "All: ."),
    ("$$1 $$ $0 $10 $x $", "a", "$$1 $$ $0 a0 $x $"),
    ("---\ndescription: d\nargument-hint: x\n---\nFix $1", "a", "Fix a"),
    ("$FILE for $USER, $FILE", 'FILE=a.py USER="Ada Lovelace"', "a.py for Ada Lovelace, a.py"),
    ("$FILE and $$HOME and $1", "FILE=x", "x and $$HOME and $1"),
    ("$FILE", "FILE=a=b OTHER=1", "a=b"),
    ("$$ONLY $ARGUMENTS", "x", "$$ONLY x"),
    ("$1", "$2 y", "$2"),
]


@pytest.mark.parametrize(("body", "arguments", "expected"), EXPANSIONS)
@pytest.mark.parametrize("command", ["/fix", "/prompts:fix"])
def test_arguments_are_put_in_as_the_cli_does(
    tmp_path: Path, command: str, body: str, arguments: str, expected: str
) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "fix.md").write_text(body)
    assert expand_prompt(f"{command} {arguments}".strip(), tmp_path) == expected


@pytest.mark.parametrize("arguments", ["", "x", "=x FILE=1", "USER=1", "FILE='x"])
def test_arguments_that_do_not_fit_say_what_is_missing(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "fix.md").write_text("$FILE and $USER")
    with pytest.raises(CodexError, match="/fix") as caught:
        expand_prompt(f"/fix {arguments}", tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["/other a", "/", "/fix/a", "/ fix", "fix a", "/fixed", "//fix"])
def test_any_other_text_is_a_question_as_it_stands(tmp_path: Path, text: str) -> None:
    (tmp_path / "prompts" / "folder.md").mkdir(parents=True)
    (tmp_path / "prompts" / "fix.md").write_text("Fix.")
    (tmp_path / "prompts" / "fix.txt").write_text("No.")
    assert expand_prompt(text, tmp_path) == text
    assert list(saved_prompts(tmp_path)) == ["fix"]


def test_a_prompt_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "fix.md").write_bytes(b"\xff\xfe")
    with pytest.raises(CodexError, match=r"fix\.md"):
        expand_prompt("/fix", tmp_path)
