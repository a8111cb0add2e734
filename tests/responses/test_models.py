"""The model catalog: the live list, what is remembered of it, and the choice."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from codex_nb.errors import ConfigError, ModelUnavailable, SignInRequired
from codex_nb.http import httpx, open_http
from codex_nb.responses.events import Usage
from codex_nb.responses.models import (
    COST_UNKNOWN,
    Model,
    ModelCatalog,
    PriceTable,
    ReasoningChoice,
    bundled_models,
    nearest,
    parse_models,
    price_table,
    read_catalog,
)
from codex_nb.responses.request import CONTRACT_VERSION, Backend
from tests.responses.fakes import API, CHATGPT, LOCAL, SETTINGS

pytestmark = pytest.mark.anyio

NOW = 1_795_200_000.0
SOL: dict[str, Any] = {
    "slug": "gpt-6.1-sol",
    "display_name": "GPT-6.1 Sol",
    "description": "The usual one.",
    "supported_reasoning_levels": [{"effort": "low", "description": "quick"}, {"effort": "high"}],
    "default_reasoning_level": "low",
    "visibility": "list",
    "priority": 1,
    "use_responses_lite": True,
    "context_window": 400_000,
    "input_modalities": ["text"],
    "supports_reasoning_summaries": True,
    "support_verbosity": False,
    "supports_parallel_tool_calls": False,
    "base_instructions": "Much text.",
    "shell_type": "never heard of",
}
OLD = {"slug": "gpt-5.5", "display_name": "GPT-5.5", "priority": 2}
HIDDEN = {"slug": "gpt-review", "visibility": "hide", "priority": 0}
SOL_MODEL = Model(
    slug="gpt-6.1-sol",
    display_name="GPT-6.1 Sol",
    efforts=("low", "high"),
    default_effort="low",
    is_lite=True,
    context_window=400_000,
    supports_images=False,
    supports_summaries=True,
    supports_verbosity=False,
    supports_parallel_tool_calls=False,
)


@dataclass
class Shop:
    """A backend that lists models, and counts how often it is asked; ``clock`` is what the catalog reads."""

    home: Path
    reply: httpx.Response = field(
        default_factory=lambda: httpx.Response(200, json={"models": [OLD, SOL, HIDDEN]})
    )
    requests: list[httpx.Request] = field(default_factory=list)
    clock: float = NOW
    fixed: tuple[Model, ...] = ()

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.reply

    @asynccontextmanager
    async def catalog(
        self, backend: Backend = CHATGPT, identity: str = "ada", default: str | None = None
    ) -> AsyncIterator[ModelCatalog]:
        async with open_http(SETTINGS, {}, transport=httpx.MockTransport(self.handle)) as http:
            yield ModelCatalog(
                http,
                backend,
                None,
                codex_home=self.home,
                identity=lambda: identity,
                default=default,
                fixed=self.fixed,
                clock=lambda: self.clock,
            )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def slugs(models: tuple[Model, ...]) -> list[str]:
    return [model.slug for model in models]


async def test_the_list_is_asked_for_as_the_cli_does_and_sorted_by_priority(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        assert slugs(await catalog.models()) == ["gpt-review", "gpt-6.1-sol", "gpt-5.5"]
    assert (
        str(shop.requests[0].url)
        == f"https://chatgpt.com/backend-api/codex/models?client_version={CONTRACT_VERSION}"
    )


def test_an_entry_is_read_whole_and_a_sparse_one_stays_unknown() -> None:
    assert parse_models({"models": [SOL, {"slug": "x"}]}) == (Model("x", "x"), SOL_MODEL)


@pytest.mark.parametrize("bad", [5, None, {}, {"slug": ""}, {"slug": 1}, {"slug": "a", "priority": "x"}])
def test_one_bad_entry_does_not_lose_the_list(bad: Any) -> None:
    assert slugs(parse_models({"models": [bad, SOL]})) == ["gpt-6.1-sol"]


@pytest.mark.parametrize("body", [None, [], {}, {"models": {}}, {"data": 5}, {"data": [{"name": "x"}]}])
def test_what_is_no_list_has_no_models(body: Any) -> None:
    assert parse_models(body) == ()


def test_the_usual_form_of_other_providers_is_read() -> None:
    assert parse_models({"object": "list", "data": [{"id": "llama3.3"}]}) == (Model("llama3.3", "llama3.3"),)


async def test_a_list_is_good_for_five_minutes(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        await catalog.models()
        shop.clock = NOW + 299
        await catalog.models()
        assert len(shop.requests) == 1
        shop.clock = NOW + 300
        await catalog.models()
        assert len(shop.requests) == 2


async def test_another_process_finds_the_list(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        first = await catalog.models()
    async with shop.catalog() as catalog:
        assert catalog.cached() == first
        assert await catalog.models() == first
    assert len(shop.requests) == 1


@pytest.mark.parametrize("change", ["account", "address"])
async def test_lists_of_other_accounts_and_addresses_are_kept_apart(shop: Shop, change: str) -> None:
    async with shop.catalog() as catalog:
        await catalog.models()
    other = replace(CHATGPT, base_url="https://gate.test/codex") if change == "address" else CHATGPT
    async with shop.catalog(other, "bob" if change == "account" else "ada") as catalog:
        await catalog.models()
    assert len(shop.requests) == 2
    async with shop.catalog() as catalog:
        await catalog.models()
    assert len(shop.requests) == 2


async def test_only_so_many_lists_are_kept(shop: Shop) -> None:
    for number in range(12):
        shop.clock = NOW + number
        async with shop.catalog(identity=f"user {number}") as catalog:
            await catalog.models()
    assert len(json.loads((shop.home / "codex_nb_models.json").read_text())["lists"]) == 8


async def test_the_file_holds_no_name_of_an_account(shop: Shop) -> None:
    async with shop.catalog(identity="ada@example.test") as catalog:
        await catalog.models()
    assert "ada@" not in (shop.home / "codex_nb_models.json").read_text()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"lists": 5}', '{"lists": {"x": {"models": [5]}}}', "[" * 100_000],
    ids=range(6),
)
async def test_a_broken_file_of_ours_is_as_if_it_were_not_there(shop: Shop, content: str) -> None:
    (shop.home / "codex_nb_models.json").write_text(content)
    async with shop.catalog() as catalog:
        assert "gpt-5.5" in slugs(await catalog.models())


async def test_a_home_that_cannot_be_written_costs_other_processes_a_request_only(shop: Shop) -> None:
    shop.home = shop.home / "absent"
    async with shop.catalog() as catalog:
        assert "gpt-5.5" in slugs(await catalog.models())
        assert "gpt-5.5" in slugs(await catalog.models())
    assert len(shop.requests) == 1


async def test_many_who_ask_at_once_ask_once(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        lists = await asyncio.gather(*(catalog.models() for _ in range(8)))
    assert [len(models) for models in lists] == [3] * 8
    assert len(shop.requests) == 1


def write_cli_cache(home: Path, fetched_at: float, models: list[Any]) -> bytes:
    moment = datetime.fromtimestamp(fetched_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    table = {
        "fetched_at": moment,
        "etag": 'W/"1"',
        "client_version": "0.169.0",
        "identity": "ab",
        "models": models,
    }
    (home / "models_cache.json").write_text(json.dumps(table))
    return (home / "models_cache.json").read_bytes()


async def test_the_clis_fresh_list_saves_a_request_and_is_not_touched(shop: Shop) -> None:
    before = write_cli_cache(shop.home, NOW - 100, [OLD])
    async with shop.catalog() as catalog:
        assert slugs(await catalog.models()) == ["gpt-5.5"]
        shop.clock = NOW + 300
        await catalog.models()
    assert len(shop.requests) == 1
    assert (shop.home / "models_cache.json").read_bytes() == before


@pytest.mark.parametrize("name", ["auth.json", "config.toml"])
async def test_the_clis_list_from_before_another_login_is_not_believed(shop: Shop, name: str) -> None:
    write_cli_cache(shop.home, NOW - 100, [OLD])
    (shop.home / name).touch()
    os.utime(shop.home / name, (NOW - 50, NOW - 50))
    async with shop.catalog() as catalog:
        assert slugs(catalog.cached()) != ["gpt-5.5"]


async def test_the_clis_list_is_not_for_other_backends(shop: Shop) -> None:
    write_cli_cache(shop.home, NOW - 100, [OLD])
    async with shop.catalog(LOCAL) as catalog:
        assert catalog.cached() == ()


async def test_completion_asks_nobody(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        assert "gpt-6.1-sol" in slugs(catalog.cached())
    assert shop.requests == []


async def test_an_old_list_is_better_than_none(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        listed = await catalog.models()
        shop.clock, shop.reply = NOW + 10_000, httpx.Response(500)
        assert await catalog.models() == listed


async def test_without_any_list_the_one_that_comes_along_is_given(shop: Shop) -> None:
    shop.reply = httpx.Response(200, text="<html>")
    async with shop.catalog() as catalog:
        assert await catalog.models() == bundled_models()


async def test_a_login_that_is_refused_is_not_hidden(shop: Shop) -> None:
    shop.reply = httpx.Response(401, json={})
    async with shop.catalog() as catalog:
        with pytest.raises(SignInRequired):
            await catalog.models()


async def test_an_api_key_asks_for_no_list(shop: Shop) -> None:
    async with shop.catalog(API) as catalog:
        assert await catalog.models() == bundled_models()
        assert await catalog.choose("gpt-4o") == Model(
            "gpt-4o", default_summary="none", supports_verbosity=True, is_reasoning=False
        )
        assert await catalog.choose("an-unknown-model") == Model("an-unknown-model")
        assert (await catalog.choose("gpt-5.6-sol")).reasoning(effort="max").effort == "max"
    assert shop.requests == []


async def test_the_choice_is_the_wanted_then_the_configured_then_the_first_that_is_shown(shop: Shop) -> None:
    async with shop.catalog(default="gpt-5.5") as catalog:
        assert (await catalog.choose("gpt-6.1-sol")).slug == "gpt-6.1-sol"
        assert (await catalog.choose()).slug == "gpt-5.5"
    async with shop.catalog() as catalog:
        assert (await catalog.choose()).slug == "gpt-6.1-sol"


async def test_an_old_list_serves_while_a_new_one_is_fetched(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        await catalog.models()
        shop.clock = NOW + 10_000
        shop.reply = httpx.Response(200, json={"models": [SOL | {"supported_reasoning_levels": ["max"]}]})
        assert await catalog.choose("gpt-6.1-sol") == SOL_MODEL
        assert await catalog.choose("gpt-6.1-sol") == SOL_MODEL
        assert slugs(await catalog.models()) == ["gpt-6.1-sol"]  # waits for the one in the background
        assert (await catalog.choose("gpt-6.1-sol")).efforts == ("max",)
    assert len(shop.requests) == 2


async def test_a_background_request_that_fails_is_silent_and_not_repeated(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        await catalog.models()
        shop.clock, shop.reply = NOW + 10_000, httpx.Response(401, json={})
        for _ in range(50):
            assert await catalog.choose("gpt-6.1-sol") == SOL_MODEL
            await asyncio.sleep(0)
        await catalog.close()
    assert len(shop.requests) == 2


async def test_what_is_asked_in_the_background_ends_with_the_profile(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        await catalog.models()
        shop.clock = NOW + 10_000
        await catalog.choose("gpt-6.1-sol")
        await catalog.close()
        await catalog.close()


async def test_a_name_that_an_old_list_lacks_waits_for_the_new_one(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        await catalog.models()
        shop.clock = NOW + 10_000
        shop.reply = httpx.Response(200, json={"models": [SOL | {"slug": "gpt-7"}]})
        assert await catalog.choose("gpt-7") == replace(SOL_MODEL, slug="gpt-7")


async def test_a_catalog_file_is_believed_and_nobody_is_asked(shop: Shop) -> None:
    shop.fixed = read_catalog(json.dumps({"models": [SOL, OLD]}).encode())
    async with shop.catalog() as catalog:
        assert slugs(await catalog.models()) == slugs(catalog.cached()) == ["gpt-6.1-sol", "gpt-5.5"]
        assert (await catalog.choose()).slug == "gpt-6.1-sol"
        assert (await catalog.choose("gpt-6.1-sol")).sent_effort("max") == "max"
        assert (await catalog.choose("gpt-6.1-solar")).is_lite
        assert await catalog.choose("gpt-6.2-sol") == Model("gpt-6.2-sol")
    assert shop.requests == []


async def test_a_model_that_is_hidden_may_be_chosen_by_name(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        assert (await catalog.choose("gpt-review")).slug == "gpt-review"


async def test_a_name_that_is_not_listed_is_asked_for_and_known_by_the_longest_listed_one(shop: Shop) -> None:
    async with shop.catalog() as catalog:
        assert await catalog.choose("gpt-6.1-sole") == replace(SOL_MODEL, slug="gpt-6.1-sole")
        assert await catalog.choose("o9") == Model("o9")
        await catalog.choose("o9")
    assert len(shop.requests) == 1


async def test_a_model_is_not_refused_by_a_list_that_could_not_be_asked_for(shop: Shop) -> None:
    shop.reply = httpx.Response(500)
    async with shop.catalog() as catalog:
        assert await catalog.choose("gpt-7") == Model("gpt-7")


async def test_other_providers_may_know_more_than_they_list(shop: Shop) -> None:
    shop.reply = httpx.Response(200, json={"data": [{"id": "llama3.3:latest"}]})
    local = replace(LOCAL, lists_models=True)
    async with shop.catalog(local) as catalog:
        assert await catalog.choose("llama3.3") == Model("llama3.3")
        assert (await catalog.choose()).slug == "llama3.3:latest"


async def test_a_provider_without_a_list_needs_a_name(shop: Shop) -> None:
    shop.reply = httpx.Response(404)
    local = replace(LOCAL, lists_models=True)
    async with shop.catalog(local) as catalog:
        with pytest.raises(ConfigError, match=r"config\.toml sets none") as caught:
            await catalog.choose()
    assert caught.value.key == "model"


async def test_a_provider_whose_list_was_empty_is_asked_again(shop: Shop) -> None:
    shop.reply = httpx.Response(200, json={"models": []})
    async with shop.catalog(replace(LOCAL, lists_models=True)) as catalog:
        with pytest.raises(ConfigError):
            await catalog.choose()
        shop.reply = httpx.Response(200, json={"models": [OLD]})
        assert (await catalog.choose()).slug == "gpt-5.5"


async def test_a_refusal_is_explained_by_a_list_asked_for_anew(shop: Shop) -> None:
    said = ModelUnavailable("It says no.", status=400, request_id="req_1")
    async with shop.catalog() as catalog:
        await catalog.models()
        explained = await catalog.explained(said, "gpt-6.1-sol")
    assert len(shop.requests) == 2
    assert (str(explained), explained.status, explained.request_id) == ("It says no.", 400, "req_1")
    assert explained.available == ("gpt-5.5",)


async def test_a_refusal_that_nobody_can_explain_stays_as_it_is(shop: Shop) -> None:
    shop.reply = httpx.Response(401, json={})
    said = ModelUnavailable("It says no.")
    async with shop.catalog() as catalog:
        assert await catalog.explained(said, "gpt-6.1-sol") is said


def test_the_nearest_names_are_near_or_else_the_first() -> None:
    models = [
        Model("gpt-6.1-sol"),
        Model("gpt-6.1-terra"),
        Model("o4"),
        Model("gpt-5.5"),
        Model("x", is_listed=False),
    ]
    assert nearest("gpt-6.1-tera", models)[0] == "gpt-6.1-terra"
    assert nearest("zzz", models) == ("gpt-6.1-sol", "gpt-6.1-terra", "o4")


CHOICES: list[tuple[Model, dict[str, str], ReasoningChoice]] = [
    (SOL_MODEL, {}, ReasoningChoice("low", "auto")),
    (SOL_MODEL, {"summary": "none"}, ReasoningChoice("low")),
    (replace(SOL_MODEL, default_summary="none"), {}, ReasoningChoice("low")),
    (SOL_MODEL, {"effort": "high", "summary": "auto", "verbosity": "low"}, ReasoningChoice("high", "auto")),
    (Model("gpt-4o"), {"summary": "detailed", "verbosity": "low"}, ReasoningChoice(summary="detailed")),
    (Model("gpt-4o"), {}, ReasoningChoice(summary="auto")),
    (Model("x", supports_verbosity=True, default_verbosity="low"), {}, ReasoningChoice(None, "auto", "low")),
    (
        Model("x", supports_verbosity=True, default_verbosity="low"),
        {"verbosity": "high"},
        ReasoningChoice(None, "auto", "high"),
    ),
    (Model("gpt-x"), {"effort": "max", "summary": "auto"}, ReasoningChoice("max", "auto")),
    (replace(SOL_MODEL, supports_summaries=False), {"summary": "auto"}, ReasoningChoice("low")),
]


@pytest.mark.parametrize(("model", "wishes", "choice"), CHOICES)
def test_a_request_asks_for_what_the_model_can_do(
    model: Model, wishes: dict[str, str], choice: ReasoningChoice
) -> None:
    assert model.reasoning(**wishes) == choice


NAMES = [
    ("gpt-5.5", ReasoningChoice("medium", None, "low"), False),
    ("gpt-6.1-sol", ReasoningChoice("low", None, "low"), True),
    ("gpt-5.5-2026-11-01", ReasoningChoice("medium", None, "low"), False),
    ("openai/gpt-5.6-luna:free", ReasoningChoice("medium", None, "low"), True),
    ("a/b/gpt-5.5", ReasoningChoice(None, "auto", None), False),
    ("GPT-5.5", ReasoningChoice(None, "auto", None), False),
    ("llama3.3", ReasoningChoice(None, "auto", None), False),
]


@pytest.mark.parametrize(("name", "choice", "is_lite"), NAMES)
async def test_a_provider_of_ones_own_is_not_asked_what_a_named_model_can_do(
    shop: Shop, name: str, choice: ReasoningChoice, is_lite: bool
) -> None:
    shop.reply = httpx.Response(200, json={"data": [{"id": name}]})
    async with shop.catalog(replace(LOCAL, lists_models=True)) as catalog:
        model = await catalog.choose(name)
        assert (model.slug, model.reasoning(), model.is_lite) == (name, choice, is_lite)
        assert shop.requests == []
        assert (await catalog.models())[0].slug == name
        assert await catalog.choose(name) == model
        assert await catalog.choose() == model


async def test_a_list_that_cannot_be_had_is_not_asked_for_at_every_question(shop: Shop) -> None:
    shop.reply = httpx.Response(503)
    async with shop.catalog() as catalog:
        chosen = [await catalog.choose("gpt-5.6-sol") for _ in range(3)]
        assert {model.reasoning(effort="max").effort for model in chosen} == {"max"}
        assert len(shop.requests) == 1
        shop.clock += 300
        shop.reply = httpx.Response(200, json={"models": [SOL | {"slug": "gpt-5.6-sol"}]})
        assert (await catalog.choose("gpt-5.6-sol")).reasoning(effort="max").effort == "high"


LEVELS: list[tuple[dict[str, Any], dict[str, str | None]]] = [
    ({"efforts": ("low", "medium", "high"), "default_effort": "high"}, {"max": "high", "ultra": "high"}),
    ({"efforts": (), "default_effort": "high"}, {"max": "max", "ultra": "medium", "": "high"}),
    ({"efforts": ("high", "low"), "default_effort": "low"}, {"medium": "low", "max": "high", "ultra": "low"}),
    ({"efforts": ("low", "high", "ultra")}, {"xhigh": "high", "ultra": "high", "": None}),
    ({"efforts": ("ultra",)}, {"medium": "medium", "ultra": "medium"}),
    ({"efforts": ("high", "xhigh")}, {"none": "none", "low": "low", "max": "xhigh", "odd": "odd"}),
    ({"efforts": ("low", "max", "ultra"), "ultra_effort": "high"}, {"high": "low", "ultra": "max"}),
    ({"efforts": ("low", "max", "ultra"), "ultra_effort": "low"}, {"ultra": "low"}),
    ({"efforts": ("low", "max", "ultra"), "default_effort": "ultra"}, {"": "max"}),
    ({"efforts": ("low", "high")}, {"ultra": "high"}),
]


@pytest.mark.parametrize(("model", "expected"), LEVELS)
def test_a_backends_own_list_lowers_an_effort_as_the_cli_does(
    model: dict[str, Any], expected: dict[str, str | None]
) -> None:
    told = Model("m", **model)
    assert {effort: told.sent_effort(effort or None) for effort in expected} == expected


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max", "odd"])
def test_a_catalog_that_no_backend_has_confirmed_changes_no_effort(effort: str) -> None:
    for model in (*bundled_models(), Model("unheard-of"), Model("m", efforts=("low",), is_assumed=True)):
        assert model.sent_effort(effort) == effort


def test_a_tier_that_the_model_does_not_have_is_not_asked_for() -> None:
    model = Model("m", service_tiers=("priority",))
    wanted = ("fast", "priority", "flex", "ultrafast", None)
    assert [model.sent_tier(tier) for tier in wanted] == ["priority", "priority", "flex", None, None]
    assert [Model("m").sent_tier(tier) for tier in wanted] == [None, None, "flex", None, None]


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(input_tokens=1_000_000, output_tokens=100_000), "about $3.0000"),
        (Usage(input_tokens=100_000, cached_input_tokens=90_000, output_tokens=1_000), "about $0.0390"),
        (Usage(input_tokens=10, output_tokens=2), "less than $0.0001"),
        (Usage(input_tokens=100, cached_input_tokens=200), "less than $0.0001"),
    ],
)
def test_the_cost_counts_input_cached_input_and_output(usage: Usage, cost: str) -> None:
    table = PriceTable("OpenAI", "2026-11-18", 2_000_000, {"some-model": (2, 0.1, 10)})
    for model in ("some-model", "some-model-2026-11-01"):
        assert table.estimate(model, usage) == f"{cost} at OpenAI's prices of 2026-11-18"


def test_a_cost_is_a_lower_bound_where_a_request_may_have_been_a_long_one_and_unknown_without_a_price() -> (
    None
):
    table = PriceTable("OpenAI", "2026-11-18", 1_000, {"some-model": (2, 0.1, 10)})
    assert table.estimate("some-model", Usage(input_tokens=1_000_000)).startswith("at least $2.0000")
    for model in ("some-model-mini", "another", ""):
        assert table.estimate(model, Usage(input_tokens=1_000_000)) == COST_UNKNOWN


def test_every_price_of_the_table_is_whole_and_its_source_is_named() -> None:
    table = price_table()
    assert date.fromisoformat(table.date)
    assert table.source
    for prices in table.models.values():
        given, cached, produced = prices
        assert 0 < cached <= given < produced
