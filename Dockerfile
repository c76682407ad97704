# One image: the server, its health check, and `embedsvc render-edge`. See docs/deploy/images.md.
#
#   with a GPU     docker build --tag embedsvc .
#   without        docker build --tag embedsvc:cpu --build-arg BASE=ubuntu:24.04 \
#                    --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .

# Ubuntu 24.04 with the driver's hooks. Not the "runtime" flavour: torch brings CUDA's libraries itself, and its
# CUDA release (13.0 for torch 2.13) is the one named here.
ARG BASE=nvidia/cuda:13.0.2-base-ubuntu24.04

FROM ${BASE} AS build
# Debian's and Ubuntu's packages are the base image's release, and move with its fixes: none is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# Two environments: what only builds stays behind in this stage.
COPY requirements requirements
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --requirement requirements/build.txt --constraint requirements/runtime.txt
ARG TORCH_INDEX=""
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/embedsvc \
    && pip() { /opt/tools/bin/pip --python /opt/embedsvc/bin/python "$@"; } \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --no-deps "$(grep '^torch==' requirements/runtime.txt)" \
    && pip install --requirement requirements/runtime.txt --requirement requirements/vault.txt --requirement requirements/aws.txt

COPY protos protos
COPY third_party third_party
RUN /opt/tools/bin/python -m grpc_tools.protoc -Iprotos -Ithird_party/googleapis \
    --python_out=. --grpc_python_out=. protos/embedsvc/v1/*.proto

COPY pyproject.toml pyproject.toml
COPY embedsvc embedsvc
COPY rest_shim rest_shim
RUN /opt/tools/bin/pip --python /opt/embedsvc/bin/python install --no-deps --no-build-isolation .

FROM ${BASE} AS runtime
# Ubuntu 24.04 has a user 1000 of its own. /edge and /state belong to ours, and so do volumes that are first mounted there.
# Nothing needs to become somebody else: no program keeps its set-user-id bit.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && userdel --remove ubuntu \
    && useradd --uid 1000 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin embedsvc \
    && install --directory --owner=embedsvc --group=embedsvc /edge /state \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && rm -rf /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old
COPY --from=build /opt/embedsvc /opt/embedsvc
COPY deploy/embedsvc.toml envoy.yaml /etc/embedsvc/

ENV PATH=/opt/embedsvc/bin:$PATH \
    EMBEDSVC_CONFIG=/etc/embedsvc/embedsvc.toml \
    PYTHONDONTWRITEBYTECODE=1
# edge.template is looked for here.
WORKDIR /etc/embedsvc
USER 1000:1000
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s --start-interval=5s --retries=3 \
    CMD ["python", "-m", "embedsvc.healthcheck"]
ENTRYPOINT ["embedsvc"]
CMD ["serve"]

# Last, as they differ from build to build: nothing above is built anew for them.
ARG BASE
ARG VERSION="" REVISION="" CREATED="" SOURCE=""
LABEL org.opencontainers.image.title="embedsvc" \
      org.opencontainers.image.description="OpenAI's embeddings API on your own GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
