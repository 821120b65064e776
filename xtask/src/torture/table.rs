//! What is printed.

use std::fmt::Write;

use kinglet_powercut::{Class, Window};

use super::session::{Killed, Report};

/// The most violations that are shown.
const SHOWN: usize = 20;

/// Where the host was killed, and what doesn't hold.
pub fn of_report(report: &Report) -> String {
    let mut text = String::new();
    let kills = |killed| report.kills.get(&killed).copied().unwrap_or(0);
    let _ = writeln!(text, "{:<28}KILLS", "WINDOW");
    for window in Window::ALL {
        let _ = writeln!(text, "{window:<28}{}", kills(Killed::Inside(window)));
    }
    for (name, killed) in [
        ("a random instant", Killed::AtRandom),
        ("from outside: never there", Killed::FromOutside),
        ("none: gave up over a fault", Killed::NotAtAll),
    ] {
        let _ = writeln!(text, "{name:<28}{}", kills(killed));
    }
    let _ = writeln!(
        text,
        "\n{} rounds, {} of them ended before the host was ready; {} events accepted, {} without an answer\n\
         lost with the kills: {} changes of bytes, {} of names; {} calls failed, {} syncs lied",
        report.rounds,
        report.in_recovery,
        report.accepted,
        report.unknown,
        report.discarded_bytes,
        report.discarded_names,
        report.faults,
        report.lies,
    );
    for violation in report.violations.iter().take(SHOWN) {
        let _ = writeln!(text, "VIOLATED {}: {}", violation.check, violation.what);
    }
    if report.violations.len() > SHOWN {
        let _ = writeln!(text, "and {} more", report.violations.len() - SHOWN);
    }
    text
}

/// Which check noticed the lack of each sync.
pub fn of_syncs(rows: &[(Class, Report)]) -> String {
    let mut text = format!(
        "{:<16}{:<8}{:<8}{:<28}FOR ONE\n",
        "WITHOUT", "ROUNDS", "LIES", "NOTICED BY"
    );
    for (class, report) in rows {
        let (check, what) = match report.violations.first() {
            Some(violation) => (violation.check, violation.what.as_str()),
            None => ("NOTHING", ""),
        };
        let what: String = what
            .lines()
            .last()
            .unwrap_or_default()
            .chars()
            .take(90)
            .collect();
        let _ = writeln!(
            text,
            "{class:<16}{:<8}{:<8}{check:<28}{what}",
            report.rounds, report.lies
        );
    }
    text
}
