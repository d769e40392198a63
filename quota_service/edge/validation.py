"""Checks every request against the rules of its message, before anything else looks at it."""

from __future__ import annotations

from google.protobuf.message import Message
from protovalidate import Validator, Violation

from quota_service.domain.errors import FieldProblem, InvalidRequest, NameMalformed

_NAME_PATTERN = "^organizations/"
_CHARACTERS = "letters, digits or any of ._@+|:- and begin with a letter or digit"
_PATTERNS = {
    "[A-Za-z0-9][A-Za-z0-9._@+|:-]{0,127}": f"must be 1–128 {_CHARACTERS}",
    "[A-Za-z0-9][A-Za-z0-9._@+|:-]{0,63}": f"must be 1–64 {_CHARACTERS}",
    "[A-Za-z0-9][A-Za-z0-9_+/-]{0,63}": "must be an IANA time zone, such as Europe/Berlin",
    "[!-.0-~]{1,64}/[!-~]{1,256}": "must be provider/model, or provider/* for all its models",
    "[!-~]*": "must be printable ASCII without spaces",
    "[^\\x00-\\x1F\\x7F]*": "must not have control characters",
    "https?://[!-~]+": "must be an http or https URL",
}
_validator = Validator()


def validate(request: Message) -> None:
    """Raises InvalidRequest with every faulty field, NameMalformed where only resource names are at fault."""
    violations = _validator.collect_violations(request)
    if not violations:
        return
    problems = [FieldProblem(_path(violation), _description(violation)) for violation in violations]
    error = NameMalformed if all(_is_about_name(violation) for violation in violations) else InvalidRequest
    raise error(*problems)


def _path(violation: Violation) -> str:
    """The path, as in `subject.tags["feature"]` or `overrides[3].limits.tokens`; "" for a whole request."""
    field = violation.proto.field
    if field is None:
        return ""
    return ".".join(_element(element.field_name, element.subscript) for element in field.elements)


def _element(name: str, subscript: object) -> str:
    if subscript is None:
        return name
    value = getattr(subscript, "value", "")
    return f'{name}["{value}"]' if isinstance(value, str) else f"{name}[{value}]"


def _is_about_name(violation: Violation) -> bool:
    return violation.proto.rule_id == "string.pattern" and str(violation.rule_value).startswith(_NAME_PATTERN)


def _description(violation: Violation) -> str:
    """What is wrong, in words: regular expressions are for machines."""
    pattern = str(violation.rule_value) if violation.proto.rule_id == "string.pattern" else ""
    if pattern.startswith(_NAME_PATTERN):
        return f"must be {_template(pattern)}"
    bare = pattern.removeprefix("^").removesuffix("$").removesuffix(")?").removeprefix("(")
    return _PATTERNS.get(bare) or violation.proto.message


def _template(pattern: str) -> str:
    """`organizations/{organization}/budgets/{budget}` from the pattern of such names."""
    collections = [part for part in pattern.strip("^$").split("/") if part.isalpha()]
    return "/".join(f"{collection}/{{{collection.removesuffix('s')}}}" for collection in collections)
