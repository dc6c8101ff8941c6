//! Appends records to segment files and reads them back, by replay or by position.
