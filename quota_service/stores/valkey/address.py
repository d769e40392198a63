"""Where Valkey is, read from a URL.

    redis://[user:password@]host[:6379][/db]           also valkey://; rediss:// and valkeys:// with TLS
    unix://[user:password@]/path/of/socket[?db=1]
    redis+sentinel://[user:password@]host[:26379][,host2[:26379]...]/service[/db]
                                                       also valkey+…, rediss+… and valkeys+sentinel://

User and password are the server's. Sentinels that ask for credentials get those of `?sentinel_username=`
and `?sentinel_password=`. With TLS, `?ssl_ca_certs=` names a file of certificates to trust in place of the
system's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

PORT = 6379
SENTINEL_PORT = 26379

_PLAIN = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_SENTINEL = {f"{scheme}+sentinel": tls for scheme, tls in _PLAIN.items()}
_FORMS = (
    "redis://host:6379/0, rediss://host:6379/0 (TLS), unix:///path/of/socket "
    "or redis+sentinel://host:26379,host2:26379/service"
)


class AddressMalformed(ValueError):
    """A URL does not say where Valkey is. The text says why, without the URL's password."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The URL of Valkey {why}. It is to look like {_FORMS}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`hosts`: the server's, or where there is a `service`, those of its sentinels; none with a `path`, which
    is a socket's.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    tls: bool = False
    ca_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises AddressMalformed."""
        try:
            parts = _split(url)
        except ValueError:
            raise AddressMalformed("cannot be read") from None
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":
            # What stands before it is a piece of a password, perhaps, and must not be shown.
            raise AddressMalformed(
                "has an @ behind its hosts: in passwords write %40, and / ? # as %2F %3F %23"
            )
        settings = _settings(parts)
        if parts.scheme == "unix":
            return _unix(parts, settings)
        if parts.scheme in _SENTINEL:
            return _sentinel(parts, settings)
        if parts.scheme in _PLAIN:
            return _plain(parts, settings)
        raise AddressMalformed(f"begins with {parts.scheme or 'no scheme'}")


def _split(url: str) -> SplitResult:
    """The parts of a URL whose hosts may be many: Python's own reading of them, which differs from version to
    version, knows one.
    """
    scheme, _, rest = url.partition("://")
    hosts = re.split("[/?#]", rest, maxsplit=1)[0]
    return urlsplit(f"{scheme}://{rest[len(hosts) :]}")._replace(netloc=hosts)


def _unix(parts: SplitResult, settings: dict[str, str]) -> Address:
    if not parts.path:
        raise AddressMalformed("names no socket")
    database = _database(settings.pop("db", ""))
    _understood(settings)
    user, password = _credentials(parts)
    return Address(path=unquote(parts.path), database=database, username=user, password=password)


def _plain(parts: SplitResult, settings: dict[str, str]) -> Address:
    database = _database(settings.pop("db", "") or parts.path.strip("/"))
    tls = _PLAIN[parts.scheme]
    trusted = settings.pop("ssl_ca_certs", "") if tls else ""
    _understood(settings)
    user, password = _credentials(parts)
    return Address(
        hosts=(_host(_hosts(parts) or "localhost", PORT),),
        tls=tls,
        ca_file=trusted,
        database=database,
        username=user,
        password=password,
    )


def _sentinel(parts: SplitResult, settings: dict[str, str]) -> Address:
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise AddressMalformed("names sentinels, but not the service that they watch")
    tls = _SENTINEL[parts.scheme]
    trusted = settings.pop("ssl_ca_certs", "") if tls else ""
    own_user, own_password = settings.pop("sentinel_username", ""), settings.pop("sentinel_password", "")
    number = _database(settings.pop("db", "") or database)
    _understood(settings)
    user, password = _credentials(parts)
    return Address(
        hosts=tuple(_host(each, SENTINEL_PORT) for each in _hosts(parts).split(",")),
        service=unquote(service),
        tls=tls,
        ca_file=trusted,
        database=number,
        username=user,
        password=password,
        sentinel_username=own_user,
        sentinel_password=own_password,
    )


def _settings(parts: SplitResult) -> dict[str, str]:
    try:
        return dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise AddressMalformed("has something behind its ? that is not name=value") from None


def _understood(rest: dict[str, str]) -> None:
    """Whatever of the settings is left by now is a mistake."""
    if rest:
        raise AddressMalformed(f"sets {', '.join(sorted(rest))}, which is no setting of such a URL")


def _credentials(parts: SplitResult) -> tuple[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return unquote(user), unquote(password)


def _hosts(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        one = urlsplit(f"//{text}")
        if one.hostname and "," not in text:
            return one.hostname, one.port or port
    except ValueError:
        pass
    raise AddressMalformed(f"names the host {text!r}")


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal()):
        raise AddressMalformed(f"names the database {text!r}, which is no number")
    return int(text or "0")
