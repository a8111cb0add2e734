from __future__ import annotations

import enum
import random
import string
import types
from dataclasses import make_dataclass
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from codex_nb.session.known_values import secrets_of_namespace
from codex_nb.tools.describe import Detail, describe
from codex_nb.tools.secrets import is_secret_name
from tests.magics.test_secret_names import NAMES, ORDINARY, value_of

MORE_NAMES = (
    "Token", "access_token", "accessToken", "refreshToken", "personal_access_token", "token1", "TOKEN_PROD", "mytoken",
    "githubtoken", "Authorization", "auth", "basic_auth", "bearer", "PGPASSWORD", "dbPassword", "password_hash", "pw",
    "db_pw", "passphrase", "client_secret", "clientSecret", "django_secret_key", "private_key", "ssh_key", "x-api-key",
    "API Key", "encryption_key", "openai_api_key_2", "api_key_prod", "SLACK_WEBHOOK_URL", "webhookUrl", "SENTRY_DSN",
    "connection_string", "seed_phrase", "Passwort", "contraseña", "senha", "пароль", "session_token", "csrf_token",
    ("auth", "token"), b"token", "hf.token", "client.api_key", "access_tokens", "bot_tokens", "creds", "userPassword1",
    "otp", "pincode", "recovery_codes", "unlock_code", "mfa_code", "pass_phrase", "private_pem", "pem_key",
    "unseal_key_1", "s3SecretKey", "oAuth2ClientSecretV2", "k8s_sa_jwt_v1", "e2eDbPwV2", "x-y-z-a-b-pw",
)  # fmt: skip
MORE_ORDINARY = (
    "n_tokens", "total_tokens", "maxTokens", "MAX_TOKENS", "input_tokens", "tokens_per_second", "eos_token",
    "next_token", "special_tokens", "token_ids", "token_id", "token_embeddings", "token_level_f1", "tokenized",
    "key", "keys", "keypoints", "key_columns", "sort_key", "foreign_key", "customer_key", "PRODUCT_KEY", "public_key",
    "monkey_name", "hotkey", "first_pass", "highpass", "pass_rate", "passing_yards", "passport", "bypass", "trespass",
    "auth_mode", "authentic", "SSH_AUTH_SOCK", "TOKEN_PATH", "AWS_ACCESS_KEY_ID", "has_password", "password_policy",
    "pat", "patient", "compat", "salty", "salt_lake_city", "webhook_count", "connection", "database_url", "", 7, None,
    ("a", 1), "x" * 100_000,
    "code", "codes", "zip_code", "codec", "opcode", "return_code", "recovery_rate", "otpauth_count", "permission",
    "phrase",
)  # fmt: skip


def described(name: str, value: object, detail: Detail = Detail.NORMAL) -> str:
    return describe(name, value, detail).text


@pytest.mark.parametrize("name", [*NAMES, *MORE_NAMES])
def test_a_name_says_that_what_it_holds_is_secret(name: object) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", [*ORDINARY, *MORE_ORDINARY])
def test_a_name_of_data_is_no_secret(name: object) -> None:
    assert not is_secret_name(name)


def test_random_letters_and_digits_are_no_names() -> None:
    words = random.Random(7).choices(string.ascii_letters + string.digits, k=24 * 10_000)
    names = ["".join(words[start : start + 24]) for start in range(0, len(words), 24)]
    assert sum(map(is_secret_name, names)) < 50


def test_a_name_of_a_text_enumeration_is_read_as_text() -> None:
    fields = enum.StrEnum("fields", {"TOKEN": "token", "USER": "user"})
    assert [is_secret_name(field) for field in fields] == [True, False]


class Held:
    """An object that holds what it is given."""


def with_attribute(name: str, value: str) -> Held:
    held = Held()
    vars(held)[name] = value
    return held


def holders(name: str, value: str) -> dict[str, object]:
    """Return objects of many kinds that hold the value under the name."""
    structured = np.array([("ada", value)], dtype=[("user", "U8"), (name, "U40")])
    return {
        "dict": {"user": "ada", name: value},
        "deep": {"a": [{"b": ({name: value},)}]},
        "bytes": {name: value.encode()},
        "list in a dict": {name: [value, "x"]},
        "attribute": with_attribute(name, value),
        "dataclass": make_dataclass("Login", [("user", str), (name, str)])("ada", value),
        "frame": pd.DataFrame({"user": ["ada"], name: [value]}),
        "categories": pd.DataFrame({"user": ["ada"], name: pd.Categorical([value])}),
        "long column": pd.DataFrame({f"{'the_long_name_of_a_thing_' * 3}{name}": [value]}),
        "columns of two levels": pd.DataFrame([["ada", value]], columns=[("login", "user"), ("login", name)]),
        "index": pd.DataFrame({"n": [1], name: [value]}).set_index(name),
        "indexes": pd.DataFrame({"n": [1], "m": [2], name: [value]}).set_index(["m", name]),
        "transposed": pd.DataFrame({"user": ["ada"], name: [value]}).T,
        "series": pd.Series([value], name=name),
        "labels": pd.Series({"user": "ada", name: value}),
        "Index": pd.Index([value], name=name),
        "structured array": structured,
    }


@pytest.mark.parametrize("name", ["token", "pwd", "HF_TOKEN", "API_KEYS", "password", "apiKey"])
@pytest.mark.parametrize("kind", holders("token", "x"))
def test_a_value_under_a_secret_name_is_not_told_and_is_known(name: str, kind: str) -> None:
    value = value_of(name, kind)
    holder = holders(name, value)[kind]
    for detail in Detail:
        assert value not in described("holder", holder, detail)
    assert "ada" not in holders(name, value) or "ada" in described("holder", holder, Detail.FULL)
    assert secrets_of_namespace({"n": 1, "holder": holder}) == {value}


@pytest.mark.parametrize("name", ["token", "pwd", "HF_TOKEN", "API_KEYS", "password", "apiKey"])
def test_a_variable_with_a_secret_name_is_told_by_its_kind_alone(name: str) -> None:
    value = value_of(name)
    for held in (
        value,
        value.encode(),
        [value],
        {"ada": value},
        (value,),
        pd.Series([value]),
        np.array([value]),
    ):
        for detail in Detail:
            assert value not in described(name, held, detail)
        assert secrets_of_namespace({name: held}) == {value}
    assert described(name, None) == f"{name}: NoneType = None"
    assert described(name, 3) == f"{name}: int = 3"


@pytest.mark.parametrize("name", ["token", "HF_TOKEN", "password", "apiKey"])
def test_what_data_holds_in_memory_under_a_secret_name_is_known(name: str) -> None:
    value = value_of(name)
    held: list[object] = [np.ma.masked_array([value], [False]), np.array([[value] * 20])]
    held += [np.array([value] * 20, dtype=object), np.array([value] * 20, dtype=np.dtypes.StringDType())]
    frame = pd.DataFrame({"k": [1], name: [value]})
    holders: list[object] = [frame.groupby("k"), frame.rolling(1), frame.style]
    if find_spec("pyarrow"):
        import pyarrow as pa

        held += [pa.array([value]), pa.chunked_array([[value]]), pa.scalar(value)]
    if find_spec("xarray"):
        import xarray as xr

        held.append(xr.DataArray([value]))
        holders += [
            xr.DataArray([value], name=name),
            xr.DataArray([1], dims="n", coords={name: ("n", [value])}),
            xr.Dataset({"n": 1, name: ("k", [value])}),
            xr.Dataset(coords={name: [value]}),
        ]
    for each in held:
        assert secrets_of_namespace({name: each}) == {value}
        assert secrets_of_namespace({"n": each}) == set()
    for each in holders:
        assert secrets_of_namespace({"holder": each}) == {value}


@pytest.mark.parametrize("name", ["token", "HF_TOKEN", "password", "apiKey"])
def test_what_a_class_of_the_notebook_and_a_module_hold_under_a_secret_name_is_known(name: str) -> None:
    value, module = value_of(name), types.ModuleType("config")
    setattr(module, name, value)
    settings = type("Settings", (), {"__module__": "__main__", name: value, "level": "debug1and2more"})
    derived = type("Derived", (settings,), {"__module__": "__main__"})
    choices = enum.Enum("Choices", {name: value}, module="__main__")
    for holder in (module, settings, settings(), derived, derived(), choices):
        assert secrets_of_namespace({"holder": holder}) == {value}
    foreign = type("Settings", (), {"__module__": "library", name: value})
    assert secrets_of_namespace({"holder": foreign}) == set()


@pytest.mark.parametrize("name", ORDINARY)
def test_values_under_ordinary_names_are_told(name: str) -> None:
    value = "told1and8more2"
    told = {kind: described("holder", each, Detail.FULL) for kind, each in holders(name, value).items()}
    assert value in described(name, value)
    assert [kind for kind, text in told.items() if value not in text] == ["bytes"]
    assert secrets_of_namespace({name: value, "holder": holders(name, value)}) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "understanding"), ("token", "covid-19"), ("token", "[PAD]"), ("pwd", "/home/ada/notebooks"),
        ("api_key", "YOUR_API_KEY"), ("password", "password"), ("salt", "sodium chloride"), ("pass", "complete"),
        ("cookie", "chocolate"), ("password", "abc"), ("token", "resnet50"), ("auth", "https://example.com/a1b2c3d4"),
    ],
)  # fmt: skip
def test_an_ordinary_word_under_a_secret_name_is_looked_for_nowhere_else(name: str, value: str) -> None:
    assert secrets_of_namespace({name: value, "frame": pd.DataFrame({name: [value]})}) == set()
