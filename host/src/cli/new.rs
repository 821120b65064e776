//! `kinglet new`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::Verdict;
use super::output::print_line;

/// Make a function: a crate that builds and has a test, and a manifest that runs it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet new thumbnail --on object-created\n  kinglet new orders --on message --path functions/orders\n  kinglet new api --on http"
)]
pub(super) struct New {
    /// The function's name: letters, digits, `-` and `_`, beginning with a letter.
    name: String,
    /// What wakes it.
    #[arg(long, value_enum)]
    on: Kind,
    /// The folder to make; by default the function's name.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// A folder with the source of `kinglet-sdk`, in place of the one this command was built beside.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// An object appears in a bucket.
    ObjectCreated,
    /// A message is published to a topic.
    Message,
    /// A request comes.
    Http,
}

/// A file of a template: where it goes, and what is in it.
type File = (&'static str, &'static str);

const OBJECT_CREATED: &[File] = &[
    (
        "Cargo.toml",
        include_str!("new/templates/object-created/Cargo.toml.template"),
    ),
    (
        "kinglet.toml",
        include_str!("new/templates/object-created/kinglet.toml"),
    ),
    (
        "README.md",
        include_str!("new/templates/object-created/README.md"),
    ),
    (
        ".gitignore",
        include_str!("new/templates/object-created/.gitignore"),
    ),
    (
        ".cargo/config.toml",
        include_str!("new/templates/object-created/.cargo/config.toml"),
    ),
    (
        "src/lib.rs",
        include_str!("new/templates/object-created/src/lib.rs"),
    ),
];

const MESSAGE: &[File] = &[
    (
        "Cargo.toml",
        include_str!("new/templates/message/Cargo.toml.template"),
    ),
    (
        "kinglet.toml",
        include_str!("new/templates/message/kinglet.toml"),
    ),
    ("README.md", include_str!("new/templates/message/README.md")),
    (
        ".gitignore",
        include_str!("new/templates/message/.gitignore"),
    ),
    (
        ".cargo/config.toml",
        include_str!("new/templates/message/.cargo/config.toml"),
    ),
    (
        "src/lib.rs",
        include_str!("new/templates/message/src/lib.rs"),
    ),
];

const HTTP: &[File] = &[
    (
        "Cargo.toml",
        include_str!("new/templates/http/Cargo.toml.template"),
    ),
    (
        "kinglet.toml",
        include_str!("new/templates/http/kinglet.toml"),
    ),
    ("spin.toml", include_str!("new/templates/http/spin.toml")),
    ("README.md", include_str!("new/templates/http/README.md")),
    (".gitignore", include_str!("new/templates/http/.gitignore")),
    (
        ".cargo/config.toml",
        include_str!("new/templates/http/.cargo/config.toml"),
    ),
    ("src/lib.rs", include_str!("new/templates/http/src/lib.rs")),
];

impl New {
    pub fn execute(self) -> anyhow::Result<Verdict> {
        if !crate::config::is_name(&self.name) {
            bail!("{:?} isn't a name; {}", self.name, crate::config::NAME_RULE);
        }
        let folder = self
            .path
            .clone()
            .unwrap_or_else(|| PathBuf::from(&self.name));
        if folder.exists()
            && folder
                .read_dir()
                .map_or(true, |mut dir| dir.next().is_some())
        {
            bail!(
                "{} exists already; choose another name or `--path`",
                folder.display()
            );
        }
        let sdk = self.sdk_dependency()?;
        let files = match self.on {
            Kind::ObjectCreated => OBJECT_CREATED,
            Kind::Message => MESSAGE,
            Kind::Http => HTTP,
        };
        for (name, template) in files {
            let text = template
                .replace("{{name}}", &self.name)
                .replace("{{spin-name}}", &spin_name(&self.name))
                .replace("{{crate}}", &self.name.replace('-', "_"))
                .replace("{{sdk}}", &sdk);
            write(&folder.join(name), &text)?;
        }
        print_line(&format!(
            "made {}; go on with:\n  cd {}\n  cargo test\n  kinglet build && kinglet up",
            folder.display(),
            folder.display()
        ))?;
        Ok(Verdict::Good)
    }

    /// The line of `Cargo.toml` that finds the SDK: the folder that was named, the one beside the host's
    /// own source where that is still there, or the registry.
    fn sdk_dependency(&self) -> anyhow::Result<String> {
        let built_beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk");
        let folder = match &self.sdk {
            Some(folder) => Some(folder.canonicalize().with_context(|| {
                format!("there is no folder {}; correct `--sdk`", folder.display())
            })?),
            None => built_beside.canonicalize().ok(),
        };
        Ok(match folder {
            Some(folder) => format!(
                "kinglet-sdk = {{ path = {:?} }}",
                folder.display().to_string()
            ),
            None => format!("kinglet-sdk = {:?}", env!("CARGO_PKG_VERSION")),
        })
    }
}

/// Returns a name as Spin's components have it: words in lower case, each of which begins with a
/// letter, with hyphens.
fn spin_name(name: &str) -> String {
    let mut spin = String::new();
    let name = name.to_ascii_lowercase();
    for word in name.split(['-', '_']).filter(|word| !word.is_empty()) {
        if !spin.is_empty() && word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            spin.push('-');
        }
        spin.push_str(word);
    }
    spin
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("can't make {}", parent.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spin_has_names_of_words() {
        for (name, expected) in [
            ("to-fahrenheit", "to-fahrenheit"),
            ("alarm-2", "alarm2"),
            ("Big_api--v2_x", "big-api-v2-x"),
        ] {
            assert_eq!(spin_name(name), expected);
        }
    }
}
