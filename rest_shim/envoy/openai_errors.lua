-- Keeps callers' headers from meaning something to gRPC, and moves the finished OpenAI error body, which a failed call carries in x-openai-error, into the response.
-- rest_shim/errors.py makes it; nothing is parsed here.

local function body_of(message, type, code)
  local form = '{"error": {"message": "%s", "type": "%s", "param": null, "code": %s}}'
  return string.format(form, message, type, code)
end

-- For statuses that gRPC itself makes, before or after any code of ours runs.
local INTERNAL = body_of("internal error", "server_error", "null")
local OF_GRPC = {
  ["4"] = body_of("the request took too long", "server_error", '"timeout"'),
  ["14"] = body_of("no server can be reached; try again", "server_error", '"overloaded"'),
}

-- What gRPC says to gRPC; callers of JSON have the body.
local GRPC_ONLY = { "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding" }

-- What a header of gRPC's, or one that only Envoy may set, would do to the call is not for callers to say; but how
-- long they wait is.
local function is_internal(name, value)
  if name == "grpc-timeout" then
    return value:match("^%d%d?%d?%d?%d?%d?%d?%d?[HMSmun]$") == nil
  end
  return name:match("^grpc") or name:match("%-bin$") or name:match("^x%-envoy%-original")
end

-- A key that somebody puts into a path is for no log: it works for whoever reads it.
local function shown(path)
  return (path:gsub("[?#].*", ""):gsub("emb_[%w_-]+", "emb_..."))
end

function envoy_on_request(handle)
  handle:streamInfo():dynamicMetadata():set("embedsvc", "path", shown(handle:headers():get(":path") or ""))
  local id = handle:headers():get("x-request-id")
  if id ~= nil and id:find("emb_", 1, true) then
    handle:headers():replace("x-request-id", (id:gsub("emb_[%w_-]+", "emb_...")))
  end
  local internal = {}
  for name, value in pairs(handle:headers()) do
    if is_internal(name, value) then
      internal[#internal + 1] = name
    end
  end
  for _, name in ipairs(internal) do
    handle:headers():remove(name)
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get("grpc-status") or "0"
  if status ~= "0" and headers:get(":status") == "200" then
    return -- a caller of gRPC, whom the transcoder let pass, gets gRPC's answer
  end
  local body = headers:get("x-openai-error")
  if body == nil and status ~= "0" then
    body = OF_GRPC[status] or INTERNAL
    if status == "14" then
      headers:replace("retry-after", "1")
    end
  end
  for _, name in ipairs(GRPC_ONLY) do
    headers:remove(name)
  end
  if body ~= nil then
    headers:remove("x-openai-error")
    headers:replace("content-type", "application/json")
    headers:replace("content-length", handle:body(true):setBytes(body))
  end
end
