-- One row in a database whose texts (questions, answers, vectors) are sealed, none in a plain one. Never changed later:
-- a file is sealed from its first byte or not at all.
CREATE TABLE encryption (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    salt  BLOB    NOT NULL, -- mixed into the operator's key
    proof BLOB    NOT NULL  -- opens under the right key only
) STRICT;
