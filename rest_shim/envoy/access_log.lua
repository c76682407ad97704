-- Reads what the access log and the limits need of a request, and keeps API keys out of what is logged.

local ANY_KEY = "emb_[%w_-]+"
local SHOWN = 12 -- characters of a key that people may see, as in embedsvc/keys/token.py

-- A key that somebody puts into a path or an id works for whoever reads the log.
local function without_keys(text)
  return (text:gsub(ANY_KEY, "emb_..."))
end

local function bearer_of(authorization)
  if authorization:sub(1, 7):lower() == "bearer " then
    return authorization:sub(8):match("^ *(.-) *$")
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local facts = handle:streamInfo():dynamicMetadata()
  local path = headers:get(":path") or ""
  -- What is escaped could be a key that is escaped: once, twice, or in part.
  path = path:gsub("[?#].*", ""):gsub("[^/]*%%[^/]*", "...")
  facts:set("embedsvc", "path", without_keys(path))
  local id = headers:get("x-request-id")
  if id ~= nil and id:find("emb_", 1, true) then
    headers:replace("x-request-id", without_keys(id))
  end
  local bearer = bearer_of(headers:get("authorization") or "")
  if bearer ~= nil then
    facts:set("embedsvc.bearer", "key", bearer)
    if #bearer == 47 and bearer:find("^emb_[%w_-]+$") then
      facts:set("embedsvc", "key", bearer:sub(1, SHOWN))
    end
  end
end
