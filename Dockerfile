# One image for every role: simulated server, Locust master, worker, and the `probe` command. See docs/containers.md.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends gcc libc6-dev
COPY docker/run.lock docker/build.lock docker/
RUN python -m venv /opt/probe \
    && /opt/probe/bin/python -m pip install --quiet --no-deps --require-hashes --only-binary :all: -r docker/run.lock \
    && python -m venv tools \
    && tools/bin/python -m pip install --quiet --no-deps --require-hashes --only-binary :all: -r docker/build.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY probe_ext probe_ext
COPY locustfiles locustfiles
COPY configs configs
COPY docs docs
COPY docker docker
COPY docker-compose.yml ./
RUN tools/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/probe/bin/python -m pip install --quiet --no-deps dist/*.whl \
    && /opt/probe/bin/python -m pip uninstall --quiet --yes pip setuptools

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="probe-ext" \
      org.opencontainers.image.description="How many people can use an LLM server at once?" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/probe/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/srv/probe
RUN mkdir --parents /srv/probe/reports/runs && chown 10001:10001 /srv/probe/reports/runs
COPY --from=build /opt/probe /opt/probe
COPY docker/health.py docker/entry.sh /opt/probe/
COPY locustfiles /srv/probe/locustfiles
COPY configs /srv/probe/configs
WORKDIR /srv/probe
USER 10001:10001
VOLUME /srv/probe/reports/runs
EXPOSE 8000 8089 5557
ENTRYPOINT ["/opt/probe/entry.sh"]
CMD ["probe", "--help"]
