//! Sorted, versioned entries in memory; no I/O.
