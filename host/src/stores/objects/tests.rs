//! The folder bucket on a real file system.

use std::collections::HashSet;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::ports::{Bucket, Condition, IntendedChange, ObjectDraft, ObjectError};

fn bucket(dir: &TempDir) -> FolderBucket {
    FolderBucket::open("b", dir.path(), "test", Clock::system()).unwrap()
}

fn put(dir: &TempDir, key: &str, body: &str) {
    let path = dir.path().join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, body).unwrap();
}

async fn keys(
    bucket: &FolderBucket,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    let listing = bucket.list(prefix, after, limit).await.unwrap();
    listing
        .objects
        .into_iter()
        .map(|object| object.key)
        .collect()
}

fn draft(key: &str, condition: Condition) -> ObjectDraft {
    ObjectDraft {
        key: key.to_owned(),
        content_type: None,
        metadata: Vec::new(),
        condition,
    }
}

async fn stage(
    bucket: &FolderBucket,
    draft: ObjectDraft,
    body: &str,
) -> crate::ports::StagedObject {
    let mut writer = bucket.stage(draft).await.unwrap();
    writer.append(body.as_bytes().to_vec()).await.unwrap();
    writer.finish().await.unwrap()
}

fn staged_files(dir: &TempDir) -> usize {
    std::fs::read_dir(dir.path().join(".kinglet-staging/test"))
        .unwrap()
        .count()
}

#[tokio::test]
async fn a_listing_is_in_the_byte_order_of_keys_over_pages() {
    let dir = TempDir::new().unwrap();
    let bucket = bucket(&dir);
    let mut all = vec![
        "a",
        "a-b",
        "a.txt",
        "b/a",
        "b/c/d",
        "b.txt",
        "c d",
        "z/é",
        "猫/🐦.png",
    ];
    for key in &all {
        put(
            &dir,
            &if *key == "a" {
                "a0".to_owned()
            } else {
                (*key).to_owned()
            },
            "x",
        );
    }
    all[0] = "a0";
    all.sort_unstable();
    put(&dir, ".hidden", "x");
    put(&dir, "b/.git/config", "x");
    assert_eq!(keys(&bucket, "", None, 100).await, all);
    assert_eq!(keys(&bucket, "b/", None, 100).await, ["b/a", "b/c/d"]);
    assert_eq!(
        keys(&bucket, "b", None, 100).await,
        ["b.txt", "b/a", "b/c/d"]
    );
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = keys(&bucket, "", paged.last().map(String::as_str), 2).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn what_cannot_be_an_object_is_named_and_the_rest_is_listed() {
    use std::os::unix::ffi::OsStrExt;
    let dir = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    put(&outside, "secret", "s");
    let bucket = bucket(&dir);
    put(&dir, "good", "x");
    put(&dir, "in/file", "x");
    symlink(outside.path().join("secret"), dir.path().join("leaves")).unwrap();
    symlink(outside.path(), dir.path().join("leaves-dir")).unwrap();
    symlink("good", dir.path().join("stays")).unwrap();
    symlink("in", dir.path().join("dir-link")).unwrap();
    symlink("nowhere", dir.path().join("dangles")).unwrap();
    std::fs::write(
        dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.jpg")),
        "x",
    )
    .unwrap();
    std::fs::write(dir.path().join("new\nline"), "x").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let listing = bucket.list("", None, 100).await.unwrap();
    let listed: Vec<_> = listing
        .objects
        .iter()
        .map(|object| object.key.as_str())
        .collect();
    assert_eq!(listed, ["good", "in/file", "stays"]);
    let problems = listing.problems.join("\n");
    for named in [
        "leaves",
        "leaves-dir",
        "dir-link",
        "dangles",
        "\\xFF.jpg",
        "new\\nline",
        "pipe",
    ] {
        assert!(problems.contains(named), "{named} in {problems}");
    }
    for key in ["leaves", "leaves-dir/secret", "pipe", "in"] {
        let read = bucket.read(key, None, 0, 10).await;
        assert!(
            matches!(read, Err(ObjectError::NotFound { .. })),
            "{key}: {read:?}"
        );
    }
    for key in ["../x", "/etc/passwd", "a/../../x"] {
        assert!(
            matches!(bucket.head(key).await, Err(ObjectError::Invalid(_))),
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_staged_object_is_seen_by_nobody_until_it_is_applied_and_applying_again_changes_nothing()
{
    let dir = TempDir::new().unwrap();
    let bucket = bucket(&dir);
    let object = stage(&bucket, draft("deep/er/a.jpg", Condition::None), "body").await;
    assert!(keys(&bucket, "", None, 9).await.is_empty());
    assert_eq!(
        bucket.read_staged(&object.token, 1, 2).await.unwrap(),
        b"od"
    );
    let change = IntendedChange::Write {
        token: object.token.clone(),
        key: "deep/er/a.jpg".to_owned(),
        condition: Condition::None,
    };
    bucket.prepare(&change).await.unwrap();
    for _ in 0..2 {
        bucket.apply(std::slice::from_ref(&change)).await.unwrap();
    }
    let info = bucket.head("deep/er/a.jpg").await.unwrap();
    assert_eq!(info, object.info, "the version is known before the commit");
    assert_eq!(info.content_type.as_deref(), Some("image/jpeg"));
    drop(object);
    assert_eq!(
        bucket
            .read("deep/er/a.jpg", Some(&info.etag), 0, 99)
            .await
            .unwrap(),
        b"body"
    );
    put(&dir, "deep/er/a.jpg", "other");
    let stale = bucket.read("deep/er/a.jpg", Some(&info.etag), 0, 99).await;
    assert!(
        matches!(stale, Err(ObjectError::Changed { .. })),
        "{stale:?}"
    );
}

#[tokio::test]
async fn what_is_dropped_or_left_behind_is_removed() {
    let dir = TempDir::new().unwrap();
    let bucket = bucket(&dir);
    drop(stage(&bucket, draft("a", Condition::None), "x").await);
    drop(bucket.stage(draft("b", Condition::None)).await.unwrap());
    assert_eq!(staged_files(&dir), 0);
    let kept = stage(&bucket, draft("c", Condition::None), "x").await;
    let left = stage(&bucket, draft("d", Condition::None), "x").await;
    bucket
        .sweep(&HashSet::from([kept.token.clone()]))
        .await
        .unwrap();
    assert_eq!(staged_files(&dir), 1);
    drop((kept, left));
}

#[tokio::test]
async fn conditions_and_impossible_keys_are_found_before_the_decision() {
    let dir = TempDir::new().unwrap();
    let bucket = bucket(&dir);
    put(&dir, "there", "1");
    put(&dir, "folder/x", "1");
    let etag = bucket.head("there").await.unwrap().etag;
    let staged = stage(&bucket, draft("there", Condition::None), "body").await;
    let prepare = async |key: &str, condition: Condition| {
        let (token, key) = (staged.token.clone(), key.to_owned());
        bucket
            .prepare(&IntendedChange::Write {
                token,
                key,
                condition,
            })
            .await
    };
    prepare("there", Condition::Matches(etag)).await.unwrap();
    prepare("missing", Condition::Absent).await.unwrap();
    for (key, condition) in [
        ("there", Condition::Absent),
        ("there", Condition::Matches("0".to_owned())),
        ("missing", Condition::Matches("0".to_owned())),
    ] {
        let refused = prepare(key, condition.clone()).await;
        assert!(
            matches!(refused, Err(ObjectError::Changed { .. })),
            "{key} {condition:?}"
        );
    }
    assert!(matches!(
        prepare("folder", Condition::None).await,
        Err(ObjectError::Invalid(_))
    ));
    assert!(prepare("there/below", Condition::None).await.is_err());
}

#[tokio::test]
async fn a_removal_takes_only_the_version_it_was_decided_for() {
    let dir = TempDir::new().unwrap();
    let bucket = bucket(&dir);
    put(&dir, "a", "1");
    let etag = bucket.head("a").await.unwrap().etag;
    let remove = [IntendedChange::Remove {
        key: "a".to_owned(),
        etag,
    }];
    put(&dir, "a", "22");
    bucket.apply(&remove).await.unwrap();
    assert_eq!(bucket.read("a", None, 0, 9).await.unwrap(), b"22");
    let etag = bucket.head("a").await.unwrap().etag;
    let remove = [IntendedChange::Remove {
        key: "a".to_owned(),
        etag,
    }];
    bucket.apply(&remove).await.unwrap();
    bucket.apply(&remove).await.unwrap();
    assert!(matches!(
        bucket.head("a").await,
        Err(ObjectError::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_content_type_and_metadata_travel_with_the_object() {
    let dir = TempDir::new().unwrap();
    let bucket = bucket(&dir);
    let metadata = vec![("camera".to_owned(), "Zoë's".to_owned())];
    let draft = ObjectDraft {
        key: "a.bin".to_owned(),
        content_type: Some("image/avif".to_owned()),
        metadata: metadata.clone(),
        condition: Condition::None,
    };
    let mut writer = bucket.stage(draft).await.unwrap();
    writer.append(vec![1]).await.unwrap();
    let object = match writer.finish().await {
        Ok(object) => object,
        // A file system without extended attributes says so, and names the way out.
        Err(error) => {
            assert!(error.to_string().contains("extended attributes"), "{error}");
            return;
        }
    };
    let (token, key) = (object.token.clone(), "a.bin".to_owned());
    let change = IntendedChange::Write {
        token,
        key,
        condition: Condition::None,
    };
    bucket.apply(&[change]).await.unwrap();
    let info = bucket.head("a.bin").await.unwrap();
    assert_eq!(info.content_type.as_deref(), Some("image/avif"));
    assert_eq!(info.metadata, metadata);
}

#[tokio::test]
async fn an_overlay_adds_one_object() {
    let dir = TempDir::new().unwrap();
    put(&dir, "a", "1");
    put(&dir, "c", "1");
    let below = bucket(&dir);
    let mut object = below.head("a").await.unwrap();
    object.key = "b".to_owned();
    let overlay = OverlayBucket::new(std::sync::Arc::new(below), object, b"over".to_vec());
    let listed = overlay.list("", None, 9).await.unwrap().objects;
    assert_eq!(
        listed.iter().map(|o| o.key.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(overlay.read("b", None, 1, 2).await.unwrap(), b"ve");
    assert_eq!(overlay.read("c", None, 0, 9).await.unwrap(), b"1");
}
