//! Systems that need no description: the texts that stand in for it.

use std::path::Path;

use crate::rules;
use crate::source::Source;

/// A website that is to be served.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The directory with its files.
    pub directory: &'a Path,
    /// The PEM files of its certificate and key; without them it gets ones for development.
    pub certificate: Option<(&'a Path, &'a Path)>,
    /// Command line of the unikernel, in place of the one that gives it a fixed address.
    pub command_line: Option<&'a str>,
}

/// A description that nobody wrote.
pub(crate) struct Undescribed {
    pub(crate) source: Source,
    /// Name of the system.
    pub(crate) name: String,
}

/// The system of one unikernel.
pub(crate) fn unikernel(path: &Path, command_line: &str) -> Undescribed {
    let name = subject_name(path);
    let text = format!(
        "name = {name:?}\n\n[subject.{name}]\nunikernel = {}\nbootparams = {}\n",
        path_string(path),
        toml_string(command_line),
    );
    Undescribed { source: Source { name: "the system of this unikernel".to_owned(), text }, name }
}

/// The system of one website: what `systems/website.toml` describes, with this site.
pub(crate) fn site(site: &Site<'_>) -> Undescribed {
    let name = "website".to_owned();
    let mut text = format!(
        "name = \"website\"\n\n[subject.website]\nunikernel = \"website\"\nsite = {}\nbootparams = {}\npublish = {PUBLISH}\n",
        path_string(site.directory),
        toml_string(site.command_line.unwrap_or(COMMAND_LINE)),
    );
    if let Some((certificate, key)) = site.certificate {
        text += &format!("certificate = {}\nkey = {}\n", path_string(certificate), path_string(key));
    }
    Undescribed { source: Source { name: "the system of this site".to_owned(), text }, name }
}

/// A subject's name made from a file's: the characters that names can have, and none of the system's own names.
fn subject_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let allowed = |c: char| if rules::names::is_allowed(c) { c } else { '-' };
    let name: String = stem.chars().map(allowed).take(palisade_abi::layout::MAX_NAME).collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() || rules::names::is_reserved(&name) { "unikernel".to_owned() } else { name }
}

/// A text as a TOML basic string.
fn toml_string(text: &str) -> String {
    let escape = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

fn path_string(path: &Path) -> String {
    toml_string(&path.to_string_lossy())
}

/// The network that the website unikernel expects around it.
const COMMAND_LINE: &str = "--ipv4=192.168.254.10/24 --ipv4-gateway=192.168.254.1";
/// Where the site is found: HTTPS, then HTTP.
const PUBLISH: &str = r#"["4433:443", "8080:80"]"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unikernel_whose_file_has_a_reserved_name_is_called_unikernel() {
        for (file, name) in
            [("time.muen", "unikernel"), ("....", "unikernel"), ("Ünix.muen", "nix"), ("a.b.muen", "a-b")]
        {
            assert_eq!(subject_name(file.as_ref()), name);
        }
    }
}
