//! Which files of a bucket wake nobody yet: unfinished ones, by their names and by how long they stood still.

use super::{BucketConfig, Period};

/// The endings of files that aren't finished, or aren't the object itself: of browsers, of programs that copy
/// and transfer files, of editors and of backups.
const UNFINISHED: [&str; 12] = [
    "~",
    ".bak",
    ".crdownload",
    ".download",
    ".filepart",
    ".opdownload",
    ".part",
    ".partial",
    ".swp",
    ".swx",
    ".temp",
    ".tmp",
];
/// The beginning of the lock files of office programs.
const OWNED: &str = "~$";

/// The longest time that a file may have to stand still.
const LONGEST: Period = Period::from_secs(24 * 60 * 60);

impl BucketConfig {
    /// Returns whether an object of this key is passed over as unfinished, by its name. Hidden files aren't
    /// objects at all.
    pub fn is_unfinished(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or(key).to_ascii_lowercase();
        match &self.unfinished {
            None => {
                name.starts_with(OWNED) || UNFINISHED.iter().any(|ending| name.ends_with(ending))
            }
            Some(endings) => {
                let mut endings = endings.iter();
                endings.any(|ending| name.ends_with(&ending.to_ascii_lowercase()))
            }
        }
    }

    pub(super) fn problems(&self, name: &str, problems: &mut Vec<String>) {
        for ending in self.unfinished.iter().flatten() {
            if ending.is_empty() || ending.contains('/') {
                problems.push(format!(
                    "buckets.{name}.unfinished: {ending:?} can't be the end of a file's name; use one as \".part\""
                ));
            }
        }
        if self.settle.is_some_and(|settle| settle.0 > LONGEST.0) {
            problems.push(format!(
                "buckets.{name}.settle: an object would wait for more than a day; use less"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_names() {
        let usual = BucketConfig::default();
        for (key, unfinished) in [
            ("a.jpg", false),
            ("a.jpg.part", true),
            ("b/a.TMP", true),
            ("a.jpg~", true),
            ("~$letter.docx", true),
            ("part/a.jpg", false),
            ("x.crdownload", true),
            ("x.download", true),
            ("x.opdownload", true),
            ("x.jpg.filepart", true),
            ("x.jpg.bak", true),
            ("apart", false),
        ] {
            assert_eq!(usual.is_unfinished(key), unfinished, "{key}");
        }
        let own = BucketConfig {
            unfinished: Some(vec![".Upload".to_owned()]),
            ..BucketConfig::default()
        };
        assert!(own.is_unfinished("a.jpg.upload"));
        assert!(!own.is_unfinished("a.jpg.part"));
    }
}
