-- What was said of aliases while the service runs; an alias without a row means what the configuration says.
CREATE TABLE routes (
  alias TEXT PRIMARY KEY,
  record TEXT NOT NULL -- a RouteRecord as JSON
) STRICT, WITHOUT ROWID;
