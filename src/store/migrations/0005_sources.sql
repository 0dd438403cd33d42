-- What answers were built from, and which version of each document is today's. In entries of before, the name of a
-- source stands among the tags: a tag of a document's name counts as a source of it, in no known version.
CREATE TABLE entry_sources (
    entry_id INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    name     TEXT    NOT NULL,
    version  TEXT    NOT NULL, -- '' where none was named
    PRIMARY KEY (entry_id, name, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_sources_by_name ON entry_sources (name, entry_id);

CREATE TABLE sources (
    name       TEXT    PRIMARY KEY,
    version    TEXT, -- NULL where an update named none
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Versions that an update has taken the place of: what is built on them is not kept as fresh any more.
CREATE TABLE replaced_versions (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL,
    version TEXT    NOT NULL,
    UNIQUE (name, version)
) STRICT;

-- Purges by meaning, kept for answers that were generated before them and arrive later. Text and vector are sealed like
-- those of entries.
CREATE TABLE bans (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    text     TEXT    NOT NULL,
    embedder TEXT    NOT NULL,
    vector   BLOB    NOT NULL,
    radius   REAL    NOT NULL,
    category TEXT,
    scope    BLOB,
    until    INTEGER NOT NULL,
    soft_at  INTEGER, -- when it made stale; NULL where it removed
    at       INTEGER NOT NULL
) STRICT;
