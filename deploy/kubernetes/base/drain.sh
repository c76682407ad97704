# Envoy's preStop: lets callers go elsewhere, and waits for what they have under way. The image has no HTTP client; bash
# can open a connection.
set -euo pipefail

admin=${ADMIN_PORT:-9901}
notice=${NOTICE_SECONDS:-15}   # load balancers and nodes go on sending for a while after a pod is deleted
longest=${LONGEST_SECONDS:-60} # no request takes longer; a stream over gRPC may, and is then cut

ask() {
  exec 3<>"/dev/tcp/127.0.0.1/$admin"
  printf '%s %s HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n' "$1" "$2" >&3
  cat <&3
  exec 3<&-
}

busy() {
  [[ $(ask GET '/stats?filter=downstream_rq_active') =~ http\.(rest|grpc)\.downstream_rq_active:\ [1-9] ]]
}

# From now on /ready says no, and every answer tells its caller to come back over another connection.
ask POST /healthcheck/fail > /dev/null
sleep "$notice"
end=$((SECONDS + longest))
while ((SECONDS < end)) && busy; do
  sleep 1
done
