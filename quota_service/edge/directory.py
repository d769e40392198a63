"""DirectoryService."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from quota.v1 import directory_pb2 as pb
from quota.v1.directory_pb2_grpc import DirectoryServiceServicer
from quota_service.application.administration.directory import Directory
from quota_service.application.administration.organizations import Organizations
from quota_service.application.ports import Stored
from quota_service.application.resolving import KeyResolution
from quota_service.domain.errors import OrganizationNotFound
from quota_service.domain.subject import Organization
from quota_service.edge import masks, names, paging
from quota_service.edge.access import control as access
from quota_service.edge.calls import Context
from quota_service.edge.collection import Collection
from quota_service.edge.convert import directory as convert
from quota_service.edge.convert.times import duration_ms

DEFAULT_GRACE_MS = 24 * 3_600_000
"""How long a secret stays valid after a rotation that says nothing of it."""


class DirectoryServicer(DirectoryServiceServicer):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(self, organizations: Organizations, directory: Directory, resolution: KeyResolution) -> None:
        self._organizations = organizations
        self._keys = directory.api_keys
        self._resolution = resolution
        self._teams = Collection(
            resources=directory.teams,
            collection=names.TEAMS,
            field="team",
            encode=convert.team,
            decode=lambda message, _, id_: convert.team_of(message, id_),
        )
        self._users = Collection(
            resources=directory.users,
            collection=names.USERS,
            field="user",
            encode=convert.user,
            decode=lambda message, _, id_: convert.user_of(message, id_),
        )
        self._projects = Collection(
            resources=directory.projects,
            collection=names.PROJECTS,
            field="project",
            encode=convert.project,
            decode=lambda message, _, id_: convert.project_of(message, id_),
        )
        self._api_keys = Collection(
            resources=directory.api_keys,
            collection=names.API_KEYS,
            field="api_key",
            encode=convert.api_key,
            decode=lambda message, _, id_: convert.api_key_of(message, id_),
        )

    async def CreateOrganization(
        self, request: pb.CreateOrganizationRequest, context: Context
    ) -> pb.Organization:
        value = convert.organization_of(request.organization, request.organization_id)
        return convert.organization(await self._organizations.create(value, request.request_id))

    async def GetOrganization(self, request: pb.GetOrganizationRequest, context: Context) -> pb.Organization:
        return convert.organization(
            await self._organizations.get(names.parse_organization(request.name, "name"))
        )

    async def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, context: Context
    ) -> pb.ListOrganizationsResponse:
        caller = access.current()
        if caller is not None and caller.is_bound:
            return pb.ListOrganizationsResponse(organizations=await self._own(caller.organization))
        page = await self._organizations.list(paging.page_size(request), paging.position(request))
        return pb.ListOrganizationsResponse(
            organizations=[convert.organization(stored) for stored in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def _own(self, organization: str) -> list[pb.Organization]:
        """The only one that its caller knows of, unless it does not exist."""
        try:
            return [convert.organization(await self._organizations.get(organization))]
        except OrganizationNotFound:
            return []

    async def UpdateOrganization(
        self, request: pb.UpdateOrganizationRequest, context: Context
    ) -> pb.Organization:
        message, mask = request.organization, request.update_mask
        id_ = names.parse_organization(message.name, "organization.name")
        masks.check(mask, message.DESCRIPTOR)

        def evolve(current: Organization) -> Organization:
            before = convert.organization(Stored(value=current, etag="", create_ms=0, update_ms=0))
            return convert.organization_of(masks.merged(before, message, mask), id_)

        def otherwise() -> Organization:
            return convert.organization_of(message, id_)

        stored = await self._organizations.update(
            id_, evolve, etag=message.etag, otherwise=otherwise if request.allow_missing else None
        )
        return convert.organization(stored)

    async def DeleteOrganization(self, request: pb.DeleteOrganizationRequest, context: Context) -> Empty:
        await self._organizations.delete(names.parse_organization(request.name, "name"), request.etag)
        return Empty()

    async def CreateTeam(self, request: pb.CreateTeamRequest, context: Context) -> pb.Team:
        return await self._teams.create(request.parent, request.team_id, request.team, request.request_id)

    async def GetTeam(self, request: pb.GetTeamRequest, context: Context) -> pb.Team:
        return await self._teams.get(request.name)

    async def ListTeams(self, request: pb.ListTeamsRequest, context: Context) -> pb.ListTeamsResponse:
        teams, token = await self._teams.list(request.parent, request)
        return pb.ListTeamsResponse(teams=teams, next_page_token=token)

    async def UpdateTeam(self, request: pb.UpdateTeamRequest, context: Context) -> pb.Team:
        return await self._teams.update(
            request.team, request.team, request.update_mask, request.allow_missing
        )

    async def DeleteTeam(self, request: pb.DeleteTeamRequest, context: Context) -> Empty:
        await self._teams.delete(request.name, request.etag)
        return Empty()

    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.User:
        return await self._users.create(request.parent, request.user_id, request.user, request.request_id)

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.User:
        return await self._users.get(request.name)

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        users, token = await self._users.list(request.parent, request)
        return pb.ListUsersResponse(users=users, next_page_token=token)

    async def UpdateUser(self, request: pb.UpdateUserRequest, context: Context) -> pb.User:
        return await self._users.update(
            request.user, request.user, request.update_mask, request.allow_missing
        )

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> Empty:
        await self._users.delete(request.name, request.etag)
        return Empty()

    async def CreateProject(self, request: pb.CreateProjectRequest, context: Context) -> pb.Project:
        return await self._projects.create(
            request.parent, request.project_id, request.project, request.request_id
        )

    async def GetProject(self, request: pb.GetProjectRequest, context: Context) -> pb.Project:
        return await self._projects.get(request.name)

    async def ListProjects(
        self, request: pb.ListProjectsRequest, context: Context
    ) -> pb.ListProjectsResponse:
        projects, token = await self._projects.list(request.parent, request)
        return pb.ListProjectsResponse(projects=projects, next_page_token=token)

    async def UpdateProject(self, request: pb.UpdateProjectRequest, context: Context) -> pb.Project:
        return await self._projects.update(
            request.project, request.project, request.update_mask, request.allow_missing
        )

    async def DeleteProject(self, request: pb.DeleteProjectRequest, context: Context) -> Empty:
        await self._projects.delete(request.name, request.etag)
        return Empty()

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.ApiKey:
        organization = names.parse_organization(request.parent, "parent")
        value = convert.api_key_of(request.api_key, request.api_key_id)
        issued = await self._keys.issue(organization, value, request.request_id)
        return convert.api_key(organization, *issued)

    async def GetApiKey(self, request: pb.GetApiKeyRequest, context: Context) -> pb.ApiKey:
        return await self._api_keys.get(request.name)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        api_keys, token = await self._api_keys.list(request.parent, request)
        return pb.ListApiKeysResponse(api_keys=api_keys, next_page_token=token)

    async def UpdateApiKey(self, request: pb.UpdateApiKeyRequest, context: Context) -> pb.ApiKey:
        return await self._api_keys.update(
            request.api_key, request.api_key, request.update_mask, request.allow_missing
        )

    async def DeleteApiKey(self, request: pb.DeleteApiKeyRequest, context: Context) -> Empty:
        await self._api_keys.delete(request.name, request.etag)
        return Empty()

    async def RotateApiKey(self, request: pb.RotateApiKeyRequest, context: Context) -> pb.ApiKey:
        organization, id_ = names.parse(request.name, names.API_KEYS, "name")
        grace_ms = duration_ms(request.grace) if request.HasField("grace") else DEFAULT_GRACE_MS
        issued = await self._keys.rotate(organization, id_, grace_ms, request.request_id)
        return convert.api_key(organization, *issued)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.ApiKey:
        organization, id_ = names.parse(request.name, names.API_KEYS, "name")
        return convert.api_key(organization, await self._keys.revoke(organization, id_))

    async def ResolveApiKey(
        self, request: pb.ResolveApiKeyRequest, context: Context
    ) -> pb.ResolveApiKeyResponse:
        caller = access.current()
        only = caller.organization if caller is not None and caller.is_bound else ""
        return convert.resolved(await self._resolution.resolve(request.secret, only))
