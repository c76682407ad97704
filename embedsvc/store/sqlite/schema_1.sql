CREATE TABLE keys (
  digest TEXT PRIMARY KEY,
  created_at REAL NOT NULL,
  record TEXT NOT NULL -- a KeyRecord as JSON
) STRICT, WITHOUT ROWID;

-- Windows of limits: how many units are gone of the one that began at `started`.
CREATE TABLE windows (
  name TEXT PRIMARY KEY,
  period REAL NOT NULL,
  started REAL NOT NULL,
  used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Batches that were kept, so that one that is sent again changes nothing.
CREATE TABLE batches (
  id TEXT PRIMARY KEY,
  at REAL NOT NULL
) STRICT;
CREATE INDEX batches_by_time ON batches (at);

CREATE TABLE requests (
  request_id TEXT NOT NULL,
  key TEXT NOT NULL,
  identity TEXT NOT NULL,
  rpc TEXT NOT NULL,
  model TEXT NOT NULL,
  requests INTEGER NOT NULL,
  inputs INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  cached INTEGER NOT NULL,
  latency_ms REAL NOT NULL,
  outcome TEXT NOT NULL,
  at REAL NOT NULL
) STRICT;
CREATE INDEX requests_by_time ON requests (at);

CREATE TABLE failures (
  prefix TEXT NOT NULL,
  reason TEXT NOT NULL,
  address TEXT NOT NULL,
  count INTEGER NOT NULL,
  first_at REAL NOT NULL,
  last_at REAL NOT NULL
) STRICT;
CREATE INDEX failures_by_time ON failures (last_at);

-- Sums of requests, which outlive them.
CREATE TABLE usage (
  day TEXT NOT NULL,
  key TEXT NOT NULL,
  identity TEXT NOT NULL,
  model TEXT NOT NULL,
  requests INTEGER NOT NULL,
  errors INTEGER NOT NULL,
  inputs INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  cached INTEGER NOT NULL,
  latency_ms REAL NOT NULL,
  slowest_ms REAL NOT NULL,
  PRIMARY KEY (day, key, identity, model)
) STRICT;
