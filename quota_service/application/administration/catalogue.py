"""The model catalogue as an organization sees it: its own entries before the imported ones."""

from __future__ import annotations

from quota_service.application.administration.changes import Changes, require_etag, require_unused
from quota_service.application.administration.references import scope_referrers
from quota_service.application.administration.shared_catalogue import SharedCatalogue
from quota_service.application.ports import Change, Page, Stored
from quota_service.domain import model_rules
from quota_service.domain.budget import Budget
from quota_service.domain.configuration import ModelKey
from quota_service.domain.errors import NotFound
from quota_service.domain.faults import refuse
from quota_service.domain.ladder_rules import diversions
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.pricing import Model

PAGE = 1_000


class Catalogue:
    """Models. An imported entry comes without an etag and without times (0).

    Every method raises StoreUnavailable where a store does not answer.
    """

    def __init__(self, changes: Changes, shared: SharedCatalogue) -> None:
        self._changes = changes
        self._shared = shared

    async def get(self, organization: str, provider: str, model: str) -> Stored[Model]:
        """The own entry, else the imported one, else the one that it is an alias of.

        Raises OrganizationNotFound, NotFound.
        """
        await self._changes.store.get_organization(organization)
        imported = await self._shared.refresh(organization)
        known_as = self._shared.known_as(provider, model)
        for key in ((provider, model), *((known_as,) if known_as else ())):
            own = await self._changes.store.get(organization, Model, model_id(*key))
            if own is not None:
                return own
            if key in imported:
                return _imported(imported[key])
        raise NotFound(f"The catalogue has no model “{model}” of provider “{provider}”.")

    async def list(self, organization: str, provider: str, page_size: int, after: str) -> Page[Stored[Model]]:
        """By provider and model; only one provider's, if given. Raises OrganizationNotFound."""
        imported, own = await self._shared.refresh(organization), await self._own(organization)
        begin = tuple(after.split("/", 1)) if after else ()
        keys = sorted(key for key in {*own, *imported} if provider in ("", key[0]) and key > begin)
        items = tuple(own.get(key) or _imported(imported[key]) for key in keys[:page_size])
        return Page(items, model_id(*keys[page_size - 1]) if len(keys) > page_size else "")

    async def upsert(self, organization: str, model: Model, etag: str = "") -> Stored[Model]:
        """Writes the organization's own entry as a whole.

        Raises OrganizationNotFound, EtagMismatch, InvalidRequest.
        """
        refuse(model_rules.faults(model), "model.")
        async with self._changes.change(organization) as change:
            stored = await change.get(Model, model_id(model.provider, model.model))
            require_etag(etag, stored.etag if stored else "", _name(model.provider, model.model))
            return stored if stored and stored.value == model else await change.put(model)

    async def delete(self, organization: str, provider: str, model: str, etag: str = "") -> None:
        """Deletes the organization's own entry.

        Raises OrganizationNotFound, NotFound, EtagMismatch, ResourceInUse.
        """
        is_imported = (provider, model) in await self._shared.refresh(organization)
        async with self._changes.change(organization) as change:
            stored = await change.get(Model, model_id(provider, model))
            if stored is None:
                raise _no_own_entry(provider, model, is_imported)
            require_etag(etag, stored.etag, _name(provider, model))
            if not is_imported:
                require_unused(_name(provider, model), await _referrers(change, provider, model))
            await change.delete(Model, model_id(provider, model))

    async def _own(self, organization: str) -> dict[ModelKey, Stored[Model]]:
        """Own entries are few: somebody wrote each of them."""
        own: dict[ModelKey, Stored[Model]] = {}
        page = await self._changes.store.list(organization, Model, PAGE, "")
        while True:
            own |= {(stored.value.provider, stored.value.model): stored for stored in page.items}
            if not page.next:
                return own
            page = await self._changes.store.list(organization, Model, PAGE, page.next)


def model_id(provider: str, model: str) -> str:
    """The identity of an entry within an organization."""
    return f"{provider}/{model}"


def _name(provider: str, model: str) -> str:
    return f"model “{model_id(provider, model)}”"


def _no_own_entry(provider: str, model: str, is_imported: bool) -> NotFound:
    if is_imported:
        return NotFound(
            f"{_name(provider, model)} is imported; only an organization's own entries can be deleted."
        )
    return NotFound(f"The organization has no entry of its own for {_name(provider, model)}.")


def _imported(entry: Model) -> Stored[Model]:
    return Stored(value=entry, etag="", create_ms=0, update_ms=0)


async def _referrers(change: Change, provider: str, model: str) -> list[str]:
    scoped = await scope_referrers(
        change, lambda scope: scope.model == model and scope.provider in ("", provider)
    )
    diverting = [
        f"budgets/{budget.id}"
        for budget in await change.all(Budget)
        if (provider, model) in diversions(budget).values()
    ]
    policies = [
        f"modelPolicies/{policy.id}"
        for policy in await change.all(ModelPolicy)
        if (provider, model) in policy.allowed_models
    ]
    return sorted({*scoped, *diverting, *policies})
