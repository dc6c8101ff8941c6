//! Files, directories, mappings, checksummed little-endian fields: a real disk and a simulated one.
