//! An embedded key-value store: WAL and memtables in front, an index per keyspace behind, values in a value log.
