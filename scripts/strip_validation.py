"""Removes protovalidate's rules from the text of a .proto file, and nothing else: comments and layout stay.

Clients that only encode and decode have no use for the rules, and without them need no extra import.
"""

import re

_IMPORT = re.compile(r'^import "buf/validate/[^"]*";\n', re.MULTILINE)
_STATEMENT_START = re.compile(r"option\s*\(\s*buf\.validate\.")
_RULE_START = re.compile(r"\(\s*buf\.validate\.")
_OPENING, _CLOSING = "([{", ")]}"


def strip_validation(text: str) -> str:
    """The same file without `buf.validate` imports, `option` statements and field options.

    >>> strip_validation('string id = 1 [(buf.validate.field).string.min_len = 1];')
    'string id = 1;'
    """
    return _without_field_rules(_without_statements(_IMPORT.sub("", text)))


def _without_statements(text: str) -> str:
    """Remove `option (buf.validate.…) = …;`, and the whole line when nothing else stands on it."""
    position = 0
    while (found := _find_code(text, _STATEMENT_START, position)) is not None:
        end = _end_of(text, found, ";") + 1
        start = len(text[:found].rstrip(" \t"))
        if text[:start][-1:] in ("", "\n") and text[end : end + 1] == "\n":  # nothing else is on its line
            end += 1
        text = text[:start] + text[end:]
        position = start
    return text


def _without_field_rules(text: str) -> str:
    """Remove `(buf.validate.…)… = …` from bracketed option lists, and a list that becomes empty."""
    position = 0
    while (rule := _find_code(text, _RULE_START, position)) is not None:
        opening = text.rindex("[", 0, rule)
        closing = _end_of(text, opening + 1, "]")
        kept = [
            option for option in _split(text[opening + 1 : closing]) if not _RULE_START.match(option.lstrip())
        ]
        if kept:
            text = text[: opening + 1] + ",".join([kept[0].strip(), *kept[1:]]).rstrip() + text[closing:]
        else:
            text = text[:opening].rstrip() + text[closing + 1 :]
        position = opening
    return text


def _split(options: str) -> list[str]:
    """The members of a comma-separated list, commas inside brackets and strings not counting."""
    members, start = [], 0
    while start <= len(options):
        end = _end_of(options, start, ",")
        members.append(options[start:end])
        start = end + 1
    return members


def _find_code(text: str, pattern: re.Pattern[str], start: int) -> int | None:
    """Where the pattern next matches outside strings and comments."""
    position = start
    while position < len(text):
        if pattern.match(text, position):
            return position
        position = _next(text, position)
    return None


def _end_of(text: str, start: int, terminator: str) -> int:
    """Where the terminator stands on the same level of brackets; the end of the text when it does not."""
    position, depth = start, 0
    while position < len(text) and not (depth == 0 and text[position] == terminator):
        depth += (text[position] in _OPENING) - (text[position] in _CLOSING)
        position = _next(text, position)
    return min(position, len(text))


def _next(text: str, position: int) -> int:
    """The position after one character, or after a whole string or comment."""
    if text.startswith("//", position):
        end = text.find("\n", position)
        return len(text) if end < 0 else end
    if text.startswith("/*", position):
        return text.index("*/", position) + 2
    if text[position] in "\"'":
        return _after_string(text, position)
    return position + 1


def _after_string(text: str, position: int) -> int:
    quote = text[position]
    position += 1
    while text[position] != quote:
        position += 2 if text[position] == "\\" else 1
    return position + 1
