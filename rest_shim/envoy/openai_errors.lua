-- Moves the finished OpenAI error body, which a failed call carries in x-openai-error, into the response.
-- rest_shim/errors.py makes it; nothing is parsed here.

local FALLBACK = '{"error": {"message": "internal error", "type": "server_error", "param": null, "code": null}}'

-- What gRPC says to gRPC; callers of JSON have the body.
local GRPC_ONLY = { "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding" }

function envoy_on_response(handle)
  local headers = handle:headers()
  local body = headers:get("x-openai-error")
  local status = headers:get("grpc-status")
  for _, name in ipairs(GRPC_ONLY) do
    headers:remove(name)
  end
  if body == nil and status ~= nil and status ~= "0" then
    body = FALLBACK -- a status that gRPC itself made, such as for a message it would not take
  end
  if body ~= nil then
    headers:remove("x-openai-error")
    headers:replace("content-type", "application/json")
    headers:replace("content-length", handle:body(true):setBytes(body))
  end
end
