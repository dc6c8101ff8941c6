//! The three shapes of an entry that everything is measured with.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How long keys and values are, and how many entries there are.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum, Serialize, Deserialize,
)]
pub enum Size {
    /// 24-byte keys, 150-byte values.
    #[value(name = "150")]
    #[serde(rename = "150")]
    Small,
    /// 16-byte keys, 1 KiB values.
    #[value(name = "1k")]
    #[serde(rename = "1k")]
    Medium,
    /// 16-byte keys, 16 KiB values.
    #[value(name = "16k")]
    #[serde(rename = "16k")]
    Large,
}

impl Size {
    /// All of them.
    pub const ALL: [Size; 3] = [Size::Small, Size::Medium, Size::Large];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Size::Small => "150",
            Size::Medium => "1k",
            Size::Large => "16k",
        }
    }

    /// What a heading says.
    pub fn title(self) -> &'static str {
        match self {
            Size::Small => "24-byte keys, 150-byte values",
            Size::Medium => "16-byte keys, 1 KiB values",
            Size::Large => "16-byte keys, 16 KiB values",
        }
    }

    /// Bytes of a key.
    pub fn key_len(self) -> usize {
        match self {
            Size::Small => 24,
            Size::Medium | Size::Large => 16,
        }
    }

    /// Bytes of a value.
    pub fn value_len(self) -> usize {
        match self {
            Size::Small => 150,
            Size::Medium => 1 << 10,
            Size::Large => 16 << 10,
        }
    }

    /// Entries of a full run.
    pub fn entries(self) -> u64 {
        match self {
            Size::Small => 2_000_000,
            Size::Medium => 1_000_000,
            Size::Large => 100_000,
        }
    }
}
