# The service in a container: `docker build -t tfvlad .`, and see docs/guides/service.md. compose.yaml runs it beside
# TensorFlow Serving. The compiler that hnswlib needs stays in the first stage.
FROM python:3.12-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/tfvlad
COPY . /source
# hnswlib would be compiled for the very processor that builds; the image is to run on others as well.
RUN if [ "$(uname -m)" = x86_64 ]; then export CFLAGS=-march=x86-64-v3; fi \
    && HNSWLIB_NO_NATIVE=1 /opt/tfvlad/bin/pip install --no-cache-dir '/source[service,hnswlib]' \
    && find /opt/tfvlad -depth -name __pycache__ -exec rm -r {} +

FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --create-home tfvlad
COPY --from=build /opt/tfvlad /opt/tfvlad
ENV PATH=/opt/tfvlad/bin:$PATH PYTHONUNBUFFERED=1
USER tfvlad
WORKDIR /data
EXPOSE 8000
# Searches need an encoder; that it is still being loaded is no fault, so /healthz and not /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tfvlad", "serve", "--host=0.0.0.0", "--port=8000"]
CMD ["--index=/data/photos.index"]
