-- What is read together lies together: facts in `entries`, the vectors that rebuild the index in `vectors`, the bodies
-- that only a hit reads in `answers`. AUTOINCREMENT: an id is never used for a second answer.
CREATE TABLE entries (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    scope           BLOB    NOT NULL,
    partition       BLOB    NOT NULL,
    fingerprint     BLOB    NOT NULL UNIQUE,
    category        TEXT    NOT NULL,
    policy_revision TEXT    NOT NULL,
    query           TEXT,
    model           TEXT    NOT NULL,
    generated_at    INTEGER NOT NULL, -- all moments: Unix milliseconds
    invalidated_at  INTEGER,
    ttl_limit_ms    INTEGER,
    admitted_at     INTEGER NOT NULL,
    last_used       INTEGER NOT NULL, -- in steps of some minutes, so that reads do not become writes
    bytes           INTEGER NOT NULL, -- of the compressed answer
    checksum        BLOB    NOT NULL  -- over the unchanging facts above and the compressed answer
) STRICT;
CREATE INDEX entries_by_age  ON entries (category, generated_at, invalidated_at);
CREATE INDEX entries_by_use  ON entries (last_used);

CREATE TABLE answers (
    entry_id INTEGER PRIMARY KEY REFERENCES entries (id) ON DELETE CASCADE,
    body     BLOB    NOT NULL
) STRICT;

CREATE TABLE vectors (
    entry_id  INTEGER PRIMARY KEY REFERENCES entries (id) ON DELETE CASCADE,
    embedder  TEXT    NOT NULL,
    embedding BLOB    NOT NULL -- little-endian f32, unit length
) STRICT;

CREATE TABLE aliases (
    fingerprint BLOB    PRIMARY KEY,
    entry_id    INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_by_entry ON aliases (entry_id);

CREATE TABLE tags (
    entry_id INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    tag      TEXT    NOT NULL,
    PRIMARY KEY (entry_id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_tag ON tags (tag, entry_id);

-- The audit trail. Selectors hold labels and ids, never a question's text.
CREATE TABLE purges (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    selector TEXT    NOT NULL,
    hardness TEXT    NOT NULL,
    removed  INTEGER NOT NULL
) STRICT;

-- Vectors of the policies' example questions, so that a start does not embed them again.
CREATE TABLE example_vectors (
    embedder  TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    embedding BLOB NOT NULL,
    PRIMARY KEY (embedder, text_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('next_id', 1), ('flushes', 0);
