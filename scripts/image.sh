#!/bin/sh
# Build the image with the engine that runs here: Docker, else Podman.
#
#     scripts/image.sh [NAME]      NAME: quota-service:local if not told otherwise
set -eu
cd "$(dirname "$0")/.."
name=${1:-quota-service:local}

if docker info >/dev/null 2>&1; then
    docker build --file deploy/Dockerfile --tag "$name" .
elif podman info >/dev/null 2>&1; then
    podman build --format docker --file deploy/Dockerfile --tag "$name" . # OCI's own format has no health checks
else
    echo "There is no engine to build an image with: neither Docker nor Podman answers here." >&2
    exit 1
fi
echo "built $name"
