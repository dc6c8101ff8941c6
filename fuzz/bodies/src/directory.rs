//! Whole directories as inputs, and reading all of a store that may be damaged.

use std::collections::BTreeMap;

use engine::{Db, IndexKind, Keyspace, KeyspaceOptions};
use vfs::{Kind, Name, SimDisk};

use crate::forge::{self, Payload};
use crate::input::{Input, put_part, squeeze};
use crate::verdict::clear_of_engine;

/// Everything in a keyspace.
pub type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Kinds that a file of an input can have, by number.
const KINDS: [&str; 10] =
    ["manifest", "wal", "val", "tbl", "map", "reserve", "partial", "gen", "run", "part"];
const HASH: Kind = Kind::new("hash");
const FILES_MAX: usize = 40;
/// Of all files together.
const TOTAL_MAX: usize = 1 << 20;

/// Files of a directory as an input has them: kind and id, for those of hash tables also the
/// directory's id, then the bytes, squeezed.
pub fn pack(disk: &SimDisk) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, _) in disk.files() {
        let (dir, file) = path.rsplit_once('/').map_or((None, &*path), |(dir, f)| (Some(dir), f));
        let Some(name) = Name::parse(file).filter(|name| !name.quarantined) else { continue };
        let Some(kind) = KINDS.iter().position(|kind| *kind == name.kind.as_str()) else {
            continue;
        };
        let (Ok(kind), Ok(id)) = (u8::try_from(kind), u8::try_from(name.id)) else { continue };
        let bytes = disk.read_file(&path).expect("it was listed");
        // A reserve is as long as it is empty.
        let bytes = if name.kind.as_str() == "reserve" { Vec::new() } else { bytes };
        out.extend_from_slice(&[kind, id]);
        if kind >= 7 {
            let dir = dir.and_then(Name::parse).map_or(0, |dir| dir.id);
            out.push(u8::try_from(dir).expect("few keyspaces"));
        }
        put_part(&squeeze(&bytes), &mut out);
    }
    out
}

/// Puts the files of an input there; how many bytes they have.
pub fn unpack(input: &mut Input<'_>, fix: bool, disk: &SimDisk) -> usize {
    let mut files: Vec<(String, Name, Vec<u8>)> = Vec::new();
    let mut total = 0;
    while !input.is_empty() && files.len() < FILES_MAX && total < TOTAL_MAX {
        let kind = input.below(KINDS.len());
        let name = Name::new(Kind::new(KINDS[kind]), input.u8().into());
        let dir = (kind >= 7).then(|| Name::new(HASH, input.u8().into()));
        let path = dir.map_or(name.to_string(), |dir| format!("{dir}/{name}"));
        let bytes = input.part().expand();
        total += bytes.len();
        files.push((path, name, bytes));
    }
    let manifest = files.iter().find(|(_, name, _)| name.kind.as_str() == "manifest");
    let db_id = manifest.and_then(|(.., bytes)| bytes.get(16..)?.first_chunk().copied());
    let db_id = db_id.map_or(0, u64::from_le_bytes);
    for (path, name, bytes) in &mut files {
        if fix {
            seal(*name, db_id, bytes);
        }
        disk.write_file(&*path, bytes);
    }
    total
}

fn seal(name: Name, db_id: u64, bytes: &mut [u8]) {
    let id = u32::try_from(name.id).expect("ids of inputs are bytes");
    match name.kind.as_str() {
        "manifest" | "partial" => forge::segment(id, Payload::Opaque, bytes),
        "wal" => forge::segment(id, Payload::Records(db_id), bytes),
        "val" => {
            // A frame of moved records starts with their number, one of records with a checksum.
            let is_moved = bytes.get(124..128) == Some(&[0; 4]);
            let payload = if is_moved { Payload::Moved } else { Payload::Records };
            forge::segment(id, payload(db_id), bytes);
        }
        "tbl" => forge::table(name.id, bytes),
        "map" => forge::remap(name.id, bytes),
        "run" | "part" => forge::run(name.id, bytes),
        "gen" => forge::generation(name.id, bytes, |_| None),
        _ => {}
    }
}

/// A keyspace by its name, whatever its kind.
pub fn keyspace(db: &Db, name: &str) -> Option<Keyspace> {
    let (_, kind) =
        clear_of_engine(db.keyspaces())?.into_iter().find(|(known, _)| known == name)?;
    let options = match kind {
        IndexKind::Hash => KeyspaceOptions::hash(),
        _ => KeyspaceOptions::btree(),
    };
    clear_of_engine(db.keyspace(name, options))
}

/// Everything in a keyspace, read forwards, backwards and key by key; `None` if that met damage.
///
/// # Panics
/// If the ways differ.
pub fn contents(db: &Db, name: &str) -> Option<Map> {
    let keyspace = keyspace(db, name)?;
    let mut entries: [Vec<(Vec<u8>, Vec<u8>)>; 2] = Default::default();
    let both = [keyspace.iter(), keyspace.iter()];
    for (backwards, (range, found)) in both.into_iter().zip(&mut entries).enumerate() {
        let mut range = range;
        loop {
            let next = if backwards == 1 { range.next_back() } else { range.next() };
            let Some(entry) = next else { break };
            let (key, value) = clear_of_engine(entry)?;
            found.push((key.to_vec(), value.into_vec()));
        }
    }
    let [forwards, mut backwards] = entries;
    backwards.reverse();
    let mut map = Map::new();
    for (key, value) in &forwards {
        let found = clear_of_engine(keyspace.get(key))?;
        assert!(found.as_deref() == Some(&**value), "a scan shows what get does not: {key:?}");
        assert!(map.insert(key.clone(), value.clone()).is_none(), "{key:?} is shown twice");
    }
    let same = match keyspace.kind() {
        IndexKind::Hash => backwards.into_iter().collect::<Map>() == map,
        _ => forwards == backwards && forwards.is_sorted_by(|a, b| a.0 < b.0),
    };
    assert!(same, "keyspace {name}: a scan from the back shows something else");
    Some(map)
}

/// Reads everything, damage or not: no panic, no end.
pub fn read(db: &Db) {
    for (name, _) in clear_of_engine(db.keyspaces()).unwrap_or_default() {
        let Some(keyspace) = keyspace(db, &name) else { continue };
        for mut range in [keyspace.iter(), keyspace.iter()] {
            while let Some(entry) = range.next_back() {
                if clear_of_engine(entry).is_none() {
                    break;
                }
            }
            clear_of_engine(range.next().transpose());
        }
        let mut keys = Vec::new();
        for entry in keyspace.iter() {
            let Some((key, _)) = clear_of_engine(entry) else { break };
            keys.push(key.to_vec());
        }
        for key in keys {
            clear_of_engine(keyspace.get(&key));
            clear_of_engine(keyspace.ttl(&key));
        }
        clear_of_engine(keyspace.get(b"nothing"));
    }
}
