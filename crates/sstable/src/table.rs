//! One table file, open for reading.

use std::path::Path;
use std::sync::Arc;

use vfs::sync::OnceLock;
use vfs::{Access, Bytes, Error, File, Fs, Name, Part, Result, SharedBytes, read_exact_at};

use crate::entry::{FileId, Found, FoundValue};
use crate::filter::{KeyHash, block_contains, block_of, block_place, key_hash};
use crate::format::{
    BLOCK_LEN, Footer, PAGE_BYTES, PAGE_LEN, RawProps, check_filter_page, decode_footer,
    decode_header, decode_props, page_offset, u32_at, verify_page,
};
use crate::node::{Held, Node};
use crate::pages::{PageReader, Source, Verify};

/// How a table's pages come into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadMode {
    /// Through a mapping: fastest, values are found without a copy. A media error under a mapping
    /// ends the process, and so does a file that somebody cuts.
    #[default]
    Mapped,
    /// By reads at offsets: every fault of the disk is an error.
    Positional,
}

/// What the owner recorded when the table was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expect {
    /// [`Built::len`](crate::Built).
    pub len: u64,
    /// [`Built::footer_crc`](crate::Built).
    pub footer_crc: u32,
    /// [`BuilderOptions::owner`](crate::BuilderOptions).
    pub owner: u64,
}

/// What a table says of itself. All of it is under checksums that the footer's covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Props {
    /// The number in the file's name.
    pub file_id: FileId,
    /// Who the file belongs to.
    pub owner: u64,
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
    /// The owner's bytes.
    pub extra: Vec<u8>,
    /// Levels of the tree, leaves included; 0 if there is no entry.
    pub height: u32,
}

/// Where the parts of the file are, in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) page_count: u32,
    pub(crate) root: u32,
    pub(crate) height: u32,
    pub(crate) first_leaf: u32,
    pub(crate) last_leaf: u32,
    pub(crate) tree_end: u32,
    pub(crate) filter_pages: u32,
    pub(crate) filter_blocks: u32,
    pub(crate) filter_probes: u32,
}

/// An open table. Immutable; share it by [`Arc`].
///
/// ```
/// # fn main() -> vfs::Result<()> {
/// # let dir = tempfile::tempdir().expect("a scratch directory");
/// # use sstable::{Builder, BuilderOptions, Entry, FileId, Value};
/// # use vfs::{Kind, Name};
/// use sstable::{Cursor, FoundValue, ReadMode, Table};
///
/// # let fs = vfs::StdFs::open(dir.path())?;
/// # let name = Name::new(Kind::new("tbl"), 1);
/// # let options = BuilderOptions { file_id: FileId(1), owner: 7, salt: 5, bloom_bits_per_key: 10 };
/// # let mut builder = Builder::new(fs.create_new(name)?, options)?;
/// # builder.add(Entry { key: b"lotus", value: Value::Inline(b"flower"), expiry: 0 })?;
/// # let built = builder.finish(b"")?;
/// let table = Table::open(&fs, name, ReadMode::Mapped, None)?;
/// let found = table.get(b"lotus")?.expect("it was added");
/// assert_eq!(found.value, FoundValue::Inline("flower".into()));
///
/// let mut cursor = table.cursor();
/// cursor.seek(b"k")?;
/// assert_eq!(cursor.entry().key, b"lotus");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Table {
    pub(crate) pages: PageReader,
    pub(crate) shape: Shape,
    props: Props,
    len: u64,
    footer_crc: u32,
    /// All filter pages, read and verified when first asked. Positional only.
    filter: OnceLock<Bytes>,
}

/// The pages of a file as long as a table can be, and as `expect` says.
fn count_pages(path: &Path, len: u64, expect: Option<Expect>) -> Result<u32> {
    let what = "length of a table";
    if let Some(expect) = expect.filter(|expect| expect.len != len) {
        return Err(Error::corrupt(what, path, len.min(expect.len), expect.len, len));
    }
    match u32::try_from(len / PAGE_BYTES) {
        Ok(count) if count >= 3 && len.is_multiple_of(PAGE_BYTES) => Ok(count),
        _ => Err(Error::corrupt(what, path, len, 3 * PAGE_BYTES, len)),
    }
}

impl Table {
    /// Opens a table: reads header, footer and props and checks them against each other, the
    /// file's name and `expect`; a page of the tree is verified when it is first read. The table
    /// must not be written or cut while it is open.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` if the file is not the one that `expect` describes or not a whole
    /// table.
    pub fn open(
        fs: &Arc<dyn Fs>,
        name: Name,
        mode: ReadMode,
        expect: Option<Expect>,
    ) -> Result<Arc<Table>> {
        let file = fs.open(name, Access::Read)?;
        let path = file.path();
        let len = file.len()?;
        let page_count = count_pages(path, len, expect)?;
        let mut page = vec![0; PAGE_LEN];
        read_exact_at(&*file, &mut page, 0)?;
        let (header, header_crc) = decode_header(path, FileId(name.id), &page)?;
        let salt = header.file_salt();
        read_exact_at(&*file, &mut page, page_offset(page_count - 1))?;
        let footer_crc = verify_page(path, salt, page_count - 1, &page)?;
        let footer = decode_footer(path, page_count - 1, &page)?;
        let differs = |what, offset, expected: u64, found: u64| {
            if expected == found {
                Ok(())
            } else {
                Err(Error::corrupt(what, path, offset, expected, found))
            }
        };
        differs("checksum of the header", 0, footer.header_crc.into(), header_crc.into())?;
        if let Some(expect) = expect {
            differs("owner of a table", 16, expect.owner, header.owner)?;
            let at = page_offset(page_count - 1);
            differs("checksum of the footer", at, expect.footer_crc.into(), footer_crc.into())?;
        }
        let raw = read_props(&*file, salt, &footer)?;
        let source = match mode {
            ReadMode::Mapped => Source::Mapped(SharedBytes::new(file.map(len)?)),
            ReadMode::Positional => Source::Positional(file.clone()),
        };
        let shape = Shape {
            page_count,
            root: raw.root,
            height: raw.height,
            first_leaf: raw.first_leaf,
            last_leaf: raw.last_leaf,
            tree_end: raw.tree_end,
            filter_pages: raw.filter_pages(),
            filter_blocks: raw.filter_blocks,
            filter_probes: raw.filter_probes,
        };
        let props = Props {
            file_id: header.file_id,
            owner: header.owner,
            count: raw.count,
            tombstones: raw.tombstones,
            expiring: raw.expiring,
            expiry_min: raw.expiry_min,
            smallest: raw.smallest,
            largest: raw.largest,
            extra: raw.extra,
            height: raw.height,
        };
        let pages = PageReader::new(path.to_path_buf(), source, salt, page_count);
        Ok(Arc::new(Table { pages, shape, props, len, footer_crc, filter: OnceLock::new() }))
    }

    /// Has every mapped page verified again on its next read, as after an open: for who lets go of
    /// something because of what the table says, which must be sound then and not only long ago.
    /// Costs a store for each 64 pages. What is read positionally is verified on each read, or in
    /// memory since.
    pub fn forget_verified(&self) {
        self.pages.forget_verified();
    }

    /// What the table says of itself.
    pub fn props(&self) -> &Props {
        &self.props
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if the table has no entry.
    pub fn is_empty(&self) -> bool {
        self.props.count == 0
    }

    /// The checksum of the footer, as [`Built`](crate::Built) told it.
    pub fn footer_crc(&self) -> u32 {
        self.footer_crc
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.pages.path()
    }

    /// False only if no entry has a key of this hash. A filter that cannot be read answers true;
    /// [`Table::get`] then says what is wrong with it.
    pub fn may_contain(&self, hash: KeyHash) -> bool {
        self.filter_contains(hash).unwrap_or(true)
    }

    /// Brings the filter's bits for a hash towards the cache, so that questions to several tables
    /// wait for memory together. Does nothing if the table is read positionally.
    pub fn prefetch_filter(&self, hash: KeyHash) {
        if self.shape.filter_blocks > 0 {
            let (page, at) = block_place(block_of(hash, self.shape.filter_blocks));
            self.pages.prefetch(self.shape.tree_end + page, at);
        }
    }

    /// The entry of a key, whatever it holds. Asks the filter first.
    ///
    /// # Errors
    /// `Corrupt` with the offset of the page that is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Found>> {
        self.get_hashed(key, key_hash(key))
    }

    /// As [`Table::get`], for a key whose hash is known.
    pub fn get_hashed(&self, key: &[u8], hash: KeyHash) -> Result<Option<Found>> {
        if self.filter_contains(hash)? { self.get_unfiltered(key) } else { Ok(None) }
    }

    /// As [`Table::get_hashed`], for a table that probably holds the key: goes down to its leaf while
    /// the filter's bits come from memory. Slower where most tables that are asked do not hold it.
    pub fn get_likely(&self, key: &[u8], hash: KeyHash) -> Result<Option<Found>> {
        if self.shape.height < 2 || !self.pages.is_mapped() {
            return self.get_hashed(key, hash);
        }
        self.prefetch_filter(hash);
        let place = self.leaf_place(key, Verify::First);
        if let Ok((number, _)) = place {
            self.pages.prefetch_node(number);
        }
        if !self.filter_contains(hash)? {
            return Ok(None); // also if the way down is damaged: the key is not there
        }
        let (number, end) = place?;
        self.get_in(number, &self.pages.node(number, end, false, Verify::First)?, key)
    }

    /// As [`Table::get`], without asking the filter: for a caller that did.
    pub fn get_unfiltered(&self, key: &[u8]) -> Result<Option<Found>> {
        if self.shape.height == 0 {
            return Ok(None);
        }
        let (number, leaf) = self.leaf_of(key, Verify::First)?;
        self.get_in(number, &leaf, key)
    }

    #[inline(always)]
    fn get_in(&self, number: u32, leaf: &Part<'_>, key: &[u8]) -> Result<Option<Found>> {
        let node = Node::parse(self.path(), number, 0, leaf)?;
        let (index, equal) = node.lower_bound(key)?;
        if !equal {
            return Ok(None);
        }
        let (held, expiry) = node.held(index)?;
        let value = match held {
            Held::Inline(range) => FoundValue::Inline(leaf.slice(range)),
            Held::Pointer(to) => FoundValue::Pointer(to),
            Held::Tombstone => FoundValue::Tombstone,
        };
        Ok(Some(Found { value, expiry }))
    }

    /// The leaf that holds `key` if any does. The table is not empty.
    #[inline(always)]
    pub(crate) fn leaf_of(&self, key: &[u8], verify: Verify) -> Result<(u32, Part<'_>)> {
        let (number, end) = self.leaf_place(key, verify)?;
        Ok((number, self.pages.node(number, end, false, verify)?))
    }

    /// Where that leaf is, and what is behind it.
    #[inline(always)]
    fn leaf_place(&self, key: &[u8], verify: Verify) -> Result<(u32, u32)> {
        let (mut number, mut end) = (self.shape.root, self.shape.tree_end);
        for height in (1..self.shape.height).rev() {
            let pages = self.pages.node(number, end, true, verify)?;
            let level = u8::try_from(height).expect("a tree is low");
            let node = Node::parse(self.path(), number, level, &pages)?;
            let child = node.child(node.child_index(key)?)?;
            (number, end) = (child, number);
        }
        Ok((number, end))
    }

    fn filter_contains(&self, hash: KeyHash) -> Result<bool> {
        if self.shape.filter_blocks == 0 {
            return Ok(true);
        }
        let (page, at) = block_place(block_of(hash, self.shape.filter_blocks));
        let probes = self.shape.filter_probes;
        if self.pages.is_mapped() {
            let page = self.pages.run(self.shape.tree_end + page, 1, Verify::First)?;
            return Ok(block_contains(block_at(&page, at), hash, probes));
        }
        let start = page as usize * PAGE_LEN;
        Ok(block_contains(block_at(self.whole_filter()?, start + at), hash, probes))
    }

    /// The filter for positional reads: one look at it would cost a read of a page, so it is read
    /// once, whole. A failure is not remembered.
    fn whole_filter(&self) -> Result<&Bytes> {
        if let Some(filter) = self.filter.get() {
            return Ok(filter);
        }
        let pages = self.pages.raw(self.shape.tree_end, self.shape.filter_pages)?;
        for (number, page) in (self.shape.tree_end..).zip(pages.chunks_exact(PAGE_LEN)) {
            self.pages.verify(number, page)?;
        }
        Ok(self.filter.get_or_init(|| pages.bytes()))
    }

    /// Verifies a filter page and what stands before its blocks.
    pub(crate) fn check_filter_page(&self, index: u32) -> Result<()> {
        let number = self.shape.tree_end + index;
        let page = self.pages.run(number, 1, Verify::Always)?;
        check_filter_page(self.path(), number, index, &page)
    }
}

fn block_at(bytes: &[u8], at: usize) -> &[u8; BLOCK_LEN] {
    let block = bytes.get(at..).and_then(|rest| rest.first_chunk());
    block.expect("props and file agree on the pages of the filter")
}

/// The props, verified against the footer, which fits the file.
fn read_props(file: &dyn File, salt: u64, footer: &Footer) -> Result<RawProps> {
    let path = file.path();
    let at = page_offset(footer.props);
    // Four limits make the longest props: two keys, the owner's bytes, the fields.
    const PROPS_LEN_MAX: usize =
        2 * crate::entry::KEY_LEN_MAX + crate::entry::EXTRA_LEN_MAX + PAGE_LEN;
    let len = footer.props_span as usize * PAGE_LEN;
    if len > PROPS_LEN_MAX.next_multiple_of(PAGE_LEN) {
        return Err(Error::corrupt(
            "pages of the props",
            path,
            at,
            PROPS_LEN_MAX as u64,
            len as u64,
        ));
    }
    let mut pages = vec![0; len];
    read_exact_at(file, &mut pages, at)?;
    let found = u32_at(&pages, 0).unwrap_or(0);
    if found != footer.props_crc {
        let expected = u64::from(footer.props_crc);
        return Err(Error::corrupt("checksum of the props", path, at, expected, found.into()));
    }
    verify_page(path, salt, footer.props, &pages)?;
    decode_props(path, footer.props, &pages)
}
