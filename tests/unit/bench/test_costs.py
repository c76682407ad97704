"""costs: a measured pace and a price by the hour are a price of a million tokens."""

import io
import json

import plan
import pytest
from costs import Pace, main, paces, table, usd_per_million
from rich.console import Console


def bench(*measured):
    """What is kept of rounds of (scenario, subject, tokens, seconds)."""
    return {
        "measurements": [
            {"scenario": scenario, "subject": subject, "figures": {"tokens": tokens, "seconds": seconds}}
            for scenario, subject, tokens, seconds in measured
        ]
    }


def shown(found, usd_per_hour):
    console = Console(file=io.StringIO(), width=200)
    console.print(table(found, usd_per_hour))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("tokens_per_second", "usd_per_hour", "usd"),
    [(1_000_000 / 3600, 1.0, 1.0), (100_000, 3.6, 0.01), (1000, 0.0, 0.0), (50_000, 0.9, 0.005)],
)
def test_a_million_tokens_cost_the_hours_that_they_take(tokens_per_second, usd_per_hour, usd):
    assert usd_per_million(tokens_per_second, usd_per_hour) == pytest.approx(usd)


def test_a_pace_is_the_median_of_the_rounds():
    measured = [(plan.SIXTEEN, plan.GRPC, tokens, 2.0) for tokens in (2000, 8000, 4000)]
    assert paces(bench(*measured)) == [Pace(plan.SIXTEEN, plan.GRPC, 2000.0)]


def test_every_way_is_there_that_took_what_it_could_get():
    found = paces(bench(*((served.name, way, 100, 1.0) for served in plan.SERVED for way in served.ways)))
    ways = {(pace.work, pace.way) for pace in found}
    assert {(plan.BATCHES, plan.STREAM), (plan.ONE, plan.FASTAPI), (plan.MANY, plan.REST_BASE64)} <= ways
    assert not [pace for pace in found if "calls a second" in pace.work or pace.way == plan.NULL]


def test_encoders_without_a_server_are_no_way_to_serve():
    assert paces(bench((plan.RAW_SHORT, plan.PACKED, 100, 1.0))) == []


def test_a_run_on_a_gpu_has_its_paces_too():
    window = {"model": "gte-large", "work": "mixed", "tokens": 3000, "seconds": 0.5}
    windows = [
        {**window, "way": "packed", "batch_tokens": 16_384},
        {**window, "way": "base", "batch_tokens": None},
    ]
    assert paces({"windows": windows}) == [
        Pace("gte-large: mixed", "packed, 16,384 tokens a batch", 6000.0),
        Pace("gte-large: mixed", "base", 6000.0),
    ]


def test_prices_are_shown_beside_openais_two():
    text = shown([Pace("16 callers", "gRPC", 50_000.0)], 0.9)
    assert "a million tokens at $0.9 an hour; OpenAI's: $0.02 and $0.13" in text
    assert text.splitlines()[-2].split()[-4:] == ["50,000", "0.00500", "4.0", "26.0"]


def test_a_machine_that_costs_nothing_is_no_division_by_it():
    assert shown([Pace("16 callers", "gRPC", 50_000.0)], 0.0).splitlines()[-2].split()[-1] == "0.00000"


def test_what_is_kept_of_a_run_can_be_asked_later(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "bench.json"
    kept.write_text(json.dumps(bench((plan.SIXTEEN, plan.GRPC, 1000, 1.0))))
    monkeypatch.setattr("sys.argv", ["costs.py", str(kept), "--usd-per-hour=3.6"])
    main()
    assert "1.00000" in capsys.readouterr().out
