"""What a secret is, by its name and by its value; which words of a text are secret names.

A name is read by its words: ``HF_TOKEN``, ``hfToken`` and ``hf-token-2`` are "hf" and "token". Some words are secret
wherever they stand ("password"), some only as the last one ("pass"), and "key" and "token" mean something else in data
and language models unless their company says otherwise: ``api_key`` and ``token`` are secret, ``join_key``,
``max_tokens`` and ``pad_token`` are not. ``KEYS`` and ``TOKENS`` in capitals are constants of somebody's settings.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from itertools import accumulate, compress, count, pairwise
from operator import add
from string import digits
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


# A name in which none of these occurs is not secret: anywhere in it, and at the end of one of its words.
_STEMS = "passw passphrase passcode pincode wort wachtwoord contrase cred secret motdepasse mnemonic apikey"
_LAST_STEMS = (
    "pass pat pw pword psk phrase code otp pem wd webhook cookie salt senha string str auth authorization key token"
    " totp jwt bearer dsn url uri"
)


def trie(endings: Mapping[str, str]) -> str:
    """Return a pattern of words, each with the pattern that follows it, which reads a beginning they share once."""
    branches: dict[str, dict[str, str]] = {}
    for word, ending in endings.items():
        branches.setdefault(word[:1], {})[word[1:]] = ending
    patterns = [
        f"{re.escape(first)}{trie(rest)}" if first else rest[""]
        for first, rest in sorted(branches.items(), reverse=True)
    ]
    return patterns[0] if len(patterns) == 1 else f"(?:{'|'.join(patterns)})"


def in_each_case(words: str, ending: str) -> dict[str, str]:
    """Return the words in small letters, in capitals and with one, each with the pattern that follows it."""
    return {each: ending for word in words.split() for each in (word, word.capitalize(), word.upper())}


_STEM = re.compile(
    trie(in_each_case(_LAST_STEMS, "[sS]?(?![a-z])") | in_each_case(f"{_STEMS} пароль 密码 パスワード", ""))
)
_MAX_NAME_LENGTH = 200
_SMALLEST_NUMBER = 1_000
# Between the words of camelCase, between letters and digits, and at everything that is neither.
_BOUNDARY = re.compile(
    r"[\W_]+|(?<=[^\W\dA-Z_])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
)


def word_set(words: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(words.split())


_PASSWORD = re.compile(
    r"passw(?:or)?d|passphrase|passcode|passwort|kennwort|wachtwoord|contrase[nñ]a|motdepasse|пароль|密码|パスワード"
    r"|secret(?!ar|io|in|o|e|ly)|credential|apikey|p?s?wd$|pass?w$|pword$"
)
_PASSWORD_WORDS = frozenset(
    {"senha", "creds", "otp", "pincode", "cred", "pw", "psk", "totp", "mnemonic", "jwt", "jwts"}
)
_LAST_WORDS = frozenset({"pass", "salt", "salts", "cookie", "cookies", "auth", "bearer"})
_ANYWHERE = frozenset(
    {"webhook", "webhooks", "dsn", "bearer", "authorization", "connectionstring", "connstr"}
)

_PAIRS = frozenset(
    {("seed", "phrase"), ("recovery", "phrase"), ("pass", "phrase"), ("private", "pem"), ("pem", "key")}
    | {(first, last) for first in ("recovery", "unlock", "mfa") for last in ("code", "codes")}
    | {(first, last) for first in ("connection", "conn") for last in ("string", "str", "url", "uri")}
)
_NEUTRAL = word_set(
    "b64 backup base bytes default dev encoded header headers hex live local main new old prod production raw"
    " staging str string test val value values"
)

# What a name is about that ends in one of these: a limit, a place, a label, not the secret itself.
_ABOUT = word_set(
    "age at backend backends balance based bounds budget category class classes classification column columns"
    " consent cost count counts created date dir domain duration embedding embeddings enabled env error errors"
    " exists expires expiration expired expiry field fields file filename files filter format freq frequency func"
    " function hint home host id ids idx index indices label labels len length lengths level limit limits manager"
    " mask max min mode model name names num number offset offsets page pages parser path paths pattern policy"
    " port position positions price prob probability probs logprob logprobs prompt provider providers rate ratio"
    " regex required requirement reset rotation rule rules schema score scores size sizes sock socket source span"
    " spans start state stats status strength supply symbol table tag tags text texts time timeout timestamp total"
    " ttl type types unit units updated uri url urls usage user username users valid validation validator var"
    " variable vocab weight weights width window"
)
_CARRIES_ITS_KEY = frozenset({"webhook", "webhooks", "connection"})
_ADDRESSES = frozenset({"url", "urls", "uri", "host", "path", "domain"})
_QUANTITIES = word_set(
    "avg count has is len length max mean median min n no num number per size std sum total use uses"
)

# Whose key, token or pass it is: with one of these before it, it opens something.
_OWNERS = word_set(
    "access account admin adm aes airtable algolia alpaca anthropic api app application auth aws azure bearer"
    " binance bot bucket census cipher claude client cloudflare coinbase cohere consumer crypt crypto csrf"
    " databricks datadog db deepgram deepseek deploy deployment devops discord docker dropbox elastic elevenlabs"
    " encrypt encryption facebook finnhub firebase fireworks fred ftp gcp gemini gh git github gitlab google gpg"
    " grafana groq heroku hf hmac huggingface imap ingest integration jenkins jira jupyter kaggle langchain"
    " langsmith license licence linear mailgun mapbox maps master mistral mongo mysql my nasa neptune netlify"
    " newrelic ngrok notion npm oauth openai openrouter org oracle perplexity personal pg pgp pinecone polygon"
    " postgres priv private publish pypi qdrant quandl read redis refresh registry replicate root rsa s3 sas"
    " secret security sendgrid sentry serpapi server service session sftp shared sign signing slack smtp snowflake"
    " spotify sql ssh ssl sso storage stripe subscription supabase svc tavily telegram tiingo tls together twilio"
    " twitter unseal upload user vault vercel voyage wandb weather weaviate webhook wifi write xai xsrf youtube"
)
# Keys of data, not of doors.
_OF_DATA = word_set(
    "cache candidate category city column composite country customer date day dict dimension employee event"
    " foreign geo group hash index item join json line location lookup map merge month natural order parent"
    " partition primary product public range region route row shard shift sort store surrogate time unique year"
)
_KEYS_OF_ROWS = frozenset({("key", "user"), ("key", "org")})
# Tokens of a text, or of a coin.
_OF_TEXT = word_set(
    "added blank bos cached class cls completion context cur current decoder encoder end eos extra first"
    " generated image img input last mask new next oov output pad patch pred predicted prefix prev previous prompt"
    " raw reasoning sep separator single sos source special src start stop sub suffix target tgt thinking top unk"
    " vocab word"
)
_OTHER_PASSES = word_set(
    "all backward band boarding bus by current day did each exam final first forward high last low max multi next"
    " one prev previous season second ski single test third this touchdown two will"
)


def is_secret_name(name: object) -> bool:
    """Whether what has this name is secret; a name of several parts (a tuple) is when one of them is."""
    if issubclass(type(name), str):
        return _is_secret(str.__str__(name)[-_MAX_NAME_LENGTH:].rstrip(digits))
    if type(name) is bytes:
        return _is_secret(name[-_MAX_NAME_LENGTH:].decode("latin-1"))
    return type(name) is tuple and any(map(is_secret_name, name))


def is_withheld(value: Any) -> bool:
    """Whether a value under a secret name is withheld: not None, truth values, fractions and small numbers."""
    kind = type(value)
    if kind is int:
        return not -_SMALLEST_NUMBER < int(value) < _SMALLEST_NUMBER
    return kind is not bool and kind is not float and kind is not complex and value is not None


def is_password_name(name: str) -> bool:
    """Whether a secret name is one of a password or its like, which may be an ordinary word."""
    return _is_password_name(name[-_MAX_NAME_LENGTH:].rstrip(digits))


@lru_cache(maxsize=4_096)
def _is_password_name(name: str) -> bool:
    words = split_words(name)
    return words[-1:] == ["phrase"] or any(map(_is_password, words))


def split_words(name: str) -> list[str]:
    """Return the words of a name in lower case, without numbers."""
    return [word.casefold() for word in _BOUNDARY.split(name) if word and not word.isdigit()]


@lru_cache(maxsize=20_000)
def _is_secret(name: str) -> bool:
    if _STEM.search(name) is None:
        return False
    # ``-DapiKey=…`` defines a property.
    words = split_words(name[1:] if name[:1] == "D" and name[1:2].islower() else name)
    if not words or words[0] in _QUANTITIES:
        return False
    is_address = not _CARRIES_ITS_KEY.isdisjoint(words)
    if words[-1] in _ABOUT and not (is_address and words[-1] in _ADDRESSES):
        return False
    while len(words) > 1 and words[-1] in _NEUTRAL and tuple(words[-2:]) not in _PAIRS:
        words.pop()
    capitals = name.isupper()
    return any(map(_is_password, words)) or any(
        _opens(words, place, capitals=capitals) for place in range(len(words))
    )


def _is_password(word: str) -> bool:
    return word in _PASSWORD_WORDS or _PASSWORD.search(word) is not None


def _opens(words: list[str], place: int, *, capitals: bool) -> bool:
    """Whether the word at a place is secret in this company."""
    word = words[place]
    before, after = words[place - 1] if place else "", "".join(words[place + 1 : place + 2])
    if word in _ANYWHERE or (before, word) in _PAIRS:
        return True
    if word in _LAST_WORDS:
        return not after and before not in _OTHER_PASSES
    kind, owner = _kind_and_owner(word, before)
    if not kind or (owner in _OWNERS and (kind, owner) not in _KEYS_OF_ROWS):
        return bool(kind)
    if kind == "token":
        has_known_owner = not after or after in _OWNERS or capitals
        return has_known_owner and owner not in _OF_TEXT | _OF_DATA and (capitals or word == "token")
    return kind in {"key", "pat"} and capitals and owner not in _OF_DATA


def _kind_and_owner(word: str, before: str) -> tuple[str, str]:
    """Split ``githubtoken`` like ``github_token``."""
    for kind in ("key", "token", "pass", "pat", "pw"):
        stem = word if kind == "pass" else word.removesuffix("s")
        if stem == kind:
            return kind, before
        if stem.endswith(kind) and stem.removesuffix(kind) in _OWNERS:
            return kind, stem.removesuffix(kind)
    return "", ""


WORD = re.compile(r"[^\W\d][\w-]*+")
ENDS_OF_PAIRS = frozenset({"key", "keys"})
NO_WORD = re.compile(r"[^\w-]")
_BLANKS_BETWEEN_WORDS = bytes(
    ord(" ") if chr(code).isascii() and NO_WORD.match(chr(code)) else code for code in range(256)
)


class Words:
    """The words of a text, by which the names and the formats that may occur in it are found.

    Until it is looked into, whatever is not ASCII counts as a letter.
    """

    def __init__(self, text: str) -> None:
        self._data = text.encode("utf-8", "surrogatepass")
        self._words = self._data.translate(_BLANKS_BETWEEN_WORDS).split(b" ")
        self._distinct = b" ".join(set(self._words)).decode("utf-8", "surrogatepass")

    @cached_property
    def lowered(self) -> str:
        """Each word once, in lower case."""
        return self._distinct.lower()

    @cached_property
    def secret_names(self) -> Mapping[bytes, tuple[tuple[int, bool], ...]]:
        """The words that are secret names, or that end one of two words.

        Each with the places of the names in it, and whether they are those of a password.
        """
        found, end = {}, 0
        while stem := _STEM.search(self._distinct, end):
            end = self._distinct.find(" ", stem.end())
            end = len(self._distinct) if end < 0 else end
            word = self._distinct[self._distinct.rfind(" ", 0, stem.start()) + 1 : end]
            names = [name for name in WORD.finditer(word) if _may_be_name(name[0])]
            if names:
                places = tuple((name.start(), is_password_name(name[0])) for name in names)
                found[word.encode("utf-8", "surrogatepass")] = places
        return found

    def places_of_names(self) -> dict[int, bool]:
        """Return where the secret names begin, in order, and whether they are those of a password."""
        if not (names := self.secret_names):
            return {}
        are_names = list(map(names.__contains__, self._words))
        before = compress(accumulate(map(len, self._words), initial=0), are_names)
        starts = list(map(add, before, compress(count(), are_names)))  # each word is followed by a blank
        if not self._data.isascii():
            between = (self._data[slice(*ends)] for ends in pairwise((0, *starts)))
            starts = list(accumulate(len(each.decode("utf-8", "surrogatepass")) for each in between))
        found = zip(starts, compress(self._words, are_names), strict=True)
        return {start + place: kind for start, word in found for place, kind in names[word]}


def _may_be_name(word: str) -> bool:
    return is_secret_name(word) or word.lower() in ENDS_OF_PAIRS


MIN_SECRET_LENGTH = 6
MAX_SECRET_LENGTH = 5_000
_MIN_UNUSUAL_LENGTH = 8
_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\[[^\[\]]*\]|\$?\{[^{}]*\}|%\w*%?|[A-Z]+(?:_[A-Z]+)+|[xX*.…?_-]+|(?:your|my|the|some|an?)[ _-].*"
    r"|(?i:true|false|none|null)",
    re.DOTALL,
)
_LOCATION = re.compile(r"~|\.{0,2}/|[A-Za-z]:[\\/]|[A-Za-z][\w+.-]{1,20}://")
_WORDS = re.compile(r"[^\W\d_]+(?:[ _.,:;!?'-]+[^\W\d_]+)*[.!?]?")
ATTRIBUTES = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_RUN = re.compile(r"[A-Za-z0-9]+")
_CLASSES = re.compile(r"\d+|[a-z]+|[A-Z]+")
# Passwords so common that they are words of the notebook as well.
_COMMON = word_set(
    "password passwort postgres postgresql changeme username localhost required disabled optional default example"
    " database anonymous administrator undefined not-set assigned redacted replicate databricks"
)


def is_placeholder(value: str) -> bool:
    """Whether a value only keeps a place: ``<token>``, ``YOUR_KEY``, ``xxxx``."""
    return _PLACEHOLDER.fullmatch(value) is not None


@lru_cache(maxsize=4096)
def is_opaque(value: str) -> bool:
    """Whether a text looks made by a machine: letters and digits in turns, or long and without words."""
    for run in _RUN.findall(value[:MAX_SECRET_LENGTH]):
        changes = len(_CLASSES.findall(run)) - 1
        digits = sum(map(str.isdigit, run))
        if digits and (changes > 1 or (changes and digits > 3)) and len(value) >= _MIN_UNUSUAL_LENGTH:  # noqa: PLR2004 -- "resnet50" is a name, "a8f3" and "abc12345" are none
            return True
        if len(run) >= 16 and changes * 3 >= len(run):  # noqa: PLR2004 -- "aBcDeFgHiJkLmNoP"; CamelCase changes less often
            return True
    return False


@lru_cache(maxsize=4096)
def is_secret_value(name: str, value: str) -> bool:
    """Whether a value is taken out where it stands under a secret name: not an ordinary word, not a placeholder."""
    if is_placeholder(value) or "[redacted:" in value:
        return False
    if is_password_name(name):
        return len(value) > 3  # noqa: PLR2004 -- "yes", "no", "x"
    if any(map(str.isspace, value)):
        return False
    return is_opaque(value) or (len(value) >= _MIN_UNUSUAL_LENGTH and not _WORDS.fullmatch(value))


@lru_cache(maxsize=4096)
def is_known_everywhere(name: str, value: str) -> bool:
    """Whether a value under a secret name is taken out wherever else it stands, because it can mean nothing else."""
    if not MIN_SECRET_LENGTH <= len(value) <= MAX_SECRET_LENGTH or not is_secret_value(name, value):
        return False
    if _LOCATION.match(value):
        return "webhook" in name.casefold() and "://" in value
    if not is_password_name(name):
        return is_opaque(value)
    is_telling = len(value) >= _MIN_UNUSUAL_LENGTH or (not value.isdigit() and any(map(str.isdigit, value)))
    return is_telling and value.casefold() not in _COMMON


@lru_cache(maxsize=4096)
def is_unquoted_secret(name: str, value: str, *, is_tight: bool) -> bool:
    """Whether the text after a name is a value, as in a shell's ``MY_TOKEN=abc123``, and no expression of a program."""
    if (
        not MIN_SECRET_LENGTH <= len(value) <= MAX_SECRET_LENGTH
        or "[redacted:" in value
        or is_placeholder(value)
        or ATTRIBUTES.fullmatch(value)
        or (is_secret_name(value) and not is_opaque(value))
    ):
        return False
    has_digit = any(map(str.isdigit, value))
    if is_tight and name.isupper() and (has_digit or is_password_name(name)):
        return is_secret_value(name, value)
    return is_opaque(value) or (is_password_name(name) and has_digit and is_secret_value(name, value))
