//! How much memory this process may have: what the machine has, or less where a control group says so.

use std::path::Path;

use crate::files;

/// Where nothing can be read of it.
const UNKNOWN: u64 = 2 << 30;

/// Bytes.
pub(super) fn memory() -> u64 {
    let read = |path| files::read_text(Path::new(path), files::TEXT);
    let machine = read("/proc/meminfo").ok();
    let machine = machine.and_then(|text| of_machine(&text));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    of_groups(&groups, Path::new("/sys/fs/cgroup"))
        .into_iter()
        .chain(machine)
        .min()
        .unwrap_or(UNKNOWN)
}

/// Of a text like that of `/proc/meminfo`.
fn of_machine(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// The least that a control group of this process, or one above it, may have. `groups` is what `/proc/self/cgroup` says:
/// of version 2 a line `0::PATH`, of version 1 one for memory.
fn of_groups(groups: &str, mounted: &Path) -> Option<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => (mounted.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (mounted.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be that outside of it; the group's own files are at the root then.
        let group = root.join(path.trim_start_matches('/'));
        let above = group
            .ancestors()
            .take_while(|above| above.starts_with(&root));
        limits.extend(above.filter_map(|group| {
            let limit = files::read_text(&group.join(file), files::SMALL).ok()?;
            limit.trim().parse::<u64>().ok()
        }));
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_least_of_all_groups_counts() {
        assert_eq!(
            of_machine("MemFree: 5 kB\nMemTotal:       16384 kB\n"),
            Some(16 << 20)
        );
        assert_eq!(of_machine("nothing"), None);
        assert!(memory() > 1 << 20);

        let mounted = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = mounted.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("a/memory.max", "1000000\n");
        put("a/b/memory.max", "max\n");
        put("memory/c/memory.limit_in_bytes", "500000\n");
        let of = |groups: &str| of_groups(groups, mounted.path());
        assert_eq!(of("0::/a/b\n"), Some(1_000_000));
        assert_eq!(of("3:cpu,memory:/c\n0::/a\n"), Some(500_000));
        assert_eq!(of("0::/elsewhere\n"), None);
        assert_eq!(of(""), None);
    }
}
