-- Keeps callers' headers from meaning something to gRPC, and makes the answer OpenAI's: a failed call carries its
-- finished body in x-openai-error (rest_shim/errors.py makes it), which is moved to where it belongs; nothing is parsed.

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
-- long they wait is. Names that HTTP allows and gRPC does not would fail the call before the server sees it.
local function is_internal(name, value)
  if name == "grpc-timeout" then
    return value:match("^%d%d?%d?%d?%d?%d?%d?%d?[HMSmun]$") == nil
  end
  return name:match("^grpc") or name:match("%-bin$") or name:match("^x%-envoy%-original") or not name:match("^:?[%w_.-]+$")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get(":method") == "CONNECT" then -- it has no end, which the filters behind would wait for
    handle:respond({ [":status"] = "405", ["allow"] = "GET, POST" })
    return
  end
  if headers:get("x-forwarded-proto") == "https" then
    handle:streamInfo():dynamicMetadata():set("embedsvc", "https", true)
  end
  local internal = {}
  for name, value in pairs(headers) do
    if is_internal(name, value) then
      internal[#internal + 1] = name
    end
  end
  for _, name in ipairs(internal) do
    headers:remove(name)
  end
end

-- Browsers are told to take answers for what they are, to frame none, and to come by HTTPS for a year.
local function secure(handle, headers)
  headers:replace("x-content-type-options", "nosniff")
  headers:replace("x-frame-options", "DENY")
  local facts = handle:streamInfo():dynamicMetadata():get("embedsvc")
  if facts ~= nil and facts["https"] then -- over HTTP it must not be said: RFC 6797, section 7.2
    headers:replace("strict-transport-security", "max-age=31536000; includeSubDomains")
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  secure(handle, headers)
  headers:remove("x-embedsvc-limit") -- said in the message
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
