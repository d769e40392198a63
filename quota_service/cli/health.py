"""`quota health`: whether a server takes calls. Asked every few seconds, so it loads as little as it can."""

from __future__ import annotations

import click
import grpc
from grpc_health.v1 import health_pb2 as pb

from quota_service.cli import credentials, options, output
from quota_service.cli.failures import CommandError, ExitCode, from_api

METHOD = "/grpc.health.v1.Health/Check"
_STATUSES = pb.HealthCheckResponse.ServingStatus


@click.command()
@options.globally()
def health() -> int:
    """Ask whether the server takes calls, as a container's health check or a Kubernetes probe does.

    No token is needed: health checks ask nobody who they are. A server that is stopping says no before it
    stops taking calls. Whether all is well behind it is what `quota doctor` tells.

    \b
    Exit codes:
      0  serving
      1  not serving
      5  no server answers
      6  its certificate is not trusted, or it wants one
    """
    given = options.current()
    status = _STATUSES.Name(_ask(given))
    if given.json:
        output.print_json({"status": status})
    else:
        click.echo(status.replace("_", " ").lower())
    return ExitCode.OK if status == "SERVING" else ExitCode.DENIED


def _ask(given: options.Globals) -> int:
    with _channel(given) as channel:
        check = channel.unary_unary(
            METHOD,
            request_serializer=pb.HealthCheckRequest.SerializeToString,
            response_deserializer=pb.HealthCheckResponse.FromString,
        )
        try:
            answer = check(pb.HealthCheckRequest(), timeout=given.timeout_s)
        except grpc.RpcError as error:
            raise _failure(error, given.target) from None
    return int(answer.status)


def _channel(given: options.Globals) -> grpc.Channel:
    # Without the proxy of the environment, as all commands.
    settings = (("grpc.enable_http_proxy", 0),)
    tls = credentials.tls(given)
    if tls is None:
        return grpc.insecure_channel(given.target, options=settings)
    secure = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
    return grpc.secure_channel(given.target, secure, options=settings)


def _failure(error: grpc.RpcError, address: str) -> CommandError:
    from quota.client import ApiError  # it loads the whole contract

    return from_api(ApiError(code=error.code(), message=error.details() or ""), address)
