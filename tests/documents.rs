//! What the documents say, held against the code: links, names of tests, lists of rules, tables, examples.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in documents() {
        let folder = document.parent().expect("a file has a folder");
        for link in links(&read(&document)).iter().filter(|link| !link.contains("://")) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            assert!(target.exists(), "{}: {link} does not exist", document.display());
            let known = heading.is_empty() || anchors(&read(&target)).any(|anchor| anchor == heading);
            assert!(known, "{}: no heading #{heading} in {path}", document.display());
        }
    }
}

#[test]
fn every_test_that_a_document_names_exists() {
    let mut tests = BTreeSet::new();
    for source in files(&root(), "rs") {
        let text = read(&source);
        tests.extend(text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()).map(str::to_owned));
    }
    for document in documents() {
        for name in code_spans(&read(&document)).filter(|span| is_test_name(span)) {
            assert!(tests.contains(name), "{}: there is no test {name}", document.display());
        }
    }
}

#[test]
fn every_rule_that_a_document_names_exists() {
    let known: BTreeSet<&str> = rules().into_iter().flat_map(|(_, rules)| rules).map(|(id, _)| id).collect();
    for document in ["SPECIFICATION.md", "SECURITY.md"] {
        let text = read(&root().join(document));
        for cell in text.split(['|', ';']).filter(|cell| cell.contains("rule `") || cell.contains("rules `"))
        {
            for id in code_spans(cell).filter(|span| !is_test_name(span) && span.contains('-')) {
                assert!(known.contains(id), "{document}: there is no rule {id}");
            }
        }
    }
}

#[test]
fn every_attempt_of_the_attacker_has_its_row() {
    let text = read(&root().join("SECURITY.md"));
    let rows: BTreeSet<&str> = code_spans(&text).collect();
    let mut attempts = 0;
    for source in files(&root().join("bare/testing/attacker/src"), "rs") {
        for line in read(&source).lines().map(str::trim) {
            let quoted = line.strip_prefix("attack!(\"").or_else(|| line.strip_prefix("(\""));
            let Some((name, _)) = quoted.and_then(|rest| rest.split_once('"')) else { continue };
            assert!(rows.contains(name), "SECURITY.md has no row for {name}");
            attempts += 1;
        }
    }
    assert!(attempts > 50, "{attempts} attempts were found");
}

#[test]
fn every_key_of_the_examples_is_explained() {
    let text = read(&root().join("docs/description.md"));
    let explained: BTreeSet<&str> = code_spans(&text).collect();
    let examples = ["systems/pair.toml", "systems/two-sites.toml"].map(|path| read(&root().join(path)));
    for line in examples.iter().flat_map(|example| example.lines()) {
        let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") else { continue };
        // The names of data are the unikernel's.
        if key != "licence" {
            assert!(explained.contains(key.trim()), "docs/description.md does not explain {key}");
        }
    }
}

/// With `UPDATE_DOCUMENTS` set, the list is written anew in place of the check.
#[test]
fn the_list_of_rules_is_the_code_s() {
    let mut list = String::from(RULES_HEAD);
    for (verb, rules) in rules() {
        list += &format!("\n## Rules of `{verb}`\n\n| rule | what holds |\n|---|---|\n");
        for (id, specification) in rules {
            list += &format!("| `{id}` | {} |\n", specification.replace('|', "\\|"));
        }
    }
    let path = root().join("docs/rules.md");
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        fs::write(&path, &list).expect("docs/rules.md can be written");
    }
    assert!(
        read(&path) == list,
        "docs/rules.md is out of date: run UPDATE_DOCUMENTS=1 cargo test --test documents"
    );
}

#[test]
fn every_description_in_the_documents_keeps_the_rules() {
    let mut found = 0;
    for document in documents() {
        let text = read(&document);
        for example in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let directory = tempfile::tempdir().expect("there is room for a file");
            let path = directory.path().join("example.toml");
            fs::write(&path, example).expect("there is room for a file");
            let check = palisade(&["check", &path.to_string_lossy()]);
            assert_eq!(check.0, Some(0), "{}:\n{example}\n{}", document.display(), check.1);
            found += 1;
        }
    }
    assert!(found > 0, "there are examples");
}

#[test]
fn the_description_of_one_unikernel_is_at_most_50_lines() {
    let examples: Vec<_> = files(&root().join("systems"), "toml").iter().map(|path| read(path)).collect();
    let small: Vec<_> = examples.iter().filter(|text| text.matches("[subject.").count() == 1).collect();
    assert!(!small.is_empty() && small.iter().all(|text| text.lines().count() <= 50));
}

#[test]
fn the_readme_has_every_exit_status_of_the_help() {
    let readme = read(&root().join("README.md"));
    let (_, help) = palisade(&["boot", "--help"]);
    let table = help.split("Exit status:\n").nth(1).expect("the help has a table of exit statuses");
    let rows: Vec<_> = table.lines().filter_map(|line| line.trim().split_once("  ")).collect();
    assert!(rows.len() > 5, "{table}");
    for (status, meaning) in rows {
        let row = format!("| {status} | {} |", meaning.trim());
        assert!(readme.contains(&row), "README.md has no row {row}");
    }
}

#[test]
fn the_kernel_keeps_within_its_budget() {
    let sources = ["bare/kernel/src", "crates/kernel-core/src"];
    let lines: usize =
        sources.iter().flat_map(|path| files(&root().join(path), "rs")).map(|p| code_lines(&p)).sum();
    assert!((1000..=KERNEL_BUDGET).contains(&lines), "the kernel has {lines} lines of code");
}

/// Lines of code: without blank lines, comments and tests.
fn code_lines(path: &Path) -> usize {
    if path.iter().any(|part| part == "tests.rs" || part == "tests") {
        return 0;
    }
    let text = read(path);
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

type Rules = Vec<(&'static str, &'static str)>;

/// Identifiers and specifications, by verb.
fn rules() -> [(&'static str, Rules); 2] {
    let of_check = palisade_policy::rules().iter().map(|rule| (rule.id, rule.specification));
    let of_verify = palisade_image::verify::RULES.iter().map(|rule| (rule.id, rule.specification));
    [("check", of_check.collect()), ("verify", of_verify.collect())]
}

/// Runs the command; gives its exit status and all it wrote.
fn palisade(arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_palisade")).args(arguments).output().expect("the command starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The documents for people: those of the root, and those of `docs/`.
fn documents() -> Vec<PathBuf> {
    let of_root =
        fs::read_dir(root()).expect("the root can be listed").map(|entry| entry.expect("an entry").path());
    let of_root = of_root.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    of_root.chain(files(&root().join("docs"), "md")).collect()
}

/// The files below a folder whose names end so; build results and the link to ourselves are left out.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let hidden = path.file_name().is_some_and(|n| n == "target" || n.to_string_lossy().starts_with('.'));
        if path.is_dir() && !path.is_symlink() && !hidden {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found
}

/// Targets of Markdown links.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// The anchors of headings.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#'));
    headings.map(|heading| {
        let kept = heading.trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>()
            .replace(' ', "-")
    })
}

/// What stands between backquotes.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Tests are named by sentences, and nothing else has so many words.
fn is_test_name(span: &str) -> bool {
    span.matches('_').count() >= 3
        && span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// See SPECIFICATION.md.
const KERNEL_BUDGET: usize = 6000;

const RULES_HEAD: &str = "\
# The rules

What holds for every system. `palisade check` applies the first list to a description, before anything is built;
`palisade verify` applies the second to the bytes of a finished image. `palisade rules` prints both.

This file is made from the code, and a test holds it equal to it.
";
