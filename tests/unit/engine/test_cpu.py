"""cpu: int8 on a CPU without VNNI is said to do harm."""

import pytest
from structlog.testing import capture_logs

from embedsvc.engine.cpu import warn_without_vnni


@pytest.mark.parametrize(
    ("description", "warned"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_vnni\n", False),
        ("processor : 0\nflags\t\t: fpu avx2 avx_vnni\n", False),
        ("processor : 0\nflags\t\t: fpu avx2\n", True),
        ("processor : 0\nFeatures\t: fp asimd asimddp\n", False),
    ],
    ids=["avx512_vnni", "avx_vnni", "avx2 alone", "not x86"],
)
def test_the_harm_is_named_where_there_is_no_vnni(tmp_path, description, warned):
    (tmp_path / "cpuinfo").write_text(description)
    with capture_logs() as logs:
        warn_without_vnni(tmp_path / "cpuinfo")
    assert [(line["log_level"], "overflow" in line["harm"]) for line in logs] == [("warning", True)] * warned


def test_nothing_is_said_of_a_machine_that_does_not_describe_its_cpu(tmp_path):
    with capture_logs() as logs:
        warn_without_vnni(tmp_path / "nowhere")
    assert logs == []
