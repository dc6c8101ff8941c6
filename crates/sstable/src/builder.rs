//! Sorted entries in, a B+tree file out, bottom up and front to back.
//!
//! ```text
//! add -> leaf -(full)-> inner node above -(full)-> ... -> buffer -> file
//! finish -> the nodes left, lowest first -> filter -> props -> footer -> sync
//! ```
//!
//! 1. Pages are written once, in order; nothing is ever patched in the file.
//! 2. Pages of the tree are in post-order: a node follows all nodes below it and nothing else is
//!    between the first of them and it.
//! 3. Memory: one leaf, one inner node a level, 8 bytes a key for the filter (and at the end the
//!    filter itself), 256 KiB of buffer.

use std::path::PathBuf;
use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::{BLOCK_LEN, Error, File, Result, write_all_at, write_blocks_at};

use crate::entry::{EXTRA_LEN_MAX, Entry, FileId, KEY_LEN_MAX, VALUE_LEN_MAX, Value};
use crate::fill::{InnerFill, LeafFill, common_len};
use crate::filter::{self, KeyHash, block_count, key_hash, probe_count};
use crate::format::{
    Footer, Header, NEXT_AT, PAGE_BYTES, PAGE_LEN, RawProps, encode_footer, encode_header,
    encode_props, page_offset, seal_page,
};

/// No node starts behind this page (8 TiB), so that filter and props still have 32-bit numbers.
const PAGE_MAX: u32 = 1 << 31;

/// More bits a key than this serve nothing.
const BLOOM_BITS_MAX: u32 = 64;

/// What a builder must know beforehand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BuilderOptions {
    /// The number in the file's name.
    pub file_id: FileId,
    /// Who the file belongs to: a random number of the owner's, the same for all its files.
    pub owner: u64,
    /// A random number of this file's own, so that no page of another file passes for one of it.
    pub salt: u64,
    /// Bits the filter spends on each key, at most 64; 0 for no filter. 10 gives about 1 % false positives.
    pub bloom_bits_per_key: u32,
}

/// What a finished file is, for the owner's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Built {
    /// Bytes of the file.
    pub len: u64,
    /// The checksum of the footer, which covers, through others, header and props.
    pub footer_crc: u32,
    /// Entries.
    pub count: u64,
    /// Of them, tombstones.
    pub tombstones: u64,
    /// Of them, entries with an expiry.
    pub expiring: u64,
    /// The smallest expiry; 0 if none has one.
    pub expiry_min: u64,
    /// The smallest key; empty if there is no entry.
    pub smallest: Vec<u8>,
    /// The largest key; empty if there is no entry.
    pub largest: Vec<u8>,
}

/// Builds one table file.
///
/// ```
/// # fn main() -> vfs::Result<()> {
/// # let dir = tempfile::tempdir().expect("a scratch directory");
/// use sstable::{Builder, BuilderOptions, Entry, FileId, Value};
/// use vfs::{Kind, Name};
///
/// let fs = vfs::StdFs::open(dir.path())?;
/// let file = fs.create_new(Name::new(Kind::new("tbl"), 1))?;
/// let options =
///     BuilderOptions { file_id: FileId(1), owner: 7, salt: 0x5a17, bloom_bits_per_key: 10 };
/// let mut builder = Builder::new(file, options)?;
/// builder.add(Entry { key: b"lotus", value: Value::Inline(b"flower"), expiry: 0 })?;
/// let built = builder.finish(b"")?;
/// assert_eq!(built.count, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder that is not finished leaves a file that does not open"]
pub struct Builder {
    file: Arc<dyn File>,
    path: PathBuf,
    options: BuilderOptions,
    file_salt: u64,
    header_crc: u32,

    leaf: LeafFill,
    /// The page the leaf will start at.
    leaf_page: u32,
    prev_leaf: u32,
    first_leaf: u32,
    /// Lowest first.
    inner: Vec<InnerFill>,

    /// Bytes from `written` on; whole pages.
    buffer: Vec<u8>,
    written: u64,
    /// The page behind everything in the buffer.
    page: u32,

    hashes: Vec<KeyHash>,
    last_key: Vec<u8>,
    smallest: Vec<u8>,
    count: u64,
    tombstones: u64,
    expiring: u64,
    expiry_min: u64,
    failed: bool,
}

impl Builder {
    /// Starts a table in an empty file. `Invalid` if the file is not empty or an option is beyond
    /// its limit.
    pub fn new(file: Arc<dyn File>, options: BuilderOptions) -> Result<Builder> {
        let path = file.path().to_path_buf();
        if !file.is_empty()? {
            return Err(Error::invalid("a table is built in an empty file", path));
        }
        if options.bloom_bits_per_key > BLOOM_BITS_MAX {
            return Err(Error::invalid("a filter has at most 64 bits a key", path));
        }
        let header = Header { owner: options.owner, file_id: options.file_id, salt: options.salt };
        let buffer = encode_header(&header);
        let (_, crc) = buffer.split_last_chunk::<4>().expect("the header is a page");
        let header_crc = u32::from_le_bytes(*crc);
        Ok(Builder {
            file,
            path,
            options,
            file_salt: header.file_salt(),
            header_crc,
            leaf: LeafFill::default(),
            leaf_page: 1,
            prev_leaf: 0,
            first_leaf: 0,
            inner: Vec::new(),
            buffer,
            written: 0,
            page: 1,
            hashes: Vec::new(),
            last_key: Vec::new(),
            smallest: Vec::new(),
            count: 0,
            tombstones: 0,
            expiring: 0,
            expiry_min: 0,
            failed: false,
        })
    }

    /// Adds an entry behind all others.
    ///
    /// # Errors
    /// `Invalid`, and nothing has changed: a key that is empty, longer than
    /// [`KEY_LEN_MAX`] or not above the one before; a value longer than [`VALUE_LEN_MAX`].
    /// Whatever a write says; from then on `Poisoned`.
    pub fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        self.check(&entry)?;
        if !self.leaf.push(&entry) {
            let written = self.end_leaf(entry.key);
            self.failed |= written.is_err();
            written?;
            assert!(self.leaf.push(&entry), "an empty leaf takes every entry");
        }
        if self.count == 0 {
            self.smallest = entry.key.to_vec();
            self.first_leaf = self.leaf_page;
            self.inner.push(InnerFill::default());
            self.inner[0].push(&[], self.leaf_page);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(entry.key);
        if self.options.bloom_bits_per_key > 0 {
            self.hashes.push(key_hash(entry.key));
        }
        self.count += 1;
        self.tombstones += u64::from(entry.value == Value::Tombstone);
        if entry.expiry != 0 {
            let min = if self.expiring == 0 { entry.expiry } else { self.expiry_min };
            self.expiry_min = min.min(entry.expiry);
            self.expiring += 1;
        }
        Ok(())
    }

    /// Entries added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The key added last.
    pub fn last_key(&self) -> Option<&[u8]> {
        (self.count > 0).then_some(self.last_key.as_slice())
    }

    /// About how many bytes the file would have if it were finished now.
    pub fn len_estimate(&self) -> u64 {
        let filter = self.count * u64::from(self.options.bloom_bits_per_key) / 8;
        let leaf = (self.leaf.len() as u64).next_multiple_of(PAGE_BYTES);
        page_offset(self.page) + leaf + filter + 3 * PAGE_BYTES
    }

    /// Writes what is left and syncs the file. `extra` is kept in the props for the owner. Making
    /// the file's name durable is the owner's part.
    ///
    /// # Errors
    /// `Invalid` if `extra` is longer than [`EXTRA_LEN_MAX`]; whatever a write or the sync says.
    pub fn finish(mut self, extra: &[u8]) -> Result<Built> {
        if self.failed {
            return Err(Error::Poisoned { path: self.path });
        }
        if extra.len() > EXTRA_LEN_MAX {
            return Err(Error::invalid("too many bytes of the owner's for a table", self.path));
        }
        let (root, height) = self.end_tree()?;
        let tree_end = self.page;
        let blocks = block_count(self.hashes.len() as u64, self.options.bloom_bits_per_key);
        let probes = if blocks == 0 { 0 } else { probe_count(self.options.bloom_bits_per_key) };
        let hashes = std::mem::take(&mut self.hashes);
        let pages = filter::build(&hashes, blocks, probes, self.file_salt, tree_end);
        self.append(&pages)?;
        let props = RawProps {
            count: self.count,
            tombstones: self.tombstones,
            expiring: self.expiring,
            expiry_min: self.expiry_min,
            first_leaf: self.first_leaf,
            last_leaf: if self.count == 0 { 0 } else { self.prev_leaf },
            root,
            height,
            tree_end,
            filter_blocks: blocks,
            filter_probes: probes,
            smallest: std::mem::take(&mut self.smallest),
            largest: std::mem::take(&mut self.last_key),
            extra: extra.to_vec(),
        };
        let (len, footer_crc) = self.end_file(&props)?;
        Ok(Built {
            len,
            footer_crc,
            count: props.count,
            tombstones: props.tombstones,
            expiring: props.expiring,
            expiry_min: props.expiry_min,
            smallest: props.smallest,
            largest: props.largest,
        })
    }

    fn check(&self, entry: &Entry<'_>) -> Result<()> {
        if self.failed {
            return Err(Error::Poisoned { path: self.path.clone() });
        }
        let key = entry.key;
        let too_long = matches!(entry.value, Value::Inline(value) if value.len() > VALUE_LEN_MAX);
        let broken = if key.is_empty() {
            "a key is not empty"
        } else if key.len() > KEY_LEN_MAX {
            "a key has at most 65535 bytes"
        } else if self.count > 0 && key <= self.last_key.as_slice() {
            "keys of a table ascend"
        } else if too_long {
            "an inline value has at most 16 MiB"
        } else if self.page > PAGE_MAX {
            "a tree has at most 8 TiB"
        } else {
            return Ok(());
        };
        Err(Error::invalid(broken, &self.path))
    }

    /// Writes the full leaf; the next starts with `key`. Inner nodes that are full go behind the
    /// leaf, so that the page of the next leaf is known before the leaf is sealed.
    fn end_leaf(&mut self, key: &[u8]) -> Result<()> {
        let start = self.buffer.len();
        let (number, span) = self.encode_leaf();
        let shared = common_len(&self.last_key, key);
        let separator = &key[..=shared];
        self.make_room(0, separator);
        self.leaf_page = self.page;
        let leaf = &mut self.buffer[start..start + span];
        leaf[NEXT_AT..NEXT_AT + 4].copy_from_slice(&self.leaf_page.to_le_bytes());
        seal_page(self.file_salt, number, leaf);
        self.inner[0].push(separator, self.leaf_page);
        self.flush_if_full()
    }

    /// Encodes the leaf unsealed; its page number and bytes.
    fn encode_leaf(&mut self) -> (u32, usize) {
        let number = self.leaf_page;
        assert!(number == self.page, "a leaf starts where the file ends");
        let span = self.leaf.encode(self.prev_leaf, &mut self.buffer);
        self.prev_leaf = number;
        self.page += span;
        (number, span as usize * PAGE_LEN)
    }

    /// Writes the inner node of a level if no child fits behind `separator`; the next one there
    /// will start behind it, which may in turn complete the node above. So a node is written as
    /// soon as nothing more can come below it, and pages are in post-order.
    fn make_room(&mut self, level: usize, separator: &[u8]) {
        if self.inner[level].fits(separator) {
            return;
        }
        self.end_inner(level);
        self.make_room(level + 1, separator);
    }

    /// Writes the inner node of a level and puts it below the next, which has room for it.
    fn end_inner(&mut self, level: usize) {
        let (start, number) = (self.buffer.len(), self.page);
        let height = u8::try_from(level + 1).expect("a tree is low");
        let (span, first) = self.inner[level].encode(height, &mut self.buffer);
        seal_page(self.file_salt, number, &mut self.buffer[start..]);
        self.page += span;
        if level + 1 == self.inner.len() {
            self.inner.push(InnerFill::default());
        }
        self.inner[level + 1].push(&first, number);
    }

    /// Writes the last leaf and what is left of each level; the root and the height.
    fn end_tree(&mut self) -> Result<(u32, u32)> {
        if self.count == 0 {
            return Ok((0, 0));
        }
        let start = self.buffer.len();
        let (number, _) = self.encode_leaf();
        seal_page(self.file_salt, number, &mut self.buffer[start..]);
        for level in 0.. {
            let top = level + 1 == self.inner.len();
            if let (true, Some(root)) = (top, self.inner[level].only_child()) {
                let height = u32::try_from(level + 1).expect("a tree is low");
                return Ok((root, height));
            }
            self.end_inner(level);
        }
        unreachable!("each level has fewer nodes than the one below")
    }

    fn end_file(&mut self, props: &RawProps) -> Result<(u64, u32)> {
        let number = self.page;
        let mut pages = encode_props(props);
        let props_crc = seal_page(self.file_salt, number, &mut pages);
        self.append(&pages)?;
        let len = page_offset(self.page) + PAGE_BYTES;
        let mut page = encode_footer(&Footer {
            len,
            props: number,
            props_span: self.page - number,
            props_crc,
            header_crc: self.header_crc,
        });
        let footer_crc = seal_page(self.file_salt, self.page, &mut page);
        self.append(&page)?;
        self.flush()?;
        assert!(self.written == len, "the footer tells the length of the file");
        if !planted::is(Bug::TableUnsynced) {
            self.file.sync_data()?;
        }
        Ok((len, footer_crc))
    }

    /// Adds whole pages, which were sealed for this place.
    fn append(&mut self, pages: &[u8]) -> Result<()> {
        self.page += u32::try_from(pages.len() / PAGE_LEN).expect("the file is below 16 TiB");
        self.buffer.extend_from_slice(pages);
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= BLOCK_LEN {
            self.written += write_blocks_at(&*self.file, &mut self.buffer, self.written)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        write_all_at(&*self.file, &self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        assert!(self.written == page_offset(self.page), "pages are counted as they are written");
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
