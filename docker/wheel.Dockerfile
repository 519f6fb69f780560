# The image of docker-compose.yml where only the wheel is at hand, copied by `probe init`. Put the wheel into this folder.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE}
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY docker/run.lock probe_ext-*.whl /tmp/probe/
RUN python -m venv /opt/probe \
    && /opt/probe/bin/python -m pip install --quiet --no-deps --require-hashes --only-binary :all: -r /tmp/probe/run.lock \
    && /opt/probe/bin/python -m pip install --quiet --no-deps /tmp/probe/probe_ext-*.whl \
    && /opt/probe/bin/python -m pip uninstall --quiet --yes pip setuptools \
    && mkdir --parents /srv/probe/reports/runs && chown 10001:10001 /srv/probe/reports/runs
ENV PATH=/opt/probe/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/srv/probe
COPY docker/health.py docker/entry.sh /opt/probe/
COPY locustfiles /srv/probe/locustfiles
COPY configs /srv/probe/configs
WORKDIR /srv/probe
USER 10001:10001
VOLUME /srv/probe/reports/runs
EXPOSE 8000 8089 5557
ENTRYPOINT ["/opt/probe/entry.sh"]
CMD ["probe", "--help"]
