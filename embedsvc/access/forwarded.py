"""Certificates that Envoy passes on: those of callers of its gRPC listener.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
"""

import re
from functools import lru_cache
from urllib.parse import unquote

HEADER = "x-forwarded-client-cert"
CERTIFICATE = re.compile(r'(?:^|;)Cert="([^",;]*)"')


@lru_cache(maxsize=4096)
def read_certificate(header: str | bytes) -> bytes:
    """Return the certificate of a header in PEM; empty where there is not just one."""
    found = CERTIFICATE.findall(header) if isinstance(header, str) else []
    return unquote(found[0]).encode() if len(found) == 1 else b""
