"""routing.names: no name is of a model of this machine and of one elsewhere."""

import re

import pytest

from embedsvc import supervisor
from embedsvc.app import answering
from embedsvc.config import EngineSettings, ModelOverrides, ModelSettings, Settings
from embedsvc.engine.source import open_source
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import Metrics
from embedsvc.routing.names import aliases, check_names

MINI, MPNET, BGE = "all-MiniLM-L6-v2", "all-mpnet-base-v2", "bge-large-en-v1.5"
REPOSITORY = f"sentence-transformers/{MINI}"


def models(**values):
    return ModelSettings(**{"primary": MPNET, "fallback": MINI, **values})


def provider(name, model):
    return {name: {"models": {model: {"dimensions": 8}}}}


@pytest.mark.parametrize(
    ("elsewhere", "chosen", "here"),
    [
        (REPOSITORY, models(), MINI),
        ("lab/mini", models(settings={MINI: ModelOverrides(aliases=("lab/mini",))}), MINI),
        ("lab/own", models(primary="lab/own"), "lab/own"),
    ],
)
def test_a_model_elsewhere_has_no_name_of_one_of_this_machine(elsewhere, chosen, here):
    with pytest.raises(ConfigurationError) as caught:
        check_names(["openai/text-embedding-3-small", elsewhere], chosen)
    name, model = elsewhere.split("/")
    assert str(caught.value).startswith(
        f'providers.{name}.models."{model}": {elsewhere} is a name of {here}, which is served here'
    )


def test_it_may_have_one_of_a_model_that_is_not_served():
    check_names(["BAAI/bge-large-en-v1.5", f"lab/{MINI}", "openai/text-embedding-3-small"], models())


def test_aliases_are_those_that_the_models_answer_to():
    chosen = models(also=(BGE,), settings={BGE: ModelOverrides(aliases=("ours",))})
    settings = Settings(engine=EngineSettings(encoder="fake"), models=chosen)
    cards = [open_source(name, settings).card for name in chosen.served]
    assert list(aliases(chosen)) == [(alias, card.name) for card in cards for alias in card.aliases]


async def in_one_process(settings):
    async with answering(settings, Metrics()):
        pass


@pytest.mark.parametrize(("start", "processes"), [(in_one_process, 1), (supervisor.serve, 2)])
async def test_a_service_with_one_name_for_two_does_not_start(start, processes):
    settings = Settings(
        server={"processes": processes},
        models=models(),
        providers=provider("sentence-transformers", MINI),
    )
    with pytest.raises(ConfigurationError, match=re.escape(f"{REPOSITORY} is a name of {MINI}")):
        await start(settings)
