//! What may happen to a file, one thing at a time, and all of what is tried.

use std::fmt;

use anyhow::{Context, Result, bail};
use vfs::sim::Damage;

use super::base::Base;

/// Bytes that a disk writes whole or not at all.
pub(super) const SECTOR: u64 = 512;
const BLOCK: u64 = 4096;
/// Bytes at both ends of a file that count as its header and footer.
const EDGE: u64 = 160;

/// A damage. Files are numbers in the base's list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Case {
    Flip { file: u16, offset: u32, bit: u8 },
    Once { file: u16, offset: u32, bit: u8 },
    Cut { file: u16, len: u32 },
    Grow { file: u16, by: u32, garbage: bool },
    Zero { file: u16, offset: u32, len: u32 },
    Lost { file: u16, offset: u32, len: u32 },
    Misdirected { file: u16, offset: u32, len: u32, to: u16, at: u32 },
    Swap { file: u16, offset: u32, len: u32, with: u16, at: u32 },
    Remove { file: u16 },
    ReplaceBy { file: u16, other: u16 },
    Copy { file: u16, name: CopyName },
}

/// Under which other legal name a file turns up a second time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum CopyName {
    /// The next number.
    Next,
    /// A number far away.
    Far,
    /// Set aside by an earlier recovery.
    Quarantined,
}

impl CopyName {
    const ALL: [CopyName; 3] = [CopyName::Next, CopyName::Far, CopyName::Quarantined];
}

impl Case {
    /// The file that it happens to.
    pub(super) fn file(self) -> usize {
        let file = match self {
            Case::Flip { file, .. } | Case::Once { file, .. } | Case::Cut { file, .. } => file,
            Case::Grow { file, .. } | Case::Zero { file, .. } | Case::Lost { file, .. } => file,
            Case::Misdirected { file, .. } | Case::Swap { file, .. } => file,
            Case::Remove { file } | Case::ReplaceBy { file, .. } | Case::Copy { file, .. } => file,
        };
        usize::from(file)
    }

    /// What is not any more what it was: file, from, to.
    pub(super) fn ranges(self) -> Vec<(usize, u64, u64)> {
        let all = |file: u16| (usize::from(file), 0, u64::MAX);
        let range = |file: u16, offset: u32, len: u32| {
            (usize::from(file), u64::from(offset), u64::from(offset) + u64::from(len))
        };
        match self {
            Case::Flip { file, offset, .. } | Case::Once { file, offset, .. } => {
                vec![range(file, offset, 1)]
            }
            Case::Cut { file, len } => vec![(usize::from(file), u64::from(len), u64::MAX)],
            Case::Zero { file, offset, len } | Case::Lost { file, offset, len } => {
                vec![range(file, offset, len)]
            }
            Case::Misdirected { file, offset, len, to, at } => {
                vec![range(file, offset, len), range(to, at, len)]
            }
            Case::Swap { file, offset, len, with, at } => {
                vec![range(file, offset, len), range(with, at, len)]
            }
            Case::Remove { file } | Case::ReplaceBy { file, .. } => vec![all(file)],
            Case::Grow { .. } | Case::Copy { .. } => Vec::new(),
        }
    }

    /// True if the medium is as it was after one wrong read.
    pub(super) fn is_transient(self) -> bool {
        matches!(self, Case::Once { .. })
    }

    /// A word for counting.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Case::Flip { .. } => "flips",
            Case::Once { .. } => "transient flips",
            Case::Cut { .. } => "cuts",
            Case::Grow { .. } => "grown",
            Case::Zero { .. } => "zeroed",
            Case::Lost { .. } => "lost writes",
            Case::Misdirected { .. } => "misdirected writes",
            Case::Swap { .. } => "swaps",
            Case::Remove { .. } => "removed",
            Case::ReplaceBy { .. } => "replaced",
            Case::Copy { .. } => "copies",
        }
    }

    /// What the simulated disk does, in order; each at a path.
    pub(super) fn damage(self, base: &Base) -> Vec<(String, Damage)> {
        let path = |file: u16| base.files[usize::from(file)].path.clone();
        let here = path(u16::try_from(self.file()).expect("it was one"));
        let one = |damage| vec![(here.clone(), damage)];
        match self {
            Case::Flip { offset, bit, .. } => one(Damage::FlipBit { offset: offset.into(), bit }),
            Case::Once { offset, bit, .. } => one(Damage::FlipOnce { offset: offset.into(), bit }),
            Case::Cut { len, .. } => one(Damage::Truncate { len: len.into() }),
            Case::Grow { by, garbage, file } => {
                let old = base.files[usize::from(file)].len;
                let mut steps = one(Damage::Truncate { len: old + u64::from(by) });
                if garbage {
                    let bytes = vec![0x5a; usize::try_from(by).expect("a small number")];
                    steps.push((here, Damage::Overwrite { offset: old, bytes }));
                }
                steps
            }
            Case::Zero { offset, len, .. } => {
                one(Damage::Zero { offset: offset.into(), len: len.into() })
            }
            Case::Lost { offset, len, .. } => {
                one(Damage::Lost { offset: offset.into(), len: len.into() })
            }
            Case::Misdirected { offset, len, to, at, .. } => one(Damage::Misdirected {
                offset: offset.into(),
                len: len.into(),
                to: path(to),
                at: at.into(),
            }),
            Case::Swap { offset, len, with, at, .. } => one(Damage::SwapWith {
                offset: offset.into(),
                with: path(with),
                at: at.into(),
                len: len.into(),
            }),
            Case::Remove { .. } => one(Damage::Remove),
            Case::ReplaceBy { other, .. } => one(Damage::ReplaceBy { other: path(other) }),
            Case::Copy { file, name } => {
                let file = &base.files[usize::from(file)];
                let (id, kind) = file.name().split_once('.').expect("a name has a kind");
                let id = u64::from_str_radix(id, 16).expect("a name has a number");
                let name = match name {
                    CopyName::Next => format!("{:016x}.{kind}", id + 1),
                    CopyName::Far => format!("{:016x}.{kind}", id + 1000),
                    CopyName::Quarantined => format!("{id:016x}.{kind}.bad"),
                };
                one(Damage::CopyTo { path: format!("{}{name}", file.dir()) })
            }
        }
    }

    /// The case that a line names; see [`Case::show`].
    pub(super) fn parse(line: &str, base: &Base) -> Result<Case> {
        let mut words = line.split(' ');
        let mut word = || words.next().context("the line is too short");
        let kind = word()?;
        let path = word()?;
        let find = |path: &str| -> Result<u16> {
            let found = base.files.iter().position(|file| file.path == path);
            Ok(u16::try_from(found.with_context(|| format!("no file {path}"))?)?)
        };
        let file = find(path)?;
        let case = match kind {
            "flip" => Case::Flip { file, offset: word()?.parse()?, bit: word()?.parse()? },
            "once" => Case::Once { file, offset: word()?.parse()?, bit: word()?.parse()? },
            "cut" => Case::Cut { file, len: word()?.parse()? },
            "grow" => Case::Grow { file, by: word()?.parse()?, garbage: word()?.parse()? },
            "zero" => Case::Zero { file, offset: word()?.parse()?, len: word()?.parse()? },
            "lost" => Case::Lost { file, offset: word()?.parse()?, len: word()?.parse()? },
            "misdirected" | "swap" => {
                let (offset, len) = (word()?.parse()?, word()?.parse()?);
                let (with, at) = (find(word()?)?, word()?.parse()?);
                match kind {
                    "swap" => Case::Swap { file, offset, len, with, at },
                    _ => Case::Misdirected { file, offset, len, to: with, at },
                }
            }
            "remove" => Case::Remove { file },
            "replace" => Case::ReplaceBy { file, other: find(word()?)? },
            "copy" => {
                let text = word()?;
                let name = CopyName::ALL.into_iter().find(|name| format!("{name:?}") == text);
                Case::Copy { file, name: name.with_context(|| format!("no name {text}"))? }
            }
            _ => bail!("no damage is called {kind:?}"),
        };
        Ok(case)
    }

    /// The line that [`Case::parse`] reads.
    pub(super) fn show(self, base: &Base) -> impl fmt::Display {
        let path = |file: u16| base.files[usize::from(file)].path.as_str();
        match self {
            Case::Flip { file, offset, bit } => format!("flip {} {offset} {bit}", path(file)),
            Case::Once { file, offset, bit } => format!("once {} {offset} {bit}", path(file)),
            Case::Cut { file, len } => format!("cut {} {len}", path(file)),
            Case::Grow { file, by, garbage } => format!("grow {} {by} {garbage}", path(file)),
            Case::Zero { file, offset, len } => format!("zero {} {offset} {len}", path(file)),
            Case::Lost { file, offset, len } => format!("lost {} {offset} {len}", path(file)),
            Case::Misdirected { file, offset, len, to, at } => {
                format!("misdirected {} {offset} {len} {} {at}", path(file), path(to))
            }
            Case::Swap { file, offset, len, with, at } => {
                format!("swap {} {offset} {len} {} {at}", path(file), path(with))
            }
            Case::Remove { file } => format!("remove {}", path(file)),
            Case::ReplaceBy { file, other } => format!("replace {} {}", path(file), path(other)),
            Case::Copy { file, name } => format!("copy {} {name:?}", path(file)),
        }
    }
}

/// How much of everything is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Of the bits, lengths and pairs of blocks that are not at the ends of a file, one in so many.
    pub(super) every: u64,
    /// Of those at the ends of a file, and of other damages, one in so many.
    pub(super) edges_every: u64,
    /// Turns equal numbers into other samples.
    pub(super) seed: u64,
}

impl Extent {
    fn takes(self, number: u64) -> bool {
        self.draws(number, self.every)
    }

    fn takes_edge(self, number: u64) -> bool {
        self.draws(number, self.edges_every)
    }

    fn draws(self, number: u64, every: u64) -> bool {
        let mixed = (number ^ self.seed.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 20).is_multiple_of(every)
    }
}

/// Everything that is tried with a base.
pub(super) fn cases(base: &Base, extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for file in 0..base.files.len() {
        bits_and_lengths(base, file, extent, &mut cases);
        let mut others = Vec::new();
        sectors(base, file, &mut others);
        whole_files(base, file, &mut others);
        let name = |number: usize| (file as u64) << 32 | number as u64;
        let others = others.into_iter().enumerate();
        let taken = others.filter(|(number, _)| extent.takes_edge(name(*number)));
        cases.extend(taken.map(|(_, case)| case));
    }
    for len in [SECTOR, BLOCK] {
        swaps(base, len, extent, &mut cases);
    }
    cases
}

fn small(number: u64) -> u32 {
    u32::try_from(number).expect("a small file")
}

fn number(file: usize) -> u16 {
    u16::try_from(file).expect("few files")
}

fn bits_and_lengths(base: &Base, index: usize, extent: Extent, cases: &mut Vec<Case>) {
    let (file, len) = (number(index), base.files[index].len);
    let is_edge = |offset: u64| offset < EDGE || len <= offset + EDGE;
    for offset in 0..len {
        for bit in 0..8_u8 {
            let name = (index as u64) << 40 | offset << 3 | u64::from(bit);
            if extent.takes(name) || (is_edge(offset) && extent.takes_edge(name)) {
                cases.push(Case::Flip { file, offset: small(offset), bit });
            }
            if extent.takes(name ^ 0x5a5a) && (is_edge(offset) || name.is_multiple_of(5)) {
                cases.push(Case::Once { file, offset: small(offset), bit });
            }
        }
        let name = (index as u64) << 40 | offset;
        let is_border = is_edge(offset) || offset % SECTOR == 0;
        if extent.takes(name) || (is_border && extent.takes_edge(name)) {
            cases.push(Case::Cut { file, len: small(offset) });
        }
    }
    for by in [1, 8, 32, 512, 4096] {
        for garbage in [false, true] {
            cases.push(Case::Grow { file, by, garbage });
        }
    }
}

/// Zeroed sectors, lost writes and misdirected ones: to the neighbour, and to another file.
fn sectors(base: &Base, index: usize, cases: &mut Vec<Case>) {
    let (file, len) = (number(index), base.files[index].len);
    let of_kind =
        |other: &usize| *other != index && base.files[*other].kind() == base.files[index].kind();
    let other = (index..base.files.len()).chain(0..index).find(of_kind);
    for unit in [SECTOR, BLOCK] {
        for offset in (0..len).step_by(usize::try_from(unit).expect("a small number")) {
            let (offset, len) = (small(offset), small(unit.min(len - offset)));
            cases.push(Case::Zero { file, offset, len });
            cases.push(Case::Lost { file, offset, len });
            let neighbour =
                (u64::from(offset) + unit) % base.files[index].len.next_multiple_of(unit);
            if neighbour != u64::from(offset) {
                let at = small(neighbour);
                cases.push(Case::Misdirected { file, offset, len, to: file, at });
            }
            if let Some(other) = other {
                let to = number(other);
                cases.push(Case::Misdirected { file, offset, len, to, at: offset });
            }
        }
    }
}

fn whole_files(base: &Base, index: usize, cases: &mut Vec<Case>) {
    let file = number(index);
    cases.push(Case::Remove { file });
    for other in (0..base.files.len()).filter(|other| *other != index) {
        cases.push(Case::ReplaceBy { file, other: number(other) });
    }
    for name in CopyName::ALL {
        cases.push(Case::Copy { file, name });
    }
}

/// Equal-sized blocks in each other's place, within files and between them: neighbours, and a
/// sample of all other pairs.
fn swaps(base: &Base, unit: u64, extent: Extent, cases: &mut Vec<Case>) {
    let mut blocks = Vec::new();
    for (index, file) in base.files.iter().enumerate() {
        for block in 0..file.len / unit {
            blocks.push((number(index), block * unit));
        }
    }
    for (one, (file, offset)) in blocks.iter().enumerate() {
        for (two, (with, at)) in blocks.iter().enumerate().skip(one + 1) {
            let are_neighbours = two == one + 1;
            let pair = (one as u64) << 32 | two as u64;
            let name = pair.wrapping_mul(unit | 1);
            if extent.takes(name) || (are_neighbours && extent.takes_edge(name)) {
                let (offset, at, len) = (small(*offset), small(*at), small(unit));
                cases.push(Case::Swap { file: *file, offset, len, with: *with, at });
            }
        }
    }
}
