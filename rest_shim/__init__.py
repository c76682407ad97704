"""OpenAI's API: a shape over the gRPC service, carried by Envoy."""
