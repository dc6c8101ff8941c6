//! Builds and reads immutable B+tree files of sorted entries.
