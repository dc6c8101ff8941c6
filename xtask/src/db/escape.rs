//! Any bytes as one field of a line of text.
//!
//! ```text
//! \t  tab    \n  newline    \\  backslash    \xHH  the byte with this hexadecimal number
//! ```
//!
//! 1. What [`escape`] writes has no tab and no newline, is UTF-8, and [`unescape`] gives the bytes
//!    back.
//! 2. Printable UTF-8 stands for itself.

/// Appends the escaped form of `bytes` to `out`.
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => out.extend_from_slice(b"\\t"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\\' => out.extend_from_slice(b"\\\\"),
                _ => {
                    let mut buffer = [0; 4];
                    let bytes = character.encode_utf8(&mut buffer).as_bytes();
                    match character.is_control() {
                        true => bytes.iter().for_each(|byte| push_hex(*byte, out)),
                        false => out.extend_from_slice(bytes),
                    }
                }
            }
        }
        chunk.invalid().iter().for_each(|byte| push_hex(*byte, out));
    }
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
}

/// The bytes that an escaped field stands for, or what is wrong with it.
pub(super) fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        bytes.extend_from_slice(&rest[..at]);
        let (byte, len) = match &rest[at + 1..] {
            [b't', ..] => (b'\t', 2),
            [b'n', ..] => (b'\n', 2),
            [b'\\', ..] => (b'\\', 2),
            [b'x', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 4),
                _ => return Err("\\x needs two hexadecimal digits".to_owned()),
            },
            [b'x', ..] => return Err("\\x needs two hexadecimal digits".to_owned()),
            [] => return Err("a field ends in a single backslash; write \\\\".to_owned()),
            [other, ..] => {
                let other = other.escape_ascii();
                return Err(format!("\\{other} is no escape; those are \\t \\n \\\\ \\xHH"));
            }
        };
        bytes.push(byte);
        rest = &rest[at + len..];
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests;
