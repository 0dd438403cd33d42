-- What a filter needs stands in columns; everything else of a record, but for words of questions, is JSON in `facts`.
CREATE TABLE records (
    id         INTEGER PRIMARY KEY,
    at_ms      INTEGER NOT NULL, -- all moments: Unix milliseconds
    request_id TEXT    NOT NULL,
    category   TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    refused    INTEGER NOT NULL, -- 1: fetched although there was a candidate, which was weighed and refused
    principal  BLOB,             -- whose question it is, so that a person can be erased
    query      TEXT,
    detail     TEXT,
    facts      TEXT    NOT NULL
) STRICT;
CREATE INDEX records_by_request   ON records (request_id);
CREATE INDEX records_by_time      ON records (at_ms);
CREATE INDEX records_by_principal ON records (principal);

CREATE TABLE ledger (
    hour_ms         INTEGER NOT NULL,
    category        TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    policy_revision TEXT    NOT NULL,
    sums            TEXT    NOT NULL, -- JSON
    PRIMARY KEY (hour_ms, category, model, policy_revision)
) STRICT, WITHOUT ROWID;

-- As in the cache's database.
CREATE TABLE encryption (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    salt  BLOB    NOT NULL,
    proof BLOB    NOT NULL
) STRICT;
