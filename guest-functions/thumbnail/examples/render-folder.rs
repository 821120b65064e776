//! Renders every file below a folder with the function's own code, natively:
//!
//! ```text
//! render-folder FOLDER OUT [KEY=VALUE...] > outcomes.jsonl
//! ```
//!
//! Prints one JSON line for each file: its key, its outcome, the reason when it was rejected, the
//! keys of its outputs below OUT, and milliseconds taken.

use std::error::Error;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::json;
use thumbnail::config::Config;
use thumbnail::naming::output_key;
use thumbnail::render::{RenderError, render};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(folder), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: render-folder FOLDER OUT [KEY=VALUE...]".into());
    };
    let settings: Vec<String> = args.collect();
    let config = Config::from_pairs(settings.iter().filter_map(|pair| pair.split_once('=')))?;
    let (folder, out) = (Path::new(&folder), Path::new(&out));
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    for path in files {
        let key = path.strip_prefix(folder)?.to_string_lossy().into_owned();
        let bytes = fs::read(&path)?;
        #[expect(clippy::disallowed_methods, reason = "times a tool, not a function")]
        let begun = std::time::Instant::now();
        let result = catch_unwind(|| render(&bytes, &config));
        let ms = begun.elapsed().as_secs_f64() * 1000.0;
        let line = match result {
            Ok(Ok(thumbnails)) => {
                let mut outputs = Vec::new();
                for thumbnail in thumbnails {
                    let output = output_key(&key, thumbnail.size, thumbnail.format)?;
                    let path = out.join(&output);
                    fs::create_dir_all(path.parent().unwrap_or(out))?;
                    fs::write(path, thumbnail.bytes)?;
                    outputs.push(output);
                }
                json!({"key": key, "outcome": "done", "outputs": outputs, "ms": ms})
            }
            Ok(Err(RenderError::Rejected(reason))) => {
                json!({"key": key, "outcome": "rejected", "reason": reason.to_string(), "ms": ms})
            }
            Ok(Err(fault)) => json!({"key": key, "outcome": "failed", "reason": fault.to_string()}),
            Err(_) => json!({"key": key, "outcome": "panicked", "reason": "see stderr"}),
        };
        println!("{line}");
    }
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
