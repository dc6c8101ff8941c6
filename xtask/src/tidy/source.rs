//! A Rust file read far enough for tidy: code with strings and comments blanked, comments alone.

use std::path::PathBuf;

/// One source file of the tree that is checked.
pub(super) struct Source {
    /// Relative to the tree's root, with `/` between its parts.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// `text` with the inside of strings, characters and comments replaced by spaces; line
    /// breaks stay, so lines and byte offsets agree with `text`.
    pub(super) code: String,
    /// (line, text after the two slashes), doc comments excepted.
    pub(super) comments: Vec<(usize, String)>,
}

impl Source {
    pub(super) fn new(path: PathBuf, text: String) -> Source {
        let mut scanner = Scanner { rest: &text, code: String::new(), comments: Vec::new() };
        scanner.scan();
        let Scanner { code, comments, .. } = scanner;
        assert_eq!(code.len(), text.len(), "blanking keeps every offset of {}", path.display());
        Source { path, text, code, comments }
    }

    /// The path in the form findings and exceptions use.
    pub(super) fn name(&self) -> String {
        self.path.to_string_lossy().replace('\\', "/")
    }

    /// Compiled for tests only: by its name or by the folder it is in.
    pub(super) fn is_test(&self) -> bool {
        let name = self.name();
        name.ends_with("/tests.rs") || name.contains("/tests/")
    }

    /// 1-based line of a byte offset.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
    }

    /// Offsets of `word` in the code where it stands alone, not as a part of a name.
    pub(super) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.match_indices(word).map(|(offset, _)| offset).filter(move |&offset| {
            let before = self.code[..offset].chars().next_back();
            let after = self.code[offset + word.len()..].chars().next();
            !before.is_some_and(is_name) && !after.is_some_and(is_name)
        })
    }

    /// Byte ranges of inline modules under `#[cfg(test)]`.
    pub(super) fn inline_tests(&self) -> Vec<std::ops::Range<usize>> {
        let marks = self.code.match_indices("#[cfg(test)]");
        marks
            .filter_map(|(offset, mark)| {
                let rest = self.code[offset + mark.len()..].trim_start();
                let start = self.code.len() - rest.len();
                let is_module = rest.starts_with("mod ") || rest.starts_with("pub(crate) mod ");
                let open = start + rest.find(['{', ';'])?;
                let inline = is_module && self.code[open..].starts_with('{');
                inline.then(|| offset..self.closing(open))
            })
            .collect()
    }

    /// The offset behind the brace that closes the one at `open`; the end if there is none.
    pub(super) fn closing(&self, open: usize) -> usize {
        let mut depth = 0u32;
        for (offset, character) in self.code[open..].char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 1 => return open + offset + 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        self.code.len()
    }
}

/// May `character` be a part of a name?
pub(super) fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The name at the start of `code`, empty if there is none.
pub(super) fn leading_name(code: &str) -> &str {
    &code[..code.find(|character| !is_name(character)).unwrap_or(code.len())]
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
    comments: Vec<(usize, String)>,
}

impl Scanner<'_> {
    fn scan(&mut self) {
        while let Some(first) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.line_comment();
            } else if self.rest.starts_with("/*") {
                self.block_comment();
            } else if let Some(hashes) = self.raw_string() {
                self.raw_body(&hashes);
            } else if first == '"' {
                self.string();
            } else if first == '\'' {
                self.character_or_lifetime();
            } else {
                self.keep(first.len_utf8());
            }
        }
    }

    fn keep(&mut self, count: usize) {
        let (kept, rest) = self.rest.split_at(count);
        self.code.push_str(kept);
        self.rest = rest;
    }

    fn blank(&mut self, count: usize) {
        let (blanked, rest) = self.rest.split_at(count);
        self.code.extend(blanked.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }

    fn line_comment(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let text = &self.rest[2..end];
        if !text.starts_with('/') && !text.starts_with('!') {
            let line = 1 + self.code.matches('\n').count();
            self.comments.push((line, text.to_owned()));
        }
        self.blank(end);
    }

    fn block_comment(&mut self) {
        let mut depth = 0u32;
        let mut offset = 0;
        while offset < self.rest.len() {
            let rest = &self.rest[offset..];
            if rest.starts_with("/*") {
                depth += 1;
                offset += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                offset += 2;
                if depth == 0 {
                    break;
                }
            } else {
                offset += rest.chars().next().map_or(1, char::len_utf8);
            }
        }
        self.blank(offset);
    }

    /// The hashes of a raw string that starts here.
    fn raw_string(&self) -> Option<String> {
        if self.code.chars().next_back().is_some_and(|before| is_name(before) && before != 'b') {
            return None;
        }
        let after = self.rest.strip_prefix('r')?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        after[hashes..].starts_with('"').then(|| "#".repeat(hashes))
    }

    fn raw_body(&mut self, hashes: &str) {
        self.keep(1 + hashes.len() + 1);
        let end = format!("\"{hashes}");
        let inside = self.rest.find(&end).unwrap_or(self.rest.len());
        self.blank(inside);
        self.keep(end.len().min(self.rest.len()));
    }

    fn string(&mut self) {
        self.keep(1);
        let mut escaped = false;
        let inside = self.rest.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        self.blank(inside.unwrap_or(self.rest.len()));
        self.keep(1.min(self.rest.len()));
    }

    /// A quote opens a character if it is escaped or closed right after one; else a lifetime.
    fn character_or_lifetime(&mut self) {
        let mut inside = self.rest[1..].chars();
        let length = match (inside.next(), inside.next()) {
            (Some('\\'), Some(escaped)) => {
                let start = 2 + escaped.len_utf8();
                self.rest[start..].find('\'').map(|end| start + end)
            }
            (Some(character), Some('\'')) => Some(1 + character.len_utf8()),
            _ => None,
        };
        self.keep(1);
        if let Some(length) = length {
            self.blank(length - 1);
            self.keep(1);
        }
    }
}

#[cfg(test)]
mod tests;
