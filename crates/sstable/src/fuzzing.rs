//! For fuzz targets: a node without a file around it. No part of the interface.

use std::path::Path;

use vfs::Result;

use crate::node::Node;

/// A leaf or inner node, its bytes as they come.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a>(Node<'a>);

impl<'a> NodeView<'a> {
    /// The node that stands at a page of a file; `level` is what its parent would say.
    pub fn parse(page: u32, level: u8, bytes: &'a [u8]) -> Result<NodeView<'a>> {
        Node::parse(Path::new("node"), page, level, bytes).map(NodeView)
    }

    /// Entries of a leaf, separators of an inner node.
    pub fn keys(&self) -> usize {
        self.0.layout.keys as usize
    }

    /// Verifies what a look-up does not.
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }

    /// Key `index`, put together from prefix, head and record.
    pub fn key(&self, index: usize) -> Result<Vec<u8>> {
        let mut key = self.0.prefix().to_vec();
        if self.0.layout.level == 0 {
            self.0.read_entry(index, &mut key)?;
        } else {
            self.0.read_separator(index, &mut key)?;
        }
        Ok(key)
    }

    /// The first key that is not below `key`, and whether it equals it.
    pub fn lower_bound(&self, key: &[u8]) -> Result<(usize, bool)> {
        self.0.lower_bound(key)
    }

    /// The page of a child of an inner node.
    pub fn child(&self, index: usize) -> Result<u32> {
        self.0.child(index)
    }
}
