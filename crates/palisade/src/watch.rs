//! Watching the directories of sites while a system runs: what changes there is packed anew, and the site's unikernel starts
//! again with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use palisade_hosted::{Renewed, Renewer};
use palisade_policy::Planned;
use palisade_policy::plan::Plan;
use serde_json::json;

use crate::certificates;
use crate::failure::Failure;
use crate::system::Source;
use crate::terminal::Terminal;

/// The directories of a system's sites.
pub(crate) struct Watched {
    directories: Vec<PathBuf>,
    seen: Files,
}

/// Every file in the directories: when it was changed, and its size.
type Files = BTreeMap<PathBuf, (SystemTime, u64)>;

impl Watched {
    /// Those of a system that was planned from `source`, as they are now.
    pub(crate) fn of(planned: &Planned, source: Source<'_>) -> Result<Self, Failure> {
        let directories: Vec<_> = match (source.description, &source.undescribed.site) {
            (Some(description), _) => {
                let folder = description.parent().unwrap_or(Path::new(""));
                let data = planned.system.subjects.iter().flat_map(|subject| &subject.data);
                data.filter(|data| data.site.is_some())
                    .map(|data| folder.join(certificates::name_of(data)))
                    .collect()
            }
            (None, Some(site)) => vec![site.clone()],
            (None, None) => Vec::new(),
        };
        if directories.is_empty() {
            return Err(Failure::input("--watch: this system has no directory with a site"));
        }
        let seen = files(&directories).unwrap_or_default();
        Ok(Self { directories, seen })
    }

    /// Watches until it is over. `plan` reads the whole system again.
    pub(crate) fn watch(
        mut self,
        running: &Plan,
        plan: &dyn Fn() -> Result<Planned, Failure>,
        renewer: &Renewer,
        over: &AtomicBool,
        terminal: &Terminal,
    ) {
        let mut running = Cow::Borrowed(running);
        while let Some(changed) = self.change(over) {
            let what = named(&changed);
            let renewed = match plan() {
                Ok(planned) => {
                    Renewed::between(&running, &planned.plan).map(|renewed| (renewed, planned.plan))
                }
                Err(failure) => {
                    terminal.failure(&failure);
                    continue;
                }
            };
            let Some((renewed, plan)) = renewed else {
                terminal.remark(format_args!(
                    "{what} changed, and more than files is different now: end the system and start it again"
                ));
                continue;
            };
            let subjects: Vec<_> = renewed.iter().map(Renewed::name).collect();
            if terminal.json() {
                // If nobody takes it, whoever passes on the log finds out too.
                let _ =
                    terminal.object(&json!({ "event": "changed", "files": changed, "subjects": subjects }));
            }
            terminal.remark(format_args!("{what} changed: {} starts again", subjects.join(", ")));
            renewer.renew(renewed);
            running = Cow::Owned(plan);
        }
    }

    /// Waits for a change that is complete, as far as that can be seen, and gives the files; `None` when it is over.
    fn change(&mut self, over: &AtomicBool) -> Option<Vec<PathBuf>> {
        let mut last = None;
        loop {
            thread::park_timeout(PAUSE);
            if over.load(Ordering::Relaxed) {
                return None;
            }
            // A directory that is not there may be on its way to being made anew.
            let Ok(now) = files(&self.directories) else { continue };
            if now == self.seen {
                last = None;
            } else if last.as_ref() == Some(&now) {
                let changed = differences(&self.seen, &now);
                self.seen = now;
                return Some(changed);
            } else {
                last = Some(now);
            }
        }
    }
}

fn files(directories: &[PathBuf]) -> io::Result<Files> {
    let mut found = Files::new();
    let mut folders = directories.to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") && name != WELL_KNOWN {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Ok(file) = fs::metadata(entry.path()) {
                found.insert(entry.path(), (file.modified()?, file.len()));
            }
        }
    }
    Ok(found)
}

/// The files that are new, gone, or others.
fn differences(before: &Files, now: &Files) -> Vec<PathBuf> {
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    let changed = now.iter().filter(|(path, file)| before.get(*path) != Some(file)).map(|(path, _)| path);
    gone.chain(changed).cloned().collect()
}

/// The first few of them.
fn named(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    match files.len() - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(300);
/// Files that are named when they change.
const NAMED: usize = 3;
/// The one hidden directory that is part of a site (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_gone_and_changed_files_are_found_and_hidden_ones_are_not() {
        let home = tempfile::tempdir().expect("temporary directories can be made");
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            path.parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(path, text))
                .expect("it is ours");
        };
        ["same", "deep/changed", "gone", ".git/index"].iter().for_each(|name| write(name, "1"));
        let look = || files(&[home.path().to_owned()]).expect("it is there");
        let before = look();
        assert_eq!(before.len(), 3);
        write("deep/changed", "22");
        write("new", "");
        write(".git/index", "22");
        write(".well-known/security.txt", "");
        fs::remove_file(home.path().join("gone")).expect("it is there");
        let found = differences(&before, &look());
        let expected = ["gone", ".well-known/security.txt", "deep/changed", "new"];
        assert_eq!(found, expected.map(|name| home.path().join(name)));
    }

    #[test]
    fn of_many_files_the_first_are_named() {
        let files =
            |count: usize| (0..count).map(|number| PathBuf::from(number.to_string())).collect::<Vec<_>>();
        assert_eq!(named(&files(2)), "0, 1");
        assert_eq!(named(&files(3)), "0, 1, 2");
        assert_eq!(named(&files(5)), "0, 1, 2 and 2 more");
    }
}
