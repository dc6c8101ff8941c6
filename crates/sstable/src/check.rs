//! Reads and verifies every byte of a table.
//!
//! The tree is walked as it was written, in post-order, so that every page must be met exactly
//! where the walk stands: nothing is met twice, nothing is left out, and a forged tree cannot make
//! the walk longer than the file.

use std::sync::Arc;

use vfs::{Error, ReadAhead, Result};

use crate::filter::key_hash;
use crate::format::{decode_footer, decode_header, page_offset};
use crate::node::{Held, Node};
use crate::pages::Verify;
use crate::table::Table;

/// What [`Table::check`] counted on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Pages of the file, all of them verified.
    pub pages: u64,
    /// Leaves of the tree.
    pub leaves: u64,
    /// Inner nodes of the tree.
    pub inner_nodes: u64,
    /// Pages of the filter.
    pub filter_pages: u64,
    /// Entries.
    pub entries: u64,
    /// Of them, tombstones.
    pub tombstones: u64,
    /// Of them, entries with an expiry.
    pub expiring: u64,
    /// Bytes of all keys.
    pub key_bytes: u64,
    /// Bytes of all inline values.
    pub value_bytes: u64,
}

impl Table {
    /// Reads the whole file and verifies it: checksums, order, separators, links, counts, props,
    /// unused bytes, and that the filter knows every key. Takes time in proportion to the file.
    ///
    /// # Errors
    /// `Corrupt` with the offset of the first damage.
    pub fn check(self: &Arc<Self>) -> Result<CheckReport> {
        self.check_ends()?;
        let mut ahead = ReadAhead::default();
        for index in 0..self.shape.filter_pages {
            self.pages.read_ahead(self.shape.tree_end + index, &mut ahead, true);
            self.check_filter_page(index)?;
        }
        let mut walk = Walk::new(self);
        if self.shape.height > 0 {
            let level = u8::try_from(self.shape.height - 1).expect("a tree is low");
            walk.node(self.shape.root, self.shape.tree_end, level, &Bounds::default())?;
        }
        walk.finish()
    }

    /// Header, props and footer, as open read them, once more.
    fn check_ends(&self) -> Result<()> {
        let (header, crc) =
            decode_header(self.path(), self.props().file_id, &self.pages.raw(0, 1)?)?;
        let last = self.shape.page_count - 1;
        let footer = decode_footer(self.path(), last, &self.pages.run(last, 1, Verify::Always)?)?;
        self.pages.run(footer.props, footer.props_span, Verify::Always)?;
        let same = header.owner == self.props().owner && crc == footer.header_crc;
        if same {
            Ok(())
        } else {
            Err(self.wrong("header", 0, footer.header_crc.into(), crc.into()))
        }
    }

    fn wrong(&self, what: &'static str, page: u32, expected: u64, found: u64) -> Error {
        Error::corrupt(what, self.path(), page_offset(page), expected, found)
    }
}

/// Keys of a subtree are not below `low` and below `high`.
#[derive(Clone, Debug, Default)]
struct Bounds {
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

struct Walk<'a> {
    table: &'a Arc<Table>,
    report: CheckReport,
    /// Where the next node in post-order must be.
    page: u32,
    /// The leaf before, 0 at the first, and the leaf it says is next.
    leaf: u32,
    next_leaf: u32,
    key: Vec<u8>,
    last_key: Vec<u8>,
    expiry_min: u64,
    ahead: ReadAhead,
}

impl<'a> Walk<'a> {
    fn new(table: &'a Arc<Table>) -> Walk<'a> {
        Walk {
            table,
            report: CheckReport::default(),
            page: 1,
            leaf: 0,
            next_leaf: table.shape.first_leaf,
            key: Vec::new(),
            last_key: Vec::new(),
            expiry_min: 0,
            ahead: ReadAhead::default(),
        }
    }

    /// Walks a subtree. Deep as the tree is high, which is bounded.
    fn node(&mut self, number: u32, end: u32, level: u8, bounds: &Bounds) -> Result<()> {
        if level == 0 {
            self.expect_page(number)?;
            self.table.pages.read_ahead(number, &mut self.ahead, true);
        }
        let pages = self.table.pages.node(number, end, level > 0, Verify::Always)?;
        let node = Node::parse(self.table.path(), number, level, &pages)?;
        node.check()?;
        if level == 0 {
            self.leaf(&node, bounds)?;
        } else {
            let mut low = bounds.low.clone();
            for index in 0..node.child_count() {
                let mut high = bounds.high.clone();
                if index + 1 < node.child_count() {
                    node.read_separator(index, &mut self.key)?;
                    high = Some(self.key.clone());
                }
                let inside = Bounds { low, high };
                self.node(node.child(index)?, number, level - 1, &inside)?;
                low = inside.high;
            }
            self.expect_page(number)?;
            self.report.inner_nodes += 1;
        }
        self.page += node.layout.span;
        Ok(())
    }

    fn expect_page(&self, number: u32) -> Result<()> {
        if number == self.page {
            return Ok(());
        }
        Err(self.table.wrong(
            "place of a node",
            number,
            page_offset(self.page),
            page_offset(number),
        ))
    }

    fn leaf(&mut self, node: &Node<'_>, bounds: &Bounds) -> Result<()> {
        let layout = node.layout;
        let wrong = |what, expected: u32, found: u32| {
            Err(self.table.wrong(what, layout.page, expected.into(), found.into()))
        };
        if layout.page != self.next_leaf {
            return wrong("page of the next leaf", layout.page, self.next_leaf);
        }
        if layout.prev != self.leaf {
            return wrong("page of the leaf before", self.leaf, layout.prev);
        }
        (self.leaf, self.next_leaf) = (layout.page, layout.next);
        self.report.leaves += 1;
        self.key.clear();
        self.key.extend_from_slice(node.prefix());
        for index in 0..layout.keys as usize {
            let (held, expiry) = node.read_entry(index, &mut self.key)?;
            self.entry(layout.page, &held, expiry)?;
            let below = bounds.low.as_ref().is_some_and(|low| self.key < *low);
            let above = bounds.high.as_ref().is_some_and(|high| self.key >= *high);
            if below || above {
                let index = index as u64;
                return Err(self.table.wrong("separator of a leaf", layout.page, 0, index));
            }
            self.last_key.clear();
            self.last_key.extend_from_slice(&self.key);
        }
        Ok(())
    }

    /// Counts the entry whose key is in `self.key`.
    fn entry(&mut self, page: u32, held: &Held, expiry: u64) -> Result<()> {
        let first = self.report.entries == 0;
        let wrong = |what| Err(self.table.wrong(what, page, 1, 0));
        if !first && self.key <= self.last_key {
            return wrong("order of keys");
        }
        if first && self.key != self.table.props().smallest {
            return wrong("smallest key");
        }
        if !self.table.may_contain(key_hash(&self.key)) {
            return wrong("key in the filter");
        }
        self.report.entries += 1;
        self.report.key_bytes += self.key.len() as u64;
        match held {
            Held::Inline(range) => self.report.value_bytes += range.len() as u64,
            Held::Pointer(_) => {}
            Held::Tombstone => self.report.tombstones += 1,
        }
        if expiry != 0 {
            let min = if self.report.expiring == 0 { expiry } else { self.expiry_min };
            self.expiry_min = min.min(expiry);
            self.report.expiring += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<CheckReport> {
        let (props, shape) = (self.table.props(), &self.table.shape);
        let at = shape.tree_end + shape.filter_pages;
        let pairs = [
            ("end of the tree", shape.tree_end.into(), self.page.into()),
            ("last leaf", shape.last_leaf.into(), self.leaf.into()),
            ("leaf behind the last", 0, self.next_leaf.into()),
            ("count", props.count, self.report.entries),
            ("count of tombstones", props.tombstones, self.report.tombstones),
            ("count of expiries", props.expiring, self.report.expiring),
            ("smallest expiry", props.expiry_min, self.expiry_min),
            ("largest key", 1, u64::from(props.largest == self.last_key)),
        ];
        for (what, expected, found) in pairs {
            if expected != found {
                return Err(self.table.wrong(what, at, expected, found));
            }
        }
        self.report.pages = shape.page_count.into();
        self.report.filter_pages = shape.filter_pages.into();
        Ok(self.report)
    }
}
