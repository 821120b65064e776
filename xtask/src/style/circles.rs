//! Import circles: files of one crate that import each other, directly or over others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{Findings, SourceFile, SourceFiles};

/// A circle of two files is a pair that belongs together; a larger one hides the order of the files.
const MAX_FILES: usize = 2;

/// A module by its path below the crate, without the crate's name.
type Module = Vec<String>;

pub(super) fn check(files: &SourceFiles, findings: &mut Findings) -> anyhow::Result<()> {
    let found = findings.entry("files-in-import-circles").or_default();
    for modules in crates(files).values() {
        let mut imports = BTreeMap::new();
        for (module, file) in modules {
            let tokens: TokenStream = file
                .text
                .parse()
                .map_err(|error| anyhow::anyhow!("{error}"))
                .with_context(|| file.name())?;
            let mut paths = Vec::new();
            paths_in(tokens, &mut paths);
            let targets = paths
                .iter()
                .filter_map(|path| resolve(module, path, modules));
            let targets: BTreeSet<&Module> = targets.filter(|target| *target != module).collect();
            imports.insert(module, targets);
        }
        for circle in circles(&imports) {
            if circle.len() > MAX_FILES {
                let names = circle.iter().filter_map(|module| modules.get(*module));
                let mut names: Vec<String> = names.map(|file| file.name()).collect();
                names.sort();
                found.append(&mut names);
            }
        }
    }
    Ok(())
}

/// The modules of each crate, by the folder of its sources.
fn crates(files: &SourceFiles) -> BTreeMap<PathBuf, BTreeMap<Module, &SourceFile>> {
    let mut crates: BTreeMap<PathBuf, BTreeMap<Module, &SourceFile>> = BTreeMap::new();
    for file in files.production() {
        if let Some((sources, module)) = module_of(&file.path) {
            crates.entry(sources).or_default().insert(module, file);
        }
    }
    crates
}

/// Splits a file's path into the folder of its crate's sources and its module.
fn module_of(path: &Path) -> Option<(PathBuf, Module)> {
    let sources = path.ancestors().find(|folder| folder.ends_with("src"))?;
    let below = path.strip_prefix(sources).ok()?.with_extension("");
    let parts = below.iter().map(|part| part.to_string_lossy().into_owned());
    let mut module: Module = parts.collect();
    // `src/bin/name.rs` and `build.rs` are crates of their own.
    if module.first().is_some_and(|first| first == "bin") {
        return None;
    }
    if matches!(
        module.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        module.pop();
    }
    Some((sources.to_owned(), module))
}

/// Collects the paths that begin with `crate`, `super` or `self`, in imports and anywhere else.
fn paths_in(tokens: TokenStream, paths: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            TokenTree::Group(group) => paths_in(group.stream(), paths),
            // `pub(crate)` and a method's `self` have no `::` after them.
            TokenTree::Ident(ident) if ["crate", "super", "self"].iter().any(|k| ident == k) => {
                rest = path_from(vec![ident.to_string()], after, paths);
            }
            // `use name::item;` names a child of this module where there is one.
            TokenTree::Ident(ident) if ident == "use" => {
                if let [TokenTree::Ident(child), after @ ..] = after
                    && !["crate", "super", "self"].iter().any(|k| child == k)
                {
                    rest = path_from(vec!["self".to_owned(), child.to_string()], after, paths);
                }
            }
            _ => {}
        }
    }
}

/// Reads a path whose first parts are `path`, and returns the tokens after it.
fn path_from<'a>(
    mut path: Vec<String>,
    mut rest: &'a [TokenTree],
    paths: &mut Vec<Vec<String>>,
) -> &'a [TokenTree] {
    while let [TokenTree::Punct(a), TokenTree::Punct(b), next, after @ ..] = rest {
        if a.as_char() != ':' || b.as_char() != ':' {
            break;
        }
        match next {
            TokenTree::Ident(part) => {
                path.push(part.to_string());
                rest = after;
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let items: Vec<TokenTree> = group.stream().into_iter().collect();
                for item in
                    items.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','))
                {
                    if let [TokenTree::Ident(part), after @ ..] = item {
                        let mut longer = path.clone();
                        if part != "self" {
                            longer.push(part.to_string());
                        }
                        path_from(longer, after, paths);
                    }
                }
                return after;
            }
            _ => break,
        }
    }
    paths.push(path);
    rest
}

/// Finds the deepest module that a path leads to.
fn resolve<'a>(
    from: &Module,
    path: &[String],
    modules: &'a BTreeMap<Module, &SourceFile>,
) -> Option<&'a Module> {
    let mut at = from.clone();
    let mut parts = path.iter().peekable();
    while let Some(part) = parts.next_if(|part| ["crate", "super", "self"].contains(&part.as_str()))
    {
        match part.as_str() {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            _ => {}
        }
    }
    for part in parts {
        at.push(part.clone());
        if !modules.contains_key(&at) {
            at.pop();
            break;
        }
    }
    modules.get_key_value(&at).map(|(module, _)| module)
}

/// Finds the groups of modules that reach each other.
fn circles<'a>(imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> Vec<Vec<&'a Module>> {
    let reached: BTreeMap<_, _> = imports
        .keys()
        .map(|module| (*module, reach(module, imports)))
        .collect();
    let mut circles = Vec::new();
    let mut seen = BTreeSet::new();
    for (&module, from_here) in &reached {
        if !from_here.contains(module) || seen.contains(module) {
            continue;
        }
        let returns = |other: &&&Module| reached.get(**other).is_some_and(|r| r.contains(module));
        let circle: Vec<&Module> = from_here.iter().filter(returns).copied().collect();
        seen.extend(circle.iter().copied());
        circles.push(circle);
    }
    circles
}

/// Finds all modules that `from` imports, directly or over others.
fn reach<'a>(
    from: &Module,
    imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = imports.get(from).into_iter().flatten().copied().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(imports.get(module).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> SourceFiles {
        let rust = texts.iter().map(|(path, text)| SourceFile {
            path: PathBuf::from(path),
            text: (*text).to_owned(),
        });
        SourceFiles {
            rust: rust.collect(),
            markdown: Vec::new(),
        }
    }

    fn found(texts: &[(&str, &str)]) -> Vec<String> {
        let mut findings = Findings::new();
        check(&files(texts), &mut findings).unwrap();
        findings.remove("files-in-import-circles").unwrap()
    }

    #[test]
    fn a_circle_of_three_files_is_found_over_braces_and_plain_paths() {
        let circle = found(&[
            ("host/src/lib.rs", "mod a; mod b; mod c;"),
            (
                "host/src/a.rs",
                "use crate::{b::{self, Thing}, c as other};",
            ),
            ("host/src/b/mod.rs", "fn f() -> super::c::Thing { todo!() }"),
            ("host/src/c.rs", "pub use super::a::Thing;"),
        ]);
        assert_eq!(
            circle,
            ["host/src/a.rs", "host/src/b/mod.rs", "host/src/c.rs"]
        );
    }

    #[test]
    fn pairs_and_comments_are_no_circle() {
        let circle = found(&[
            (
                "host/src/a.rs",
                "use crate::b::Thing; // use crate::c::Thing;",
            ),
            ("host/src/b.rs", "use crate::a::Thing;"),
            (
                "host/src/c.rs",
                "const TEXT: &str = \"crate::a\"; use crate::b::Thing;",
            ),
        ]);
        assert_eq!(circle, Vec::<String>::new());
    }
}
