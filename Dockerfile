# Images that train and act, with the versions of constraints.txt.
#
#   docker build --target cpu  --tag rate:cpu  .
#   docker build --target cuda --tag rate:cuda .
#
# The image for CUDA holds PyTorch's own CUDA libraries and needs only a driver on the host
# (docker run --gpus all, apptainer --nv). EXTRAS adds simulators and more, as in pyproject.toml:
#
#   docker build --target cpu --build-arg EXTRAS=minigrid,data,slurm .

ARG PYTHON=3.13

FROM python:${PYTHON}-slim-bookworm AS source
# Fonts and OpenGL are what figures and the simulators' pictures need.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libegl1 libgl1 libglib2.0-0 libosmesa6 \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 \
    MUJOCO_GL=egl MPLCONFIGDIR=/var/cache/matplotlib
WORKDIR /opt/rate
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN mkdir -p /var/cache/matplotlib && chmod 777 /var/cache/matplotlib

FROM source AS cpu
ARG EXTRAS=slurm
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu \
    --constraint constraints.txt ".[${EXTRAS}]"
WORKDIR /data
ENTRYPOINT ["rate"]
CMD ["--help"]

FROM source AS cuda
ARG EXTRAS=slurm
RUN pip install --constraint constraints.txt ".[${EXTRAS}]"
WORKDIR /data
ENTRYPOINT ["rate"]
CMD ["--help"]
