//! Systems that need no description: the texts that stand in for it.

use std::path::Path;

use crate::parse::parse_publish;
use crate::rules;
use crate::source::Source;
use crate::system::Protocol;

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

/// The system of one website: what `systems/website.toml` describes, with this site. `published` is what takes the place
/// of the published ports there.
pub(crate) fn site(site: &Site<'_>, published: &[String]) -> Undescribed {
    let name = "website".to_owned();
    let outside = https_outside(published).map(|port| format!(" --https-outside={port}"));
    let own_command_line = format!("{ADDRESS}{}", outside.unwrap_or_default());
    let mut text = format!(
        "name = \"website\"\nmachine = \"qemu-q35\"\n\n[subject.website]\nunikernel = \"website\"\nsite = {}\n\
         bootparams = {}\nram = \"64 MiB\"\npublish = {PUBLISH}\n",
        path_string(site.directory),
        toml_string(site.command_line.unwrap_or(&own_command_line)),
    );
    if let Some((certificate, key)) = site.certificate {
        text += &format!("certificate = {}\nkey = {}\n", path_string(certificate), path_string(key));
    }
    Undescribed { source: Source { name: "the system of this site".to_owned(), text }, name }
}

/// The port of this computer under which the site's HTTPS is found, to which it sends visitors who come without.
fn https_outside(published: &[String]) -> Option<u16> {
    if published.is_empty() {
        return Some(USUAL_HTTPS);
    }
    let mut published = published.iter().filter_map(|text| parse_publish(text));
    published
        .find(|port| port.protocol == Protocol::Tcp && port.guest == 443)
        .map(|port| port.host.port())
        .filter(|port| *port != 0)
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

/// Where the site is in the network around it.
const ADDRESS: &str = "--ipv4=192.168.254.10/24 --ipv4-gateway=192.168.254.1";
/// HTTPS at the usual port, then HTTP.
const PUBLISH: &str = r#"["4433:443", "8080:80"]"#;
const USUAL_HTTPS: u16 = 4433;

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

    #[test]
    fn a_site_without_a_description_is_the_website_that_comes_with_palisade() {
        let text = include_str!("../../../systems/website.toml");
        let own = Site { directory: Path::new("website"), certificate: None, command_line: None };
        let made = site(&own, &[]).source.text;
        assert_eq!(made.parse::<toml::Table>(), text.parse::<toml::Table>());
    }

    #[test]
    fn visitors_without_https_are_sent_where_it_is_published() {
        let own = Site { directory: Path::new("website"), certificate: None, command_line: None };
        let sent_to = |published: &[&str]| {
            let published: Vec<String> = published.iter().map(|text| (*text).to_owned()).collect();
            let text = site(&own, &published).source.text;
            text.split_once("--https-outside=").map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
        };
        assert_eq!(sent_to(&[]).as_deref(), Some("4433"));
        assert_eq!(sent_to(&["8080:80", "443:443/udp", "127.0.0.1:9443:443"]).as_deref(), Some("9443"));
        assert_eq!(sent_to(&["0:443"]), None);
        assert_eq!(sent_to(&["8080:80"]), None);
    }
}
