-- What upkeep asks for must not depend on how much there is: the invalidated entries of a category, and the sum of all
-- sizes, without a look at every row.
CREATE INDEX entries_by_invalidation ON entries (category, invalidated_at) WHERE invalidated_at IS NOT NULL;
CREATE INDEX entries_by_size ON entries (bytes);
