//! One line per figure: a table row for people, or a JSON object with `--json`.

use serde_json::json;

/// Which direction of a figure is the good one.
#[derive(Clone, Copy)]
pub enum Better {
    More,
    Less,
}

/// One measured comparison of a contestant of ours with a rival.
pub struct Figure<'a> {
    pub case: &'a str,
    pub ours: f64,
    pub rival: f64,
    pub unit: &'a str,
    pub better: Better,
    /// The least ratio that is good enough.
    pub goal: f64,
}

/// Prints the figures of one bench.
pub struct Report {
    pub bench: &'static str,
    pub ours_name: &'static str,
    pub rival_name: &'static str,
    pub json: bool,
}

impl Report {
    pub fn header(&self) {
        if !self.json {
            println!(
                "{:<44} {:>13} {:>13} {:>8} {:>8}  unit",
                "case", self.ours_name, self.rival_name, "ratio", "goal"
            );
        }
    }

    /// Prints a figure. The ratio is above one where ours is the better.
    pub fn figure(&self, figure: &Figure<'_>) {
        let (over, under) = match figure.better {
            Better::More => (figure.ours, figure.rival),
            Better::Less => (figure.rival, figure.ours),
        };
        let ratio = if over == under {
            1.0
        } else {
            over / under.max(f64::MIN_POSITIVE)
        };
        if self.json {
            let line = json!({
                "bench": self.bench,
                "case": figure.case,
                "ours": figure.ours,
                "rival": figure.rival,
                "rival_name": self.rival_name,
                "unit": figure.unit,
                "ratio": ratio.min(1e6),
                "goal": figure.goal,
                "met": ratio >= figure.goal,
            });
            println!("{line}");
        } else {
            println!(
                "{:<44} {:>13.1} {:>13.1} {:>8.2} {:>8}  {}",
                figure.case,
                figure.ours,
                figure.rival,
                ratio.min(1e6),
                format!(
                    "{:.2}{}",
                    figure.goal,
                    if ratio >= figure.goal { "" } else { "!" }
                ),
                figure.unit
            );
        }
    }

    /// Prints a remark that has no rival, on stderr so that stdout stays one figure a line.
    pub fn note(&self, text: &str) {
        eprintln!("  {text}");
    }
}
