# syntax=docker/dockerfile:1
# Two images from one page: `worker` embeds (torch, onnxruntime, OpenCV), `light` is everything else (publish, upkeep,
# producers, the command line) and a fraction of its size. Both run as uid 10001 on a read-only file system.

FROM python:3.11.14-slim-bookworm AS base
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
RUN groupadd --gid 10001 kith && useradd --uid 10001 --gid kith --no-create-home --home-dir /tmp --shell /usr/sbin/nologin kith

FROM base AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
# An empty package stands in for ours, so that the layers with the dependencies do not depend on our source.
RUN mkdir kith && touch kith/__init__.py

FROM build AS build-light
RUN pip install -c constraints.txt .
COPY kith kith
RUN pip install --no-deps --force-reinstall .

FROM build AS build-worker
# PyPI's torch brings several gigabytes of CUDA; that is what https://pypi.org/simple here is for.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
RUN pip install -c constraints.txt '.[worker]'
# For a GPU: onnxruntime-gpu, with its version. It is the same module by another name, so one of the two has to go. Empty:
# the one for CPUs stays.
ARG ONNXRUNTIME=
RUN if [ -n "$ONNXRUNTIME" ]; then pip uninstall -y onnxruntime && pip install "$ONNXRUNTIME"; fi
COPY kith kith
RUN pip install --no-deps --force-reinstall .

FROM base AS application
WORKDIR /app
COPY config config
COPY producers producers
COPY workers workers
USER kith

FROM application AS worker
COPY --from=build-worker /venv /venv
CMD ["python", "-m", "workers.embed"]

# Last, so that a build without --target makes the small one.
FROM application AS light
COPY --from=build-light /venv /venv
CMD ["kith", "--help"]
