"""routing.models: which model a name finds, and who answers whom."""

from types import SimpleNamespace

import pytest

from embedsvc.config import ModelOverrides, ModelSettings, RouteSettings, Settings
from embedsvc.engine.admission import Admission
from embedsvc.errors import ConfigurationError, ModelNotFoundError
from embedsvc.routing.models import Models
from embedsvc.types import Caller

MINI, MPNET, REMOTE = "all-MiniLM-L6-v2", "all-mpnet-base-v2", "openai/text-embedding-3-small"
ALIAS = "text-embedding-3-small"


class Engine:
    """Finds local models, as `engine.Engine` does."""

    def __init__(self, *names):
        self.models = {name: model(name) for name in names}
        self.names = {**self.models, "mini": self.models[MINI], ALIAS: self.models[MINI]}
        self.admission = Admission(100)

    def find(self, name):
        try:
            return self.names[name or MINI]
        except KeyError:
            raise ModelNotFoundError("not here", param="model") from None


def model(name):
    return SimpleNamespace(card=SimpleNamespace(name=name))


def models(**route):
    settings = Settings.model_construct(
        routes={ALIAS: RouteSettings(**route)} if route else {},
        models=ModelSettings(),
        engine=SimpleNamespace(queue_tokens=50),
    )
    return Models(Engine(MINI, MPNET), {REMOTE: model(REMOTE)}, settings)


def names(*found):
    return [each and each.card.name for each in found]


@pytest.mark.parametrize(
    ("name", "found"), [("", MINI), (MINI, MINI), ("mini", MINI), (REMOTE, REMOTE), (ALIAS, MINI)]
)
def test_models_are_found_here_and_elsewhere(name, found):
    assert models().find(name).card.name == found


def test_a_name_that_nobody_has_is_told_with_those_that_there_are():
    with pytest.raises(ModelNotFoundError, match=f"{MINI}, {MPNET}, {REMOTE}") as caught:
        models().find("gpt-4")
    assert caught.value.param == "model"


def test_a_route_takes_the_place_of_what_its_alias_would_mean():
    found = models(model=MPNET)
    assert found.find(ALIAS).card.name == MPNET
    assert found.names[ALIAS].card.name == MPNET
    choice = found.choose(ALIAS, Caller("a"))
    assert (choice.alias, *names(choice.model, choice.fallback, choice.shadow)) == (ALIAS, MPNET, None, None)


def test_a_model_s_own_name_is_never_another_s():
    choice = models(model=MPNET, other=REMOTE, share=0, fallback=True, shadow=100).choose(MPNET, Caller("a"))
    assert (choice.alias, *names(choice.model, choice.fallback, choice.shadow)) == ("", MPNET, None, None)


@pytest.mark.parametrize(("share", "sides"), [(100, (MPNET, REMOTE)), (0, (REMOTE, MPNET))])
def test_either_side_may_stand_in_for_the_other_and_be_its_shadow(share, sides):
    choice = models(model=MPNET, other=REMOTE, share=share, fallback=True, shadow=100).choose(
        ALIAS, Caller("a")
    )
    assert names(choice.model, choice.fallback, choice.shadow) == [sides[0], sides[1], sides[1]]


def test_nobody_stands_in_or_is_a_shadow_without_consent():
    choice = models(model=MPNET, other=REMOTE).choose(ALIAS, Caller("a"))
    assert names(choice.fallback, choice.shadow) == [None, None]


def test_half_of_the_callers_are_on_either_side_and_stay_there():
    found = models(model=MPNET, other=REMOTE, share=50)
    sides = [found.choose(ALIAS, Caller(f"key {at}")).model.card.name for at in range(400)]
    assert 150 < sides.count(MPNET) < 250
    assert sides == [found.choose(ALIAS, Caller(f"key {at}")).model.card.name for at in range(400)]


def test_an_index_decides_where_the_route_goes_by_it():
    found = models(model=MPNET, other=REMOTE, share=50, sticky="index")
    by_index = {found.choose(ALIAS, Caller("a", index=f"i{at}")).model.card.name for at in range(50)}
    assert by_index == {MPNET, REMOTE}
    assert len({found.choose(ALIAS, Caller(f"k{at}", index="one")).model.card.name for at in range(50)}) == 1


async def test_a_new_configuration_s_routes_are_taken():
    found = models(model=MPNET)
    await found.apply(Settings.model_construct(routes={"other": RouteSettings(model=MINI)}))
    assert list(found.routes) == list(found.configured) == ["other"]


def test_a_route_to_a_model_that_is_gone_is_not_listed_and_not_found():
    found = models(model="gone")
    assert ALIAS not in found.names
    with pytest.raises(ModelNotFoundError):
        found.find(ALIAS)


def test_what_waits_for_others_does_not_fill_the_engine_s_queue():
    found = models()
    assert found.admission(found.find(MINI)) is found.admission(found.find(MPNET))
    assert found.admission(found.find(REMOTE)) is not found.admission(found.find(MINI))


@pytest.mark.parametrize(
    ("name", "openais"), [(MINI, False), ("mini", False), ("", False), (ALIAS, True), (REMOTE, True)]
)
def test_token_ids_are_openais_under_its_names_and_for_models_elsewhere(name, openais):
    assert models().choose(name, Caller("a")).openai_ids is openais


def test_token_ids_under_a_route_are_openais_whichever_side_answers():
    for share in (0, 100):
        found = models(model=MPNET, other=REMOTE, share=share)
        assert found.choose(ALIAS, Caller("a")).openai_ids


def test_a_configuration_whose_provider_needs_a_restart_is_refused():
    found, new = models(), "new/model"
    for sides in ({"model": new}, {"model": MPNET, "other": new, "share": 50}):
        settings = Settings.model_construct(routes={ALIAS: RouteSettings(**sides)}, models=ModelSettings())
        with pytest.raises(ConfigurationError, match="providers need a restart"):
            found.check(settings)
    found.check(Settings.model_construct(routes={ALIAS: RouteSettings(model=REMOTE)}, models=ModelSettings()))


def test_a_configuration_that_gives_a_model_here_the_name_of_one_elsewhere_is_refused():
    chosen = ModelSettings(settings={MINI: ModelOverrides(aliases=(REMOTE,))})
    with pytest.raises(ConfigurationError, match=f"{REMOTE} is a name of {MINI}"):
        models().check(Settings.model_construct(routes={}, models=chosen))


def test_a_second_side_that_is_gone_is_no_reason_to_answer_nobody():
    choice = models(model=MPNET, other="gone", fallback=True, shadow=100).choose(ALIAS, Caller("a"))
    assert names(choice.model, choice.fallback, choice.shadow) == [MPNET, None, None]
