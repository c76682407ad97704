"""`embedsvc up`, which `make run` calls: started as a person starts it, in a folder of its own."""

import os
import re
import signal
import socket
import stat
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from support.programs import BIN, EDGE_PORTS, ROOT, free_port

PORTS = ("SERVER__PORT", "METRICS__PORT", *(f"EDGE__{name}" for name in EDGE_PORTS))


@pytest.fixture
def environment(tmp_path):
    chosen = {f"EMBEDSVC_{name}": str(free_port()) for name in PORTS}
    files = {
        "EMBEDSVC_EDGE__TEMPLATE": str(ROOT / "envoy.yaml"),
        "EMBEDSVC_CONFIG": str(ROOT / "embedsvc.toml"),
    }
    return os.environ | chosen | files | {"EMBEDSVC_ENGINE__ENCODER": "fake"}


@contextmanager
def up(folder, environment):
    command = [BIN / "embedsvc", "up"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=20)


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail(f"ended before it said {text!r}:\n{''.join(lines)}")


def paste(command, folder):
    path = f"{BIN}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) != 0


def test_what_it_prints_can_be_pasted_and_ctrl_c_stops_both(tmp_path, environment):
    with up(tmp_path, environment) as process:
        printed = read_until(process, "Ctrl-C")
        curl = re.search(r"  curl -s(?:.*\\\n)*.*", printed).group()
        grpcurl = re.search(r"  grpcurl(?:.*\\\n)*.*", printed).group()
        assert paste(curl, tmp_path).startswith('{"object":"list","data":[{"object":"embedding","index":0,')
        assert '"embeddings": [' in paste(grpcurl, tmp_path)
        process.send_signal(signal.SIGINT)
        assert "embedsvc: stopped" in process.stdout.read()
        assert process.wait(timeout=20) == 0
    assert all(is_free(environment[f"EMBEDSVC_{name}"]) for name in PORTS)
    log = (tmp_path / ".run" / "server.log").read_text()
    assert log.splitlines()[-1].count('"stopped"') == 1


@pytest.fixture
def large(tmp_path, environment):
    """The arguments of a request whose answer has ten megabytes; to be called once the service is up."""

    def make():
        key = (tmp_path / ".run" / "api_key").read_text().strip()
        return {
            "url": f"http://127.0.0.1:{environment['EMBEDSVC_EDGE__PORT']}/v1/embeddings",
            "json": {"model": "all-MiniLM-L6-v2", "input": ["x" * 450] * 2048},
            "headers": {"authorization": f"Bearer {key}"},
            "timeout": 60,
        }

    return make


def test_ctrl_c_lets_a_request_through_envoy_finish(tmp_path, environment, large):
    with up(tmp_path, environment) as process, ThreadPoolExecutor() as threads:
        read_until(process, "Ctrl-C")
        asking = threads.submit(lambda: httpx.post(**large()))
        metrics = f"http://127.0.0.1:{environment['EMBEDSVC_METRICS__PORT']}/metrics"
        while 'embeddings_in_flight{rpc="CreateEmbedding"} 1.0' not in httpx.get(metrics).text:
            assert not asking.done()
        process.send_signal(signal.SIGINT)
        answer = asking.result()
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 2048


def test_ctrl_c_waits_for_a_caller_who_has_not_read_the_answer_yet(tmp_path, environment, large):
    log = tmp_path / ".run" / "server.log"
    with up(tmp_path, environment) as process:
        read_until(process, "Ctrl-C")
        with httpx.stream("POST", **large()) as answer:
            process.send_signal(signal.SIGINT)
            deadline = time.monotonic() + 20
            while '"stopped"' not in log.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=1.5)
            answer.read()
    assert len(answer.json()["data"]) == 2048


@pytest.mark.parametrize("profile", ["development", "production"])
def test_the_sdk_lines_that_it_prints_run(tmp_path, environment, profile):
    with up(tmp_path, environment | {"EMBEDSVC_EDGE__PROFILE": profile}) as process:
        printed = read_until(process, "Ctrl-C")
        curl = re.search(r"  curl -s(?:.*\\\n)*.*", printed).group()
        code = re.search(r"  from openai import(?:.*\n)*?.*print\(.*\)", printed).group()
        trust = "".join(re.findall(r"  export .*", printed))
        assert bool(trust) == (profile == "production")
        lines = "\n".join(line.strip() for line in code.splitlines())
        assert "CreateEmbeddingResponse" in paste(f"{trust}\npython - <<'END'\n{lines}\nEND", tmp_path)
        assert paste(f"{trust}\n{curl}", tmp_path).startswith('{"object":"list"')


def test_secrets_are_readable_by_their_owner_alone_and_outlive_a_restart(tmp_path, environment):
    with up(tmp_path, environment) as process:
        read_until(process, "Ctrl-C")
    state = tmp_path / ".run"
    secrets = [state / "api_key", *(state / "certs" / f"{name}.key" for name in ("ca", "server", "client"))]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    before = [path.read_bytes() for path in secrets]
    with up(tmp_path, environment) as process:
        read_until(process, "Ctrl-C")
    assert [path.read_bytes() for path in secrets] == before


def test_metrics_and_the_admin_page_are_where_it_says(tmp_path, environment):
    with up(tmp_path, environment) as process:
        printed = read_until(process, "Ctrl-C")
        metrics = re.search(r"http://\S+/metrics", printed).group()
        admin = re.search(r"Envoy  (http://\S+)", printed).group(1)
        with urllib.request.urlopen(metrics) as response:
            assert b"embeddings_requests_total" in response.read()
        with urllib.request.urlopen(f"{admin}/ready") as response:
            assert response.read().strip() == b"LIVE"


@pytest.mark.parametrize("name", PORTS)
def test_a_taken_port_is_named_with_the_setting_that_moves_it(tmp_path, environment, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment[f"EMBEDSVC_{name}"] = str(taken.getsockname()[1])
        ended = subprocess.run(
            [BIN / "embedsvc", "up"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert ended.returncode == 2
    assert "is taken by another program" in ended.stderr
    assert f"EMBEDSVC_{name}" in ended.stderr


def test_a_server_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path, environment):
    environment["EMBEDSVC_AUTH__KEYS"] = "file:nowhere"
    with up(tmp_path, environment) as process:
        said = process.stdout.read()
        assert process.wait(timeout=30) == 2
    assert "the server ended by itself with status 2" in said
    assert "auth.keys (file:nowhere)" in said
