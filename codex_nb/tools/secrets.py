"""What a secret is: by its name, by its value, and by the format, the command, the address or the file it stands in.

A name is read by its words: ``HF_TOKEN``, ``hfToken`` and ``hf-token-2`` are "hf" and "token". Some words are secret
wherever they stand ("password"), some only as the last one ("pass"), and "key" and "token" mean something else in data
and language models unless their company says otherwise: ``api_key`` and ``token`` are secret, ``join_key``,
``max_tokens`` and ``pad_token`` are not. ``KEYS`` and ``TOKENS`` in capitals are constants of somebody's settings.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import accumulate, chain, islice, pairwise
from operator import itemgetter
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any

from ahocorasick_rs import BytesAhoCorasick

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence


# A name in which none of these occurs is not secret: anywhere in it, and at the end of one of its words.
_STEMS = (
    "passw passphrase passcode pincode wort wachtwoord contrase cred secret motdepasse mnemonic apikey sessid sessionid"
    " adgangskode haslo hasło heslo jelszo jelszó lösenord passord salasana sifre şifre"
    " пароль 密码 密碼 口令 パスワード 비밀번호 contrasenya kodeord lozinka lykilor parool slapta парол 암호 סיסמ"
)
_LAST_STEMS = (
    "pass passe pat pw pword psk phrase code otp pem wd webhook cookie salt senha string str auth authorization key"
    " token totp jwt bearer dsn url uri mdp"
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


_STEMS_WITH_ENDS = in_each_case(_LAST_STEMS, "[sS]?(?![a-z])") | in_each_case(_STEMS, "")
_STEM = re.compile(trie(_STEMS_WITH_ENDS))
_STEM_MATCHER = BytesAhoCorasick(stem.encode() for stem in _STEMS_WITH_ENDS)
_END_MATCHES = [re.compile(end.encode()).match for end in _STEMS_WITH_ENDS.values()]
_LONGEST_STEM = max(len(stem.encode()) for stem in _STEMS_WITH_ENDS)
# So many bytes are searched at once: a text that repeats a string then takes no memory for each of them.
_CHUNK = 10_000
_MAX_NAME_LENGTH = 200
_SHORTEST_RANDOM = 16
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
_PASSWORD_WORDS = word_set(
    "senha creds otp pincode cred pw psk totp mnemonic jwt jwts sessid sessionid phpsessid jsessionid adgangskode haslo"
    " hasło heslo jelszo jelszó lösenord passe passord salasana sifre şifre 密碼 口令 비밀번호"
    " contrasenya kodeord lozinka lykilorð lykilord parool slaptažodis slaptazodis парола 암호 סיסמה"
    " requirepass masterauth mdp"
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
    "access account admin adm aes anydesk apify asana assemblyai auth0 brave brevo cartesia clerk coingecko decrypt"
    " decryption etherscan exa firecrawl fmp functions giphy infura jina kraken modal neon okta opencage pexels plaid"
    " postmark preshared qwen rapidapi resend riot runpod segment serper shopify square steam tmdb tomtom trello turso"
    " unsplash upstash vast zoom"
    " airtable algolia alpaca anthropic api app application auth aws azure bearer"
    " binance bot bucket census cipher claude client cloudflare coinbase cohere consumer crypt crypto csrf"
    " databricks datadog db deepgram deepseek deploy deployment devops discord docker dropbox elastic elevenlabs"
    " encrypt encryption facebook fernet finnhub firebase fireworks fred ftp gcp gemini gh git github gitlab google gpg"
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
    name = name.removeprefix("cls.")  # a class's own, and no class token
    # ``-DapiKey=…`` and ``-PapiKey=…`` define a property.
    if name[:1] == "P" and name[1:2].islower() and _is_secret(name[1:]):
        return True
    words = split_words(name[1:] if name[:1] == "D" and name[1:2].islower() else name)
    if not words or words[0] in _QUANTITIES or _is_random(name, words):
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


def _is_random(name: str, words: list[str]) -> bool:
    """Whether a name is no name but random letters and digits, whose words are short: "GAbub2WdN2NOpW4k"."""
    return len(name) >= _SHORTEST_RANDOM and name.isalnum() and len(words) * 3 > len(name)


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
_BREAK_BEFORE_NAME = re.compile(rf"\\[nrt](?=({WORD.pattern}))")
ENDS_OF_PAIRS = frozenset({"key", "keys"})
NO_WORD = re.compile(r"[^\w-]")
_BLANKS_BETWEEN_WORDS = bytes(
    ord(" ") if chr(code).isascii() and NO_WORD.match(chr(code)) else code for code in range(256)
)


class Words:
    """The words of a text, by which the secret names in it are found.

    Until it is looked into, whatever is not ASCII counts as a letter.
    """

    def __init__(self, text: str) -> None:
        self._data = f" {text} ".encode("utf-8", "surrogatepass")
        self._apart = self._data.translate(_BLANKS_BETWEEN_WORDS)
        self._distinct = b" ".join(set(self._apart.split()))

    @cached_property
    def secret_names(self) -> Mapping[bytes, tuple[tuple[int, bool], ...]]:
        """The words that are secret names, or that end one of two words, each behind a blank; of a long one its end.

        Each with the places of the names in it, and whether they are those of a password.
        """
        found = {}
        for each in self._words_with_stems():
            word = f" {each.decode('utf-8', 'surrogatepass')}"[-_MAX_NAME_LENGTH:]
            names = [name for name in WORD.finditer(word) if _may_be_name(name[0])]
            if names:
                places = tuple((name.start() - 1, is_password_name(name[0])) for name in names)
                found[word.encode("utf-8", "surrogatepass")] = places
        return found

    def _words_with_stems(self) -> Iterator[bytes]:
        """Yield each distinct word in which a stem of a secret name occurs."""
        data, end = self._distinct, 0
        for chunk in range(0, len(data), _CHUNK):
            first = max(chunk, end)
            part = data[first : chunk + _CHUNK + _LONGEST_STEM]
            for number, start, stop in _STEM_MATCHER.find_matches_as_indexes(part, overlapping=True):
                if first + start >= end and _END_MATCHES[number](data, first + stop):
                    end = data.find(b" ", first + stop)
                    end = len(data) if end < 0 else end
                    yield data[data.rfind(b" ", 0, first + start) + 1 : end]

    def places_of_names(self) -> dict[int, bool]:
        """Return where the secret names begin, in order, and whether they are those of a password."""
        if not self.secret_names:
            return {}
        matcher = BytesAhoCorasick([word + b" " for word in self.secret_names])
        found = matcher.find_matches_as_indexes(self._apart, overlapping=True)
        starts = [start for _, start, _ in found]
        if not self._data.isascii():
            between = (self._data[slice(*ends)] for ends in pairwise((0, *starts)))
            starts = list(accumulate(len(each.decode("utf-8", "surrogatepass")) for each in between))
        names = list(self.secret_names.values())
        return {
            start + place: kind
            for start, (number, _, _) in zip(starts, found, strict=True)
            for place, kind in names[number]
        }


def _may_be_name(word: str) -> bool:
    return is_secret_name(word) or word.lower() in ENDS_OF_PAIRS


class StringMatcher:
    """Finds which of many strings occur in a text, in one pass whatever their number; no repr shows them."""

    __slots__ = ("_longest", "_matcher", "_runs", "_sought", "strings")

    def __init__(self, strings: Collection[bytes]) -> None:
        self.strings = strings
        # What repeats one character could be found at every place of a text.
        self._runs = [each for each in strings if each[1:] == each[:-1]]
        self._sought = [each for each in strings if each[1:] != each[:-1]]
        self._longest = max(map(len, self._sought), default=1)
        self._matcher = BytesAhoCorasick(self._sought)

    def places_in(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield which string, by its number, begins where, the longest of a place first.

        None of the strings may repeat one character.
        """
        for first, matches in self._matches_by_chunk(data):
            for start, _, number in sorted((start, -end, number) for number, start, end in matches):
                if start < _CHUNK:
                    yield number, first + start

    def occurring(self, data: bytes) -> list[bytes]:
        """Return the strings that occur in the data, each once."""
        found = dict[int, None]()
        for _, matches in self._matches_by_chunk(data):
            found |= dict.fromkeys(map(itemgetter(0), matches))
        return [run for run in self._runs if run in data] + [self._sought[number] for number in found]

    def _matches_by_chunk(self, data: bytes) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
        """Yield where each chunk begins, and what begins in it or a little behind it, by number, start and end."""
        for first in range(0, len(data), _CHUNK):
            chunk = data[first : first + _CHUNK + self._longest - 1]
            yield first, self._matcher.find_matches_as_indexes(chunk, overlapping=True)


MAX_SECRETS = 500  # in a text
MAX_NAMES = 5_000  # secret names in a text near to which a value may stand
THE_REST = f"the rest of a text with more than {MAX_SECRETS} secrets or {MAX_NAMES:,} names of them"
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
_COOKIES = re.compile(r"[^\s=;,]{1,99}+=[^\s;,]*+(?:;\s++[^\s=;,]{1,99}+=[^\s;,]*+)++;?")
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
        return _COOKIES.fullmatch(value) is not None and is_opaque(value)
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


# Of a pattern that few texts need: compiling all of them takes longer than a question without secrets.
_compiled = cache(re.compile)


@dataclass(frozen=True)
class KeyFormat:
    """One format; the pattern's group ``value``, if there is one, is the secret, otherwise the whole match.

    ``hints`` are lower-case substrings of every match. ``is_key`` checks what the pattern found, and ``before``, if it
    is given, is what must stand right before it in the line.
    """

    name: str
    hints: tuple[str, ...]
    pattern_text: str
    is_key: Callable[[str], bool] = lambda _found: True
    before: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern; it is compiled when a hint occurs, and most never do."""
        return re.compile(self.pattern_text, re.DOTALL)


def _is_mixed(key: str) -> bool:
    """Whether what follows ``sk-`` has capitals, small letters and digits, as a random text has."""
    key = key[3:]
    return any(map(str.isupper, key)) and any(map(str.islower, key)) and any(map(str.isdigit, key))


def _is_basic(encoded: str) -> bool:
    """Whether a text is a user and a password as HTTP's basic scheme writes them."""
    try:
        plain = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return False
    return b":" in plain and plain.isascii()


def _is_phrase(words: str) -> bool:
    """Whether there are as many words as in the phrase of a wallet."""
    return len(words.split()) in _SIZES_OF_PHRASES


# Every pattern takes time in proportion to the text: a run of characters is entered at its beginning only, or is
# consumed whether or not it turns out to be a key. One that begins with a few single characters is found faster.
_THREE_PARTS = r"eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?+)?+"
_PRIVATE_KEY = (
    r"-----?(?<!-{6}) ?BEGIN (?:[A-Z0-9 ]*?(?:PRIVATE KEY(?: BLOCK)?|SEED)|OpenVPN Static key V1) ?----"
    r"(?:(?!-----? ?END [A-Za-z0-9 ]*+ ?----)[\s\S])*+(?:-----? ?END [A-Za-z0-9 ]*+ ?-----?|\Z)"
)
_PUTTY_KEY = r"Private-Lines:[ \t]*+\d++\s++(?P<value>(?:[A-Za-z0-9+/=]{16,}+\s*+)+)"
# The values of a manifest of Kubernetes, which base64 only dresses up.
_MANIFEST = (
    r"(?:\n|\A)(?P<indent>[ \t]*+)(?:data|stringData):[ \t]*"
    r"(?:(?P<flow>\{)|\n)(?P<value>(?(flow)[^{}\n]++|(?P=indent)[ \t]++\S[^\n]*+(?:\n(?P=indent)[ \t]++\S[^\n]*+)*+))"
)
_JSON_MANIFEST = r'"(?:data|stringData)"\s*+:\s*+\{(?P<value>[^{}]*+)\}'
_HASHED = (
    r"\$(?:apr1|[156y]|2[abxy]|argon2(?:id?|d)|scrypt|s2|pbkdf2[\w-]{0,20})\$[A-Za-z0-9./$,=+-]{20,}"
    r"|pbkdf2_sha\d{1,3}\$\d++\$[A-Za-z0-9./$+=]{20,}"
)
_SIGNATURE = r"(?i:[?&](?:sig|signature|x-amz-signature|x-goog-signature)=)(?P<value>[A-Za-z0-9%+/_-]{16,}=*)"
_QUERY = r"[?&](?:key|code)=(?P<value>[A-Za-z0-9%._~-]{16,})"
_OF_ORACLE = (
    r"\b(?:(?:sqlplus|sqlldr|impdp|expdp|rman)[ \t]++(?:-?\w++[ \t]++){0,3}+|jdbc:oracle:\w{1,10}:)(?:userid=)?"
    r"[\w.$#]{1,60}/(?P<value>[^\s@/\"']{4,100})"
)
_SINGLE = (
    r"[ \tn](?:(?<!n)-(?:src|dest)?(?:store|key)pass[ \t]++|(?<!n)/p:|(?<=\bn)et[ \t]++user[ \t]++[\w.-]{1,60}[ \t]++"
    r"|(?<=\bn)et[ \t]++use[ \t]++(?:\w:[ \t]++)?\\\\[^\s]{1,200}+[ \t]++)[\"']?(?P<value>[^\s\"'*/][^\s\"']{3,100})"
)
_AUTHORIZATION = (
    r"(?i:authorization)\\*+[\"']?\s*+[:=,]\s*+\\*+[\"']?(?:(?!(?i:bearer|basic))[A-Za-z][\w-]{1,20}[ \t]++)?"
    r"(?P<value>[^\s\"',;=\\]{8,}+=*)"
)

_LOGINS = r"(?:docker|podman|nerdctl|oras|crane|helm|az|oc|twine|cf)[ \t]+(?:(?:registry|acr)[ \t]+)?(?:login|upload)"
_CURL = r"(?:curl|wget|https?|xh)"
_TAKE_P = r"cqlsh|beeline|rabbitmqadmin|rdesktop|hydra|crackmapexec|nxc|evil-winrm|psexec|ncftp\w*|supabase|steghide"
# Of an option of a command: the programs that take a password there, and what stands before it in the argument.
_OPTIONS = (
    ("p", rf"sshpass|mongo\w*|useradd|usermod|{_LOGINS}|{_TAKE_P}", ""),
    ("p tight", r"mysql\w*|mariadb[\w-]*|7z\w?|u?n?rar", ""),
    ("P", r"sqlcmd|bcp|[io]sql|(?:un)?zip|mosquitto_\w+|ipmitool", ""),
    ("N", "ssh-keygen", ""),
    ("a", "redis-cli", ""),
    ("a", r"https?", ":"),
    ("w", r"ldap\w+|security", ""),
    ("k", r"openssl|nuget", ""),
    ("t", r"doctl|vercel|codecov", ""),
    ("E", "curl", ":"),
    ("A", r"snmp\w+", ""),
    ("X", r"snmp\w+", ""),
    ("K", "openssl", ""),
    ("u", _CURL, ":"),
    ("u", "lftp", ","),
    ("U", r"smbclient|rpcclient", "%"),
    ("b", "curl", "="),
    ("b", "gh[ \\t]+secret", ""),
    ("user", _CURL, ":"),
    ("proxy-user", _CURL, ":"),
    ("proxy", _CURL, ":"),
    ("cert", _CURL, ":"),
    ("value", r"(?:az[ \t]+keyvault|aws[ \t]+ssm)[^\n]{0,200}", ""),
    ("auth", _CURL, ":"),
    ("cookie", _CURL, "="),
    ("oauth2-bearer", _CURL, ""),
    ("pass", _CURL, ""),
    ("body", "gh[ \\t]+secret", ""),
)
_PROGRAMS: dict[str, list[tuple[bool, str, str]]] = {}
for _option, _names, _sign in _OPTIONS:
    _program = rf"(?<![\w./-])(?:{_names})(?:\.exe)?(?:[ \t]|[\"'],)"
    _PROGRAMS.setdefault(_option.split()[0], []).append((_option.endswith(" tight"), _program, _sign))
_OPTION = re.compile(
    r"[ \t\"']-(?:(?P<letter>[pPNawkKuUbtEAX])(?P<gap>[ \t]*+(?:[\"'],\s*+(?=[\"']))?+)"
    r"|-(?P<word>user|proxy-user|proxy|cert|value|auth|cookie|oauth2-bearer|pass|body)(?:[ \t=]++|[\"'],\s*+(?=[\"'])))"
    r"[\"']?(?P<value>[^\s\"'|;<>-][^\s\"'|;<>]*+)"
)
_LONGEST_COMMAND = 150
_LONGEST_BEFORE = 100
_FEW_OPTIONS = 500  # for more, the text is read once for each program
_OTHER_COMMANDS = (
    r"(?:htpasswd[ \t]++-\w*b\w*|\bmc[ \t]++alias[ \t]++set[ \t]++\S{1,100})[ \t]++\S{1,100}[ \t]++\S{1,100}[ \t]++"
    r"[\"']?(?P<value>[^\s\"']{4,})"
)
_POSITIONAL = (
    r"(?:rabbitmqctl[ \t]++(?:add_user|change_password)|poetry[ \t]++config[ \t]++http-basic\.\S{1,60}"
    r"|mosquitto_passwd[ \t]++-b[ \t]++\S{1,60}|bw[ \t]++login)[ \t]++\S{1,60}[ \t]++"
    r"|(?:poetry[ \t]++config[ \t]++pypi-token\.\S{1,60}|vault[ \t]++(?:operator[ \t]++)?unseal|cargo[ \t]++login"
    r"|wpa_passphrase[ \t]++\S{1,60}|bw[ \t]++unlock"
    r"|qpdf[ \t]++--encrypt|pdftotext[ \t]++-[uo]pw|openssl[ \t]++passwd[ \t]++-\w++"
    r"|schtasks[^\n]{1,150}?/rp|signtool[^\n]{1,150}?/p)[ \t]++"
)
_POSITIONAL_HINTS = (
    *("rabbitmqctl", "poetry config", "mosquitto_passwd", "bw login", "bw unlock", "unseal ", "cargo login"),
    *("qpdf ", "pdftotext ", "openssl passwd", "schtasks ", "signtool ", "wpa_passphrase "),
)
_BY_POSITION = rf"\b(?:{_POSITIONAL})[\"']?(?P<value>[^\s\"'-][^\s\"']{{3,}})"
_BEFORE_HERE_STRING = (
    r"(?:--password-stdin|--with-token|\b(?:passwd|chpasswd|sudo|su|kinit|pass|secret-tool|read|cryptsetup|gh|gpg|op)\b)"
    r"[^\n<]{0,80}"
)
_HERE_STRING = r"<<<[ \t]*+[\"']?(?:\w{1,60}:)?+(?P<value>[^\s\"'$]{4,})"
_SECURE_STRING = r"(?i:ConvertTo-SecureString)[ \t]++(?:-String[ \t]++)?[\"'](?P<value>[^\"'\n]{4,})"
_BEFORE_LOGIN = "(?:vault|wandb|huggingface-cli|hf auth)"
_LOGIN_COMMAND = r" login[ \t]++(?:--(?:token|relogin)[ \t=]++)?(?P<value>[^\s\"']{16,})"
_PIPED = (
    r"[ep](?:cho|rintf)[ \t]++(?:-\w++[ \t]++)?(?:[\"']%s(?:\\n)?[\"'][ \t]++)?[\"']?"
    r"(?:[^\s:\"'|]{1,60}:)??(?P<value>[^\s\"'|$]++)"
    r"[\"']?[ \t]*+\|[^\n|]{0,100}?"
    r"(?:--password-stdin|--with-token|chpasswd|sudo[ \t]++-\w*S|passwd|--stdin|kinit|cryptsetup"
    r"|passphrase-fd|secrets?[ \t]++(?:create|put|set|versions)|vercel[ \t]++env)"
)
_PIPED_HINTS = ("echo ", "echo\t", "printf ", "printf\t")
_BY = r"[ \t]++(?i:with[ \t]++\S++[ \t]++)?(?i:by|as)[ \t]++(?i:values[ \t]++|password[ \t]++)?"
_IDENTIFIED = rf"(?i:identified){_BY}[\"'](?P<value>[^\s\"']{{4,}})"
_IDENTIFIED_AS_KEYWORD = rf"IDENTIFIED{_BY}[\"']?(?P<value>[^\s\"';,()]{{4,}})"
_PHRASE = (
    r"(?i:(?:seed|recovery|secret|backup|wallet)[ _-]?phrase|mnemonic)[ \t]*+(?:[:=]|is(?=[ \t]))[ \t]*+"
    r"(?P<value>[a-z]{3,8}+(?:[ \t]++[a-z]{3,8}+){11,23}+)[ \t.]*+(?:\n|\Z)"
)
_SIZES_OF_PHRASES = frozenset({12, 15, 18, 21, 24})  # in words, as BIP 39 has them
_KEY_OF_USER = (
    r"username[\"']\s*+:\s*+[\"'][^\"'\n]{1,100}[\"']\s*+,\s*+[\"']key[\"']\s*+:\s*+[\"']"
    r"(?P<value>[a-f0-9]{32})[\"']"
)
# Of a password and of a key or token, in the words of languages whose names are not read: "clave API: …".
_WORDS_OF_PASSWORDS = (
    "parola parola|d'ordine парола contraseña clave losung geslo lykilorð slaptažodis parole sandi kata|sandi mật|khẩu"
    " κωδικός κωδικός|πρόσβασης пароль 密码 密碼 口令 パスワード 비밀번호 암호 كلمة|المرور كلمة|السر رمز|عبور סיסמה"
    " סיסמא पासवर्ड รหัสผ่าน"
)
_WORDS_OF_KEYS = (
    "токен токен|доступа ключ|api api|ключ ключ секрет 令牌 密钥 秘钥 密鑰 api密钥 api密鑰 秘密鍵 apiキー キー"
    " トークン api|키 api키 토큰 clé|api clé|d'api cle_api clave|api clave|de|api clave_api chiave|api"
    " chiave_api chave|api chave|de|api chave_api api-schlüssel api|schlüssel api_schluessel"
    " schlüssel zugriffstoken zugangstoken zugangsschlüssel geheimnis geheim klucz|api klucz_api"
    " jeton jeton|d'accès jeton_acces token|d'accès token|de|acceso token|di|accesso"
    " token|de|acesso api-sleutel api-nyckel api|anahtar\N{LATIN SMALL LETTER DOTLESS I}"
    " khóa|api secreto segreto segredo"
)
_SAYS = (
    r"(?:(?:[ \t][^\s:=\uff1a]{1,20}){0,4}?[ \t]*+[:=\uff1a\uff1d]|[ \t]*+(?:は|是|→|—"
    r"|(?:lautet|ist|es|est|è|é|är|er|jest|je|on|[=-]>|-)(?=[ \t:]):?))[ \t]*+[\"'`「]?"
)


def _told_in(words: str) -> str:
    """Return the pattern of a word of these and the value that it is said to have."""
    listed = [form for word in words.split() for form in (word, word.upper(), word.replace("api", "API"))]
    word = trie(dict.fromkeys(chain(listed, (each[:1].upper() + each[1:] for each in listed)), "")).replace(
        r"\|", " "
    )
    return rf"{word}{_SAYS}(?P<value>[^\s\"'`<>|,;()\[\]{{}}=「」。、です]{{4,500}})"


def _hints_of(words: str) -> tuple[str, ...]:
    """Return the words; what is longer and begins with another one needs no hint of its own."""
    listed = {word.lower().replace("|", " ") for word in words.split()}
    return tuple(
        word for word in listed if not any(word != each and word.startswith(each) for each in listed)
    )


_PGPASS = r":(?<=[\w.*-]:)(?:\d{2,5}|\*):[^:\s]{1,60}:[^:\s]{1,60}:(?P<value>[^\s:\"']{4,})"


def _is_argument(value: str) -> bool:
    """Whether an argument is a value, and neither a place nor a port nor what a shell puts there."""
    return len(value) > 3 and value[0] not in "$/.{<[" and not re.fullmatch(r"[\d.:]+(?:/\w+)?", value)  # noqa: PLR2004 -- as of passwords elsewhere


def _is_typed(value: str) -> bool:
    """Whether a text is a password as people make them, and no word, number, path or expression."""
    has_digit = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return (
        has_digit
        and len(value) >= MIN_SECRET_LENGTH
        and is_unquoted_secret("password", value, is_tight=False)
    )


_AZURE_KEY = r"(?i:(?:Account|SharedAccess)(?:Key|Signature))\s*+=\s*+(?P<value>[A-Za-z0-9+/%]{20,}={0,2})"
# The marks of keys of Azure, near the end of the random text that they are in.
_AZURE_MARK = re.compile(
    r"(?:JQQJ99[A-Za-z0-9]{18,30}|(?:AzFu|AzSe|AzCa|ACDb|\+(?:AMC|ASt|AEh|ASb|ARm|AIoT|ACR))[A-Za-z0-9+/_-]{5,7})\Z"
)
_SHORTEST_OF_AZURE, _BEFORE_MARK = 50, 40  # characters


def _azure_keys(text: str) -> Iterator[tuple[int, int, str]]:
    for start, end in stretches(low_bytes(text), NO_BASE64, _SHORTEST_OF_AZURE):
        if end - start < 2 * _SHORTEST_OF_AZURE and _AZURE_MARK.search(text, start + _BEFORE_MARK, end):
            yield start, end, "an Azure key"


_WEBHOOK = (
    r"(?P<value>hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{16,}"
    r"|discord(?:app)?\.com/api/webhooks/[\w/-]{16,}"
    r"|webhook\.office\.com/[\w/@-]{16,})"
)


# How the keys begin that services make. Whether the rest looks made by a machine is asked of the whole.
_PREFIXES = word_set(
    "rt_ r8_ gsk_ xai- ntn_ hvs. hvb. hvr. sbp_ nfp_ nfc_ rnd_ fo1_ fm1_ fm2_ glc_ glsa_ pul- sqp_ sqa_ squ_"
    " phx_ pnu_ gta_ ops_ fw_ ddp_ pplx- tvly- pcsk_ lsv2_ figd_ figo_ NRAK- NRAA- PMAK- glrt- gldt- glft-"
    " glimt- gloas- glptt- glcbt- glsoat- dbtc_ dbtu_ bkua_ napi_ xapp- xoxe. shpat_ shpss_ shpca_ shppa_"
    " nvapi- whsec_ dp.pt. dp.st. dp.ct. dp.sa. sntrys_ sntryu_ tgp_v1_ CCIPAT_ CCIPRJ_ lin_api_ lin_oauth_"
    " snyk_uat. snyk_sat. wandb_v1_ dckr_pat_ dckr_oat_ rubygems_ sb_secret_ pscale_pw_ pscale_tkn_"
    " pscale_oauth_ mdb_sa_sk_ vercel_blob_rw_ vcp_ vck_ sq0csp- sq0atp- ATATT3 ATCTT3 ATBB EAAB EAAC EAAG EAAM"
    " ABSK ATOA AQVN LTAI AKCp cmVmdGtu hf_oauth_ api_org_ 1//0 rdme_ jina_ glffct- glagent- glwt- GR1348941 sess-"
    " bedrock-api-key- AQ.Ab e2b_ rpa_ apify_api_ bb_live_ ATSTT3 shptka_ shpua_ APP_USR- rzp_live_ rzp_test_ FLWSECK"
    " CFPAT- xkeysib- xsmtpsib- mlsn. tskey- cfut_ cfat_ cfk_ hcaik_ hcalk_ hcxik_ hcxlk_ hcamk_ sgp_ NRJS- NRII- NRAL-"
    " HRKU- vca_ vci_ vcr_ y0_ shippo_live_ shippo_test_ duffel_live_ duffel_test_ fio-u- tfp_ sm_aat_ tk-us- sha256~"
    " CLOJARS_ IQoJb3JpZ2lu FwoGZXIvYXdz SWMTKN-1- secret-live- secret-test- ddw_ ddo_ tr_dev_ tr_prod_ signkey-prod-"
    " signkey-test- testsk_ sk_prod_ sk_dev_ sk_svix_ bce-v3/ALTAK sk-lf- sk-helicone- m0- ls__ lin_wh_ crsr_ cog_"
    " bkct_ zpka_ unkey_ tnt_"
)
_AFTER_PREFIX = r"[A-Za-z0-9_-]++(?:[.~+/=]++[A-Za-z0-9_-]++)*+"
_UUID = r"-[a-f0-9]{8}(?:-[a-f0-9]{4,12}){4}"
# What follows those that tell less.
_KEYS_OF_FORM = {
    "EAA": r"[A-Za-z0-9]{100,}",
    "EAAA": r"[lE][A-Za-z0-9_-]{55,70}(?![\w-])",
    "fc-": "[a-f0-9]{32}",
    "ek_": "[a-f0-9]{32,}",
    "pa-": r"[A-Za-z0-9_-]{43,48}(?![\w-])",
    "md-": r"[A-Za-z0-9_-]{22,32}(?![\w-])",
    "v1.0-": "[a-f0-9]{24}-[a-f0-9]{100,}",
    "t1.9": r"[A-Za-z0-9_-]{40,}\.[A-Za-z0-9_-]{40,}",
    "p8e": r"-?[A-Za-z0-9_-]{22,32}(?![\w-])",
    "cio": r"[A-Za-z0-9]{32}(?!\w)",
    "API-": r"[A-Z0-9]{25,26}(?!\w)",
    "GOOG1": "[A-Z0-9]{19,}",
    "sl.": r"(?:u\.)?[A-Za-z0-9_-]{100,}",
    "nsec1": "[a-z0-9]{50,}",
    "K10": r"[a-f0-9]{32,}::\w+:[a-f0-9]{16,}",
    "dt0": r"[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}",
    "st.": r"[A-Za-z0-9-]{8,40}\.[A-Za-z0-9]{20,}\.[A-Za-z0-9]{20,}",
    **dict.fromkeys(("EZAK", "EZTK"), "[A-Za-z0-9]{50,}"),
    **dict.fromkeys(("IGQV", "IGAA"), "[A-Za-z0-9_-]{80,}"),
    **dict.fromkeys(("ak-", "as-"), r"[A-Za-z0-9]{22,32}(?![\w-])"),
    **dict.fromkeys(("live_", "test_"), r"[a-f0-9]{35}(?!\w)"),
    **dict.fromkeys(("tprv", "xprv", "yprv", "zprv"), "[A-Za-z0-9]{90,}"),
    "secret_": "[A-Za-z0-9]{40,}",
    "re_": "[A-Za-z0-9]{6,12}_[A-Za-z0-9]{16,}",
    "SK": "[a-f0-9]{32}",
    "s.": r"[A-Za-z0-9]{24}(?!\w)",
    "sk.eyJ": "[A-Za-z0-9_.-]{20,}",
    "pk_": r"\d{4,12}_[A-Z0-9]{32}",
    "pat": r"[A-Za-z0-9]{14}\.[a-f0-9]{64}",
    "pat.": r"[\w-]{20,30}\.[a-f0-9]{20,30}\.\w{16,}",
    "A3-": "[A-Z0-9]{6}-[A-Z0-9]{5,11}(?:-[A-Z0-9]{5}){3,}",
    "AKID": "[A-Za-z0-9]{32}",
    "oy2": "[a-z0-9]{43}",
    "SG.": r"[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}",
    **dict.fromkeys(("key-", "key_"), "[a-f0-9]{32,}"),
    **dict.fromkeys(("pat-na", "pat-eu"), rf"\d{_UUID}"),
    **dict.fromkeys(("access-production", "access-sandbox", "access-development", "sdk", "ark"), _UUID),
}
_FORMS = dict.fromkeys(_PREFIXES, _AFTER_PREFIX) | _KEYS_OF_FORM
_FORMS_BY_PREFIX = [re.escape(prefix) + form for prefix, form in _FORMS.items()]
_PREFIX_MATCHER = StringMatcher([prefix.encode() for prefix in _FORMS])
# What begins with nothing of its own.
_OTHER_KEYS = (
    r"(?:[^A-Za-z0-9+/]|//|\\[nrt])(?P<value>[KL][1-9A-HJ-NP-Za-km-z]{51}(?!\w)|5[HJK][1-9A-HJ-NP-Za-km-z]{49}(?!\w)"
    r"|S[ACNOUX][A-Z2-7]{56}(?!\w)|sk[-_](?:or-v1-)?[a-f0-9]{32,}|[a-f0-9]{32}-us\d{1,2}(?!\w)"
    r"|[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,}"
    r"|[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,}|A{18,25}[A-Za-z0-9%]{40,}|[a-f0-9]{32}(?<=[a-f0-9]:.{32})(?!\w)|AA(?<=\d:AA)[A-Za-z0-9_-]{33})"
)
_SHORTEST_KEY = 20
_SHORTEST_OTHER_KEY = 34
_IN_KEYS = frozenset(f"{ascii_letters}{digits}+/")
_BREAKS_BEFORE_KEYS = frozenset({"//", "\\n", "\\r", "\\t"})
_CLOSE = 20  # characters between two stretches


def flags_of(characters: str) -> bytes:
    """Return the table for :func:`stretches` that translates these characters to 0 and others to 1."""
    return bytes(chr(code) not in characters for code in range(256))


NO_BASE64 = flags_of(f"{ascii_letters}{digits}+/_-")
_NO_KEY = flags_of(f"{ascii_letters}{digits}_.~-:/")


def low_bytes(text: str) -> bytes:
    """Return the low byte of each character."""
    return text.encode() if text.isascii() else text.encode("utf-32-le", "surrogatepass")[::4]


def stretches(data: bytes, flags: bytes, length: int) -> Iterator[tuple[int, int]]:
    """Yield where at least ``length`` bytes in a row are those that a table translates to 0, and not to 1."""
    marked, end = data.translate(flags), 0
    while (start := marked.find(bytes(length), end)) >= 0:
        end = marked.find(b"\1", start)
        end = len(data) if end < 0 else end
        yield start, end


def _merged(found: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the stretches, those of them as one that are close to each other: each costs a search of its own."""
    if (first := next(found, None)) is None:
        return
    begin, stop = first
    for start, end in found:
        if start > stop + _CLOSE:
            yield begin, stop
            begin = start
        stop = end
    yield begin, stop


def _service_keys(text: str) -> Iterator[tuple[int, int, str]]:
    data, done = low_bytes(text), 0
    for begin, stop in _merged(stretches(data, _NO_KEY, _SHORTEST_KEY)):
        for number, place in _PREFIX_MATCHER.places_in(data[begin:stop]):
            start = begin + place
            if start < done or not _may_begin_key(text, start):
                continue
            match = _compiled(_FORMS_BY_PREFIX[number], re.ASCII).match(text, start)
            if match:
                done = match.end()
                if done - start >= _SHORTEST_KEY and is_opaque(match[0]):
                    yield start, done, "a service's token"


def _may_begin_key(text: str, start: int) -> bool:
    """Whether a key may begin at a place: behind no other letter, or behind an escaped break or two slashes."""
    before = text[max(0, start - 2) : start]
    return before[-1:] not in _IN_KEYS or before in _BREAKS_BEFORE_KEYS


def _other_keys(text: str) -> Iterator[tuple[int, int, str]]:
    after_blank = f" {text}"  # a key begins after something else
    for start, end in _merged(stretches(low_bytes(text), _NO_KEY, _SHORTEST_OTHER_KEY)):
        for match in _compiled(_OTHER_KEYS).finditer(after_blank, start, end + 1):
            if is_opaque(match["value"]):
                yield match.start("value") - 1, match.end() - 1, "a service's token"


KEY_FORMATS = (
    tuple(
        KeyFormat(name, hints, pattern)
        for name, hints, pattern in (
            ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{30,}"),
            ("a GitHub token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{30,}"),
            ("a GitLab token", ("glpat-",), r"glpat-[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_-]{2,12}){0,2}"),
            ("an AWS key", ("akia", "asia"), r"(?:AKIA|ASIA)(?<![A-Z0-9].{4})[A-Z0-9]{16}(?![A-Z0-9])"),
            ("a Google key", ("aiza",), r"AIza[A-Za-z0-9_-]{35}"),
            ("a Google key", ("gocspx-",), r"GOCSPX-[A-Za-z0-9_-]{20,}"),
            ("a Google token", ("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,}"),
            ("a Slack token", ("xox",), r"xox[abcdeoprs]-[A-Za-z0-9%-]{10,}"),
            ("a Hugging Face token", ("hf_",), r"hf_[A-Za-z0-9]{30,}"),
            ("a Stripe key", ("k_live_", "k_test_"), r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
            ("a PyPI token", ("pypi-",), r"pypi-[A-Za-z0-9_-]{50,}"),
            ("an npm token", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
            ("a Databricks token", ("dapi",), r"dapi[a-f0-9]{32}"),
            (
                "a personal access token",
                ("at-",),
                r"at-(?:(?<![A-Za-z0-9].{3})|(?<=\\[nrt].{3}))[A-Za-z0-9_-]{32,}",
            ),
            ("a DigitalOcean token", ("_v1_",), r"do[opr]_v1_[a-f0-9]{40,}"),
            ("an age key", ("age-secret-key-",), r"(?i:AGE-SECRET-KEY-(?:PQ-)?1)[A-Za-z0-9]{30,}"),
            ("an Azure key", ("accountkey", "sharedaccess"), _AZURE_KEY),
            ("a webhook's address", ("hooks.slack.com/", "/api/webhooks/", ".webhook.office.com/"), _WEBHOOK),
            ("a private key", ("private key", " seed-----", "openvpn static key"), _PRIVATE_KEY),
            ("a private key", ("private-lines:",), _PUTTY_KEY),
            (
                "a private key",
                ('"kty"', "'kty'"),
                r"[\"'](?:d|p|q|dp|dq|qi|k)[\"']\s*+:\s*+[\"'](?P<value>[A-Za-z0-9_-]{20,})[\"']",
            ),
            (
                "a private key",
                ("<rsakeyvalue",),
                r"<(?:D|P|Q|DP|DQ|InverseQ)>(?P<value>[A-Za-z0-9+/=]{16,})<",
            ),
            ("a secret of Kubernetes", ("kind: secret", 'kind: "secret"'), _MANIFEST),
            ("a secret of Kubernetes", ('"kind": "secret"', '"kind":"secret"'), _JSON_MANIFEST),
            (
                "a hashed password",
                ("$apr1$", "$1$", "$5$", "$6$", "$y$", "$2", "$argon2", "pbkdf2", "scrypt$"),
                _HASHED,
            ),
            ("a key of a user", ("username",), _KEY_OF_USER),
            ("a bearer token", ("bearer",), r"[bB](?i:earer)\s++(?P<value>[A-Za-z0-9._~+/-]{16,}=*)"),
            ("a password in an address", ("://",), r"://[^\s/:@\"'<>]{0,64}:(?P<value>[^\s/@\"'<>]{3,256})@"),
        )
    )
    + tuple(
        KeyFormat(name, hints, pattern, is_key)
        for name, hints, pattern, is_key in (
            ("a JSON web token", ("eyj",), _THREE_PARTS, lambda found: "." in found),
            ("an OpenAI key", ("sk-",), r"sk-[A-Za-z0-9_-]{20,}", _is_mixed),
            ("a user's password", ("basic ",), r"(?i:basic) ++(?P<value>[A-Za-z0-9+/]{8,}={0,2})", _is_basic),
            ("a token in an address", ("://",), r"://(?P<value>[^\s/:@\"'<>]{12,256})@", is_opaque),
            ("a recovery phrase", ("phrase", "mnemonic"), _PHRASE, _is_phrase),
            (
                "a token in an address",
                ("/t/",),
                r"://[^\s/]{1,256}/t/(?P<value>[A-Za-z0-9-]{12,})/",
                is_opaque,
            ),
            ("a bearer token", ("authorization",), _AUTHORIZATION, is_opaque),
            ("a token in an address", ("?key=", "&key=", "?code=", "&code="), _QUERY, is_opaque),
            (
                "a password of a database",
                ("sqlplus ", "sqlldr ", "impdp ", "expdp ", "rman ", "jdbc:oracle:"),
                _OF_ORACLE,
                _is_argument,
            ),
            (
                "a password of a command",
                ("storepass", "keypass", "net user ", "net use ", " /p:"),
                _SINGLE,
                _is_argument,
            ),
            ("a bearer token", ("ssws ",), r"SSWS\s++(?P<value>[A-Za-z0-9_-]{20,})", is_opaque),
            ("a signature", ("sig=", "signature="), _SIGNATURE, is_opaque),
            ("a password of a command", ("htpasswd", "mc alias set "), _OTHER_COMMANDS, _is_argument),
            ("a password of a command", _POSITIONAL_HINTS, _BY_POSITION, _is_argument),
            ("a password of a command", ("convertto-securestring",), _SECURE_STRING, _is_argument),
            ("a password of a command", _PIPED_HINTS, _PIPED, _is_argument),
            ("a password of a database", (":5432:", ":5433:", ":6432:", ":*:"), _PGPASS, _is_argument),
            ("a password in words", _hints_of(_WORDS_OF_PASSWORDS), _told_in(_WORDS_OF_PASSWORDS), _is_typed),
            ("a token in words", _hints_of(_WORDS_OF_KEYS), _told_in(_WORDS_OF_KEYS), is_opaque),
            (
                "a password of a database",
                ("pwd={", "password={"),
                r"(?i:pwd|password)=\{(?P<value>[^{}\n]{4,})\}",
                _is_typed,
            ),
            ("a password of a database", ("identified ",), _IDENTIFIED, lambda value: not value.isalpha()),
            ("a password of a database", ("identified ",), _IDENTIFIED_AS_KEYWORD, _is_argument),
        )
    )
    + (
        KeyFormat("a password of a command", ("<<<",), _HERE_STRING, _is_argument, _BEFORE_HERE_STRING),
        KeyFormat(
            "a password of a command", (" login ", " login\t"), _LOGIN_COMMAND, is_opaque, _BEFORE_LOGIN
        ),
    )
)


_FORMATS_BY_HINT: dict[bytes, list[KeyFormat]] = {}
for _form in KEY_FORMATS:
    for _hint in _form.hints:
        _FORMATS_BY_HINT.setdefault(_hint.encode(), []).append(_form)
_HINTS = StringMatcher(_FORMATS_BY_HINT)


def keys_in(text: str, most: int | None = None) -> Iterator[tuple[int, int, str]]:
    """Yield beginning, end and name of every key in a text, format by format.

    Of a text with more than ``most`` of one format, the rest is one, ``THE_REST``.
    """
    hints = _HINTS.occurring(text.lower().encode("utf-8", "surrogatepass"))
    formats = dict.fromkeys(chain.from_iterable(map(_FORMATS_BY_HINT.__getitem__, hints)))
    likely = [_of_format(text, form) for form in formats]
    for found in (*likely, _service_keys(text), _other_keys(text), _azure_keys(text), _arguments(text)):
        yield from islice(found, most)
        if beyond := next(found, None):
            yield beyond[0], len(text), THE_REST


def _of_format(text: str, form: KeyFormat) -> Iterator[tuple[int, int, str]]:
    group = "value" if "value" in form.pattern.groupindex else 0
    for match in form.pattern.finditer(text):
        if form.is_key(match[group]) and (
            not form.before or _stands_before(form.before, text, match.start())
        ):
            yield *match.span(group), form.name


def _stands_before(pattern: str, text: str, place: int) -> bool:
    return _compiled(rf"{pattern}\Z").search(text, max(0, place - _LONGEST_BEFORE), place) is not None


def _arguments(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the passwords that commands take as the argument of an option."""
    options: dict[str, list[re.Match[str]]] = {}
    for match in _OPTION.finditer(text):
        options.setdefault(match["word"] or match["letter"], []).append(match)
    found = set[tuple[int, int]]()
    for option, matches in options.items():
        for is_tight, program, sign in _PROGRAMS[option]:
            likely = [match for match in matches if not match["gap"]] if is_tight else matches
            for match in _of_program(text, _compiled(program), likely):
                start, end = match.span("value")
                place = text.find(sign, start, end) + 1 if sign else start
                if place == end and is_opaque(
                    text[start : end - 1]
                ):  # a key is the user, and there is no password
                    place, end = start, end - 1
                if place and _is_argument(text[place:end]):
                    found.add((place, end))
    for start, end in sorted(found):
        yield start, end, "a password of a command"


def _of_program(
    text: str, program: re.Pattern[str], options: Sequence[re.Match[str]]
) -> Iterator[re.Match[str]]:
    """Yield the options before which a program stands in their line."""
    places = [found.start() for found in program.finditer(text)] if len(options) > _FEW_OPTIONS else None
    for option in options if places != [] else ():
        first = max(0, option.start() - _LONGEST_COMMAND)
        begin = max(first, text.rfind("\n", first, option.start()) + 1)
        if places is None:
            is_command = program.search(text, begin, option.start() + 1) is not None
        else:
            number = bisect_right(places, option.start())
            is_command = number > 0 and places[number - 1] >= begin
        if is_command:
            yield option


# Calls whose last argument without a name is a password, and calls in which what looks made by a machine is a key.
LOGINS = word_set(
    "login signin authenticate log_in sign_in pymysql.connect mysqldb.connect psycopg2.connect psycopg.connect"
    " cx_oracle.connect oracledb.connect pymssql.connect ftp ftp_tls redis strictredis getconnection"
    " plaintextauthprovider"
)
CALLS_WITH_KEYS = word_set(
    "openai asyncopenai anthropic asyncanthropic github gitlab fernet hmac.new minio fred oauthhandler newsapiclient"
    " telegramclient twilio.rest.client urlsafeserializer urlsafetimedserializer"
    " timestampsigner decrypt groq mistral pinecone hfapi inferenceclient webclient telebot pro_api aes.new"
)
_CALLS = BytesAhoCorasick(f"{name}(".encode() for name in LOGINS | CALLS_WITH_KEYS | {"connect"})


def calls_in(text: str) -> list[int]:
    """Return where a call begins that may take a password or a key without a name."""
    if "(" not in text:
        return []
    found = _CALLS.find_matches_as_indexes(low_bytes(text).lower(), overlapping=True)
    return [start for _, start, end in found if text[start:end].isascii()]


def breaks_before_names(text: str) -> dict[int, str]:
    """Return where escaped breaks end before secret names, as whose first letters they would be read; and the names."""
    breaks = {match.end(): match[1] for match in _BREAK_BEFORE_NAME.finditer(text)} if "\\" in text else {}
    names = set(filter(is_secret_name, set(breaks.values())))
    return {end: name for end, name in breaks.items() if name in names} if names else {}


def may_hold_secret(text: str) -> bool:
    """Whether a secret name or anything that looks like a key occurs: cheap, for most texts hold none."""
    if Words(text).secret_names or calls_in(text) or any(True for _ in keys_in(text)):
        return True
    return bool(breaks_before_names(text))
