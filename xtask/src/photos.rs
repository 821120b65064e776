//! `cargo xtask bench photos`: the main job's own figures. Start-up cold and cached, one photo at a time
//! from closed file to written thumbnail, and a thousand photos at once. No rival does this job, so there
//! is no ratio; the figures are for comparing changes on one machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use crate::demo::samples;
use crate::host::Host;
use crate::setup::{WASM_TARGET, build_host, ensure_target, root, run};

const ONE_BY_ONE: usize = 60;
const AT_ONCE: usize = 1_000;

pub fn measure() -> anyhow::Result<()> {
    ensure_target(WASM_TARGET)?;
    let kinglet = build_host()?;
    let example = root().join("examples").join("photos");
    run(Command::new(&kinglet)
        .arg("build")
        .arg("--manifest")
        .arg(&example)
        .arg("thumbnail"))?;
    let app = std::env::temp_dir().join(format!("kinglet-photos-{}", std::process::id()));
    let photos = app.join("photos");
    std::fs::create_dir_all(&photos)?;
    std::fs::copy(example.join("thumbnail.wasm"), app.join("thumbnail.wasm"))?;
    std::fs::write(app.join("kinglet.toml"), MANIFEST)?;
    let measured = measure_in(&kinglet, &app, &photos, &samples(&example)?);
    std::fs::remove_dir_all(&app)?;
    measured
}

const MANIFEST: &str = r#"
[app]
name = "photos"
[buckets.photos]
[buckets.thumbs]
[[function]]
name = "thumbnail"
component = "thumbnail.wasm"
on = { object-created = "photos" }
limits = { memory = "256MiB", fuel = 50_000_000_000, timeout = "60s", concurrency = 2 }
grants = { read = ["photos"], write = ["thumbs"] }
config = { sizes = "256", format = "jpeg" }
"#;

fn measure_in(
    kinglet: &Path,
    app: &Path,
    photos: &Path,
    samples: &[PathBuf],
) -> anyhow::Result<()> {
    let cache = app.join("cache");
    let up = || {
        let mut command = Host::up(kinglet, app);
        command.arg("--cache-dir").arg(&cache);
        command
    };
    println!("start with nothing compiled, then from the cache (see `ready in`):");
    Host::start(&mut up())?.stop()?;
    let mut host = Host::start(&mut up())?;

    let mut whole = Vec::new();
    let mut start = Vec::new();
    let mut calls = Vec::new();
    for number in 0..ONE_BY_ONE {
        let photo = sample(samples, number)?;
        copy(photo, &photos.join(name("single", number, photo)))?;
        let closed = now_ms()?;
        let record = host.next_settled()?;
        let written = record["time"]
            .as_f64()
            .context("an outcome without a time")?;
        whole.push((written - closed).max(0.0));
        start.push(record["cost"]["start_us"].as_f64().unwrap_or(0.0) / 1e3);
        calls.push(record["cost"]["run_us"].as_f64().unwrap_or(0.0) / 1e3);
    }
    println!(
        "\none by one, medians of {ONE_BY_ONE}: file closed to thumbnail committed {:.0} ms; of it \
         instance start {:.2} ms, call {:.1} ms",
        median(whole),
        median(start),
        median(calls)
    );

    let before = now_ms()?;
    for number in 0..AT_ONCE {
        let photo = sample(samples, number)?;
        copy(photo, &photos.join(name("many", number, photo)))?;
    }
    let dropped = now_ms()?;
    let mut done = 0;
    while done < AT_ONCE {
        let record = host.next_settled()?;
        match record["outcome"].as_str() {
            Some("done") => done += 1,
            _ => bail!("a photo wasn't done: {record}"),
        }
    }
    let after = now_ms()?;
    let thumbs = app.join("thumbs").read_dir()?.filter_map(Result::ok);
    let thumbs = thumbs
        .filter(|thumb| thumb.file_name().to_string_lossy().starts_with("many-"))
        .count();
    println!(
        "{AT_ONCE} at once: put down in {:.1} s, all done {:.1} s after the first, {thumbs} thumbnails, \
         peak resident memory of the host {}",
        (dropped - before) / 1e3,
        (after - before) / 1e3,
        peak_memory(host.id())?
    );
    if thumbs != AT_ONCE {
        bail!("{thumbs} thumbnails of {AT_ONCE} photos");
    }
    host.stop()
}

fn sample(samples: &[PathBuf], number: usize) -> anyhow::Result<&Path> {
    let sample = samples.get(number % samples.len().max(1));
    sample.map(PathBuf::as_path).context("there are no samples")
}

fn name(prefix: &str, number: usize, photo: &Path) -> String {
    let extension = photo
        .extension()
        .and_then(std::ffi::OsStr::to_str)
        .unwrap_or_default();
    format!("{prefix}-{number:04}.{extension}")
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to).with_context(|| format!("can't copy to {}", to.display()))?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement of another process's work"
)]
fn now_ms() -> anyhow::Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// As the kernel counts it.
fn peak_memory(id: u32) -> anyhow::Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line
        .context("no VmHWM in the process's status")?
        .trim()
        .to_owned())
}
