//! Encodes the worlds that other hosts publish, for `kinglet check --target`.

use std::path::{Path, PathBuf};

use wit_parser::{Resolve, SourceMap, UnresolvedPackageGroup};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Each host, and the folders of its packages.
const HOSTS: [(&str, &[&str]); 3] = [
    ("spin", &["spin"]),
    ("wasmtime", &["wasmtime"]),
    ("wasmcloud", &["wasmcloud", "wasmtime/p2", "wasmtime/p3"]),
];

fn main() -> Result<()> {
    let root = Path::new("../wit/other-hosts");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    for (host, folders) in HOSTS {
        let mut packages = Vec::new();
        for folder in folders {
            read(&root.join(folder), &mut packages)?;
        }
        let check = root.join("checks").join(format!("{host}.wit"));
        let wasm = encode(group(&[check])?, packages)?;
        std::fs::write(out.join(format!("{host}.wasm")), wasm)?;
    }
    Ok(())
}

/// Encodes a package: each of its worlds is an exported type.
fn encode(main: UnresolvedPackageGroup, others: Vec<UnresolvedPackageGroup>) -> Result<Vec<u8>> {
    let mut resolve = Resolve::new();
    let package = resolve
        .push_groups(main, others)
        .map_err(|error| error.to_string())?;
    for world in ["p2", "p3"] {
        let world = resolve
            .select_world(&[package], Some(world))
            .map_err(|error| format!("{error:#}"))?;
        // Of versions that stand for each other the highest.
        resolve
            .merge_world_imports_based_on_semver(world)
            .map_err(|error| format!("{error:#}"))?;
    }
    Ok(wit_component::encode(&resolve, package).map_err(|error| format!("{error:#}"))?)
}

/// Reads packages: each folder has one; in a folder `deps` each file has one as well.
fn read(folder: &Path, packages: &mut Vec<UnresolvedPackageGroup>) -> Result<()> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder);
    for entry in entries.map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, packages)?;
        } else if folder.ends_with("deps") {
            packages.push(group(&[path])?);
        } else {
            files.push(path);
        }
    }
    // In whatever order the file system has them, the bytes stay the same.
    files.sort();
    if !files.is_empty() {
        packages.push(group(&files)?);
    }
    Ok(())
}

fn group(files: &[PathBuf]) -> Result<UnresolvedPackageGroup> {
    let mut sources = SourceMap::new();
    for file in files {
        sources
            .push_file(file)
            .map_err(|error| format!("{error:#}"))?;
    }
    let parsed = sources.parse();
    Ok(parsed.map_err(|(sources, error)| error.render(&sources))?)
}
