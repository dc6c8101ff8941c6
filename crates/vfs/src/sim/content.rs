//! The bytes of a simulated file: sparse, in shared pages, so that a copy of a whole disk costs a
//! few reference counts and a hash of it touches only pages that nobody hashed before.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// Bytes of a page: what a mapping stores at once.
pub(super) const PAGE_LEN: usize = 4096;
const PAGE: u64 = PAGE_LEN as u64;

/// Pages that are copied together when one of them changes.
const CHUNK_PAGES: usize = 32;
const CHUNK: u64 = CHUNK_PAGES as u64;

/// The bytes of a file. What was never written reads as zeros and takes no space. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    tree: Arc<Tree>,
}

#[derive(Debug, Default)]
struct Tree {
    /// Page number / [`CHUNK`] to pages.
    chunks: BTreeMap<u64, Arc<Chunk>>,
    /// All bytes in one piece, once somebody asked for them; of the length there was then.
    flat: OnceLock<Bytes>,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    pages: [Option<Arc<Page>>; CHUNK_PAGES],
}

/// Bytes behind the end of the file are zero.
#[derive(Debug)]
struct Page {
    bytes: [u8; PAGE_LEN],
    hash: OnceLock<u64>,
}

impl Clone for Tree {
    /// A clone is made in order to be changed.
    fn clone(&self) -> Tree {
        Tree { chunks: self.chunks.clone(), flat: OnceLock::new() }
    }
}

impl Clone for Page {
    fn clone(&self) -> Page {
        Page { bytes: self.bytes, hash: OnceLock::new() }
    }
}

impl Page {
    /// 0 for a page of zeros, which is the same as no page.
    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| {
            if self.bytes.iter().all(|byte| *byte == 0) { 0 } else { hash_bytes(&self.bytes) | 1 }
        })
    }
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` from `offset` as far as the file goes; returns how far.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.len.saturating_sub(offset);
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let mut done = 0;
        while done < count {
            let (page, start, len) = piece(offset + done as u64, count - done);
            let target = &mut buffer[done..done + len];
            match self.page(page) {
                Some(page) => target.copy_from_slice(&page.bytes[start..start + len]),
                None => target.fill(0),
            }
            done += len;
        }
        count
    }

    /// Writes, growing the file if need be.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, len) = piece(offset + done as u64, bytes.len() - done);
            let source = &bytes[done..done + len];
            self.page_mut(page).bytes[start..start + len].copy_from_slice(source);
            done += len;
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    /// Cuts the file, or grows it by zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let kept = len.div_ceil(PAGE);
            let tree = self.tree_mut();
            tree.chunks.split_off(&kept.div_ceil(CHUNK));
            if let Some(chunk) = tree.chunks.get_mut(&(kept / CHUNK)) {
                for page in &mut Arc::make_mut(chunk).pages[index(kept)..] {
                    *page = None;
                }
            }
            let tail = usize::try_from(len % PAGE).expect("below a page");
            if tail > 0 && self.page(len / PAGE).is_some() {
                self.page_mut(len / PAGE).bytes[tail..].fill(0);
            }
        } else if len > self.len && self.tree.flat.get().is_some() {
            self.tree_mut();
        }
        self.len = len;
    }

    /// All bytes.
    ///
    /// # Panics
    /// If the file is too large for memory.
    pub(super) fn to_bytes(&self) -> Bytes {
        let flat = self.tree.flat.get_or_init(|| {
            let mut bytes = vec![0; usize::try_from(self.len).expect("fits into memory")];
            self.read(&mut bytes, 0);
            Bytes::from(bytes)
        });
        if flat.len() as u64 == self.len {
            return flat.clone();
        }
        // Another file of the same pages and another length asked first.
        let mut bytes = vec![0; usize::try_from(self.len).expect("fits into memory")];
        self.read(&mut bytes, 0);
        Bytes::from(bytes)
    }

    /// Some number that is equal for equal content.
    pub(super) fn hash(&self) -> u64 {
        let mut hash = fold(self.len, 0x5bd1);
        for (number, page) in self.pages() {
            match page.hash() {
                0 => {}
                page => hash = fold(fold(hash, number), page),
            }
        }
        hash
    }

    /// True if the page takes space.
    pub(super) fn has_page(&self, page: u64) -> bool {
        self.page(page).is_some()
    }

    /// Numbers of the pages that take space.
    pub(super) fn page_numbers(&self) -> impl Iterator<Item = u64> {
        self.pages().map(|(number, _)| number)
    }

    fn pages(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.tree.chunks.iter().flat_map(|(number, chunk)| {
            let numbers = number * CHUNK..;
            let pages = numbers.zip(&chunk.pages);
            pages.filter_map(|(number, page)| page.as_deref().map(|page| (number, page)))
        })
    }

    fn page(&self, page: u64) -> Option<&Page> {
        self.tree.chunks.get(&(page / CHUNK))?.pages[index(page)].as_deref()
    }

    fn page_mut(&mut self, page: u64) -> &mut Page {
        let chunk = self.tree_mut().chunks.entry(page / CHUNK).or_default();
        let slot = &mut Arc::make_mut(chunk).pages[index(page)];
        let page = slot
            .get_or_insert_with(|| Arc::new(Page { bytes: [0; PAGE_LEN], hash: OnceLock::new() }));
        let page = Arc::make_mut(page);
        page.hash.take();
        page
    }

    fn tree_mut(&mut self) -> &mut Tree {
        let tree = Arc::make_mut(&mut self.tree);
        tree.flat.take();
        tree
    }
}

/// Index of a page in its chunk.
fn index(page: u64) -> usize {
    usize::try_from(page % CHUNK).expect("below the pages of a chunk")
}

/// The first piece of `offset..offset + len` that lies in one page: its page, where it starts
/// there, and its length.
pub(super) fn piece(offset: u64, len: usize) -> (u64, usize, usize) {
    let start = usize::try_from(offset % PAGE).expect("below a page");
    (offset / PAGE, start, len.min(PAGE_LEN - start))
}

/// Mixes a number into a hash: the two halves of a product, as in wyhash (Wang Yi).
pub(super) fn fold(hash: u64, value: u64) -> u64 {
    let factor = u128::from(value ^ 0xe703_7ed1_a0b4_28db);
    let product = u128::from(hash ^ 0xa076_1d64_78bd_642f) * factor;
    let low = u64::try_from(product & u128::from(u64::MAX)).expect("the low half");
    let high = u64::try_from(product >> 64).expect("the high half");
    low ^ high ^ value.rotate_left(23)
}

/// A hash of some bytes.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash =
        words.iter().fold(bytes.len() as u64, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = fold(hash, u64::from_le_bytes(last));
    }
    hash
}
