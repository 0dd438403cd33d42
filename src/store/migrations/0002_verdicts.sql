-- What was found out about hits. Pairs are digests of two questions in one partition, never text, so a purge of an entry
-- leaves them: the pair is as wrong for the next answer as for this one.
CREATE TABLE blocked (
    id     INTEGER PRIMARY KEY,
    first  BLOB    NOT NULL,
    second BLOB    NOT NULL,
    why    TEXT    NOT NULL,
    at     INTEGER NOT NULL, -- Unix milliseconds
    UNIQUE (first, second)
) STRICT;

CREATE TABLE audits (
    category TEXT    PRIMARY KEY,
    ledger   TEXT    NOT NULL, -- JSON of the counts and the trip
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
