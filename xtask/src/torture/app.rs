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
/// The bucket that is told what the keyvalue bucket has.
pub const REPORT: &str = "report";
/// What events have keys of their own under, beside the counters that they add to.
pub const OWN: [&str; 7] = [
    "own of tally",
    "own of whole",
    "own of flat",
    "own of batch",
    "own of parts",
    "own of ordered",
    "own of copy",
];

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
    /// Counters only, and a key of its own beside them: all of them hot.
    Tally,
    /// A key of its own, and a counter that messages of a batch share: they commit with each other.
    Whole,
    /// A line in the object of an ordering key.
    Ordered,
    /// A file in a watched bucket: two objects.
    File,
}

impl Kind {
    pub const MESSAGES: [Self; 7] = [
        Self::Flat,
        Self::Folder,
        Self::Batch,
        Self::Fan,
        Self::Relay,
        Self::Tally,
        Self::Whole,
    ];

    /// The topic that messages of this kind go to, and the function that events of it wake.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Folder => "folder",
            Self::Batch => "batch",
            Self::Fan => "fan",
            Self::Relay => "relay",
            Self::Tally => "tally",
            Self::Whole => "whole",
            Self::Ordered => "ordered",
            Self::File => "copy",
        }
    }

    /// What an event of this kind leaves: the bucket, whom the object is for, and how many parts it has. Keys
    /// of its own are as objects.
    pub fn effects(self, event: &str) -> Vec<Effect> {
        if is_rejected(event) {
            return Vec::new();
        }
        let effect = |bucket, event: String, parts| Effect {
            bucket,
            event,
            parts,
        };
        let of_messages = || {
            [0, 1].into_iter().flat_map(|part| {
                ["parts", "own of parts"].map(|bucket| effect(bucket, format!("{event}.{part}"), 1))
            })
        };
        let own = |bucket| effect(bucket, event.to_owned(), 1);
        match self {
            Self::Flat => vec![effect("flat", event.to_owned(), 3), own("own of flat")],
            Self::Folder => vec![effect("folder", event.to_owned(), 2)],
            Self::Batch => vec![effect("batch", event.to_owned(), 1), own("own of batch")],
            Self::Fan => {
                let mut effects = vec![effect("fan", event.to_owned(), 1)];
                effects.extend(of_messages());
                effects
            }
            Self::Relay => of_messages().collect(),
            Self::Tally => vec![own("own of tally")],
            Self::Whole => vec![own("own of whole")],
            // Not an object for each: a check of its own looks at it.
            Self::Ordered => vec![own("own of ordered")],
            Self::File => vec![effect("copy", event.to_owned(), 2), own("own of copy")],
        }
    }
}

/// Whether its function rejects an event, by its name: then it becomes a dead letter and leaves nothing.
pub fn is_rejected(event: &str) -> bool {
    event.ends_with('x')
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
    for bucket in OUTPUTS.into_iter().chain([CHAINS, INBOX, REPORT]) {
        let _ = writeln!(text, "[buckets.{bucket}]");
    }
    for (name, on, grants, config) in [
        (
            "flat",
            r#"message = "flat""#,
            r#"write = ["flat"], keyvalue = ["tallies"]"#,
            r#"bucket = "flat", objects = "3", own = "own of flat", counters = "flat flat/#""#,
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
            r#"write = ["batch"], keyvalue = ["tallies"]"#,
            r#"bucket = "batch", objects = "1", own = "own of batch", counters = "batch/# all""#,
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
            r#"write = ["parts"], keyvalue = ["tallies"]"#,
            r#"bucket = "parts", objects = "1", own = "own of parts", counters = "parts/#""#,
        ),
        (
            "tally",
            r#"message = "tally""#,
            r#"keyvalue = ["tallies"]"#,
            r#"own = "own of tally", counters = "tally tally/# all""#,
        ),
        (
            "whole",
            r#"message = "whole", batch-size = 3, batch-window = "5ms""#,
            r#"keyvalue = ["tallies"]"#,
            r#"own = "own of whole", shared = "whole""#,
        ),
        (
            "report",
            r#"message = "report""#,
            r#"write = ["report"], keyvalue = ["tallies"]"#,
            "",
        ),
        (
            "ordered",
            r#"message = "ordered""#,
            r#"read = ["chains"], write = ["chains"], keyvalue = ["tallies"]"#,
            r#"bucket = "chains", own = "own of ordered", counters = "ordered all""#,
        ),
        (
            "copy",
            r#"object-created = "inbox""#,
            r#"read = ["inbox"], write = ["copy"], keyvalue = ["tallies"]"#,
            r#"bucket = "copy", objects = "2", own = "own of copy", counters = "copy""#,
        ),
    ] {
        let comma = if config.is_empty() { "" } else { ", " };
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
config = {{ {config}{comma}fail-percent = "8" }}
"#
        );
    }
    text
}
