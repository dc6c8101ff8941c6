//! Batches in the log: what a write encodes, an open decodes, all or none; and a log whose records
//! are forged opens or is refused clearly. Rows 14, 15, 18, 65.

use std::collections::BTreeMap;

use engine::{Db, Durability, KeyspaceOptions, Options, WriteOptions};
use vfs::sim::ImageKind;
use vfs::{Env, Name, SimDisk};
use wal::{Log, Start};

use crate::directory;
use crate::forge;
use crate::input::Input;
use crate::limits::bounded;
use crate::verdict::clear_of_engine;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
const BATCHES_MAX: usize = 12;

/// The body.
pub(crate) fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let control = input.u8();
    let kinds = [KeyspaceOptions::btree(), KeyspaceOptions::hash()];
    let kind = kinds[usize::from(control >> 1 & 1)].clone();
    let options = options().default_keyspace(kind);
    if control & 1 == 0 { written(&mut input, &options) } else { forged(&mut input, &options) }
}

fn options() -> Options {
    Options::default()
        .durability(Durability::Never)
        .memtable_bytes(1 << 20)
        .segment_bytes(4096)
        .log_bytes(1 << 20)
        .inline_max(40)
        .reserve_bytes(0)
}

/// Batches by the store's own encoder; after a crash of everything written they are there.
fn written(input: &mut Input<'_>, options: &Options) {
    let (disk, sim) = (SimDisk::new(1), Env::sim(1));
    let db = Db::open_on(disk.root(), sim.env.clone(), options.clone()).expect("an empty disk");
    let side = db.keyspace("side", KeyspaceOptions::hash()).expect("a new keyspace");
    let mut models = [Map::new(), Map::new()];
    for _ in 0..BATCHES_MAX {
        if input.is_empty() {
            break;
        }
        let mut batch = db.batch();
        let mut next = models.clone();
        let mut is_legal = true;
        for _ in 0..input.u8() % 40 {
            let form = input.u8();
            let (keyspace, model) = match form & 1 {
                0 => (db.default_keyspace(), &mut next[0]),
                _ => (&side, &mut next[1]),
            };
            let key = input.short().to_vec();
            is_legal &= !key.is_empty();
            if form & 2 == 0 {
                let value = match form & 4 {
                    0 => input.short().to_vec(),
                    _ => vec![form; usize::from(input.u16() % 9000)],
                };
                let ttl = std::time::Duration::from_millis(input.number().max(1) | 1 << 40);
                match form & 8 {
                    0 => batch.put(keyspace, &key, &value),
                    _ => batch.put_ttl(keyspace, &key, &value, ttl),
                }
                model.insert(key, value);
            } else {
                batch.delete(keyspace, &key);
                model.remove(&key);
            }
        }
        let result = db.write(batch, WriteOptions::default());
        assert!(result.is_ok() == is_legal, "{:?} for a legal batch: {is_legal}", result.err());
        if is_legal {
            models = next;
        }
    }
    drop(side);
    let image = disk.crash(ImageKind::Everything, 1);
    disk.kill();
    drop(db);
    let db = Db::open_on(image.root(), Env::sim(2).env, options.clone()).expect("a crash");
    for (name, model) in [engine::DEFAULT_KEYSPACE, "side"].into_iter().zip(models) {
        assert!(directory::contents(&db, name) == Some(model), "keyspace {name} after a crash");
    }
}

/// Payloads from the input, in frames that are whole, behind the MANIFEST of a new database.
fn forged(input: &mut Input<'_>, options: &Options) {
    let (disk, sim) = (SimDisk::new(1), Env::sim(1));
    let db = Db::open_on(disk.root(), sim.env.clone(), options.clone()).expect("an empty disk");
    let side = db.keyspace("side", KeyspaceOptions::hash()).expect("a new keyspace");
    drop((side, db));
    let files = disk.files();
    let name = files.iter().filter_map(|(name, _)| Name::parse(name));
    let name = name.filter(|name| name.kind == wal::SEGMENT).max().expect("there is a log");
    let header = disk.read_file(name).expect("it was listed");
    let db_id = header[16..].first_chunk().map_or(0, |field| u64::from_le_bytes(*field));
    // A log of the same database that goes on behind what is there.
    let wal_options = wal::Options {
        segment_bytes: 64 << 10,
        append_mode: wal::AppendMode::Positional,
        ..wal::Options::new(Durability::Never)
    };
    let start = Start { log_id: Some(db_id), ..Start::default() };
    let opened = Log::open(disk.root(), &sim.env, wal_options, start, &mut |_| Ok(()));
    let (log, _) = opened.expect("a clean log");
    let mut bytes = 0;
    for _ in 0..BATCHES_MAX {
        if input.is_empty() {
            break;
        }
        let fix = input.u8();
        let mut payload = input.part().expand();
        payload.truncate(20_000);
        bytes += payload.len();
        let seq = log.last_seq() + 1;
        let staged = log.stage(seq, payload.len(), &mut |address, out| {
            out.copy_from_slice(&payload);
            let mut at = 0;
            while fix & 1 == 0 && at < out.len() {
                // A record knows the seq of its batch, too.
                let rest = &mut out[at..];
                if let Some(tag) = rest.get_mut(8..15).filter(|_| fix & 2 == 0) {
                    tag.copy_from_slice(&seq.to_le_bytes()[..7]);
                }
                let offset = address.offset + at as u64;
                let Some(len) = forge::record(db_id, address.segment.0, offset, rest) else {
                    break;
                };
                at += len;
            }
        });
        log.commit(&staged.expect("there is space"), true).expect("the disk is sound");
    }
    drop(log);
    let total = bytes
        + disk.files().iter().map(|(_, len)| usize::try_from(*len).unwrap_or(0)).sum::<usize>();
    bounded(total, || {
        let Some(db) = clear_of_engine(Db::open_on(disk.root(), sim.env.clone(), options.clone()))
        else {
            return;
        };
        directory::read(&db);
        clear_of_engine(db.flush());
        directory::read(&db);
        clear_of_engine(db.close());
    });
}
