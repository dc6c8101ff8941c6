//! Which segment files of a directory are the log, and where it ends.
//!
//! ```text
//! first -> successor -> ... -> tip          successor of S: the highest id that names S as its
//!                                           predecessor; a recovery that ignored others always
//!                                           took a higher id than all of them
//! ```
//!
//! The chain is read forward. Where a segment's frames end before its successor says, or where
//! there is no successor, the log ends, or is damaged: [`crate::replay`] decides.

use std::path::PathBuf;
use std::sync::Arc;

use vfs::planted::{self, Bug};
use vfs::{Access, Advice, Error, File, Fs, Kind, Name, Result};

use crate::format::{self, HEADER_LEN, Previous, Role, SEGMENT, SegmentHeader, VALUES};
use crate::meta::SegmentMeta;
use crate::meta::read_header;
use crate::position::{ALIGN, Position, SegmentId, SegmentIds};
use crate::replay::{self, Body, Evidence, Visit, Window};

/// Where a log starts, and what its owner knows about it.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The log's id. Given: segments of any other log do not count, and a new log gets this one.
    /// Not given: that of the oldest segment, or a random one.
    pub log_id: Option<u64>,
    /// The segment to start from, which must be there. `None`: the oldest, or a new log.
    pub first: Option<SegmentId>,
    /// The owner's records say that the log was synced up to here.
    pub attested: Option<Position>,
    /// Where ids of new segments come from; raised above every id in the directory.
    pub ids: SegmentIds,
    /// New seqs will be above it, and above every seq seen.
    pub seq_floor: u64,
    /// Space is short: the new segment is the smallest legal one; see
    /// [`set_frugal`](crate::Log::set_frugal).
    pub frugal: bool,
}

/// One segment of the chain.
pub(crate) struct Link {
    pub(crate) file: Arc<dyn File>,
    pub(crate) header: SegmentHeader,
    pub(crate) meta: SegmentMeta,
    /// What nothing attests was written once more, already.
    is_rewritten: bool,
}

impl Link {
    /// Writes once more what nothing attests, unless that was done.
    pub(crate) fn write_again(&mut self, attested: Option<Position>) -> Result<()> {
        if !self.is_rewritten {
            write_unattested(&*self.file, self.meta.id, self.meta.len, attested)?;
            self.is_rewritten = true;
        }
        Ok(())
    }
}

/// Writes once more what nothing attests of a segment that ends at `end`, as it is and where it is.
///
/// Postmortem: we believed that a sync of what an earlier process wrote makes it durable. After a
/// sync that failed in that process its pages look clean, so the next sync has nothing to do and
/// says all is well: the log attested bytes that no disk had, and after a power cut it was
/// `Corrupt` for ever. What nothing attests is therefore written once more before it is synced.
fn write_unattested(
    file: &dyn File,
    id: SegmentId,
    end: u64,
    attested: Option<Position>,
) -> Result<()> {
    let from = match attested {
        Some(attested) if id < attested.segment => end,
        Some(attested) if id == attested.segment => attested.offset.min(end),
        _ => 0,
    };
    vfs::write_again(file, from, end)?;
    file.advise(from, end - from, Advice::WriteBack);
    Ok(())
}

/// A log as it was found.
#[derive(Default)]
pub(crate) struct Chain {
    /// Oldest first.
    pub(crate) links: Vec<Link>,
    pub(crate) log_id: Option<u64>,
    /// The highest epoch seen.
    pub(crate) epoch: u64,
    pub(crate) records: u64,
    pub(crate) last_seq: u64,
    /// Ignored frames included.
    pub(crate) max_seq_seen: u64,
    /// The furthest position that something records as synced.
    pub(crate) attested: Option<Position>,
    /// Segment files that are no part of the chain.
    pub(crate) ignored: Vec<Name>,
    /// Where something was cut off, and how many bytes are ignored behind it.
    pub(crate) cut: Option<(Position, u64)>,
}

/// A file that may be a segment of the log.
struct Candidate {
    id: SegmentId,
    file: Arc<dyn File>,
    header: Result<SegmentHeader>,
    /// The header was whole once.
    is_damaged: bool,
}

/// Reads the log in a directory and gives every record of it to `visit`.
pub(crate) fn replay_log(
    fs: &Arc<dyn Fs>,
    kind: Kind,
    start: &Start,
    visit: Visit<'_>,
) -> Result<Chain> {
    let mut names = raise_ids(fs, kind, start)?;
    // What is older than the owner's first segment may be kept for other reasons.
    names.retain(|name| start.first.is_none_or(|first| u64::from(first.0) <= name.id));
    let mut candidates = Vec::new();
    for name in &names {
        candidates.extend(read_candidate(fs, *name)?);
    }
    let mut log_id = start.log_id;
    expect_log_id(&mut candidates, log_id);
    let Some(first) = choose_first(fs, kind, &candidates, start)? else {
        return Ok(Chain { ignored: names, ..Chain::default() });
    };
    log_id = log_id.or(header_of(&candidates[first]).map(|header| header.log_id));
    expect_log_id(&mut candidates, log_id);

    let mut chain = Chain { log_id, ..Chain::default() };
    chain.epoch = headers(&candidates).map(|header| header.epoch).max().unwrap_or(0);
    walk(&candidates, first, start.attested, &mut chain, visit)?;
    chain.links.iter().for_each(|link| start.ids.raise_above(link.meta.id));
    let is_link = |name: &Name| chain.links.iter().any(|l| u64::from(l.header.id.0) == name.id);
    chain.ignored = names.into_iter().filter(|name| !is_link(name)).collect();
    Ok(chain)
}

/// The names of all files of the log's kind, oldest first; no id that is in use by any kind of
/// segment, quarantined ones included, will be given again.
fn raise_ids(fs: &Arc<dyn Fs>, kind: Kind, start: &Start) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs.list()?.entries {
        let name = entry.name;
        if ![kind, SEGMENT, VALUES].contains(&name.kind) || entry.is_dir {
            continue;
        }
        match u32::try_from(name.id) {
            Ok(id) if id < SegmentIds::PLANTED_MIN && !planted::is(Bug::SegmentIdReused) => {
                start.ids.raise_above(SegmentId(id));
            }
            _ => {}
        }
        if name.kind == kind && !name.quarantined {
            names.push(name);
        }
    }
    let known = [start.first, start.attested.map(|position| position.segment)];
    known.into_iter().flatten().for_each(|id| start.ids.raise_above(id));
    names.sort_unstable();
    Ok(names)
}

/// Opens a file and reads its header; `None` if its number cannot be a segment's.
fn read_candidate(fs: &Arc<dyn Fs>, name: Name) -> Result<Option<Candidate>> {
    let Ok(id @ 1..) = u32::try_from(name.id) else { return Ok(None) };
    let id = SegmentId(id);
    // For writing too, because some systems sync only such handles. Nothing is written.
    let file = fs.open(name, Access::ReadWrite)?;
    let header = match read_header(&*file, name) {
        Err(error) if !error.is_corrupt() => return Err(error),
        header => header,
    };
    let is_damaged = header.is_err() && is_damaged(&*file, id)?;
    Ok(Some(Candidate { id, file, header, is_damaged }))
}

fn is_damaged(file: &dyn File, id: SegmentId) -> Result<bool> {
    let mut bytes = [0; format::HEADER_BYTES];
    if file.len()? < HEADER_LEN {
        return Ok(false);
    }
    vfs::read_exact_at(file, &mut bytes, 0)?;
    Ok(format::is_damaged_header(id, &bytes))
}

/// Takes away the header of every candidate that belongs to another log.
fn expect_log_id(candidates: &mut [Candidate], log_id: Option<u64>) {
    for candidate in candidates {
        let Ok(header) = &candidate.header else { continue };
        let is_ours = log_id.is_none_or(|id| id == header.log_id);
        if header.role != Role::Log || !is_ours {
            let (expected, found) = (log_id.unwrap_or_default(), header.log_id);
            let path = candidate.file.path();
            candidate.header = Err(Error::corrupt("log id", path, 0, expected, found));
        }
    }
}

fn header_of(candidate: &Candidate) -> Option<&SegmentHeader> {
    candidate.header.as_ref().ok()
}

fn headers(candidates: &[Candidate]) -> impl Iterator<Item = &SegmentHeader> {
    candidates.iter().filter_map(header_of)
}

/// A copy of the error that says why a candidate has no header.
fn header_error(candidate: &Candidate) -> Error {
    match &candidate.header {
        Err(Error::Corrupt { what, path, offset, expected, found }) => {
            Error::corrupt(what, path.clone(), *offset, *expected, *found)
        }
        _ => Error::corrupt("segment header", candidate.file.path(), 0, 0, 0),
    }
}

/// Index of the chain's first segment; `None` for a log that does not exist yet.
fn choose_first(
    fs: &Arc<dyn Fs>,
    kind: Kind,
    candidates: &[Candidate],
    start: &Start,
) -> Result<Option<usize>> {
    let path_of =
        |id: SegmentId| -> PathBuf { fs.path().join(Name::new(kind, u64::from(id.0)).to_string()) };
    if let Some(first) = start.first {
        let index = candidates.iter().position(|candidate| candidate.id == first);
        let index = index.ok_or_else(|| Error::NotFound { path: path_of(first) })?;
        return match &candidates[index].header {
            Ok(_) => Ok(Some(index)),
            Err(_) => Err(header_error(&candidates[index])),
        };
    }
    // Whoever started a log anew ignored all that was there before.
    let is_root = |c: &Candidate| header_of(c).is_some_and(|header| header.previous.is_none());
    let root = candidates.iter().rposition(is_root);
    let first = root.or(candidates.iter().position(|candidate| candidate.header.is_ok()));
    // The oldest segment's header was durable before the first byte behind it was written, before
    // it got a successor, and before anything older was removed.
    let previous = first.and_then(|first| header_of(&candidates[first])?.previous);
    for candidate in &candidates[..first.unwrap_or(candidates.len())] {
        let is_missed = previous.is_some_and(|previous| previous.id == candidate.id);
        let was_whole = is_missed || candidate.is_damaged || has_frames(candidate)?;
        if candidate.header.is_err() && was_whole {
            return Err(header_error(candidate));
        }
    }
    match (first, start.attested) {
        (None, Some(attested)) => match candidates.iter().find(|c| c.id == attested.segment) {
            Some(candidate) => Err(header_error(candidate)),
            None => Err(Error::NotFound { path: path_of(attested.segment) }),
        },
        _ => Ok(first),
    }
}

/// Whether anything was ever written behind the header.
fn has_frames(candidate: &Candidate) -> Result<bool> {
    let mut window = Window::new(&*candidate.file)?;
    let mut behind = Evidence::default();
    behind.search(&mut window, None, HEADER_LEN)?;
    Ok(behind.ignored_bytes > 0)
}

fn successor<'a>(candidates: &'a [Candidate], id: SegmentId) -> Option<(usize, &'a Previous)> {
    let previous = |candidate: &'a Candidate| header_of(candidate)?.previous.as_ref();
    let found = candidates.iter().enumerate().rev();
    found.filter_map(|(index, c)| Some((index, previous(c)?))).find(|(_, p)| p.id == id)
}

/// Follows the chain from candidate `first` to its end.
fn walk(
    candidates: &[Candidate],
    first: usize,
    attested: Option<Position>,
    chain: &mut Chain,
    visit: Visit<'_>,
) -> Result<()> {
    let mut index = first;
    let header = header_of(&candidates[first]).expect("the first segment has a header");
    let mut last_seq = header.previous.map_or(0, |previous| previous.last_seq);
    let next = |index: &usize| Some(successor(candidates, candidates[*index].id)?.0);
    let members = std::iter::successors(Some(first), next);
    let told = members.filter_map(|index| header_of(&candidates[index])?.synced).max();
    loop {
        let here = &candidates[index];
        let header = header_of(here).expect("members of the chain have headers");
        let next = successor(candidates, here.id);
        let limit = next.map(|(_, previous)| previous.len);
        // The disk writes it while it is read: what is in front of a whole header is in the log, or
        // the log is damaged, and no byte changes.
        let is_rewritten = limit.is_some() && !planted::is(Bug::RecoveryKeepsUnsynced);
        if let (Some((_, previous)), true) = (next, is_rewritten) {
            let attested = told.max(chain.attested).max(attested);
            write_unattested(&*here.file, here.id, previous.len, attested)?;
        }
        let mut window = Window::new(&*here.file)?;
        let body = replay::read_frames(&mut window, header, limit, last_seq, visit)?;
        last_seq = body.last_seq;
        chain.records += body.records;
        chain.attested = chain.attested.max(body.attested);
        chain.last_seq = last_seq;
        chain.max_seq_seen = chain.max_seq_seen.max(last_seq).max(header.seq_floor);
        let len = match next.is_none() && planted::is(Bug::AppendBehindTornTail) {
            true => here.file.len()? & !(ALIGN - 1),
            false => body.end,
        };
        let meta = SegmentMeta { id: here.id, len, first_seq: body.first_seq, last_seq };
        let (file, header) = (Arc::clone(&here.file), header.clone());
        chain.links.push(Link { file, header, meta, is_rewritten });
        match next {
            Some((next, previous)) if body.stop.is_none() => {
                if previous.last_seq != last_seq {
                    let path = candidates[next].file.path();
                    let expected = previous.last_seq;
                    return Err(Error::corrupt("previous seq", path, 0, expected, last_seq));
                }
                index = next;
            }
            _ => return end(candidates, index, &mut window, body, attested, chain),
        }
    }
}

/// The chain goes no further than candidate `index`: is that its end?
fn end(
    candidates: &[Candidate],
    index: usize,
    window: &mut Window<'_>,
    body: Body,
    attested: Option<Position>,
    chain: &mut Chain,
) -> Result<()> {
    let tip = &candidates[index];
    let header = header_of(tip).expect("members of the chain have headers");
    let cut = Position { segment: tip.id, offset: body.end };
    let later = &candidates[index + 1..];
    if let Some(damaged) = later.iter().find(|c| c.header.is_err() && c.is_damaged) {
        return Err(header_error(damaged));
    }
    let mut evidence = Evidence { attested, ..Evidence::default() };
    evidence.search(window, Some(header), body.end)?;
    for candidate in later {
        let header = header_of(candidate);
        if let Some(header) = header {
            evidence.attest(header.synced);
            evidence.seq = evidence.seq.max(header.seq_floor);
        }
        evidence.search(&mut Window::new(&*candidate.file)?, header, HEADER_LEN)?;
    }
    // Without a successor the missing link is to blame rather than the zeros behind the last frame.
    let has_next = successor(candidates, tip.id).is_some();
    let missed = later.iter().find(|c| c.header.is_err()).filter(|_| !has_next);
    let stop = missed.map(header_error).or(body.stop).unwrap_or_else(|| {
        let wanted = evidence.attested.map_or(0, |position| position.offset);
        Error::corrupt("end of log", tip.file.path(), body.end, wanted, body.end)
    });
    if evidence.ignored_bytes > 0 && planted::is(Bug::TornTailRefused) {
        return Err(stop);
    }
    replay::decide(cut, evidence.attested, stop)?;
    chain.attested = chain.attested.max(evidence.attested);
    chain.max_seq_seen = chain.max_seq_seen.max(evidence.seq);
    chain.cut = (evidence.ignored_bytes > 0).then_some((cut, evidence.ignored_bytes));
    Ok(())
}
