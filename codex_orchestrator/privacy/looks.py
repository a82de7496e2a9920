"""Whether what stands after a word that says secret looks like one, or like code, prose or a placeholder.

Everything here looks at the beginning of a value only, so that none costs more for being long
(docs/reference/privacy.md, "What is found").
"""

from __future__ import annotations

import re

from codex_orchestrator.privacy.late import LatePattern
from codex_orchestrator.privacy.policy import LEAST_CHARACTERS
from codex_orchestrator.privacy.rules import Least

# As much of a value tells what it is.
_LOOKED_AT = 256

_PLACEHOLDER = LatePattern(
    rb"(?:<[^<>]*>?|\$\{.*|\$\(.*|\$\$?[A-Za-z_].*|\{\{.*|%\(.*|%[sdr]$|%[A-Z_]+%?$|\{[A-Za-z_.]*\}?$"
    rb"|([x*.#_?-])\1{2,}.*|[*\xe2\x80\xa2\xa6.-]{3,}$|\[REDACTED|\[?\(?<?(?:redacted|masked|hidden|filtered|omitted)"
    rb"|(?:your|my|change|insert|enter|put|replace|add|some|the|any)[_ -]?"
    rb"(?:own|me|this|it|in|with|api|auth|access|secret|key|token|password|pass|here)"
    rb"|(?:null|none|nil|true|false|undefined|nan|yes|no|empty|unset|optional|required|default|example|sample|placeholder|dummy|fake|todo|tiger)"
    rb"(?![A-Za-z0-9]))",
    re.IGNORECASE | re.DOTALL,
)
# Calls, subscripts, types with parameters, attributes, addresses of things.
_CODE = LatePattern(
    rb"[*+][A-Za-z_]|[0-9]\*|/[*/^@]|[\w$]{1,3},[A-Za-z_$]|[A-Za-z_]\w*\$\w*$|[A-Za-z_$@!&*][\w$.:?!>*&-]{0,80}[(\[{<]|[(\[{&|@!^]|->|=>|\\[a-z]?$"
    rb"|[A-Za-z_$][\w$]{0,40}(?:(?:\?\.|\.|->|::|/)[A-Za-z_$][A-Za-z_$]{0,40}[0-9]{0,5})+(?![\w+/=-])"
    rb"|[ui](?:8|16|32|64|128)(?![A-Za-z0-9])|[su]?u?int\d*(?:_t)?(?![A-Za-z0-9])|float\d+|uint\d+(?:_t)?|char\b|0x[0-9A-Fa-f]{1,8}(?![A-Za-z0-9])"
)
_PATH = LatePattern(
    rb"(?:~|\.{1,2})?[/\\][A-Za-z0-9._~@+-]+(?:[/\\]|$|\.[a-z]{1,5}\b)|[A-Za-z]:\\|(?:https?|file)://|[\w.-]+\.(?:[cm]?[jt]sx?|py|go|json|ya?ml|pem|key|crt|txt|md|html?|com|org|io|net)\b"
)
_NUMBER = LatePattern(
    rb"[+-]?[0-9][0-9_,.:]*(?:[a-zA-Z%]{1,3})?$|v?[0-9]+(?:\.[0-9A-Za-z-]+)+$|[0-9]{4}-[0-9]{2}-[0-9]{2}"
)
_WORDS = LatePattern(rb"[A-Za-z]+(?:[ _.:/,'*-]+[A-Za-z]+)*[ .!?:,;_*-]*")
# Names with a number in them: `oauth2_token`, `sha256`, `user1`.
_NAME = LatePattern(rb"(?:[A-Za-z]+[_.-])*[A-Za-z]+[0-9]{1,5}(?:[_.-]?[A-Za-z])*")
_SAYS = LatePattern(
    rb"passw|secret|token|credential|passphrase|auth|(?:^|[_.-])(?:pass|pwd|key)|key[0-9]*$", re.IGNORECASE
)
_KNOWN_WORDS = LatePattern(
    rb"(?i)(?:values?|strings?|bytes|buffer|number|boolean|object|symbol|unknown|never|function|class|import|return|lambda"
    rb"|await|async|self|this|param|params|argument|arguments|options?|config|configuration|settings|request|response|result|default"
    rb"|bearer|basic|digest|oauth|oauth2|openid|invalid|expired|missing|failed|wrong|correct|incorrect|changed|updated|disabled|enabled|hidden"
    rb"|optional|required|encrypted|plaintext|prompt|manual|static|dynamic|random|generate|generated|rotate|rotated|verified|accepted|denied"
    rb"|include|inherit|same-origin|anonymous|session|cookie|header|cookies|parser|lexer|reader|writer|length|status)$"
)
_PROSE = LatePattern(
    rb"(?i)(?:^|[ .])(?:a|an|the|is|are|was|be|must|at|least|your|you|to|of|for|in|on|and|or|not|no|with|by"
    rb"|it|this|that|if|can|cannot|enter|type|has|have|from|please)(?:[ .,!?]|$)"
)
# What programs are made of, and generated passwords only now and then.
_OPERATORS = LatePattern(
    rb"[(){}\[\]<>|;`]|&&|/\*|\*/|\?[\w.]+:|[\w)]\?\.|[=!]=(?=[\w\"'(])|^[A-Za-z_$][\w$]*=(?=[^=\s])"
)
_DIGIT = LatePattern(rb"[0-9]")
_LETTER = LatePattern(rb"[A-Za-z\x80-\xff]")
# A capital letter in the midst of small ones, as hardly any word has it twice.
_CASES = LatePattern(rb"[a-z][A-Z].*[a-z][A-Z]")
_SPECIAL = LatePattern(rb"[!@#^*~+=$%&?\x80-\xff]")


def _is_nothing(value: bytes) -> bool:
    return _PLACEHOLDER.match(value) is not None


def is_random(value: bytes) -> bool:
    """Whether nobody has thought it up: long, of letters and digits, and not the same few again and again."""
    value = value[:_LOOKED_AT]
    if len(value) < 16 or b" " in value or _is_nothing(value) or _NUMBER.match(value) or _PATH.match(value):
        return False
    digits = len(_DIGIT.findall(value))
    if not _LETTER.search(value) or digits + (_CASES.search(value) is not None) < 2:
        return False
    return len(set(value)) >= 8 and not _NAME.fullmatch(value)


def is_mixed(value: bytes) -> bool:
    """Whether it has digits or signs among letters, as words have not."""
    value = value[:_LOOKED_AT]
    if len(value) < LEAST_CHARACTERS or _is_nothing(value) or _NUMBER.match(value) or _PATH.match(value):
        return False
    if not _LETTER.search(value):
        return False
    if not _DIGIT.search(value):
        return (
            _SPECIAL.search(value) is not None
            and b"%" not in value
            and b" " not in value
            and not _CODE.match(value)
        )
    return not (
        _NAME.fullmatch(value)
        and (_SAYS.search(value) or (len(_DIGIT.findall(value)) < 2 and len(value) < 8))
    )


def is_quoted_secret(value: bytes, *, chosen: bool) -> bool:
    """A value in quotation marks.

    Args:
        value: Without them.
        chosen: Whether people choose what it is, as they do with passwords.
    """
    value = value[:_LOOKED_AT]
    if len(b"".join(value.split())) < LEAST_CHARACTERS or _is_nothing(value) or _PATH.match(value):
        return False
    if b"${" in value or b"{{" in value or b"%(" in value or b"%s" in value:
        return False
    if not _LETTER.search(value):
        return chosen and _DIGIT.search(value) is not None
    if _WORDS.fullmatch(value):
        return False
    if b" " in value or b"\t" in value:
        return (
            chosen
            and not _PROSE.search(value)
            and bool(_DIGIT.search(value) or _SPECIAL.search(value))
            and not re.search(rb"[()\[\]{}<>=]", value)
        )
    if _NUMBER.match(value):
        return False
    if chosen:
        return is_mixed(value) and not re.match(rb"[$^(\[{<|\\&?]", value)
    return (
        len(value) >= 8
        and is_mixed(value)
        and bool(_DIGIT.search(value))
        and not _CODE.match(value)
        and not _is_named(value)
    )


def _is_named(value: bytes) -> bool:
    return _NAME.fullmatch(value) is not None and len(_DIGIT.findall(value)) < 3 and len(value) < 20


def is_plain_secret(value: bytes, *, chosen: bool, tight: bool, ends: bool, assigned: bool = False) -> bool:
    """A value without quotation marks.

    Args:
        value: The word that it is.
        chosen: Whether people choose what it is, as they do with passwords.
        tight: Whether it stands right after its sign, as in `name=value`.
        ends: Whether nothing follows that would follow a name in code.
        assigned: Whether it stands as variables of an environment do, where no code does.
    """
    value = value[:_LOOKED_AT]
    if len(value) < LEAST_CHARACTERS or _is_nothing(value) or _PATH.match(value):
        return False
    if not assigned and (_CODE.match(value) or _OPERATORS.search(value)):
        return False
    if not _LETTER.search(value):
        return chosen and value.isdigit()
    if _WORDS.fullmatch(value):
        return (
            tight and ends and not _SAYS.search(value) and not _KNOWN_WORDS.match(value) and b"." not in value
        )
    if not is_mixed(value):
        return False
    digits = len(_DIGIT.findall(value))
    if digits and re.fullmatch(rb"[A-Za-z0-9_]+", value) and not ends:
        return len(value) >= 8 and digits >= 2
    return ends or digits > 0


def is_code(value: bytes) -> bool:
    """Whether it is a part of a program rather than a value."""
    value = value[:_LOOKED_AT]
    return _CODE.match(value) is not None or _OPERATORS.search(value) is not None


def is_phrase(line: bytes) -> bool:
    """Whether a line is four or more words that make no sentence."""
    words = line.split(b" ")
    return (
        4 <= len(words) <= 24
        and all(3 <= len(word) <= 10 and word.isalpha() and word.islower() for word in words)
        and _PROSE.search(line) is None
    )


def suffices(value: bytes, least: Least) -> bool:
    """Whether a value at a certain place looks like what a rule asks for."""
    if least == "anything":
        return True
    if least == "random":
        return is_random(value) and not is_code(value)
    if least == "mixed":
        return is_mixed(value) and not is_code(value)
    word = value[:_LOOKED_AT]
    return not _is_nothing(word) and not _SAYS.match(word) and not is_code(word) and not word.isdigit()
