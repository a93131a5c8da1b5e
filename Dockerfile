FROM python:3.13-slim
# The drivers to bring along: `--build-arg EXTRAS=snowflake,mysql`.
ARG EXTRAS=all
COPY . /src
RUN pip install --no-cache-dir "/src[$EXTRAS]" && rm -rf /src && useradd --create-home syncer
USER syncer
WORKDIR /work
ENTRYPOINT ["syncer"]
