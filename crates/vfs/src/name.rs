//! The closed grammar of file names: no user string ever becomes a path.
//!
//! ```text
//! name := id "." kind [".bad"]
//! id   := 16 lowercase hexadecimal digits
//! kind := 1 to 8 lowercase letters
//! ```

#[cfg(test)]
mod tests;

use std::fmt;

/// What a file is: the extension of its name.
///
/// ```
/// use vfs::{Kind, Name};
/// const TABLE: Kind = Kind::new("tbl");
/// let name = Name::new(TABLE, 18);
/// assert_eq!(name.to_string(), "0000000000000012.tbl");
/// assert_eq!(Name::parse("0000000000000012.tbl"), Some(name));
/// assert_eq!(Name::parse("12.tbl"), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Lowercase letters, then zeros.
    letters: [u8; 8],
}

impl Kind {
    /// The kind with this extension.
    ///
    /// # Panics
    /// Unless `letters` is 1 to 8 lowercase ASCII letters other than `bad`; in a `const`, that is
    /// a compile error.
    pub const fn new(letters: &str) -> Kind {
        let bytes = letters.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= 8, "a kind has 1 to 8 letters");
        assert!(
            !(bytes.len() == 3 && bytes[0] == b'b' && bytes[1] == b'a' && bytes[2] == b'd'),
            "bad marks quarantined files"
        );
        let mut kind = Kind { letters: [0; 8] };
        let mut index = 0;
        while index < bytes.len() {
            assert!(bytes[index].is_ascii_lowercase(), "a kind is lowercase letters");
            kind.letters[index] = bytes[index];
            index += 1;
        }
        kind
    }

    /// The extension.
    pub fn as_str(&self) -> &str {
        let len = self.letters.iter().position(|letter| *letter == 0).unwrap_or(8);
        std::str::from_utf8(&self.letters[..len]).expect("lowercase ASCII letters")
    }

    fn parse(text: &str) -> Option<Kind> {
        let legal = !text.is_empty() && text.len() <= 8 && text != "bad";
        (legal && text.bytes().all(|b| b.is_ascii_lowercase())).then(|| Kind::new(text))
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a file or directory inside an open directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// What it is.
    pub kind: Kind,
    /// Which one. Owners never use an id twice.
    pub id: u64,
    /// Set aside by recovery; ends in `.bad`.
    pub quarantined: bool,
}

impl Name {
    /// The name of file `id` of a kind.
    pub const fn new(kind: Kind, id: u64) -> Name {
        Name { kind, id, quarantined: false }
    }

    /// The same name, set aside.
    pub const fn quarantine(self) -> Name {
        Name { quarantined: true, ..self }
    }

    /// Reads a name as [`fmt::Display`] writes it; anything else, look-alikes included, is `None`.
    pub fn parse(text: &str) -> Option<Name> {
        let (id, rest) = text.split_once('.')?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if id.len() != 16 || !id.bytes().all(hex) {
            return None;
        }
        let id = u64::from_str_radix(id, 16).ok()?;
        let (kind, quarantined) = match rest.split_once('.') {
            None => (rest, false),
            Some((kind, "bad")) => (kind, true),
            Some(_) => return None,
        };
        Some(Name { kind: Kind::parse(kind)?, id, quarantined })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: names are made at every call of a simulated disk, and the formatter of numbers
        // took 5 % of an exploration.
        let mut digits = [0; 16];
        for (digit, shift) in digits.iter_mut().zip((0..u64::BITS).step_by(4).rev()) {
            *digit = b"0123456789abcdef"[usize::try_from(self.id >> shift & 15).expect("a digit")];
        }
        f.write_str(std::str::from_utf8(&digits).expect("digits are text"))?;
        f.write_str(".")?;
        f.write_str(self.kind.as_str())?;
        f.write_str(if self.quarantined { ".bad" } else { "" })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
