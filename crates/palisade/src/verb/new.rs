//! `palisade new`: something of one's own to start with.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use palisade_policy::{is_reserved_name, name_flaw};
use serde_json::json;

use crate::cli::New;
use crate::example;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Makes a directory with a description and a site, or with the crate of a unikernel, and names the command that runs it.
pub(crate) fn new(arguments: &New, terminal: &Terminal) -> Result<Exit, Failure> {
    let path = &arguments.path;
    let name = name(path)?;
    let (files, next) = if arguments.unikernel {
        check_crate_name(name)?;
        let sources = sources(arguments.sources.as_deref())?;
        (unikernel(name, &sources)?, format!("cd {} && cargo run --release", word(path)))
    } else {
        let description = path.join(format!("{name}.toml"));
        (site(name), format!("{} run {}", word(&invoked_as()), word(&description)))
    };
    make(path, &files)?;
    let (what, holds) = match arguments.unikernel {
        false => ("website", format!("its files are in {}", path.join("site").display())),
        true => ("unikernel", format!("its code is in {}", path.join("src/main.rs").display())),
    };
    if terminal.json() {
        let paths: Vec<_> = files.iter().map(|(file, _)| path.join(file)).collect();
        terminal.object(&json!({ "event": "made", "name": name, "files": paths, "next": next }))?;
    } else {
        terminal.text(format_args!("made {}, a {what}: {holds}\nrun it with: {next}", path.display()))?;
    }
    Ok(Exit::SUCCESS)
}

/// The last part of the path, if it is a good name.
fn name(path: &Path) -> Result<&str, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let wrong = name_flaw(name).or_else(|| {
        let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
        (!begins_well).then(|| "it does not begin with a letter".to_owned())
    });
    wrong.map_or(Ok(name), |wrong| Err(bad_name(name, &wrong)))
}

/// Names that neither Cargo nor a system accepts for a program.
fn check_crate_name(name: &str) -> Result<(), Failure> {
    if is_reserved_name(name) {
        return Err(bad_name(name, "systems have something of that name of their own"));
    }
    if CARGO_REFUSES.contains(&name) {
        return Err(bad_name(name, "it means something to Rust or Cargo"));
    }
    Ok(())
}

fn bad_name(name: &str, wrong: &str) -> Failure {
    let help = "use 1 to 31 characters of a-z, 0-9, `_` and `-` that begin with a letter, such as `blog` or `my-site`";
    Failure::message(Exit::Input, format!("`{name}` is no name for it: {wrong}"), Some(help.to_owned()))
}

/// A file's path in the new directory, and what is in it.
type Files = Vec<(PathBuf, Vec<u8>)>;

fn site(name: &str) -> Files {
    let description = include_str!("../../templates/site/system.toml").replace("NAME", name);
    let description = (format!("{name}.toml").into(), description.into_bytes());
    let site = Path::new("site");
    let pages =
        example::files().into_iter().map(|file| (site.join(file.path.trim_start_matches('/')), file.content));
    [description].into_iter().chain(pages).collect()
}

/// A crate that builds against the library OS in `sources`, with the versions of other people's crates that are tested
/// there.
fn unikernel(name: &str, sources: &Path) -> Result<Files, Failure> {
    let of_sources = |path: &str| {
        let path = sources.join("bare").join(path);
        fs::read_to_string(&path).map_err(|error| Failure::reading(&path, &error))
    };
    let text = |template: &str| template.replace("SOURCES", &toml_text(sources)).replace("NAME", name);
    let configuration =
        of_sources(".cargo/config.toml")?.replacen(TARGET, &format!("{TARGET}{}", runner()), 1);
    let files = [
        ("Cargo.toml", text(include_str!("../../templates/unikernel/Cargo.toml"))),
        ("Cargo.lock", of_sources("Cargo.lock")?),
        (".cargo/config.toml", configuration),
        (".gitignore", "target/\n".to_owned()),
        ("src/main.rs", text(include_str!("../../templates/unikernel/main.rs"))),
        (&format!("{name}.toml"), text(include_str!("../../templates/unikernel/system.toml"))),
    ];
    Ok(files.into_iter().map(|(path, text)| (path.into(), text.into_bytes())).collect())
}

/// How `cargo run` runs the unikernel.
fn runner() -> String {
    let command = env::current_exe().unwrap_or_else(|_| "palisade".into());
    format!(
        "# `cargo run` runs the program as a system of its own.\n\
         runner = [\n    \"{}\", \"run\", \"--publish\", \"8080:80\",\n    \
         \"--bootparams\", \"--ipv4=192.168.254.10/24 --ipv4-gateway=192.168.254.1\", \"--unikernel\",\n]\n",
        toml_text(&command)
    )
}

/// Where Palisade's repository is: the library OS is taken from there.
fn sources(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let sources = given.unwrap_or(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")));
    let found = fs::canonicalize(sources).ok().filter(|path| path.join("bare/unikernel").is_dir());
    found.ok_or_else(|| {
        let help = "unikernels are built against the library OS in Palisade's repository: name a clone of it with \
                    --sources DIR";
        let message = format!("there is no library OS in {}", sources.display());
        Failure::message(Exit::Input, message, Some(help.to_owned()))
    })
}

/// Makes the directory with its files, or nothing.
fn make(path: &Path, files: &Files) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|error| Failure::writing(parent, &error))?;
    }
    fs::create_dir(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let help = "choose another name, or remove what is there".to_owned();
            Failure::message(Exit::Input, format!("{} exists already", path.display()), Some(help))
        }
        _ => Failure::writing(path, &error),
    })?;
    let written = files.iter().try_for_each(|(name, content)| write(&path.join(name), content));
    if written.is_err() {
        // It was made here, and what is in it is of no use.
        let _ = fs::remove_dir_all(path);
    }
    written
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let write = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        File::create_new(path)?.write_all(content)
    };
    write().map_err(|error| Failure::writing(path, &error))
}

/// What this command was called as, so that the next one can be called the same way.
fn invoked_as() -> PathBuf {
    env::args_os().next().map_or_else(|| "palisade".into(), PathBuf::from)
}

/// A path as a word for a shell.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A path as it stands between quotation marks in TOML.
fn toml_text(path: &Path) -> String {
    path.display().to_string().replace('\\', r"\\").replace('"', "\\\"")
}

/// The table of the configuration that the runner belongs to.
const TARGET: &str = "[target.x86_64-unknown-linux-gnu]\n";

/// Of the names that systems can have: keywords, crates that come with Rust, directories of Cargo, and the library OS.
const CARGO_REFUSES: [&str; 53] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "unikernel",
    "use",
    "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_system_or_cargo_would_refuse_are_refused_with_what_is_right() {
        for (path, wrong) in [
            ("", "it is empty"),
            ("..", "it is empty"),
            ("Blog", "`B` cannot be part of it"),
            ("my site", "` ` cannot be part of it"),
            ("a/0", "it does not begin with a letter"),
            ("-x", "it does not begin with a letter"),
        ] {
            let refused = name(Path::new(path)).expect_err(path).object();
            assert!(refused["message"].to_string().ends_with(&format!(": {wrong}\"")), "{refused}");
            assert!(refused["help"].to_string().contains("such as `blog`"), "{refused}");
        }
        for name in ["nic", "time", "test", "unikernel", "fn"] {
            assert!(check_crate_name(name).is_err(), "{name}");
        }
        assert!(name(Path::new("sites/my-blog_2")).is_ok_and(|name| check_crate_name(name).is_ok()));
    }

    #[test]
    fn nothing_that_exists_is_overwritten() {
        let home = tempfile::tempdir().expect("temporary directories can be made");
        let path = home.path().join("blog");
        fs::create_dir(&path).expect("a directory can be made");
        let refused = make(&path, &site("blog")).expect_err("it exists");
        assert_eq!(refused.exit(), Exit::Input);
        assert_eq!(fs::read_dir(&path).expect("it is still there").count(), 0);
    }

    #[test]
    fn what_cannot_be_made_whole_is_not_left_behind() {
        let home = tempfile::tempdir().expect("temporary directories can be made");
        let path = home.path().join("blog");
        let twice = vec![("a".into(), Vec::new()), ("a".into(), Vec::new())];
        assert_eq!(make(&path, &twice).expect_err("the second one exists").exit(), Exit::Host);
        assert!(!path.exists());
    }

    #[test]
    fn paths_stay_one_word_for_a_shell() {
        assert_eq!(word(Path::new("a/b-1.toml")), "a/b-1.toml");
        assert_eq!(word(Path::new("it's here")), r"'it'\''s here'");
    }
}
