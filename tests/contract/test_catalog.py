"""CatalogService and ReportService as their contracts say."""

from __future__ import annotations

import pytest

from quota.v1 import budget_pb2, report_pb2, types_pb2
from quota.v1 import catalog_pb2 as pb
from tests.contract.conftest import ACME, IMPORTED, Service
from tests.support.refusals import answer, fields, refusal

PRICE = pb.ModelPrice(input_pico_usd_per_token=7, output_pico_usd_per_token=9)


async def upsert(service: Service, model: pb.Model) -> pb.Model:
    return await service.catalog.UpsertModel(pb.UpsertModelRequest(organization="acme", model=model))


async def get(service: Service, provider: str, model: str) -> pb.Model:
    request = pb.GetModelRequest(organization="acme", provider=provider, model=model)
    return await service.catalog.GetModel(request)


def deletion(provider: str, model: str, etag: str = "") -> pb.DeleteModelRequest:
    return pb.DeleteModelRequest(organization="acme", provider=provider, model=model, etag=etag)


async def test_own_entries_come_before_imported_ones_and_lists_are_paged(service: Service) -> None:
    own = await upsert(service, pb.Model(provider="openai", model="gpt-4o", prices=[PRICE]))
    local = await upsert(service, pb.Model(provider="own", model="llama/70b", prices=[pb.ModelPrice()]))
    listed: list[pb.Model] = []
    token = ""
    for _ in range(2):
        request = pb.ListModelsRequest(organization="acme", page_size=2, page_token=token)
        page = await service.catalog.ListModels(request)
        listed += page.models
        token = page.next_page_token
    assert token == ""
    assert [(model.provider, model.model, model.imported) for model in listed] == [
        ("anthropic", "claude-sonnet-4-5", True),
        ("openai", "gpt-4o", False),
        ("openai", "gpt-4o-mini", True),
        ("own", "llama/70b", False),
    ]
    assert (listed[1], listed[3]) == (own, local)
    filtered = await service.catalog.ListModels(pb.ListModelsRequest(organization="acme", provider="openai"))
    assert list(filtered.models) == listed[1:3]


async def test_an_alias_resolves_to_the_entry_that_counts(service: Service) -> None:
    imported = await get(service, "openai", "gpt-4o-2024-08-06")
    assert (imported.model, imported.imported, imported.organization) == ("gpt-4o", True, "")
    own = await upsert(service, pb.Model(provider="openai", model="gpt-4o", prices=[PRICE]))
    assert own.organization == "acme"
    assert await get(service, "openai", "gpt-4o-2024-08-06") == own


async def test_writing_an_entry_twice_changes_nothing_and_an_old_etag_is_refused(service: Service) -> None:
    model = pb.Model(provider="own", model="m", prices=[PRICE], tier=0)
    first = await upsert(service, model)
    assert await upsert(service, model) == first
    second = await upsert(service, pb.Model(provider="own", model="m", prices=[PRICE], etag=first.etag))
    assert not second.HasField("tier")
    error = await refusal(
        upsert(service, pb.Model(provider="own", model="m", prices=[PRICE], etag=first.etag))
    )
    assert answer(error) == ("FAILED_PRECONDITION", "ETAG_MISMATCH")


async def test_only_own_entries_can_be_deleted(service: Service) -> None:
    error = await refusal(service.catalog.DeleteModel(deletion("openai", "gpt-4o")))
    assert answer(error) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    assert "is imported" in (error.details() or "")
    await upsert(service, pb.Model(provider="openai", model="gpt-4o", prices=[PRICE]))
    await service.catalog.DeleteModel(deletion("openai", "gpt-4o"))
    assert (await get(service, "openai", "gpt-4o")).imported


async def test_a_model_that_a_budget_names_must_not_vanish(service: Service) -> None:
    budget = budget_pb2.Budget(
        scope=budget_pb2.Scope(provider="own", model="m"),
        period=budget_pb2.Period(daily=budget_pb2.Period.Daily()),
        limits=types_pb2.Amounts(requests=1),
        mode=types_pb2.MODE_HARD,
    )
    await upsert(service, pb.Model(provider="own", model="m", prices=[PRICE]))
    await service.budgets.CreateBudget(
        budget_pb2.CreateBudgetRequest(parent=ACME, budget_id="b", budget=budget)
    )
    error = await refusal(service.catalog.DeleteModel(deletion("own", "m")))
    assert answer(error) == ("FAILED_PRECONDITION", "RESOURCE_IN_USE")
    assert "budgets/b" in (error.details() or "")


BAD_MODELS = (
    (pb.Model(provider="", model="m", prices=[PRICE]), "model.provider"),
    (pb.Model(provider="own", model="m m", prices=[PRICE]), "model.model"),
    (pb.Model(provider="own", model="m"), "model"),
    (pb.Model(provider="own", model="m", prices=[PRICE, PRICE]), "model.prices[1]"),
    (
        pb.Model(provider="own", model="m", prices=[pb.ModelPrice(input_pico_usd_per_token=-1)]),
        "model.prices[0].input_pico_usd_per_token",
    ),
    (
        pb.Model(provider="own", model="m", prices=[pb.ModelPrice(output_pico_usd_per_token=2**53)]),
        "model.prices[0].output_pico_usd_per_token",
    ),
    (
        pb.Model(provider="own", model="m", prices=[PRICE], max_output_tokens=5, default_output_tokens=6),
        "model",
    ),
)


async def test_bad_input_names_its_field_and_changes_nothing(
    service: Service, subtests: pytest.Subtests
) -> None:
    for model, field in BAD_MODELS:
        with subtests.test(field):
            error = await refusal(upsert(service, model))
            assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
            assert list(fields(error)) == [field]
            listed = await service.catalog.ListModels(pb.ListModelsRequest(organization="acme"))
            assert len(listed.models) == len(IMPORTED)


async def test_an_unknown_model_or_organization_is_not_found(service: Service) -> None:
    assert answer(await refusal(get(service, "openai", "gpt-9"))) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    request = pb.GetModelRequest(organization="nowhere", provider="openai", model="gpt-4o")
    error = await refusal(service.catalog.GetModel(request))
    assert answer(error) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")


async def test_a_new_organizations_ledger_is_empty_and_that_of_none_is_not_found(
    service: Service,
) -> None:
    request = report_pb2.ListLedgerEntriesRequest(parent=ACME, type=report_pb2.LedgerEntry.TYPE_ADJUST)
    assert not (await service.reports.ListLedgerEntries(request)).ledger_entries
    nowhere = report_pb2.ListLedgerEntriesRequest(parent="organizations/nowhere")
    error = await refusal(service.reports.ListLedgerEntries(nowhere))
    assert answer(error) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")
    token = report_pb2.ListLedgerEntriesRequest(parent=ACME, page_token="AAAA")
    error = await refusal(service.reports.ListLedgerEntries(token))
    assert answer(error) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
