"""BudgetService's model policies as its contract says, and what they mean for ladders."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, types_pb2
from quota.v1 import model_policy_pb2 as pb
from tests.contract import test_budgets as budgets
from tests.contract.conftest import ACME, Service
from tests.contract.test_budgets import BLOCK, a_budget, populate, step
from tests.support.refusals import answer, fields, refusal

MINI = "openai/gpt-4o-mini"


async def create(service: Service, id_: str = "p", request_id: str = "", **fields_: Any) -> pb.ModelPolicy:
    return await service.budgets.CreateModelPolicy(
        pb.CreateModelPolicyRequest(
            parent=ACME, model_policy_id=id_, model_policy=pb.ModelPolicy(**fields_), request_id=request_id
        )
    )


async def house(service: Service, name: str, tier: int | None = None) -> None:
    """A model of acme's own, of provider `house`, that costs nothing."""
    model = catalog_pb2.Model(provider="house", model=name, tier=tier, prices=[catalog_pb2.ModelPrice()])
    await service.catalog.UpsertModel(catalog_pb2.UpsertModelRequest(organization="acme", model=model))


async def test_a_model_policy_is_created_read_listed_changed_and_deleted(service: Service) -> None:
    await populate(service)
    await house(service, "meta/llama")
    name = f"{ACME}/modelPolicies/p"
    created = await create(
        service,
        display_name="P",
        team="core",
        allowed_tiers=[1],
        allowed_models=[MINI, "anthropic/*", "house/meta/llama"],
    )
    assert (created.name, list(created.allowed_tiers)) == (name, [1])
    assert list(created.allowed_models) == [MINI, "anthropic/*", "house/meta/llama"]
    assert await service.budgets.GetModelPolicy(pb.GetModelPolicyRequest(name=name)) == created
    listed = await service.budgets.ListModelPolicies(pb.ListModelPoliciesRequest(parent=ACME))
    assert list(listed.model_policies) == [created]
    changed = await service.budgets.UpdateModelPolicy(
        pb.UpdateModelPolicyRequest(
            model_policy=pb.ModelPolicy(name=name, allowed_tiers=[2, 3]),
            update_mask=FieldMask(paths=["allowed_tiers", "allowed_models"]),
        )
    )
    assert (list(changed.allowed_tiers), list(changed.allowed_models), changed.team) == ([2, 3], [], "core")
    stale = pb.DeleteModelPolicyRequest(name=name, etag=created.etag)
    assert answer(await refusal(service.budgets.DeleteModelPolicy(stale)))[1] == "ETAG_MISMATCH"
    await service.budgets.DeleteModelPolicy(pb.DeleteModelPolicyRequest(name=name, etag=changed.etag))
    gone = await refusal(service.budgets.GetModelPolicy(pb.GetModelPolicyRequest(name=name)))
    assert answer(gone) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")


async def test_creation_is_idempotent_by_its_request_id(service: Service) -> None:
    first = await create(service, request_id="x", allowed_tiers=[1])
    assert await create(service, request_id="x", allowed_tiers=[1]) == first
    other = await refusal(create(service, request_id="x", allowed_tiers=[2]))
    assert answer(other) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")


async def test_a_team_and_the_organization_have_one_policy_each(service: Service) -> None:
    await populate(service)
    await create(service, "ours")
    await create(service, "cores", team="core", disabled=True)
    for team, says in (("", "the organization has a model policy already: “ours”"), ("core", "“cores”")):
        error = await refusal(create(service, "another", team=team))
        assert answer(error) == ("ALREADY_EXISTS", "RESOURCE_EXISTS")
        assert says in str(error.details())
    moved = pb.UpdateModelPolicyRequest(
        model_policy=pb.ModelPolicy(name=f"{ACME}/modelPolicies/cores"), update_mask=FieldMask(paths=["team"])
    )
    assert answer(await refusal(service.budgets.UpdateModelPolicy(moved)))[1] == "RESOURCE_EXISTS"


BAD_POLICIES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"allowed_tiers": [1001]}, "model_policy.allowed_tiers[0]"),
    ({"allowed_tiers": [1, -1]}, "model_policy.allowed_tiers[1]"),
    ({"allowed_tiers": [1, 1]}, "model_policy.allowed_tiers"),
    ({"allowed_models": ["gpt-4o"]}, "model_policy.allowed_models[0]"),
    ({"allowed_models": ["openai/"]}, "model_policy.allowed_models[0]"),
    ({"allowed_models": ["openai/gpt 4o"]}, "model_policy.allowed_models[0]"),
    ({"allowed_models": [MINI, MINI]}, "model_policy.allowed_models"),
    ({"team": "a b"}, "model_policy.team"),
    ({"display_name": "x\n"}, "model_policy.display_name"),
)
UNKNOWN_NAMES: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"team": "cor"}, "model_policy.team", "did you mean “core”?"),
    ({"allowed_models": [MINI, "openai/gpt-4p"]}, "model_policy.allowed_models[1]", "did you mean “gpt-4o”?"),
    ({"allowed_models": ["opanai/*"]}, "model_policy.allowed_models[0]", "did you mean “openai”?"),
    ({"allowed_models": ["opanai/gpt-4o"]}, "model_policy.allowed_models[0]", "did you mean “openai”?"),
    ({"allowed_models": ["openai/gpt-*"]}, "model_policy.allowed_models[0]", "there is no model"),
    (
        {"allowed_models": ["openai/gpt-4o-2024-08-06"]},
        "model_policy.allowed_models[0]",
        "is an alias; the catalogue calls it “openai/gpt-4o”",
    ),
)


async def test_bad_input_names_its_field_and_changes_nothing(
    service: Service, subtests: pytest.Subtests
) -> None:
    await populate(service)
    bad = [(policy, "FIELD_INVALID", field, "") for policy, field in BAD_POLICIES]
    bad += [(policy, "REFERENCE_UNKNOWN", field, says) for policy, field, says in UNKNOWN_NAMES]
    for policy, reason, field, says in bad:
        with subtests.test(field):
            error = await refusal(create(service, **policy))
            assert answer(error) == ("INVALID_ARGUMENT", reason)
            assert list(fields(error)) == [field]
            assert says in fields(error)[field]
    assert not (
        await service.budgets.ListModelPolicies(pb.ListModelPoliciesRequest(parent=ACME))
    ).model_policies


async def test_a_model_without_its_provider_is_told_how_to_be_written(service: Service) -> None:
    error = await refusal(create(service, allowed_models=["gpt-4o"]))
    assert fields(error) == {
        "model_policy.allowed_models[0]": "must be provider/model, or provider/* for all its models"
    }


async def test_what_a_policy_or_a_rate_limit_names_cannot_be_deleted(service: Service) -> None:
    await populate(service)
    await house(service, "tiny")
    await create(service, team="core", allowed_models=["house/tiny"])
    scope = budget_pb2.Scope(provider="house", model="tiny")
    limit = budget_pb2.RateLimit(scope=scope, meter=types_pb2.METER_TOKENS, limit=5)
    await service.budgets.CreateRateLimit(
        budget_pb2.CreateRateLimitRequest(parent=ACME, rate_limit_id="r", rate_limit=limit)
    )
    model = await refusal(
        service.catalog.DeleteModel(
            catalog_pb2.DeleteModelRequest(organization="acme", provider="house", model="tiny")
        )
    )
    assert answer(model) == ("FAILED_PRECONDITION", "RESOURCE_IN_USE")
    assert "modelPolicies/p, rateLimits/r" in str(model.details())
    team = await refusal(
        service.directory.DeleteTeam(directory_pb2.DeleteTeamRequest(name=f"{ACME}/teams/core"))
    )
    assert "modelPolicies/p" in str(team.details())


def diverting(*targets: str, **fields_: Any) -> budget_pb2.Budget:
    """A budget whose ladder diverts to `provider/model` on its way to the block."""
    steps = []
    for number, target in enumerate(targets):
        provider, _, model = target.partition("/")
        away = budget_pb2.LadderStep.Downgrade(provider=provider, model=model)
        steps.append(step(80 + number, downgrade=away))
    return a_budget(ladder=[*steps, step(100, block=BLOCK)], **fields_)


def about(provider: str, model: str) -> budget_pb2.Scope:
    return budget_pb2.Scope(provider=provider, model=model)


async def test_a_ladder_diverts_to_no_model_twice_and_not_to_its_own(
    service: Service, subtests: pytest.Subtests
) -> None:
    for budget, field in (
        (diverting(MINI, "openai/gpt-4o", MINI), "budget.ladder[2].downgrade.model"),
        (diverting(MINI, scope=about("openai", "gpt-4o-mini")), "budget.ladder[0].downgrade.model"),
    ):
        with subtests.test(field):
            error = await refusal(budgets.create(service, budget))
            assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
            assert list(fields(error)) == [field]


async def test_budgets_that_divert_in_a_circle_are_refused_with_the_chain(service: Service) -> None:
    await budgets.create(
        service, diverting("anthropic/claude-sonnet-4-5", scope=about("openai", "gpt-4o-mini")), "one"
    )
    await budgets.create(service, diverting(MINI, scope=about("openai", "gpt-4o")), "two")
    circle = diverting("openai/gpt-4o", scope=about("anthropic", "claude-sonnet-4-5"))
    error = await refusal(budgets.create(service, circle, "three"))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    chain = "anthropic/claude-sonnet-4-5 → openai/gpt-4o → openai/gpt-4o-mini → anthropic/claude-sonnet-4-5"
    assert chain in fields(error)["budget.ladder[0].downgrade.model"]
    listed = await service.budgets.ListBudgets(budget_pb2.ListBudgetsRequest(parent=ACME))
    assert len(listed.budgets) == 2
    switched_off = diverting("openai/gpt-4o", scope=about("anthropic", "claude-sonnet-4-5"))
    one = budget_pb2.Budget(name=f"{ACME}/budgets/one", disabled=True)
    await service.budgets.UpdateBudget(budget_pb2.UpdateBudgetRequest(budget=one))
    await budgets.create(service, switched_off, "three")
    back_on = budget_pb2.UpdateBudgetRequest(
        budget=budget_pb2.Budget(name=one.name), update_mask=FieldMask(paths=["disabled"])
    )
    assert "in a circle" in str((await refusal(service.budgets.UpdateBudget(back_on))).details())


async def test_a_ladder_cannot_divert_to_what_its_teams_policy_forbids(service: Service) -> None:
    await populate(service)
    await house(service, "cheap", tier=1)
    await create(service, "tier-1", allowed_tiers=[1])
    await budgets.create(service, diverting("house/cheap"))
    error = await refusal(budgets.create(service, diverting(MINI), "other"))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert fields(error)["budget.ladder[0].downgrade.model"].startswith(
        "the model policy “tier-1” does not allow “openai/gpt-4o-mini”"
    )
    await create(service, "cores", team="core", allowed_models=[MINI])
    await budgets.create(service, diverting(MINI, scope=budget_pb2.Scope(team="core")), "other")


async def test_a_policy_may_forbid_what_a_ladder_diverts_to_and_the_budget_can_still_change(
    service: Service,
) -> None:
    created = await budgets.create(service, diverting(MINI))
    await create(service, "nothing")
    raised = budget_pb2.Budget(name=created.name, limits=types_pb2.Amounts(cost_micros=1))
    changed = await service.budgets.UpdateBudget(
        budget_pb2.UpdateBudgetRequest(budget=raised, update_mask=FieldMask(paths=["limits"]))
    )
    assert changed.limits.cost_micros == 1
    moved = budget_pb2.Budget(name=created.name, ladder=diverting("openai/gpt-4o").ladder)
    error = await refusal(service.budgets.UpdateBudget(budget_pb2.UpdateBudgetRequest(budget=moved)))
    assert "“nothing” does not allow" in str(error.details())
