//! What is done to a store's files, as a list of edits that a fuzzer can lengthen, shorten and mix.

use std::collections::BTreeSet;
use std::path::Path;

use super::base::Base;
use super::{FILE, LOG, RUNNING, log};

/// SQLite's.
const PAGE: usize = 4_096;
/// How much before a record is its row's own, at least: other columns, and what says how long each is.
const BESIDE: usize = 16;
/// The most edits of one input.
const EDITS: usize = 24;

/// How deep the edits go, the shallowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// Bytes of deliveries' records.
    Records,
    /// Also what stands beside these in their rows.
    Rows,
    /// Anything.
    Anything,
}

/// The files as edited.
pub struct Edited {
    files: [Vec<u8>; 3],
    pub damage: Damage,
    /// Deliveries whose record or row was edited.
    pub changed: BTreeSet<u64>,
    /// Deliveries whose record has other bytes now.
    pub records_changed: BTreeSet<u64>,
}

impl Edited {
    pub fn write(&self, dir: &Path) {
        for (name, bytes) in [FILE, LOG, RUNNING].iter().zip(&self.files) {
            if !bytes.is_empty() {
                std::fs::write(dir.join(name), bytes).unwrap();
            }
        }
    }
}

/// Reads an edit's arguments; past the end there are zeros.
struct Arguments<'a>(&'a [u8]);

impl Arguments<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number below `end`, which isn't zero.
    fn below(&mut self, end: usize) -> usize {
        let bytes = [self.byte(), self.byte(), self.byte()];
        let number = bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        number % end
    }

    fn page(&mut self, file: &[u8]) -> usize {
        usize::from(self.byte()) % (file.len() / PAGE).max(1) * PAGE
    }
}

/// Does what the edits say to a copy of the files.
pub fn apply(base: &Base, edits: &[u8]) -> Edited {
    let mut edited = Edited {
        files: base.files.clone(),
        damage: Damage::Records,
        changed: BTreeSet::new(),
        records_changed: BTreeSet::new(),
    };
    let mut arguments = Arguments(edits);
    for _ in 0..EDITS {
        if arguments.0.is_empty() {
            break;
        }
        let damage = edit(base, &mut edited, &mut arguments);
        edited.damage = edited.damage.max(damage);
    }
    for place in &base.records {
        let range = place.start..place.start + place.length;
        if edited.files[0].get(range.clone()) != base.files[0].get(range) {
            edited.records_changed.insert(place.seq);
        }
    }
    edited
}

fn edit(base: &Base, edited: &mut Edited, arguments: &mut Arguments<'_>) -> Damage {
    let operation = arguments.byte() % 12;
    if operation < 4 && !base.records.is_empty() {
        let place = &base.records[usize::from(arguments.byte()) % base.records.len()];
        edited.changed.insert(place.seq);
        let (at, damage) = if operation < 2 {
            (place.start + arguments.below(place.length), Damage::Records)
        } else {
            (place.start - 1 - arguments.below(BESIDE), Damage::Rows)
        };
        let value = arguments.byte();
        match edited.files[0].get_mut(at) {
            Some(byte) if operation.is_multiple_of(2) => *byte ^= value,
            Some(byte) => *byte = value,
            None => {}
        }
        return damage;
    }
    let which = usize::from(arguments.byte()) % 3;
    let file = &mut edited.files[which];
    if file.is_empty() {
        return Damage::Records;
    }
    match operation {
        4 => {
            let at = arguments.below(file.len());
            file[at] ^= arguments.byte();
        }
        5 => {
            let at = arguments.below(file.len());
            let length = usize::from(arguments.byte() % 16);
            for byte in file.iter_mut().skip(at).take(length) {
                *byte = arguments.byte();
            }
        }
        6 => file.truncate(arguments.below(base.files[which].len())),
        7 => {
            let (from, to) = (arguments.page(file), arguments.page(file));
            let page = file[from..].iter().take(PAGE).copied().collect::<Vec<_>>();
            file.splice(to..(to + page.len()).min(file.len()), page);
        }
        8 => {
            let at = arguments.page(file);
            file[at..].iter_mut().take(PAGE).for_each(|byte| *byte = 0);
        }
        9 => file.extend(std::iter::repeat_n(arguments.byte(), PAGE)),
        // Of another store: a log that isn't this file's, a file that isn't this log's.
        10 => {
            let other = &super::bases()[usize::from(arguments.byte()) % 3].files[which];
            file.clone_from(other);
        }
        _ => log::mend(&mut edited.files[1]),
    }
    Damage::Anything
}
