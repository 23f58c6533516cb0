# One image recipe for all services: docker build --build-arg SERVICE=embedder .
FROM python:3.11-slim-bookworm AS build
WORKDIR /app
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY rag rag
COPY services services
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
ARG SERVICE
ENV SERVICE=${SERVICE} MALLOC_ARENA_MAX=2 PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 RAG_DATA_DIR=/data RAG_LOG_FORMAT=json
RUN useradd --create-home --uid 10001 rag && install -d -o rag /data
COPY --from=build /venv /venv
USER rag
WORKDIR /home/rag
VOLUME /data
STOPSIGNAL SIGTERM
CMD ["sh", "-c", "exec python -m services.${SERVICE}"]
