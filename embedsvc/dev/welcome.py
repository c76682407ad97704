"""What to paste next."""

from embedsvc.config import Settings, reachable
from embedsvc.dev import state

TEXT = """
embedsvc is ready.

  REST     {url}, {other}
  gRPC     {grpc}, through Envoy {balanced} (mTLS)
  metrics  http://{metrics}/metrics    Envoy  http://{admin}
  logs     {run}/server.log, {run}/envoy.log
{trust}
curl:

  curl -s{cacert} {url}/v1/embeddings \\
    -H "Authorization: Bearer $(cat {key})" -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "input": "Hello, world"}}'

The OpenAI SDK:

  from openai import OpenAI
  key = open("{key}").read().strip()
  client = OpenAI(base_url="{url}/v1", api_key=key)
  print(client.embeddings.create(model="text-embedding-3-small", input="Hello, world"))

grpcurl:

  grpcurl -cacert {certs}/ca.crt -cert {certs}/client.crt -key {certs}/client.key \\
    -H "authorization: Bearer $(cat {key})" \\
    -d '{{"inputs": [{{"text": "Hello, world"}}]}}' \\
    {grpc} embedsvc.v1.EmbeddingService/Embed

Ctrl-C stops it.
"""


TRUST = """
In the profile for production HTTP redirects to HTTPS, and limits count. Python trusts this CA by

  export SSL_CERT_FILE={certs}/ca.crt
"""


def text(settings: Settings) -> str:
    """The text, with this machine's addresses."""
    server, metrics, edge = settings.server, settings.metrics, settings.edge
    http, https = (
        f"http://{reachable(edge.host)}:{edge.port}",
        f"https://{reachable(edge.host)}:{edge.tls_port}",
    )
    production = edge.profile == "production"
    return TEXT.format(
        url=https if production else http,
        other=f"to which {http} redirects" if production else https,
        cacert=f" --cacert {state.CERTS}/ca.crt" if production else "",
        trust=TRUST.format(certs=state.CERTS) if production else "",
        grpc=f"{reachable(server.host)}:{server.port}",
        metrics=f"{reachable(metrics.host)}:{metrics.port}",
        balanced=f"{reachable(edge.host)}:{edge.grpc_port}",
        admin=f"{reachable(edge.admin_host)}:{edge.admin_port}",
        model=settings.models.primary,
        run=state.RUN,
        key=state.API_KEY,
        certs=state.CERTS,
    )
