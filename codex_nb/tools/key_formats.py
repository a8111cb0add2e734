"""Keys, tokens and passwords that a text shows by their format, or by the command, address or file they stand in."""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.tools.secrets import NO_WORD, Words, is_opaque, trie, word_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True)
class KeyFormat:
    """One format; the pattern's group ``value``, if there is one, is the secret, otherwise the whole match.

    ``hints`` are lower-case substrings of every match. ``is_key`` checks what the pattern found.
    """

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    is_key: Callable[[str], bool] = lambda _found: True


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


# Every pattern takes time in proportion to the text: a run of characters is entered at its beginning only, or is
# consumed whether or not it turns out to be a key.
_THREE_PARTS = r"eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?+)?+"
_PRIVATE_KEY = (
    r"-----?(?<!-{6}) ?BEGIN [A-Z0-9 ]*?PRIVATE KEY(?: BLOCK)? ?----"
    r"(?:(?!-----? ?END [A-Z0-9 ]*+ ?----)[\s\S])*+(?:-----? ?END [A-Z0-9 ]*+ ?-----?|\Z)"
)
_PUTTY_KEY = r"Private-Lines:[ \t]*+\d++\s++(?P<value>(?:[A-Za-z0-9+/=]{16,}+\s*+)+)"
# The values of a manifest of Kubernetes, which base64 only dresses up.
_MANIFEST = r"(?:\n|\A)(?:data|stringData):[ \t]*\n(?P<value>[ \t]++\S[^\n]*+(?:\n[ \t]++\S[^\n]*+)*+)"
_JSON_MANIFEST = r'"(?:data|stringData)"\s*+:\s*+\{(?P<value>[^{}]*+)\}'
_HASHED = (
    r"\$(?:apr1|[156y]|2[abxy]|argon2(?:id?|d)|scrypt|s2|pbkdf2[\w-]{0,20})\$[A-Za-z0-9./$,=+-]{20,}"
    r"|pbkdf2_sha\d{1,3}\$\d++\$[A-Za-z0-9./$+=]{20,}"
)
_SIGNATURE = r"(?i:[?&](?:sig|signature|x-amz-signature|x-goog-signature)=)(?P<value>[A-Za-z0-9%+/_-]{16,}=*)"
_QUERY = r"[?&](?:key|code)=(?P<value>[A-Za-z0-9%._~-]{16,})"
_SQLPLUS = r"\bsqlplus[ \t]++(?:-\w++[ \t]++){0,3}+[\w.$#]{1,60}/(?P<value>[^\s@/\"']{4,100})"
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
# Of an option of a command: the programs that take a password there, and what stands before it in the argument.
_OPTIONS = (
    ("p", rf"sshpass|mongo\w*|useradd|usermod|{_LOGINS}", ""),
    ("p tight", r"mysql\w*|mariadb[\w-]*|7z\w?", ""),
    ("P", r"sqlcmd|bcp|[io]sql|(?:un)?zip|mosquitto_\w+", ""),
    ("N", "ssh-keygen", ""),
    ("a", "redis-cli", ""),
    ("w", r"ldap\w+", ""),
    ("k", "openssl", ""),
    ("K", "openssl", ""),
    ("u", _CURL, ":"),
    ("U", r"smbclient|rpcclient", "%"),
    ("b", "curl", "="),
    ("b", "gh[ \\t]+secret", ""),
    ("user", _CURL, ":"),
    ("proxy-user", _CURL, ":"),
    ("auth", _CURL, ":"),
    ("cookie", _CURL, "="),
    ("oauth2-bearer", _CURL, ""),
    ("pass", _CURL, ""),
    ("body", "gh[ \\t]+secret", ""),
)
_PROGRAMS: dict[str, list[tuple[bool, re.Pattern[str], str]]] = {}
for _option, _names, _sign in _OPTIONS:
    _program = re.compile(rf"(?<![\w./-])(?:{_names})(?:\.exe)?[ \t]")
    _PROGRAMS.setdefault(_option.split()[0], []).append((_option.endswith(" tight"), _program, _sign))
_OPTION = re.compile(
    r"[ \t]-(?:(?P<letter>[pPNawkKuUb])(?P<gap>[ \t]*+)"
    r"|-(?P<word>user|proxy-user|auth|cookie|oauth2-bearer|pass|body)[ \t=]++)"
    r"[\"']?(?P<value>[^\s\"'|;<>-][^\s\"'|;<>]*+)"
)
_LONGEST_COMMAND = 150
_FEW_OPTIONS = 500  # for more, the text is read once for each program
_OTHER_COMMANDS = (
    r"htpasswd[ \t]++-\w*b\w*[ \t]++\S{1,100}[ \t]++\S{1,100}[ \t]++[\"']?(?P<value>[^\s\"']{4,})"
)
_LOGIN_COMMAND = (
    r"(?:vault|wandb|huggingface-cli|hf auth) login[ \t]++(?:--(?:token|relogin)[ \t=]++)?"
    r"(?P<value>[^\s\"']{16,})"
)
_PIPED = (
    r"(?:echo|printf)[ \t]++(?:-\w++[ \t]++)?[\"']?(?:[^\s:\"'|]{1,60}:)??(?P<value>[^\s\"'|$]++)"
    r"[\"']?[ \t]*+\|[^\n|]{0,100}?"
    r"(?:--password-stdin|--with-token|chpasswd|sudo[ \t]++-\w*S|passwd|--stdin)"
)
_BY = r"[ \t]++(?i:with[ \t]++\S++[ \t]++)?(?i:by|as)[ \t]++(?i:values[ \t]++|password[ \t]++)?"
_IDENTIFIED = rf"(?i:identified){_BY}[\"'](?P<value>[^\s\"']{{4,}})"
_IDENTIFIED_AS_KEYWORD = rf"IDENTIFIED{_BY}[\"']?(?P<value>[^\s\"';,()]{{4,}})"
_PGPASS = r":(?<=[\w.*-]:)(?:\d{2,5}|\*):[^:\s]{1,60}:[^:\s]{1,60}:(?P<value>[^\s:\"']{4,})"


def _is_argument(value: str) -> bool:
    """Whether an argument is a value, and neither a place nor a port nor what a shell puts there."""
    return len(value) > 3 and value[0] not in "$/.{<[" and not re.fullmatch(r"[\d.:]+(?:/\w+)?", value)  # noqa: PLR2004 -- as of passwords elsewhere


_AZURE_KEY = r"(?i:(?:Account|SharedAccess)(?:Key|Signature))\s*+=\s*+(?P<value>[A-Za-z0-9+/%]{20,}={0,2})"
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
    " ABSK ATOA AQVN LTAI AKCp cmVmdGtu hf_oauth_ api_org_ 1//0 rdme_ jina_"
)
_SERVICE_KEY = re.compile(
    r"(?:[^A-Za-z0-9+/]|//|\\[nrt])(?=[A-Za-z0-9]|[_~.-].{2}\dQ~)(?P<value>"
    rf"{trie(dict.fromkeys(_PREFIXES, ''))}[A-Za-z0-9_-]++(?:[.~+/=]++[A-Za-z0-9_-]++)*+"
    r"|key[-_][a-f0-9]{32,}|secret_[A-Za-z0-9]{40,}|re_[A-Za-z0-9]{6,12}_[A-Za-z0-9]{16,}|SK[a-f0-9]{32}|s\.[A-Za-z0-9]{24}(?!\w)"
    r"|sk[-_](?:or-v1-)?[a-f0-9]{32,}|sk\.eyJ[A-Za-z0-9_.-]{20,}|pk_\d{4,12}_[A-Z0-9]{32}|pat[A-Za-z0-9]{14}\.[a-f0-9]{64}"
    r"|pat\.[\w-]{20,30}\.[a-f0-9]{20,30}\.\w{16,}|A3-[A-Z0-9]{6}-[A-Z0-9]{5,11}(?:-[A-Z0-9]{5}){3,}|AKID[A-Za-z0-9]{32}"
    r"|oy2[a-z0-9]{43}|[a-f0-9]{32}-us\d{1,2}(?!\w)|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}"
    r"|(?<=\d:)AA[A-Za-z0-9_-]{33}|[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}|[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,}"
    r"|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,}|A{18,25}[A-Za-z0-9%]{40,}|(?<=\d:)[a-f0-9]{32}(?!\w)"
    r")"
)
_SHORTEST_KEY = 20
_CLOSE = 20  # characters between two stretches
_NO_KEY = bytes(not ((chr(code).isalnum() and code < 128) or chr(code) in "_.~-:/") for code in range(256))  # noqa: PLR2004 -- ASCII


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


def _near_ones(found: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the stretches, those of them as one that are close to each other: each costs a search of its own."""
    begin, stop = next(found, (0, 0))
    for start, end in found:
        if start > stop + _CLOSE:
            yield begin, stop
            begin = start
        stop = end
    yield begin, stop


def _service_keys(text: str) -> Iterator[tuple[int, int, str]]:
    after_blank = f" {text}"  # a key begins after something else
    for start, end in _near_ones(stretches(low_bytes(text), _NO_KEY, _SHORTEST_KEY)):
        for match in _SERVICE_KEY.finditer(after_blank, start, end + 1):
            if len(match["value"]) >= _SHORTEST_KEY and is_opaque(match["value"]):
                yield match.start("value") - 1, match.end() - 1, "a service's token"


KEY_FORMATS = tuple(
    KeyFormat(name, hints, re.compile(pattern, re.DOTALL))
    for name, hints, pattern in (
        ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{30,}"),
        ("a GitHub token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{30,}"),
        ("a GitLab token", ("glpat-",), r"glpat-[A-Za-z0-9_-]{20,}"),
        ("an AWS key", ("akia", "asia"), r"(?:AKIA|ASIA)(?<![A-Z0-9].{4})[A-Z0-9]{16}(?![A-Z0-9])"),
        ("a Google key", ("aiza",), r"AIza[A-Za-z0-9_-]{35}"),
        ("a Google key", ("gocspx-",), r"GOCSPX-[A-Za-z0-9_-]{20,}"),
        ("a Google token", ("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,}"),
        ("a Slack token", ("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
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
        ("a private key", ("private key",), _PRIVATE_KEY),
        ("a private key", ("private-lines:",), _PUTTY_KEY),
        ("a private key", ('"kty"',), r'"d"\s*+:\s*+"(?P<value>[A-Za-z0-9_-]{20,})"'),
        ("a secret of Kubernetes", ("kind: secret", 'kind: "secret"'), _MANIFEST),
        ("a secret of Kubernetes", ('"kind": "secret"', '"kind":"secret"'), _JSON_MANIFEST),
        (
            "a hashed password",
            ("$apr1$", "$1$", "$5$", "$6$", "$y$", "$2", "$argon2", "pbkdf2", "scrypt$"),
            _HASHED,
        ),
        ("a bearer token", ("bearer",), r"(?i:bearer)\s++(?P<value>[A-Za-z0-9._~+/-]{16,}=*)"),
        ("a password in an address", ("://",), r"://[^\s/:@\"'<>]{0,64}:(?P<value>[^\s/@\"'<>]{3,256})@"),
    )
) + tuple(
    KeyFormat(name, hints, re.compile(pattern, re.DOTALL), is_key)
    for name, hints, pattern, is_key in (
        ("a JSON web token", ("eyj",), _THREE_PARTS, lambda found: "." in found),
        ("an OpenAI key", ("sk-",), r"sk-[A-Za-z0-9_-]{20,}", _is_mixed),
        ("a user's password", ("basic ",), r"(?i:basic) ++(?P<value>[A-Za-z0-9+/]{8,}={0,2})", _is_basic),
        ("a token in an address", ("://",), r"://(?P<value>[^\s/:@\"'<>]{12,256})@", is_opaque),
        ("a bearer token", ("authorization",), _AUTHORIZATION, is_opaque),
        ("a token in an address", ("?key=", "&key=", "?code=", "&code="), _QUERY, is_opaque),
        ("a password of a command", ("sqlplus ",), _SQLPLUS, _is_argument),
        (
            "a password of a command",
            ("storepass", "keypass", "net user ", "net use ", " /p:"),
            _SINGLE,
            _is_argument,
        ),
        ("a bearer token", ("ssws ",), r"SSWS\s++(?P<value>[A-Za-z0-9_-]{20,})", is_opaque),
        ("a signature", ("sig=", "signature="), _SIGNATURE, is_opaque),
        ("a password of a command", ("htpasswd",), _OTHER_COMMANDS, _is_argument),
        ("a password of a command", (" login ",), _LOGIN_COMMAND, is_opaque),
        ("a password of a command", ("stdin", "with-token", "passwd", "sudo"), _PIPED, _is_argument),
        ("a password of a database", (":5432:", ":5433:", ":6432:", ":*:"), _PGPASS, _is_argument),
        ("a password of a database", ("identified ",), _IDENTIFIED, lambda value: not value.isalpha()),
        ("a password of a database", ("identified ",), _IDENTIFIED_AS_KEYWORD, _is_argument),
    )
)


_WORDS_OF_HINTS = tuple(
    (max(NO_WORD.split(hint), key=len), hint, form) for form in KEY_FORMATS for hint in form.hints
)
_SIGNS_OF_HINTS = {sign for _, hint, _ in _WORDS_OF_HINTS for sign in hint if not sign.isalnum()}


def keys_in(text: str, words: Words) -> Iterator[tuple[int, int, str]]:
    """Yield beginning, end and name of every key in a text, format by format."""
    for form in _possible(text, words):
        group = "value" if "value" in form.pattern.groupindex else 0
        for match in form.pattern.finditer(text):
            if form.is_key(match[group]):
                yield *match.span(group), form.name
    yield from _service_keys(text)
    yield from _arguments(text)


def _possible(text: str, words: Words) -> Iterable[KeyFormat]:
    """Return the formats of which a hint occurs, each once."""
    absent = {sign for sign in _SIGNS_OF_HINTS if sign not in text}
    likely = [
        (None if hint == word else hint, form)
        for word, hint, form in _WORDS_OF_HINTS
        if absent.isdisjoint(hint) and word in words.lowered
    ]
    lowered = text.lower()
    return dict.fromkeys([form for hint, form in likely if hint is None or hint in lowered])


def _arguments(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the passwords that commands take as the argument of an option."""
    options = list(_OPTION.finditer(text))
    places: dict[re.Pattern[str], list[int]] = {}
    for match in options:
        start, end = match.span("value")
        first = max(0, match.start() - _LONGEST_COMMAND)
        begin = max(first, text.rfind("\n", first, match.start()) + 1)
        for is_tight, program, sign in _PROGRAMS[match["word"] or match["letter"]]:
            if is_tight and match["gap"]:
                continue
            if len(options) <= _FEW_OPTIONS:
                is_command = program.search(text, begin, match.start() + 1) is not None
            else:
                if program not in places:
                    places[program] = [found.start() for found in program.finditer(text)]
                number = bisect_right(places[program], match.start())
                is_command = number > 0 and places[program][number - 1] >= begin
            place = text.find(sign, start, end) + 1 if sign else start
            if is_command and place and _is_argument(text[place:end]):
                yield place, end, "a password of a command"
                break
