//! The hosts that a function is built for.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// A host that runs components of HTTP functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This one: the component that each build makes.
    Kinglet,
    /// Spin 4.
    Spin,
    /// `wasmtime serve` of Wasmtime 48.
    Wasmtime,
    /// wasmCloud 2.
    Wasmcloud,
}

impl Target {
    const ALL: [Self; 4] = [Self::Kinglet, Self::Spin, Self::Wasmtime, Self::Wasmcloud];

    /// Returns its name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kinglet => "kinglet",
            Self::Spin => "spin",
            Self::Wasmtime => "wasmtime",
            Self::Wasmcloud => "wasmcloud",
        }
    }

    /// Returns the file of a component for it: `api.spin.wasm` beside `api.wasm`.
    pub fn component(self, component: &Path) -> PathBuf {
        if self == Self::Kinglet {
            return component.to_owned();
        }
        let stem = match component.extension() {
            Some(extension) if extension == OsStr::new("wasm") => component.file_stem(),
            _ => component.file_name(),
        };
        let mut name = stem.unwrap_or_default().to_owned();
        name.push(format!(".{self}.wasm"));
        component.with_file_name(name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|target| target.name() == text);
        known.ok_or_else(|| {
            format!(
                "{text:?} isn't a host to build for; use \"kinglet\", \"spin\", \"wasmtime\" or \
                 \"wasmcloud\""
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_file_of_its_own() {
        for (component, expected) in [
            ("api.wasm", "api.spin.wasm"),
            ("out/api.v2.wasm", "out/api.v2.spin.wasm"),
            ("api", "api.spin.wasm"),
        ] {
            let found = Target::Spin.component(Path::new(component));
            assert_eq!(found, Path::new(expected), "{component}");
        }
        let own = Target::Kinglet.component(Path::new("api.wasm"));
        assert_eq!(own, Path::new("api.wasm"));
    }

    #[test]
    fn names_are_read_as_they_are_shown() {
        for target in Target::ALL {
            assert_eq!(Target::try_from(target.to_string()), Ok(target));
        }
        let error = Target::try_from("fermyon".to_owned()).unwrap_err();
        assert!(
            error.contains("\"fermyon\"") && error.contains("\"spin\""),
            "{error}"
        );
    }
}
