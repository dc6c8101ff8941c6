//! Takes an input apart. Every string of bytes is a legal input; where it ends, zeros follow.

/// What is left of an input.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

/// A file is expanded to no more than this.
pub const FILE_LEN_MAX: usize = 256 << 10;
const PAGE_LEN: usize = 4096;

impl<'a> Input<'a> {
    /// All of `data`.
    pub fn new(data: &'a [u8]) -> Input<'a> {
        Input { rest: data }
    }

    /// True if only zeros would follow.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        let (byte, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *byte
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.u8();
        }
        bytes
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `limit`, from one byte.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.u8()) % limit
    }

    /// The next `len` bytes, or what there is.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    /// Bytes behind their number, which is one byte.
    pub fn short(&mut self) -> &'a [u8] {
        let len = self.u8();
        self.bytes(len.into())
    }

    /// An input behind its length, which is two bytes.
    pub fn part(&mut self) -> Input<'a> {
        let len = self.u16();
        Input::new(self.bytes(len.into()))
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// A number that is often at a border: one byte says which, others follow if need be.
    pub fn number(&mut self) -> u64 {
        match self.u8() {
            250 => u64::MAX,
            251 => self.u64(),
            252 => u64::from(self.u32()),
            253 => u64::from(self.u16()),
            254 => 1 << (self.u8() % 64),
            255 => (1 << (self.u8() % 64)) - 1,
            small => small.into(),
        }
    }

    /// All that is left, expanded: a zero and a number are so many zeros; two zeros are zeros up to
    /// the end of the page. So files of pages are short inputs whose pages stay where they are when
    /// something is inserted.
    pub fn expand(self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = self.rest.iter();
        while let Some(byte) = bytes.next() {
            if *byte != 0 {
                out.push(*byte);
            } else {
                match bytes.next() {
                    None => out.push(0),
                    Some(0) => out.resize((out.len() + 1).next_multiple_of(PAGE_LEN), 0),
                    Some(count) => out.resize(out.len() + usize::from(*count), 0),
                }
            }
            if out.len() >= FILE_LEN_MAX {
                out.truncate(FILE_LEN_MAX);
                break;
            }
        }
        out
    }
}

/// The twin of [`Input::expand`].
pub fn squeeze(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let zeros = bytes[at..].iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let end = at + zeros;
        let page_end = (at + 1).next_multiple_of(PAGE_LEN);
        if page_end <= end && page_end - at > 2 {
            out.extend_from_slice(&[0, 0]);
            at = page_end;
        } else {
            let count = u8::try_from(zeros.min(255)).expect("at most 255");
            out.extend_from_slice(&[0, count]);
            at += usize::from(count);
        }
    }
    out
}

/// Writes what [`Input::part`] reads.
///
/// # Panics
/// If it is too long for its length.
pub fn put_part(part: &[u8], out: &mut Vec<u8>) {
    let len = u16::try_from(part.len()).expect("a part is shorter than 64 KiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(part);
}

#[cfg(test)]
mod tests;
