# The Python that requirements.lock was made and tested with.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# The drivers to bring along: `--build-arg EXTRAS=snowflake,mysql`; empty for those that are always there.
ARG EXTRAS=all
RUN pip install --no-cache-dir uv==0.13.9
COPY pyproject.toml requirements.lock README.md LICENSE /src/
COPY syncer /src/syncer
COPY connectors /src/connectors
# The lock's versions and, of what it names, its hashes; compiled, as nothing is written later.
RUN uv venv /opt/syncer
RUN uv pip install --no-cache --compile-bytecode --python /opt/syncer/bin/python \
    --constraints /src/requirements.lock "/src${EXTRAS:+[$EXTRAS]}"

FROM ${PYTHON}
# Any user of group 0 can run it, as OpenShift does: nothing looks the user up, and the group may write.
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin syncer \
    && install -d -o 10001 -g 0 -m 0770 /state \
    && install -d -o 10001 -g 0 -m 0775 /project
COPY --from=build /opt/syncer /opt/syncer
ENV PATH=/opt/syncer/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    SYNCER_STATE_DIR=/state \
    SYNCER_WEB__HOST=0.0.0.0 \
    SYNCER_WEB__PORT=8765
USER 10001:0
WORKDIR /project
# Snapshots, the run log and the embedded store; all else may be read-only.
VOLUME ["/state"]
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['SYNCER_WEB__PORT'] + '/livez', timeout=4)"]
ENTRYPOINT ["syncer"]
CMD ["serve"]
