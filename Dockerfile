# One image for every service; the command says which. Targets: cpu (default) and gpu.
# It listens on every network of its container, so `serve` and `up` want SIGHTLINE_API__KEY:
#   docker run -e SIGHTLINE_API__KEY -p 127.0.0.1:8000:8000 sightline:cpu
#   docker build --target cpu -t sightline:cpu .
#   docker build --target gpu -t sightline:gpu .
FROM python:3.11-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 \
    SIGHTLINE_DATA=/data SIGHTLINE_API__HOST=0.0.0.0 HF_HOME=/models
RUN useradd --create-home --uid 1000 sightline && mkdir /data /models && chown sightline /data /models
WORKDIR /src
COPY pyproject.toml constraints.txt requirements.lock README.md LICENSE ./
# `sightline/` holds links to the four folders before it.
COPY indexer indexer
COPY retriever retriever
COPY captioner captioner
COPY reranker reranker
COPY api api
COPY sightline sightline

FROM base AS gpu
RUN pip install -c constraints.txt '.[faiss-gpu,postgres,redis,milvus]'
WORKDIR /data
USER sightline
VOLUME ["/data", "/models"]
EXPOSE 8000
ENTRYPOINT ["sightline"]
CMD ["up"]

FROM base AS cpu
# PyTorch's own index has the build without CUDA: see https://pytorch.org/get-started/locally/
RUN pip install --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
    && pip install --require-hashes -r requirements.lock \
    && pip install --no-deps -c constraints.txt .
WORKDIR /data
USER sightline
VOLUME ["/data", "/models"]
EXPOSE 8000
ENTRYPOINT ["sightline"]
CMD ["up"]
