# Two stages: a builder with the toolchain, and a small image with the program alone.
# The image is meant for a Postgres of its own: give it DATABASE_URL (see docker-compose.yml).

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# A C compiler for the dependencies that need one (ring).
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential pkg-config \
 && rm -rf /var/lib/apt/lists/*

# Queries are checked against .sqlx: a build needs no database.
ENV SQLX_OFFLINE=true

# Dependencies first, with an empty program: this layer is built again only when one of these files changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir -p src benches/stale benches/feed benches/outage \
 && touch src/lib.rs benches/read.rs benches/search.rs benches/transfer.rs benches/write.rs \
 && touch benches/stale/main.rs benches/feed/main.rs benches/outage/main.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --release --locked --bin termbase \
 && rm -rf src

COPY .sqlx .sqlx
COPY migrations migrations
COPY openapi openapi
COPY samples samples
COPY src src
# COPY keeps the files' dates; without touch they may be older than the empty program, and Cargo would keep that.
RUN touch src/lib.rs src/main.rs \
 && cargo build --release --locked --bin termbase


FROM debian:bookworm-slim

RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*

# A numeric user, so that an orchestrator can see that it isn't root.
RUN groupadd --gid 10001 termbase \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin termbase \
 && install --directory --owner=10001 --group=10001 --mode=0700 /data

COPY --from=build /build/target/release/termbase /usr/local/bin/termbase

ENV TERMBASE_LISTEN=0.0.0.0:8080 \
    TERMBASE_DATA_DIR=/data

USER 10001:10001
VOLUME /data
EXPOSE 8080

# The exec form: termbase itself gets SIGTERM, and finishes the requests under way. Without a command it serves.
# There is no HEALTHCHECK, since the image has no HTTP client: probe /healthz and /readyz from outside.
ENTRYPOINT ["termbase"]
