-- Whose question an entry answers, so that a person can be erased. NULL in rows of before this was known: an erasure
-- takes those entries as well. A digest under the node's own key, as in the entry list.
ALTER TABLE entries ADD COLUMN principal BLOB;
CREATE INDEX entries_by_principal ON entries (principal);
ALTER TABLE blocked ADD COLUMN principal BLOB;
