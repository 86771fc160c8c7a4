# syntax=docker/dockerfile:1
# Four images from one page: `worker` embeds (torch, onnxruntime, OpenCV), `camera` decodes video and finds faces
# (PyAV, onnxruntime, OpenCV, no torch), `light` is everything else (the HTTP door and its pages, outward, publish, upkeep,
# watch, the command line) and a fraction of their size, `flower` is that with a dashboard for Celery. All run as uid
# 10001 on a read-only file system.

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

# One for all of these roles: the door brings 27 MB to the 141 MB they share, and a host that runs them all would keep
# two images of twice the size. docs/operations.md has the command that measures it.
FROM build AS build-light
RUN pip install -c constraints.txt '.[api,mqtt,otlp]'
COPY kith kith
RUN pip install --no-deps --force-reinstall .

FROM build-light AS build-flower
RUN pip install -c constraints.txt flower

FROM build AS build-camera
RUN pip install -c constraints.txt '.[camera]'
COPY kith kith
RUN pip install --no-deps --force-reinstall .

FROM build AS build-worker
# PyPI's torch brings several gigabytes of CUDA; that is what https://pypi.org/simple here is for.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
RUN pip install -c constraints.txt '.[worker,otlp]'
# For a GPU: onnxruntime-gpu, with its version. It is the same module by another name, so one of the two has to go. Empty:
# the one for CPUs stays.
ARG ONNXRUNTIME=
RUN if [ -n "$ONNXRUNTIME" ]; then pip uninstall -y onnxruntime && pip install "$ONNXRUNTIME"; fi
COPY kith kith
RUN pip install --no-deps --force-reinstall .

FROM base AS application
# What a new volume takes over the rights of: keys are for this user alone.
RUN install -d -o kith -g kith -m 700 /keys
WORKDIR /app
COPY config/default.toml config/
COPY producers producers
COPY workers workers
USER kith

FROM application AS worker
COPY --from=build-worker /venv /venv
CMD ["python", "-m", "workers.embed"]

FROM application AS camera
COPY --from=build-camera /venv /venv
CMD ["python", "-m", "producers.camera"]

FROM application AS flower
COPY --from=build-flower /venv /venv
CMD ["celery", "-A", "workers.app", "flower"]

# Last, so that a build without --target makes the small one.
FROM application AS light
COPY --from=build-light /venv /venv
CMD ["kith", "--help"]
