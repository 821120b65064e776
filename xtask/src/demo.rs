//! `cargo xtask demo`: real photos in, thumbnails and tensors out, and what each cost.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::host::Host;
use crate::setup::{WASM_TARGET, build_host, ensure_target, root, run};

/// How many functions each photo wakes.
const FUNCTIONS: usize = 2;

#[derive(Debug, Args)]
pub struct Demo {
    /// Keep running afterwards, until ctrl-c: put more photos into the bucket.
    #[arg(long)]
    serve: bool,
}

/// One function's work on one photo.
struct Row {
    photo: String,
    function: String,
    outputs: String,
    figures: [String; 5],
}

impl Demo {
    pub fn execute(self) -> anyhow::Result<()> {
        let app = root().join("examples").join("photos");
        ensure_target(WASM_TARGET)?;
        let kinglet = build_host()?;
        run(Command::new(&kinglet)
            .arg("build")
            .arg("--manifest")
            .arg(&app))?;
        let photos = samples(&app)?;

        let mut host = Host::start(&mut Host::up(&kinglet, &app))?;
        let bucket = app.join("photos");
        for photo in &photos {
            let name = photo.file_name().context("a sample without a name")?;
            std::fs::copy(photo, bucket.join(name))
                .with_context(|| format!("can't copy {}", photo.display()))?;
        }
        let expected = photos.len() * FUNCTIONS;
        let progress = ProgressBar::new(expected as u64)
            .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
        let mut rows = Vec::new();
        let mut failed = Vec::new();
        while rows.len() + failed.len() < expected {
            let record = host.next_settled()?;
            let row = Row::of(&record);
            progress.set_message(row.photo.clone());
            progress.inc(1);
            match record["outcome"].as_str() {
                Some("done") => rows.push(row),
                // An earlier demo's photo, replaced before its turn came.
                Some("superseded") => progress.dec(1),
                _ => failed.push(format!(
                    "{} {}: {}",
                    row.function,
                    row.photo,
                    text(&record["text"])
                )),
            }
        }
        progress.finish_and_clear();
        rows.sort_by(|a, b| (&a.photo, &a.function).cmp(&(&b.photo, &b.function)));
        print_table(&rows);
        println!("\nthumbnails are in {}", app.join("thumbs").display());
        println!("tensors are in {}", app.join("tensors").display());
        if !failed.is_empty() {
            bail!("some photos failed:\n{}", failed.join("\n"));
        }
        if self.serve {
            println!(
                "put more photos into {}; stop with ctrl-c",
                bucket.display()
            );
            return serve(host);
        }
        host.stop()
    }
}

pub fn samples(app: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = app.join("samples");
    let mut photos = Vec::new();
    for entry in folder
        .read_dir()
        .with_context(|| format!("can't read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension != "md") {
            photos.push(path);
        }
    }
    photos.sort();
    Ok(photos)
}

/// Shows outcomes until the host ends, by the ctrl-c that reaches it as well as us.
fn serve(mut host: Host) -> anyhow::Result<()> {
    while let Some(record) = host.next_record()? {
        let said = text(&record["text"]);
        println!(
            "{} {}: {said}",
            text(&record["function"]),
            text(&record["subject"])
        );
    }
    host.wait()
}

impl Row {
    fn of(record: &Value) -> Self {
        let cost = &record["cost"];
        let number = |value: &Value| value.as_f64().unwrap_or(0.0);
        let outputs = record["outputs"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        Self {
            photo: text(&record["subject"]),
            function: text(&record["function"]),
            outputs: outputs.iter().map(text).collect::<Vec<_>>().join(" "),
            figures: [
                format!("{} ms", number(&record["queue_ms"])),
                format!("{:.2} ms", number(&cost["start_us"]) / 1e3),
                format!("{:.1} ms", number(&cost["run_us"]) / 1e3),
                format!("{:.0}M", number(&cost["fuel"]) / 1e6),
                format!("{:.1} MiB", number(&cost["peak_memory"]) / 1_048_576.0),
            ],
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn print_table(rows: &[Row]) {
    let heading = [
        "PHOTO", "FUNCTION", "QUEUE", "START", "RUN", "FUEL", "MEMORY", "OUTPUTS",
    ];
    let lines: Vec<[String; 8]> = std::iter::once(heading.map(str::to_owned))
        .chain(rows.iter().map(|row| {
            let [queue, start, run, fuel, memory] = row.figures.clone();
            [
                row.photo.clone(),
                row.function.clone(),
                queue,
                start,
                run,
                fuel,
                memory,
                row.outputs.clone(),
            ]
        }))
        .collect();
    let mut widths = [0; 8];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("{}", cells.join("  ").trim_end());
    }
}
