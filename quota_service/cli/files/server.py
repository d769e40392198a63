"""The server's side: reading an organization's state, and making changes in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from quota.client import ApiError, Connection
from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, model_policy_pb2
from quota_service.cli.files.changes import Action, Change
from quota_service.cli.files.state import Kind, Resource, State, name_of
from quota_service.cli.output import short_id
from quota_service.cli.session import PAGE_SIZE, paged

_ALL = FieldMask(paths=["*"])


async def fetch_state(connection: Connection, organization: str) -> State | None:
    """Every resource of an organization, of the models only its own. `None`: there is no organization."""
    name = f"organizations/{organization}"
    try:
        request = directory_pb2.GetOrganizationRequest(name=name)
        settings = await connection.call(connection.directory.GetOrganization, request)
    except ApiError as error:
        if error.reason == "ORGANIZATION_NOT_FOUND":
            return None
        raise
    state: State = {(Kind.ORGANIZATION, organization): settings}
    for kind, resources in (
        (Kind.TEAM, list_teams(connection, name)),
        (Kind.USER, list_users(connection, name)),
        (Kind.PROJECT, list_projects(connection, name)),
        (Kind.KEY, list_keys(connection, name)),
        (Kind.MODEL_POLICY, list_model_policies(connection, name)),
        (Kind.RATE_LIMIT, list_rate_limits(connection, name)),
        (Kind.BUDGET, list_budgets(connection, name)),
    ):
        async for resource in resources:
            state[kind, short_id(resource.name)] = resource
    async for model in list_models(connection, organization):
        if not model.imported:
            state[Kind.MODEL, f"{model.provider}/{model.model}"] = model
    return state


def list_teams(connection: Connection, parent: str) -> AsyncIterator[directory_pb2.Team]:
    """The teams of an organization."""

    async def page(token: str) -> directory_pb2.ListTeamsResponse:
        request = directory_pb2.ListTeamsRequest(parent=parent, page_size=PAGE_SIZE, page_token=token)
        return await connection.call(connection.directory.ListTeams, request)

    return paged(page, lambda answer: answer.teams)


def list_users(connection: Connection, parent: str) -> AsyncIterator[directory_pb2.User]:
    """The users of an organization."""

    async def page(token: str) -> directory_pb2.ListUsersResponse:
        request = directory_pb2.ListUsersRequest(parent=parent, page_size=PAGE_SIZE, page_token=token)
        return await connection.call(connection.directory.ListUsers, request)

    return paged(page, lambda answer: answer.users)


def list_projects(connection: Connection, parent: str) -> AsyncIterator[directory_pb2.Project]:
    """The projects of an organization."""

    async def page(token: str) -> directory_pb2.ListProjectsResponse:
        request = directory_pb2.ListProjectsRequest(parent=parent, page_size=PAGE_SIZE, page_token=token)
        return await connection.call(connection.directory.ListProjects, request)

    return paged(page, lambda answer: answer.projects)


def list_keys(connection: Connection, parent: str) -> AsyncIterator[directory_pb2.ApiKey]:
    """The API keys of an organization."""

    async def page(token: str) -> directory_pb2.ListApiKeysResponse:
        request = directory_pb2.ListApiKeysRequest(parent=parent, page_size=PAGE_SIZE, page_token=token)
        return await connection.call(connection.directory.ListApiKeys, request)

    return paged(page, lambda answer: answer.api_keys)


def list_budgets(connection: Connection, parent: str) -> AsyncIterator[budget_pb2.Budget]:
    """The budgets of an organization."""

    async def page(token: str) -> budget_pb2.ListBudgetsResponse:
        request = budget_pb2.ListBudgetsRequest(parent=parent, page_size=PAGE_SIZE, page_token=token)
        return await connection.call(connection.budgets.ListBudgets, request)

    return paged(page, lambda answer: answer.budgets)


def list_rate_limits(connection: Connection, parent: str) -> AsyncIterator[budget_pb2.RateLimit]:
    """The rate limits of an organization."""

    async def page(token: str) -> budget_pb2.ListRateLimitsResponse:
        request = budget_pb2.ListRateLimitsRequest(parent=parent, page_size=PAGE_SIZE, page_token=token)
        return await connection.call(connection.budgets.ListRateLimits, request)

    return paged(page, lambda answer: answer.rate_limits)


def list_model_policies(connection: Connection, parent: str) -> AsyncIterator[model_policy_pb2.ModelPolicy]:
    """The model policies of an organization."""

    async def page(token: str) -> model_policy_pb2.ListModelPoliciesResponse:
        request = model_policy_pb2.ListModelPoliciesRequest(
            parent=parent, page_size=PAGE_SIZE, page_token=token
        )
        return await connection.call(connection.budgets.ListModelPolicies, request)

    return paged(page, lambda answer: answer.model_policies)


def list_models(
    connection: Connection, organization: str, provider: str = ""
) -> AsyncIterator[catalog_pb2.Model]:
    """The models that an organization can use, its own and the imported ones."""

    async def page(token: str) -> catalog_pb2.ListModelsResponse:
        request = catalog_pb2.ListModelsRequest(
            organization=organization, provider=provider, page_size=PAGE_SIZE, page_token=token
        )
        return await connection.call(connection.catalog.ListModels, request)

    return paged(page, lambda answer: answer.models)


async def find_model(connection: Connection, organization: str, provider: str, model: str) -> bool:
    """Whether the catalogue has a model, by its name or an alias."""
    return await get_model(connection, organization, provider, model) is not None


async def get_model(
    connection: Connection, organization: str, provider: str, model: str
) -> catalog_pb2.Model | None:
    """A model of the catalogue, by its name or an alias."""
    request = catalog_pb2.GetModelRequest(organization=organization, provider=provider, model=model)
    try:
        return await connection.call(connection.catalog.GetModel, request)
    except ApiError as error:
        if error.reason in ("RESOURCE_NOT_FOUND", "ORGANIZATION_NOT_FOUND"):
            return None
        raise


async def make(connection: Connection, organization: str, changes: Sequence[Change]) -> AsyncIterator[Change]:
    """Makes the changes one after the other; yields each when it is done."""
    for change in changes:
        if change.action is Action.DELETED:
            await _delete(connection, organization, change)
        else:
            await _write(connection, organization, change.resource)
        yield change


async def _write(connection: Connection, organization: str, resource: Resource) -> Message:
    directory = connection.directory
    match resource:
        case directory_pb2.Organization():
            return await connection.call(
                directory.UpdateOrganization,
                directory_pb2.UpdateOrganizationRequest(
                    organization=resource, update_mask=_ALL, allow_missing=True
                ),
            )
        case directory_pb2.Team():
            return await connection.call(
                directory.UpdateTeam,
                directory_pb2.UpdateTeamRequest(team=resource, update_mask=_ALL, allow_missing=True),
            )
        case directory_pb2.User():
            return await connection.call(
                directory.UpdateUser,
                directory_pb2.UpdateUserRequest(user=resource, update_mask=_ALL, allow_missing=True),
            )
        case directory_pb2.Project():
            return await connection.call(
                directory.UpdateProject,
                directory_pb2.UpdateProjectRequest(project=resource, update_mask=_ALL, allow_missing=True),
            )
        case directory_pb2.ApiKey():
            return await connection.call(
                directory.UpdateApiKey,
                directory_pb2.UpdateApiKeyRequest(api_key=resource, update_mask=_ALL, allow_missing=True),
            )
        case catalog_pb2.Model():
            return await connection.call(
                connection.catalog.UpsertModel,
                catalog_pb2.UpsertModelRequest(organization=organization, model=resource),
            )
        case model_policy_pb2.ModelPolicy():
            return await connection.call(
                connection.budgets.UpdateModelPolicy,
                model_policy_pb2.UpdateModelPolicyRequest(
                    model_policy=resource, update_mask=_ALL, allow_missing=True
                ),
            )
        case budget_pb2.RateLimit():
            return await connection.call(
                connection.budgets.UpdateRateLimit,
                budget_pb2.UpdateRateLimitRequest(rate_limit=resource, update_mask=_ALL, allow_missing=True),
            )
        case _:
            return await connection.call(
                connection.budgets.UpdateBudget,
                budget_pb2.UpdateBudgetRequest(budget=resource, update_mask=_ALL, allow_missing=True),
            )


async def _delete(connection: Connection, organization: str, change: Change) -> None:
    resource, directory = change.resource, connection.directory
    name, etag = name_of(organization, change.key), resource.etag
    match change.key[0]:
        case Kind.TEAM:
            await connection.call(directory.DeleteTeam, directory_pb2.DeleteTeamRequest(name=name, etag=etag))
        case Kind.USER:
            await connection.call(directory.DeleteUser, directory_pb2.DeleteUserRequest(name=name, etag=etag))
        case Kind.PROJECT:
            await connection.call(
                directory.DeleteProject, directory_pb2.DeleteProjectRequest(name=name, etag=etag)
            )
        case Kind.KEY:
            await connection.call(
                directory.DeleteApiKey, directory_pb2.DeleteApiKeyRequest(name=name, etag=etag)
            )
        case Kind.MODEL_POLICY:
            await connection.call(
                connection.budgets.DeleteModelPolicy,
                model_policy_pb2.DeleteModelPolicyRequest(name=name, etag=etag),
            )
        case Kind.RATE_LIMIT:
            await connection.call(
                connection.budgets.DeleteRateLimit, budget_pb2.DeleteRateLimitRequest(name=name, etag=etag)
            )
        case Kind.BUDGET:
            await connection.call(
                connection.budgets.DeleteBudget, budget_pb2.DeleteBudgetRequest(name=name, etag=etag)
            )
        case Kind.MODEL if isinstance(resource, catalog_pb2.Model):
            await connection.call(
                connection.catalog.DeleteModel,
                catalog_pb2.DeleteModelRequest(
                    organization=organization, provider=resource.provider, model=resource.model, etag=etag
                ),
            )
