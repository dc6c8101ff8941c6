//! The kinds of keyspace, as command lines and replay lines name them.

use std::fmt;

use clap::ValueEnum;
use engine::{IndexKind, KeyspaceOptions};

/// A kind of keyspace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum)]
pub enum Kind {
    /// Ordered.
    Btree,
    /// Unordered: point reads, and `iter` in any order.
    Hash,
}

impl Kind {
    /// Both, the ordered one first.
    pub const ALL: [Kind; 2] = [Kind::Btree, Kind::Hash];

    /// The kind of an index.
    pub fn of(index: IndexKind) -> Kind {
        match index {
            IndexKind::Hash => Kind::Hash,
            _ => Kind::Btree,
        }
    }

    /// How a keyspace of this kind is opened or made.
    pub fn options(self) -> KeyspaceOptions {
        match self {
            Kind::Btree => KeyspaceOptions::btree(),
            Kind::Hash => KeyspaceOptions::hash(),
        }
    }

    /// True if scans come in the order of keys, and ranges and prefixes can be asked for.
    pub fn is_ordered(self) -> bool {
        self == Kind::Btree
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Btree => "btree",
            Kind::Hash => "hash",
        })
    }
}
