//! What a host that starts finds, and what it must not find again.

use std::fs;

use crate::harness::{App, text};
use crate::objects::COPY;

/// One at a time, so that the last key's outcome is the last.
fn in_order() -> String {
    COPY.replace("grants", "limits = { concurrency = 1 }\ngrants")
}

#[test]
fn only_what_changed_while_no_host_ran_is_accepted() {
    let app = App::new(&in_order());
    for key in ["same", "replaced", "edited", "deleted", "zz-first"] {
        app.put_old(&format!("in/{key}"), "before");
    }
    let mut host = app.up();
    host.outcomes(5, "copy");
    host.stop();

    app.put_old("in/replaced", "after");
    fs::remove_file(app.path("in/replaced")).unwrap();
    app.put_old("in/replaced", "after");
    app.put_old("in/edited", "before, and after");
    fs::remove_file(app.path("in/deleted")).unwrap();
    app.put_old("in/new", "new");
    app.put_old("in/zz-last", "");
    let mut host = app.up();
    host.outcome_of("copy", "zz-last");
    let ended = host.stop();
    let mut subjects: Vec<&str> = ended
        .outcomes("copy")
        .iter()
        .map(|outcome| text(outcome, "subject"))
        .collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["edited", "new", "replaced", "zz-last"]);
    assert_eq!(app.read("out/replaced"), "after");
    assert_eq!(
        app.read("out/deleted"),
        "before",
        "what was made of it stays"
    );

    // And what is back where nothing was remembered of it is new.
    app.put_old("in/deleted", "back");
    let mut host = app.up();
    host.outcome_of("copy", "deleted");
    assert_eq!(host.stop().outcomes("copy").len(), 1);
    assert_eq!(app.read("out/deleted"), "back");
}

#[test]
fn a_function_that_is_added_later_is_not_woken_for_what_was_accepted() {
    let app = App::new(&in_order());
    app.put_old("in/a", "");
    let mut host = app.up();
    host.outcome_of("copy", "a");
    host.stop();
    app.manifest(&format!(
        "{}\n[[function]]\nname = \"hello\"\ncomponent = \"guest:hello-object\"\non = {{ object-created = \"in\" }}\n",
        in_order()
    ));
    app.put_old("in/b", "");
    let mut host = app.up();
    host.outcome_of("copy", "b");
    host.outcome_of("hello", "b");
    assert_eq!(host.stop().outcomes("hello").len(), 1);
}

/// A file that was removed and linked back is hinted at as gone. Taken at its word, what was accepted of it
/// was forgotten, and the next start accepted it a second time.
#[test]
fn a_file_that_went_and_came_back_unchanged_is_not_accepted_again() {
    let app = App::new(&in_order());
    app.put_old("in/a", "");
    app.put_old("in/folder/b", "");
    let mut host = app.up();
    host.outcomes(2, "copy");
    let (there, kept) = (app.path("in/a"), app.path("kept"));
    fs::hard_link(&there, &kept).unwrap();
    fs::remove_file(&there).unwrap();
    fs::hard_link(&kept, &there).unwrap();
    fs::rename(app.path("in/folder"), app.path("away")).unwrap();
    fs::rename(app.path("away"), app.path("in/folder")).unwrap();
    app.put_old("in/zz", "");
    host.outcome_of("copy", "zz");
    host.stop();
    app.put_old("in/zzz", "");
    let mut host = app.up();
    host.outcome_of("copy", "zzz");
    assert_eq!(host.stop().outcomes("copy").len(), 1);
}

/// A link has no writer who closes it: its hint is that it was made.
#[test]
fn a_link_that_is_made_while_the_host_runs_is_accepted() {
    let app = App::new(&in_order());
    app.put_old("outside", "linked");
    let mut host = app.up();
    fs::hard_link(app.path("outside"), app.path("in/hard")).unwrap();
    host.outcome_of("copy", "hard");
    std::os::unix::fs::symlink("hard", app.path("in/soft")).unwrap();
    host.outcome_of("copy", "soft");
    assert_eq!(host.stop().outcomes("copy").len(), 2);
    assert_eq!(app.read("out/soft"), "linked");
}
