//! The application that is tortured, and which effects an event must have.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::setup::{WASM_TARGET, target_dir};

/// Buckets that functions write to.
pub const OUTPUTS: [&str; 6] = ["flat", "folder", "batch", "fan", "parts", "copy"];
/// The bucket with an object for each ordering key: what was handled, line by line.
pub const CHAINS: &str = "chains";
/// The bucket that files are dropped into.
pub const INBOX: &str = "inbox";

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Three objects at once.
    Flat,
    /// Two objects in a new folder.
    Folder,
    /// An object for each message of a batch, some of which fail.
    Batch,
    /// An object and two messages, which write objects.
    Fan,
    /// Two messages and no object: a commit without an intent.
    Relay,
    /// A line in the object of an ordering key.
    Ordered,
    /// A file in a watched bucket: two objects.
    File,
}

impl Kind {
    pub const MESSAGES: [Self; 5] = [
        Self::Flat,
        Self::Folder,
        Self::Batch,
        Self::Fan,
        Self::Relay,
    ];

    /// The topic that messages of this kind go to.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Folder => "folder",
            Self::Batch => "batch",
            Self::Fan => "fan",
            Self::Relay => "relay",
            Self::Ordered => "ordered",
            Self::File => "copy",
        }
    }

    /// What an event of this kind leaves: the bucket, whom the object is for, and how many parts it has.
    pub fn effects(self, event: &str) -> Vec<Effect> {
        let effect = |bucket, event: String, parts| Effect {
            bucket,
            event,
            parts,
        };
        let of_messages = || [0, 1].map(|part| effect("parts", format!("{event}.{part}"), 1));
        match self {
            Self::Flat => vec![effect("flat", event.to_owned(), 3)],
            Self::Folder => vec![effect("folder", event.to_owned(), 2)],
            Self::Batch => vec![effect("batch", event.to_owned(), 1)],
            Self::Fan => {
                let mut effects = vec![effect("fan", event.to_owned(), 1)];
                effects.extend(of_messages());
                effects
            }
            Self::Relay => of_messages().to_vec(),
            // Not an object for each: a check of its own looks at it.
            Self::Ordered => Vec::new(),
            Self::File => vec![effect("copy", event.to_owned(), 2)],
        }
    }
}

/// Objects that one committed run of an event leaves in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    pub bucket: &'static str,
    pub event: String,
    pub parts: usize,
}

/// The application's folder, and the shim's beside it.
#[derive(Clone, Debug)]
pub struct App {
    pub root: PathBuf,
    pub undo: PathBuf,
}

impl App {
    /// Makes it in `dir`, as on a disk that has all of it.
    pub fn make(dir: &Path) -> anyhow::Result<Self> {
        let dir = dir.canonicalize()?;
        let app = Self {
            root: dir.join("app"),
            undo: dir.join("undo"),
        };
        std::fs::create_dir(&app.root)?;
        // Who drops files has the folder; the others are the host's to make, and to have on disk.
        std::fs::create_dir(app.bucket(INBOX))?;
        std::fs::write(app.root.join("kinglet.toml"), manifest())?;
        Ok(app)
    }

    pub fn bucket(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn manifest() -> String {
    let guest = target_dir()
        .join(WASM_TARGET)
        .join("release")
        .join("examples")
        .join("torture.wasm");
    let mut text = "[app]\nname = \"torture\"\n".to_owned();
    for bucket in OUTPUTS.into_iter().chain([CHAINS, INBOX]) {
        let _ = writeln!(text, "[buckets.{bucket}]");
    }
    for (name, on, grants, config) in [
        (
            "flat",
            r#"message = "flat""#,
            r#"write = ["flat"]"#,
            r#"bucket = "flat", objects = "3""#,
        ),
        (
            "folder",
            r#"message = "folder""#,
            r#"write = ["folder"]"#,
            r#"bucket = "folder", objects = "2", layout = "folder""#,
        ),
        (
            "batch",
            r#"message = "batch", batch-size = 4, batch-window = "5ms""#,
            r#"write = ["batch"]"#,
            r#"bucket = "batch", objects = "1""#,
        ),
        (
            "fan",
            r#"message = "fan""#,
            r#"write = ["fan"], publish = ["parts"]"#,
            r#"bucket = "fan", objects = "1", messages = "2""#,
        ),
        (
            "relay",
            r#"message = "relay""#,
            r#"publish = ["parts"]"#,
            r#"messages = "2""#,
        ),
        (
            "parts",
            r#"message = "parts""#,
            r#"write = ["parts"]"#,
            r#"bucket = "parts", objects = "1""#,
        ),
        (
            "ordered",
            r#"message = "ordered""#,
            r#"read = ["chains"], write = ["chains"]"#,
            r#"bucket = "chains""#,
        ),
        (
            "copy",
            r#"object-created = "inbox""#,
            r#"read = ["inbox"], write = ["copy"]"#,
            r#"bucket = "copy", objects = "2""#,
        ),
    ] {
        let _ = write!(
            text,
            r#"
[[function]]
name = "{name}"
component = {guest:?}
on = {{ {on} }}
limits = {{ concurrency = 4 }}
# No event is to be given up: what is gone is lost.
retry = {{ attempts = 100000, backoff = "1ms..50ms" }}
grants = {{ {grants} }}
config = {{ {config}, fail-percent = "8" }}
"#
        );
    }
    text
}
