//! Hostile guests: each attacks in one way, ends as it must, and leaves the host as it was and its neighbour unhurt.
//! Without its guard the same attack isn't stopped so.

mod arena;
mod attack;
mod calls;
mod compute;
mod effects;
mod handles;
mod host;
mod loads;
mod manifest;
mod memory;
mod raw;
mod values;

use std::time::Duration;

use arena::Arena;
use attack::{Attack, shown};
use host::{SIEGES, Siege};
use loads::REFUSED;

use crate::harness::{App, Output};
use crate::host::PATIENCE;

const ATTACKS: [&[Attack]; 6] = [
    compute::ATTACKS,
    memory::ATTACKS,
    handles::ATTACKS,
    calls::ATTACKS,
    effects::ATTACKS,
    values::ATTACKS,
];

/// So long an attack without its guard is waited for: one that goes on for ever isn't stopped, either.
const UNGUARDED: Duration = Duration::from_secs(10);

/// Runs each of the attacks on one host, and shows its end.
fn withstand(attacks: &[Attack]) {
    let mut arena = Arena::new(attacks, None, PATIENCE);
    let before = arena.held();
    let mut problems = Vec::new();
    for attack in attacks {
        let Attack { name, guard, .. } = attack;
        match arena.suffer(attack) {
            Ok(outcome) => println!(
                "{name:<22} {:<18} {}",
                guard.unwrap_or("-"),
                shown(&outcome)
            ),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
        arena.rest(before, name);
    }
    arena.stop();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn who_takes_time_is_ended() {
    withstand(compute::ATTACKS);
}

#[test]
fn who_takes_memory_is_ended() {
    withstand(memory::ATTACKS);
}

#[test]
fn who_takes_handles_is_ended() {
    withstand(handles::ATTACKS);
}

#[test]
fn who_asks_for_too_much_gets_less() {
    withstand(calls::ATTACKS);
}

#[test]
fn who_stages_too_much_stages_nothing() {
    withstand(effects::ATTACKS);
}

#[test]
fn who_hands_over_what_isnt_there_traps() {
    withstand(values::ATTACKS);
}

/// Those that have the host take most, again and again.
#[test]
fn what_attacks_leave_doesnt_add_up() {
    const NAMES: [&str; 6] = [
        "hoard",
        "open-topics",
        "leak",
        "huge-line",
        "huge-message",
        "object-names",
    ];
    let chosen = |attack: &&Attack| NAMES.contains(&attack.name);
    let attacks: Vec<_> = ATTACKS
        .into_iter()
        .flatten()
        .filter(chosen)
        .copied()
        .collect();
    assert_eq!(attacks.len(), NAMES.len());
    let mut arena = Arena::new(&attacks, None, PATIENCE);
    let mut held = Vec::new();
    for _ in 0..5 {
        for attack in &attacks {
            arena.suffer(attack).unwrap();
        }
        held.push(arena.held());
    }
    // What the allocator keeps, it has after two rounds.
    arena.rest_within(held[1], 16 << 10, "five rounds");
    arena.stop();
}

#[test]
fn who_comes_in_numbers_is_stopped() {
    for Siege {
        name,
        stopped,
        guard,
    } in SIEGES
    {
        assert!(stopped(None), "{name}");
        println!("{name:<22} {guard:<18} stopped");
    }
}

/// So that each of the tests above shows what it says: that the guard is what ends the attack. All guards have one.
#[test]
fn without_its_guard_an_attack_isnt_stopped() {
    let mut held = Vec::new();
    let mut left = guards();
    for attack in ATTACKS.into_iter().flatten() {
        let Some(guard) = attack.guard else {
            continue;
        };
        left.retain(|left| left != guard);
        let mut arena = Arena::new(&[*attack], Some(guard), UNGUARDED);
        match arena.suffer(attack) {
            Ok(_) => held.push(attack.name),
            Err(problem) => println!("{:<22} without {guard:<18} {problem}", attack.name),
        }
    }
    for file in REFUSED {
        let Some(guard) = file.guard else {
            continue;
        };
        left.retain(|left| left != guard);
        if loads::check(file, Some(guard)).code != 0 {
            held.push(file.name);
        }
    }
    for Siege {
        name,
        guard,
        stopped,
    } in SIEGES
    {
        left.retain(|left| left != *guard);
        if stopped(Some(guard)) {
            held.push(*name);
        }
    }
    assert!(held.is_empty(), "{held:?} are stopped by something else");
    assert!(left.is_empty(), "no attack shows {left:?}");
}

/// The names of all guards, as a host gives them that is to be without another.
fn guards() -> Vec<String> {
    let app = App::new("");
    let refused = Output::of(app.command_without(&["check"], "gravity")).expect(2);
    let (_, names) = refused.stderr.trim().rsplit_once("one of ").unwrap();
    names.split(", ").map(str::to_owned).collect()
}
