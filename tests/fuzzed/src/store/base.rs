//! The stores that are edited: one that was closed, one that was copied while it was open, and one of an older
//! version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use kinglet::ports::{
    Accept, AttemptRecord, Cost, DeadLetter, Delivery, Disposition, Event, Expected, Failure,
    Identity, IntendedChange, Intent, KeyChange, Message, ObjectInfo, Outcome, Payload, Queue,
    Settlement, Sighting,
};
use kinglet::stores::queue::record::decode;
use rusqlite::Connection;

use super::{FILE, LOG, RUNNING, open};
use crate::{block_on, scratch};

/// When everything is due.
pub const LATER: u64 = 1_796_000_000_000;
const NOW: u64 = LATER - 10_000;
const OLD: &[u8] = include_bytes!("../../../e2e/fixtures/events-1.sqlite");

/// A store before it is edited, and what was put in.
#[derive(Default)]
pub struct Base {
    /// The store's file, its log, and the list of what an ended host had leased.
    pub files: [Vec<u8>; 3],
    pub deliveries: BTreeMap<u64, Delivery>,
    /// Before the last step, where there was one.
    pub earlier: BTreeMap<u64, Delivery>,
    pub dead: BTreeMap<u64, DeadLetter>,
    pub intents: BTreeMap<u64, Intent>,
    /// All that have deliveries.
    pub functions: BTreeSet<String>,
    /// Where the records of deliveries are in the store's file: of those that are there once, in one piece.
    pub records: Vec<Place>,
}

/// A record in the store's file.
pub struct Place {
    pub seq: u64,
    pub start: usize,
    pub length: usize,
}

/// All of them.
pub fn bases() -> &'static [Base; 3] {
    static BASES: OnceLock<[Base; 3]> = OnceLock::new();
    BASES.get_or_init(|| {
        // Beside the runtime that an input may run on by now.
        let made = std::thread::spawn(|| {
            let dir = scratch();
            let [accepted, open] = block_on(fill(dir.path()));
            let earlier = read(&accepted).deliveries;
            let base = |files| Base {
                earlier: earlier.clone(),
                ..read(files)
            };
            [
                base(&files(dir.path())),
                base(&open),
                read(&[OLD.to_vec(), Vec::new(), Vec::new()]),
            ]
        });
        made.join().unwrap()
    })
}

fn files(dir: &Path) -> [Vec<u8>; 3] {
    [FILE, LOG, RUNNING].map(|name| std::fs::read(dir.join(name)).unwrap_or_default())
}

fn event(id: &str, body: &[u8]) -> Event {
    Event {
        id: id.to_owned(),
        source: "topic/orders".to_owned(),
        accepted: NOW,
        hops: 1,
        payload: Payload::Message(Message {
            topic: "orders".to_owned(),
            body: body.to_owned(),
            content_type: Some("text/plain".to_owned()),
            ordering_key: Some("k".to_owned()),
            attributes: vec![("a".to_owned(), "b".to_owned())],
        }),
    }
}

fn object() -> Event {
    let object = ObjectInfo {
        key: "a/b.jpg".to_owned(),
        size: 7,
        etag: "e".to_owned(),
        content_type: None,
        modified: NOW,
        metadata: Vec::new(),
    };
    Event {
        source: "bucket/photos".to_owned(),
        payload: Payload::ObjectCreated {
            bucket: "photos".to_owned(),
            object,
        },
        ..event("object", b"")
    }
}

fn accept(event: Event, function: &str, lane: Option<&str>, due: u64) -> Accept {
    let lane = lane.map(|lane| (function.to_owned(), lane.to_owned()));
    Accept {
        event,
        functions: vec![function.to_owned()],
        lanes: lane.into_iter().collect(),
        due,
        identity: Identity::Unique,
    }
}

fn accepts() -> Vec<Accept> {
    let mut accepts = Vec::new();
    for at in 0..8_usize {
        // One that takes pages of its own.
        let body = vec![b'x'; if at == 7 { 9_000 } else { at * 10 }];
        let name = format!("id-{at}");
        let lane = if at % 2 == 0 { "even" } else { "odd" };
        accepts.push(accept(event(&name, &body), "plain", None, NOW));
        accepts.push(accept(event(&name, &body), "ordered", Some(lane), NOW));
        accepts.push(accept(event(&name, &body), "late", None, NOW + at as u64));
    }
    let sighting = Sighting {
        bucket: "photos".to_owned(),
        key: "a/b.jpg".to_owned(),
        etag: "e".to_owned(),
    };
    let mut seen = accept(object(), "late", None, NOW);
    seen.identity = Identity::Object(sighting);
    let mut known = accept(event("known", b"1"), "held", None, NOW);
    known.identity = Identity::Id;
    accepts.extend([seen, known]);
    accepts
}

fn attempt() -> AttemptRecord {
    AttemptRecord {
        time: NOW,
        outcome: Outcome::Failed(Failure::Other {
            reason: "no".to_owned(),
        }),
        cost: Cost::default(),
        log_tail: vec!["a line".to_owned()],
    }
}

fn settlement(delivery: Delivery, disposition: Disposition) -> Settlement {
    Settlement {
        delivery,
        disposition,
        intent: None,
        accepts: Vec::new(),
        keys: Vec::new(),
        sightings: Vec::new(),
    }
}

/// Every table has something. Returns the files as they are once all is accepted, and at the end; the store is open
/// then and has leases.
async fn fill(dir: &Path) -> [[Vec<u8>; 3]; 2] {
    let queue = open(dir).unwrap();
    queue.accept(accepts()).await.unwrap();
    let accepted = files(dir);
    let mut plain = queue.take("plain", 4, NOW).await.unwrap().deliveries;
    let seqs: Vec<u64> = plain.iter().map(|delivery| delivery.seq).collect();
    let dispositions = [
        Disposition::Dead {
            attempt: attempt(),
            reason: "enough".to_owned(),
        },
        Disposition::Dead {
            attempt: attempt(),
            reason: "too much".to_owned(),
        },
        Disposition::Retry {
            due: NOW + 5,
            attempt: attempt(),
        },
        Disposition::Done,
    ];
    let settled = plain.drain(..).zip(dispositions);
    let mut settlements: Vec<_> = settled
        .map(|(delivery, disposition)| settlement(delivery, disposition))
        .collect();
    let ordered = queue.take("ordered", 1, NOW).await.unwrap().deliveries;
    let ordered = ordered.into_iter().next().unwrap();
    let ordered_seq = ordered.seq;
    settlements.push(settlement(ordered, Disposition::Done));
    for done in &mut settlements[3..] {
        done.intent = Some(Intent {
            seq: done.delivery.seq,
            changes: vec![(
                "thumbs".to_owned(),
                vec![IntendedChange::Remove {
                    key: "a".to_owned(),
                    etag: "e".to_owned(),
                }],
            )],
            accepts: vec![accept(object(), "late", None, NOW)],
        });
        done.keys = vec![KeyChange {
            bucket: "counters".to_owned(),
            key: format!("n{}", done.delivery.seq),
            value: Some(b"7".to_vec()),
            expected: Expected::Any,
        }];
    }
    queue.settle(settlements, false).await.unwrap();
    queue.release(&seqs);
    queue.release(&[ordered_seq]);
    queue.pause("held", true).await.unwrap();
    queue.take("late", 2, LATER).await.unwrap();
    [accepted, files(dir)]
}

/// What a store holds, by its tables.
fn read(files: &[Vec<u8>; 3]) -> Base {
    let dir = scratch();
    let path = dir.path().join(FILE);
    std::fs::write(&path, &files[0]).unwrap();
    std::fs::write(dir.path().join(LOG), &files[1]).unwrap();
    let connection = Connection::open(&path).unwrap();
    let rows = |table: &str| -> Vec<(u64, Vec<u8>)> {
        let sql = format!("SELECT seq, record FROM {table}");
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
            })
            .unwrap();
        rows.map(Result::unwrap).collect()
    };
    let mut base = Base {
        files: files.clone(),
        ..Base::default()
    };
    for (seq, record) in rows("delivery") {
        let delivery: Delivery = decode("delivery", &record).unwrap();
        base.functions.insert(delivery.function.clone());
        base.deliveries.insert(seq, delivery);
        let mut places = files[0]
            .windows(record.len())
            .enumerate()
            .filter(|(_, window)| *window == record);
        if let (Some((start, _)), None) = (places.next(), places.next()) {
            let length = record.len();
            base.records.push(Place { seq, start, length });
        }
    }
    for (seq, record) in rows("dead") {
        base.dead.insert(seq, decode("dead", &record).unwrap());
    }
    for (seq, record) in rows("intent") {
        base.intents.insert(seq, decode("intent", &record).unwrap());
    }
    assert!(!base.deliveries.is_empty());
    base
}
