//! The file source on a real disk.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use super::*;
use crate::core::{End, Fingerprint, Hold, RunId};

/// A directory of one test, gone with it.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("recac-file-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn source(&self) -> File {
        File::new(
            self.0.join("work.json"),
            self.0.join("out.jsonl"),
            Repos::default(),
        )
    }

    fn names(&self) -> Vec<String> {
        let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(&self.0).unwrap().map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[expect(clippy::disallowed_methods, reason = "the files carry the real time")]
fn now() -> Stamp {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Stamp(u64::try_from(ms.as_millis()).unwrap())
}

/// A time at which every change of this test is long ago.
fn later() -> Stamp {
    now().plus(Duration::from_secs(3600))
}

fn ids(source: &mut File) -> Vec<String> {
    let items = source.wanted(now()).unwrap();
    items.into_iter().map(|item| item.id).collect()
}

fn outcome(item: &Item, uid: &str, end: End) -> Outcome {
    Outcome {
        item_id: item.id.clone(),
        source_id: item.source_id.clone(),
        fingerprint: item.fingerprint,
        end,
        reason: "exit code 1".into(),
        attempts: 1,
        exit_code: Some(1),
        started: Stamp(1000),
        finished: Stamp(2000),
        history: vec![],
        run: Some(RunId {
            name: "recac-agent-a-1".into(),
            uid: uid.into(),
        }),
    }
}

fn first(source: &mut File) -> Item {
    source.wanted(now()).unwrap().remove(0)
}

#[test]
fn an_item_is_wanted_until_it_is_told_and_again_when_it_changes() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"},{"id":"B","blocked_by":["A"]}]"#);
    let mut source = dir.source();
    let items = source.wanted(now()).unwrap();
    assert_eq!(items[1].hold, Some(Hold::Blocked(vec!["A".into()])));
    source
        .report(&outcome(&items[0], "u", End::Succeeded), "tail")
        .unwrap();
    let items = source.wanted(now()).unwrap();
    assert_eq!((items.len(), &items[0].hold), (1, &None));
    assert_eq!(items[0].id, "B");
    // The same for whoever starts now.
    assert_eq!(ids(&mut dir.source()), ["B"]);

    dir.write("work.json", r#"[{"id":"A","summary":"new"},{"id":"B"}]"#);
    assert_eq!(ids(&mut source), ["A", "B"]);
    dir.write("work.json", r#"[{"id":"A"},{"id":"B"}]"#);
    assert_eq!(ids(&mut source), ["B"]);
    // A person takes the line out.
    fs::remove_file(dir.0.join("out.jsonl")).unwrap();
    assert_eq!(ids(&mut source), ["A", "B"]);
}

#[test]
fn an_item_that_changed_while_it_ran_is_wanted_again_when_it_is_reported() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    let mut source = dir.source();
    let old = first(&mut source);
    dir.write("work.json", r#"[{"id":"A","summary":"new"}]"#);
    let new = first(&mut source);
    assert_ne!(old.fingerprint, new.fingerprint);
    source
        .report(&outcome(&old, "u", End::Succeeded), "")
        .unwrap();
    assert_eq!(first(&mut source), new);
}

#[test]
fn looking_up_tells_what_is_still_wanted_and_never_that_it_was_withdrawn() {
    let dir = Dir::new();
    dir.write(
        "work.json",
        r#"[{"id":"A"},{"id":"B"},{"id":"bad","url":1}]"#,
    );
    let mut source = dir.source();
    let items = source.wanted(now()).unwrap();
    source
        .report(&outcome(&items[1], "u", End::Failed), "")
        .unwrap();
    let found = source.look_up(now(), &["A", "B", "bad", "gone"]).unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(found["A"], Standing::Wanted(Box::new(items[0].clone())));
    for id in ["B", "bad", "gone"] {
        assert_eq!(found[id], Standing::Gone, "{id}");
    }
    assert_eq!(source.bad_entries(), 1);
}

#[test]
fn a_broken_file_changes_nothing_until_it_is_whole_again() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"},{}]"#);
    let mut source = dir.source();
    assert_eq!(ids(&mut source), ["A"]);
    assert_eq!(source.about_work.0.len(), 1);
    let path = dir.write("work.json", "[{\"id\":\"A\"},\n{\"id\"");
    for _ in 0..2 {
        let trouble = source.wanted(now()).unwrap_err();
        let Trouble::Later(why, None) = &trouble else {
            panic!("{trouble:?}");
        };
        assert!(why.starts_with(&path.display().to_string()), "{why}");
        assert!(why.ends_with("line 2 column 5"), "{why}");
        assert_eq!(source.look_up(now(), &["A"]), Err(trouble));
        assert_eq!(source.bad_entries(), 1);
    }
    dir.write("work.json", r#"[{"id":"A"},{"id":"B"}]"#);
    assert_eq!(ids(&mut source), ["A", "B"]);
    assert_eq!(source.bad_entries(), 0);
}

#[test]
fn what_only_a_person_can_mend_is_everything() {
    let dir = Dir::new();
    let work = dir.0.join("work.json");
    let everything = |source: &mut File, said: &str| match source.wanted(now()) {
        Err(Trouble::Everything(why)) => assert!(why.ends_with(said), "{why}"),
        other => panic!("{other:?}"),
    };
    let mut source = dir.source();
    everything(&mut source, "there is no such work file");
    symlink(dir.0.join("nowhere"), &work).unwrap();
    everything(&mut source, "there is no such work file");
    fs::remove_file(&work).unwrap();
    fs::create_dir(&work).unwrap();
    everything(&mut source, "not a regular file");
    fs::remove_dir(&work).unwrap();
    let large = fs::File::create(&work).unwrap();
    large.set_len(LIMIT + 1).unwrap();
    everything(&mut source, "larger than 64 MiB");
    dir.write("work.json", "[]");
    assert_eq!(ids(&mut source), [""; 0]);

    fs::create_dir(dir.0.join("out.jsonl")).unwrap();
    everything(&mut source, "out.jsonl: not a regular file");
    let mut source = File::new(work, dir.0.join("no/out.jsonl"), Repos::default());
    everything(&mut source, "no/out.jsonl: its directory does not exist");
}

#[test]
fn a_file_that_nobody_touched_is_not_read_again() {
    let dir = Dir::new();
    let work = dir.write("work.json", r#"[{"id":"A"}]"#);
    let mut source = dir.source();
    source.wanted(later()).unwrap();
    // Seen by what only a reading could change.
    source.items[0].summary = "kept".into();
    assert_eq!(source.wanted(later()).unwrap()[0].summary, "kept");
    source.look_up(later(), &["A"]).unwrap();
    assert_eq!(source.items[0].summary, "kept");
    // The outcomes count as well, also when they appear or go.
    dir.write("out.jsonl", "");
    assert_eq!(source.wanted(later()).unwrap()[0].summary, "");
    source.items[0].summary = "kept".into();
    assert_eq!(source.wanted(later()).unwrap()[0].summary, "kept");
    fs::remove_file(dir.0.join("out.jsonl")).unwrap();
    assert_eq!(source.wanted(later()).unwrap()[0].summary, "");
    // Also a file of the same size and time, under the same name.
    let times = fs::FileTimes::new().set_modified(fs::metadata(&work).unwrap().modified().unwrap());
    let other = dir.write("other", r#"[{"id":"B"}]"#);
    fs::File::options()
        .append(true)
        .open(&other)
        .unwrap()
        .set_times(times)
        .unwrap();
    fs::rename(other, work).unwrap();
    assert_eq!(source.wanted(later()).unwrap()[0].id, "B");
}

#[test]
fn a_file_that_was_just_written_is_read_again_however_it_looks() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    let mut source = dir.source();
    source.wanted(now()).unwrap();
    source.items[0].summary = "kept".into();
    assert_eq!(source.wanted(later()).unwrap()[0].summary, "");
    source.items[0].summary = "kept".into();
    assert_eq!(source.wanted(later()).unwrap()[0].summary, "kept");
}

#[test]
fn outcomes_that_were_just_written_are_read_again_however_they_look() {
    let dir = Dir::new();
    let work = dir.write("work.json", r#"[{"id":"A"}]"#);
    std::thread::sleep(Duration::from_millis(60));
    dir.write("out.jsonl", "");
    // Two seconds after the one, and not yet after the other.
    let meta = fs::metadata(work).unwrap();
    let ms = meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000;
    let at = Stamp(u64::try_from(ms).unwrap() + 2010);
    let mut source = dir.source();
    source.wanted(at).unwrap();
    source.items[0].summary = "kept".into();
    assert_eq!(source.wanted(later()).unwrap()[0].summary, "");
}

#[test]
fn a_repeated_report_writes_nothing() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    let mut source = dir.source();
    let item = first(&mut source);
    let end = outcome(&item, "u1", End::Failed);
    source.report(&end, "one").unwrap();
    let text = dir.read("out.jsonl");
    assert_eq!(text, report::line(&end, "one") + "\n");
    source.report(&end, "two").unwrap();
    // Nor does one who starts after a crash, without a look at the items.
    dir.source().report(&end, "three").unwrap();
    assert_eq!(dir.read("out.jsonl"), text);
    // A later run under the same name is another one.
    let next = outcome(&item, "u2", End::Failed);
    source.report(&next, "").unwrap();
    assert_eq!(dir.read("out.jsonl").lines().count(), 2);
    // What another process told meanwhile is known as well.
    let third = outcome(&item, "u3", End::Failed);
    dir.source().report(&third, "").unwrap();
    source.report(&third, "").unwrap();
    assert_eq!(dir.read("out.jsonl").lines().count(), 3);
    // A line that a person took out is told again.
    dir.write("out.jsonl", "");
    source.report(&third, "").unwrap();
    assert_eq!(dir.read("out.jsonl").lines().count(), 1);
}

#[test]
fn an_end_without_a_run_is_told_once() {
    let dir = Dir::new();
    let item = {
        dir.write("work.json", r#"[{"id":"A"}]"#);
        first(&mut dir.source())
    };
    let mut end = outcome(&item, "", End::Failed);
    end.run = None;
    for _ in 0..2 {
        dir.source().report(&end, "").unwrap();
    }
    end.finished = Stamp(3000);
    dir.source().report(&end, "").unwrap();
    assert_eq!(dir.read("out.jsonl").lines().count(), 2);
}

#[test]
fn a_torn_line_is_closed_before_the_next_one() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    dir.write("out.jsonl", "{\"id\":\"A\",\"outc");
    let mut source = dir.source();
    let item = first(&mut source);
    assert_eq!(source.about_outcomes.0.len(), 1);
    source
        .report(&outcome(&item, "u", End::Failed), "")
        .unwrap();
    let text = dir.read("out.jsonl");
    assert!(text.starts_with("{\"id\":\"A\",\"outc\n{\"id\":\"A\",\"outcome\":"));
    assert_eq!(text.lines().count(), 2);
    assert_eq!(ids(&mut source), [""; 0]);
}

#[test]
fn outcomes_are_for_their_owner_only_and_may_lie_behind_a_link() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    fs::create_dir(dir.0.join("real")).unwrap();
    symlink("real/o.jsonl", dir.0.join("out.jsonl")).unwrap();
    let mut source = dir.source();
    let item = first(&mut source);
    source
        .report(&outcome(&item, "u", End::Failed), "")
        .unwrap();
    let meta = fs::metadata(dir.0.join("real/o.jsonl")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert!(dir.0.join("out.jsonl").is_symlink());
    // What is there keeps its mode and its place.
    let ino = meta.ino();
    fs::set_permissions(
        dir.0.join("real/o.jsonl"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    source
        .report(&outcome(&item, "u2", End::Failed), "")
        .unwrap();
    let meta = fs::metadata(dir.0.join("real/o.jsonl")).unwrap();
    assert_eq!((meta.ino(), meta.mode() & 0o777), (ino, 0o640));
}

#[test]
fn what_could_not_be_told_is_not_taken_for_told() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    let mut source = dir.source();
    let item = first(&mut source);
    let end = outcome(&item, "u", End::Failed);
    let mut lost = File::new(
        dir.0.join("work.json"),
        dir.0.join("no/out.jsonl"),
        Repos::default(),
    );
    match lost.report(&end, "") {
        Err(Trouble::Later(why, None)) => {
            assert!(why.ends_with("no/out.jsonl: its directory does not exist"));
        }
        other => panic!("{other:?}"),
    }
    fs::create_dir(dir.0.join("no")).unwrap();
    lost.report(&end, "").unwrap();
    assert_eq!(dir.read("no/out.jsonl").lines().count(), 1);

    fs::create_dir(dir.0.join("out.jsonl")).unwrap();
    let Err(Trouble::Later(why, None)) = source.report(&end, "") else {
        panic!("told to a directory");
    };
    assert!(why.contains("out.jsonl: "), "{why}");
    fs::remove_dir(dir.0.join("out.jsonl")).unwrap();
    assert_eq!(ids(&mut source), ["A"]);
}

#[test]
fn many_writers_never_mix_their_lines() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    let item = first(&mut dir.source());
    let tail = "x".repeat(100_000);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (dir, item, tail) = (&dir, &item, &tail);
            scope.spawn(move || {
                let mut source = dir.source();
                for n in 0..5 {
                    let end = outcome(item, &format!("{writer}-{n}"), End::Failed);
                    source.report(&end, tail).unwrap();
                }
            });
        }
    });
    let text = dir.read("out.jsonl");
    let (told, wrong) = outcomes::read(text.as_bytes()).unwrap();
    assert_eq!((text.lines().count(), wrong.len()), (20, 0));
    assert!(told.knows(&outcome(&item, "3-4", End::Failed)));
}

#[test]
fn looking_creates_nothing() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    let mut source = dir.source();
    source.wanted(now()).unwrap();
    source.look_up(now(), &["A"]).unwrap();
    assert_eq!(dir.names(), ["work.json"]);
}

#[test]
fn each_complaint_is_made_once_per_change() {
    let complaint = |text: &str| Complaint {
        grave: true,
        id: None,
        text: text.into(),
    };
    let set = |texts: &[&str]| texts.iter().map(|t| complaint(t)).collect::<BTreeSet<_>>();
    let mut heard = Heard::default();
    assert_eq!(heard.news(set(&["a", "b"])).len(), 2);
    assert_eq!(heard.news(set(&["a", "b"])), []);
    assert_eq!(heard.news(set(&["b", "c"])), [complaint("c")]);
    assert_eq!(heard.news(set(&["a", "b"])), [complaint("a")]);
}

#[test]
fn an_outcome_of_the_present_content_is_found_by_its_fingerprint() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A"}]"#);
    let mut source = dir.source();
    let print = first(&mut source).fingerprint;
    let line = |print: Fingerprint| {
        format!("{{\"id\":\"A\",\"outcome\":\"failed\",\"fingerprint\":\"{print}\"}}\n")
    };
    dir.write("out.jsonl", &line(print));
    assert_eq!(ids(&mut source), [""; 0]);
    dir.write("out.jsonl", &(line(print) + &line(Fingerprint(1))));
    assert_eq!(ids(&mut source), ["A"]);
}

/// A text elsewhere that two sources write.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<There>>);

#[derive(Default)]
struct There {
    version: u64,
    text: Option<String>,
    reads: usize,
    /// Somebody writes this before the next write of ours comes through.
    between: Option<String>,
}

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut There) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn put(&self, text: &str) {
        self.with(|there| {
            there.version += 1;
            there.text = Some(text.to_owned());
        });
    }

    fn text(&self) -> String {
        self.with(|there| there.text.clone().unwrap_or_default())
    }

    fn source(&self, dir: &Dir) -> File {
        let far = Ledger::far("ConfigMap x".into(), self.clone());
        File::new(dir.0.join("work.json"), far, Repos::default())
    }
}

impl ledger::Remote for Shared {
    fn version(&self) -> Result<Option<String>, Trouble> {
        Ok(self.with(|t| t.text.as_ref().map(|_| t.version.to_string())))
    }

    fn read(&self) -> Result<Option<(String, String)>, Trouble> {
        Ok(self.with(|t| {
            t.reads += 1;
            t.text.clone().map(|text| (t.version.to_string(), text))
        }))
    }

    fn write(&self, text: &str, version: Option<&str>) -> Result<Option<String>, Trouble> {
        if let Some(other) = self.with(|t| t.between.take()) {
            self.put(&(self.text() + &other));
        }
        Ok(self.with(|t| {
            let now = t.text.as_ref().map(|_| t.version.to_string());
            (now.as_deref() == version).then(|| {
                t.version += 1;
                t.text = Some(text.to_owned());
                t.version.to_string()
            })
        }))
    }
}

#[test]
fn outcomes_elsewhere_are_the_same_lines_and_no_writer_loses_one() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A-1"},{"id":"A-2"},{"id":"A-3"}]"#);
    let shared = Shared::default();
    let (mut one, mut two) = (shared.source(&dir), shared.source(&dir));
    assert_eq!(ids(&mut one), ["A-1", "A-2", "A-3"]);
    let items = two.wanted(now()).unwrap();
    one.report(&outcome(&items[0], "u1", End::Succeeded), "t")
        .unwrap();
    // The other has read before that, and is told so when it writes.
    two.report(&outcome(&items[1], "u2", End::Failed), "t")
        .unwrap();
    shared.with(|there| there.between = Some("odd line\n".into()));
    one.report(&outcome(&items[2], "u3", End::Stopped), "t")
        .unwrap();
    let text = shared.text();
    assert_eq!(text.lines().count(), 4);
    assert_eq!(
        text.lines().next(),
        Some(report::line(&outcome(&items[0], "u1", End::Succeeded), "t").as_str())
    );
    assert_eq!(ids(&mut one), [""; 0]);
    assert_eq!(ids(&mut two), [""; 0]);
    assert_eq!(one.wanted(later()), Ok(vec![]));
    // A repeat is recognised, and a line taken out wanted again.
    two.report(&outcome(&items[0], "u1", End::Succeeded), "t")
        .unwrap();
    assert_eq!(shared.text(), text);
    shared.put(
        &text
            .lines()
            .skip(1)
            .map(|l| l.to_owned() + "\n")
            .collect::<String>(),
    );
    // A poll does not ask each time; what is about to be started does.
    assert_eq!(one.wanted(later()), Ok(vec![]));
    let fresh = one.look_up(later(), &["A-1"]).unwrap();
    assert!(matches!(fresh.get("A-1"), Some(Standing::Wanted(_))));
    assert_eq!(ids(&mut one), ["A-1"]);
    // What has not changed is not read again.
    let reads = shared.with(|there| there.reads);
    dir.write("work.json", r#"[{"id":"A-1"}, {"id":"A-2"},{"id":"A-3"}]"#);
    assert_eq!(ids(&mut one), ["A-1"]);
    assert_eq!(shared.with(|there| there.reads), reads);
}

#[test]
fn without_room_for_outcomes_nothing_is_started_and_what_runs_is_still_known() {
    let dir = Dir::new();
    dir.write("work.json", r#"[{"id":"A-1"}]"#);
    let shared = Shared::default();
    let mut source = shared.source(&dir);
    let item = source.wanted(now()).unwrap().remove(0);
    // Of entries that are in the file, so that none of them may go.
    let entries: Vec<String> = (0..9000).map(|n| format!(r#"{{"id":"B-{n}"}}"#)).collect();
    dir.write(
        "work.json",
        &format!(r#"[{{"id":"A-1"}},{}]"#, entries.join(",")),
    );
    let line = |n: usize| {
        let mut item = item.clone();
        item.id = format!("B-{n}");
        report::line(&outcome(&item, &format!("u{n}"), End::Failed), "") + "\n"
    };
    shared.put(&(0..9000).map(line).collect::<String>());
    assert_eq!(ids(&mut source), [""; 0]);
    assert!(source.bad_entries() > 0);
    let standing = source.look_up(now(), &["A-1"]).unwrap();
    assert!(matches!(standing.get("A-1"), Some(Standing::Wanted(_))));
    // Its end is still told.
    source
        .report(&outcome(&item, "u", End::Succeeded), "tail")
        .unwrap();
    assert!(shared.text().contains(r#""id":"A-1""#));
    // Taken out of the work file they make room.
    dir.write("work.json", r#"[{"id":"A-2"}]"#);
    assert_eq!(ids(&mut source), ["A-2"]);
    let item = source.wanted(now()).unwrap().remove(0);
    source
        .report(&outcome(&item, "last", End::Succeeded), "")
        .unwrap();
    assert!(shared.text().len() <= ROOM);
}
