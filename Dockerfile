# Millrace as one static program in an image with nothing else but certificates and time zones.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t millrace .

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath \
    -ldflags "-s -w -X github.com/millrace/millrace/internal/telemetry.version=${VERSION}" \
    -o /out/millrace ./cmd/millrace

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/millrace /usr/local/bin/millrace
USER nonroot:nonroot
EXPOSE 8000
ENTRYPOINT ["/usr/local/bin/millrace"]
CMD ["up"]
