"""secrets: whether each can be had and means something; none is shown."""

from patient import levels, only

from embedsvc.doctor.secrets import look
from embedsvc.secret.reference import SecretRef

HIDDEN = "convex-self-hosted|0123456789abcdef"


async def test_secrets_that_are_read_are_well(patient):
    found = await patient.examine_waiting(look)
    assert levels(found) == {"ok"}
    assert found[0].seen.startswith("auth.keys (file:")


async def test_one_that_is_not_there_is_told_with_where_it_should_be(patient):
    patient.path("api_keys").unlink()
    told = only(await patient.examine_waiting(look), "error")
    assert told.seen == f"auth.keys (file:{patient.path('api_keys')}): No such file or directory"
    assert "docs/secrets.md" in told.advice


async def test_one_that_means_nothing_is_told_and_not_shown(patient):
    patient.path("api_keys").write_text(f"{HIDDEN} tester\n")
    told = only(await patient.examine_waiting(look), "error")
    assert told.seen.startswith("auth.keys (file:")
    assert HIDDEN not in repr(told)


async def test_a_vault_that_is_away_is_told(patient, tmp_path):
    (tmp_path / "token").write_text("hvs.token")
    away = patient.having("vault", address="http://127.0.0.1:1", token_file=tmp_path / "token")
    ref = SecretRef("vault", "secret/embedsvc", "keys")
    told = only(await away.having("auth", keys=ref).examine_waiting(look), "error")
    assert told.seen.startswith("auth.keys (vault:secret/embedsvc#keys): ")
    assert "[vault]" in told.advice


async def test_a_private_key_that_everybody_can_read_is_a_warning(patient):
    patient.path("server.key").chmod(0o644)
    told = only(await patient.examine_waiting(look), "warning")
    assert told.seen == f"tls.key {patient.path('server.key')} can be read by everybody on this machine"
    assert told.advice.startswith(f"chmod o-rwx {patient.path('server.key')}")


async def test_so_is_a_secret_but_not_a_list_of_digests(patient):
    patient.path("admin_key").write_text(HIDDEN)
    for name in ("admin_key", "api_keys"):
        patient.path(name).chmod(0o644)
    ref = SecretRef("file", str(patient.path("admin_key")))
    found = await patient.having("store", admin_key=ref).examine_waiting(look)
    assert only(found, "warning").seen.startswith("store.admin_key")
    assert HIDDEN not in repr(found)


async def test_keys_of_an_envoy_elsewhere_are_not_missed(patient):
    patient.path("edge.crt").unlink()
    patient.path("edge.key").chmod(0o644)
    assert levels(await patient.having("edge", upstreams=("a:1",)).examine_waiting(look)) == {"ok"}
