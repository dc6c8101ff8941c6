//! Makes the checksums of changed files right again, so that parsers go deep: what a forger can do.
//!
//! Each function finds its way by the lengths that the bytes claim, as far as they make sense. A
//! file that nobody changed stays as it is; a test holds that against files of the store.

use vfs::Checksum;

const PAGE: usize = 4096;
const SEGMENT_HEADER: usize = 96;
const FRAME_HEADER: usize = 24;
const SEGMENT_SALT: u64 = 0x6e65_6c75_6d62_6f31;
const PAYLOAD_SALT: u64 = 0x7061_796c_6f61_6431;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, &value.to_le_bytes());
}

/// What the payloads of a segment's frames are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Anything.
    Opaque,
    /// Records of the database, which belong where they stand.
    Records(u64),
    /// Records of the database behind the list of where they belong.
    Moved(u64),
}

/// A log segment, value segment or MANIFEST named `id`.
pub fn segment(id: u32, payload: Payload, bytes: &mut [u8]) {
    if let Some(head) = bytes.get(..SEGMENT_HEADER - 8) {
        let crc = Checksum::of(SEGMENT_SALT, id.into(), head);
        put_u32(bytes, SEGMENT_HEADER - 8, crc);
    }
    let Some(salt) = u64_at(bytes, 32) else { return };
    let mut at = SEGMENT_HEADER;
    while let Some(frame) = bytes.get_mut(at..).filter(|rest| rest.len() >= FRAME_HEADER) {
        // A hole ends a segment.
        let Some(len) = u32_at(frame, 8).filter(|_| frame[..FRAME_HEADER] != [0; FRAME_HEADER])
        else {
            return;
        };
        let end = (FRAME_HEADER + len as usize).min(frame.len());
        let start = (at + FRAME_HEADER) as u64;
        let body = &mut frame[FRAME_HEADER..end];
        match payload {
            Payload::Opaque => {}
            Payload::Records(db_id) => records(db_id, id, start, body),
            Payload::Moved(db_id) => moved(db_id, body),
        }
        let crc = Checksum::of(salt ^ PAYLOAD_SALT, at as u64, body);
        put_u32(frame, 4, crc);
        let crc = Checksum::of(salt, at as u64, &frame[4..FRAME_HEADER]);
        put_u32(frame, 0, crc);
        at += FRAME_HEADER + (len as usize).next_multiple_of(8);
    }
}

/// The length that a record claims.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let value_len = u32_at(bytes, 4)? as usize;
    let expiry_len = if bytes.get(15)? & 16 == 0 { 0 } else { 8 };
    let key_len = usize::from(u16_at(bytes, 20)?);
    Some((24 + expiry_len + key_len + value_len).next_multiple_of(8))
}

/// One record, which belongs to an address; its length.
pub fn record(db_id: u64, segment: u32, offset: u64, bytes: &mut [u8]) -> Option<usize> {
    let len = record_len(bytes).filter(|len| *len <= bytes.len())?;
    let crc = Checksum::of(db_id ^ (u64::from(segment) << 32), offset, &bytes[4..len]);
    put_u32(bytes, 0, crc);
    Some(len)
}

fn records(db_id: u64, segment: u32, start: u64, bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(len) = record(db_id, segment, start + at as u64, &mut bytes[at..]) {
        at += len;
    }
}

fn moved(db_id: u64, bytes: &mut [u8]) {
    let Some(count) = u32_at(bytes, 0) else { return };
    let mut at = 8 + (count as usize).saturating_mul(8);
    let mut entry = 8;
    for _ in 0..count {
        let (Some(segment), Some(unit)) = (u32_at(bytes, entry), u32_at(bytes, entry + 4)) else {
            return;
        };
        let Some(rest) = bytes.get_mut(at..) else { return };
        let Some(len) = record(db_id, segment, u64::from(unit) * 8, rest) else { return };
        at += len;
        entry += 8;
    }
}

/// Seals pages `from..to` of a file.
fn seal_pages(salt: u64, from: usize, to: usize, bytes: &mut [u8]) {
    let at = from * PAGE;
    if let Some(covered) = bytes.get(at + 4..to * PAGE) {
        let crc = Checksum::of(salt, at as u64, covered);
        put_u32(bytes, at, crc);
    }
}

/// The salt of what stands behind a file's header: owner, file id and salt from there.
fn file_salt(bytes: &[u8], owner_at: usize) -> Option<u64> {
    let (owner, salt) = (u64_at(bytes, owner_at)?, u64_at(bytes, owner_at + 16)?);
    Some(salt ^ owner.rotate_left(21) ^ u64_at(bytes, owner_at + 8)?.rotate_left(42))
}

/// A table named `id`.
pub fn table(id: u64, bytes: &mut [u8]) {
    let pages = bytes.len() / PAGE;
    let Some(salt) = file_salt(bytes, 16) else { return };
    let Some(header) = bytes.get(..PAGE - 4).filter(|_| pages >= 3) else { return };
    let crc = Checksum::of(id, 0, header);
    put_u32(bytes, PAGE - 4, crc);
    let (footer, mut page) = (pages - 1, 1);
    while page < footer {
        let span = u32_at(bytes, page * PAGE + 8).unwrap_or(1) as usize;
        let end = page.saturating_add(span.max(1)).min(footer);
        seal_pages(salt, page, end, bytes);
        page = end;
    }
    let props = u32_at(bytes, footer * PAGE + 32).unwrap_or(0) as usize;
    if let Some(props_crc) = u32_at(bytes, props.saturating_mul(PAGE)) {
        put_u32(bytes, footer * PAGE + 40, props_crc);
    }
    put_u32(bytes, footer * PAGE + 44, crc);
    seal_pages(salt, footer, pages, bytes);
}

/// A run or partition named `id`.
pub fn run(id: u64, bytes: &mut [u8]) {
    let Some(salt) = file_salt(bytes, 16) else { return };
    let Some(footer_at) = bytes.len().checked_sub(64).filter(|at| *at >= PAGE) else { return };
    let header_crc = Checksum::of(id, 0, &bytes[..PAGE - 4]);
    put_u32(bytes, PAGE - 4, header_crc);
    let pages = u64_at(bytes, footer_at + 32).and_then(|pages| usize::try_from(pages).ok());
    let pages = pages.unwrap_or(0).min(footer_at / PAGE - 1);
    for page in 1..=pages {
        seal_pages(salt, page, page + 1, bytes);
    }
    let trailer_at = (1 + pages) * PAGE;
    let trailer_crc = Checksum::of(salt, trailer_at as u64, &bytes[trailer_at..footer_at]);
    put_u32(bytes, footer_at + 48, header_crc);
    put_u32(bytes, footer_at + 52, trailer_crc);
    let crc = Checksum::of(salt, footer_at as u64, &bytes[footer_at..footer_at + 60]);
    put_u32(bytes, footer_at + 60, crc);
}

/// A generation record named `id`; `file` gives the bytes of a file that it names.
pub fn generation(id: u64, bytes: &mut [u8], file: impl Fn(u64) -> Option<Vec<u8>>) {
    let runs = u32_at(bytes, 64).unwrap_or(0) as usize;
    let mut at = 72;
    for index in 0..bytes.len() / 40 {
        let named = u64_at(bytes, at).and_then(&file);
        if let Some(named) = named.filter(|named| named.len() >= 64) {
            let footer = named.len() - 64;
            put(bytes, at + 8, &(named.len() as u64).to_le_bytes());
            put(bytes, at + 16, &named[footer + 24..footer + 32]);
            put(bytes, at + 24, &named[footer + 60..]);
        }
        at += if index < runs { 40 } else { 48 };
    }
    if let Some(end) = bytes.len().checked_sub(4) {
        let crc = Checksum::of(id, 0, &bytes[..end]);
        put_u32(bytes, end, crc);
    }
}

/// A remap table named `id`.
pub fn remap(id: u64, bytes: &mut [u8]) {
    let pages = bytes.len() / PAGE;
    let Some(salt) = file_salt(bytes, 24).filter(|_| pages >= 2) else { return };
    seal_pages(id, 0, 1, bytes);
    let header: [u8; 4] = [bytes[0], bytes[1], bytes[2], bytes[3]];
    put(bytes, (pages - 1) * PAGE + 52, &header);
    for page in 1..pages {
        seal_pages(salt, page, page + 1, bytes);
    }
}

#[cfg(test)]
mod tests;
