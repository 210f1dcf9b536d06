# Builds a small image with the gateway alone, running as nobody. docs/containers.md tells how to use it.
#
# The version comes from the repository in the context; VERSION names one for a context that has none.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=""
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.release=$VERSION" -o /out/replygate ./cmd/replygate \
 && mkdir -p /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/replygate /replygate
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
# The journal, the snapshot and the logs: relative paths of the configuration are below it.
WORKDIR /data
# Loopback is the container's own. The admin listener stays there unless its keys are set.
ENV REPLYGATE_LISTEN_API=0.0.0.0:8080 REPLYGATE_LISTEN_CALLBACK=0.0.0.0:8081
EXPOSE 8080 8081 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/replygate", "health"]
ENTRYPOINT ["/replygate"]
CMD ["serve", "-c", "/etc/replygate/replygate.yaml"]
