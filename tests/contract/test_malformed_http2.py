"""Bytes on the port that no gRPC library would send: whoever sends them harms nobody else."""

from __future__ import annotations

import asyncio
import random
import struct
import time

import grpc

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import authorized, cost
from tests.support.service import Client

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
STREAMS = 4_000
RETRIED = (grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(*pairs: tuple[str, str]) -> bytes:
    """HPACK, every header literally."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in pairs)


def _string(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


CALL = headers(
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/quota.v1.QuotaService/Authorize"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)
OPENED = PREFACE + frame(SETTINGS, 0, 0)


def reset_flood(kind: int, number: int, streams: int) -> bytes:
    """Streams that are opened and, by a frame with that number, ended at once."""
    return OPENED + b"".join(
        frame(HEADERS, END_HEADERS, each, CALL) + frame(kind, 0, each, struct.pack(">I", number))
        for each in range(1, 2 * streams, 2)
    )


def noise(length: int) -> bytes:
    return random.Random(length).randbytes(length)


MALFORMED = {
    "http/1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise(500),
    "noise": noise(70_000),
    "noise behind the preface": PREFACE + noise(70_000),
    "half a preface": PREFACE[:10],
    "a frame of 16 MB": PREFACE + b"\xff\xff\xff" + struct.pack(">BBI", DATA, 0, 1) + noise(1_000),
    "data on no stream": OPENED + frame(DATA, 0, 1, b"x") + frame(DATA, 0, 0, b"x"),
    "broken header compression": OPENED + frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff"),
    "headers without an end": OPENED + frame(HEADERS, 0, 1, CALL) + 500 * frame(CONTINUATION, 0, 1, CALL),
    "too much metadata": OPENED
    + frame(HEADERS, END_HEADERS | END_STREAM, 1, CALL + 400 * headers(("x-much", "y" * 100))),
    "a body that lies about its length": OPENED
    + frame(HEADERS, END_HEADERS, 1, CALL)
    + frame(DATA, END_STREAM, 1, b"\x00\xff\xff\xff\xff" + b"x"),
    "a body said to be compressed": OPENED
    + frame(HEADERS, END_HEADERS, 1, CALL)
    + frame(DATA, END_STREAM, 1, b"\x01\x00\x00\x00\x02ab"),
    "a flood of settings": OPENED + 5_000 * frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)),
    "a flood of pings": OPENED + 5_000 * frame(PING, 0, 0, b"12345678"),
    "a flood of resets": reset_flood(RST_STREAM, 8, STREAMS),
    "a flood of resets that the server has to send": reset_flood(WINDOW_UPDATE, 2**31 - 1, STREAMS // 4),
}


async def thrown(address: str, raw: bytes, *, keeps: float = 0.3) -> None:
    """Sends the bytes, reads for a moment, and goes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(raw)
        async with asyncio.timeout(keeps):
            await writer.drain()
            while await reader.read(65_536):
                pass
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()


async def insisted(client: Client, key: str) -> quota_pb2.AuthorizeResponse:
    """As callers do: what a flood has refused is asked again. gRPC's core answers CANCELLED where more calls
    wait than it keeps.
    """
    while True:
        try:
            return await authorized(client, key)
        except grpc.aio.AioRpcError as error:
            if error.code() not in RETRIED:
                raise
            await asyncio.sleep(0.05)


async def test_others_are_served_while_and_after_somebody_sends_nonsense(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(10_000_000))
    for kind, raw in MALFORMED.items():
        senders = [asyncio.ensure_future(thrown(client.address, raw)) for _ in range(5)]
        begun_s = time.monotonic()
        for number in range(5):
            answered = await insisted(client, f"{kind} {number}")
            assert answered.decision == types_pb2.DECISION_ALLOW, kind
        assert time.monotonic() - begun_s < 10, kind  # nobody waits until somebody's nonsense times out
        await asyncio.gather(*senders)
        assert (await insisted(client, f"after {kind}")).decision == types_pb2.DECISION_ALLOW, kind
