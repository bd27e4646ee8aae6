//! Systems that need no description: the texts that stand in for it.

use std::path::Path;

use palisade_site::pack::File as SiteFile;

use crate::parse::parse_publish;
use crate::rules;
use crate::source::Source;
use crate::system::{Protocol, Publish};

/// A website that is to be served.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Its files.
    pub files: SiteFiles<'a>,
    /// The PEM files of its certificate and key; without them it gets ones for development.
    pub certificate: Option<(&'a Path, &'a Path)>,
    /// Command line of the unikernel, in place of the one that gives it a fixed address.
    pub command_line: Option<&'a str>,
}

/// Where the files of a website are.
#[derive(Debug, Clone, Copy)]
pub enum SiteFiles<'a> {
    /// In this directory.
    Directory(&'a Path),
    /// In memory: the site that comes with the command.
    Memory(&'a [SiteFile]),
}

impl SiteFiles<'_> {
    /// What the description calls them.
    fn name(&self) -> String {
        match self {
            Self::Directory(directory) => path_string(directory),
            Self::Memory(_) => toml_string("the built-in example"),
        }
    }
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
/// of the published ports there, and the site serves what it names: HTTPS at 443 if that is among them, else at the first;
/// HTTP at 80 if that is among them, else at the next. If only HTTP is, a site without a certificate is served without TLS:
/// it could send its visitors nowhere.
pub(crate) fn site(site: &Site<'_>, published: &[String]) -> Undescribed {
    let name = "website".to_owned();
    let usual =
        || [ADDRESS.to_owned()].into_iter().chain(served(site, published)).collect::<Vec<_>>().join(" ");
    let command_line = site.command_line.map_or_else(usual, str::to_owned);
    let mut text = format!(
        "name = \"website\"\n\n[subject.website]\nunikernel = \"website\"\nsite = {}\n\
         bootparams = {}\nram = \"128 MiB\"\nrestart = \"on-failure\"\npublish = {PUBLISH:?}\n",
        site.files.name(),
        toml_string(&command_line),
    );
    if let Some((certificate, key)) = site.certificate {
        text += &format!("certificate = {}\nkey = {}\n", path_string(certificate), path_string(key));
    }
    Undescribed { source: Source { name: "the system of this site".to_owned(), text }, name }
}

/// Arguments that make the site serve the published ports, and send who comes without TLS to the right one.
fn served(site: &Site<'_>, published: &[String]) -> Vec<String> {
    let usual = PUBLISH.map(String::from);
    let published = if published.is_empty() { &usual } else { published };
    let ports = published.iter().filter_map(|text| parse_publish(text));
    let mut ports: Vec<Publish> = ports.filter(|port| port.protocol == Protocol::Tcp).collect();
    let https = take(&mut ports, HTTPS, HTTP);
    let http = take(&mut ports, HTTP, HTTPS);
    let mut arguments = Vec::new();
    if let Some(port) = https {
        arguments.extend((port.guest != HTTPS).then(|| format!("--https={}", port.guest)));
        let outside = port.host.port();
        arguments.extend((outside != 0).then(|| format!("--https-outside={outside}")));
    } else if http.is_some() && site.certificate.is_none() {
        arguments.push(WITHOUT_TLS.to_owned());
    }
    arguments.extend(http.filter(|port| port.guest != HTTP).map(|port| format!("--http={}", port.guest)));
    arguments
}

/// The port that leads to `wanted`, or else the first that does not lead to `other`.
fn take(ports: &mut Vec<Publish>, wanted: u16, other: u16) -> Option<Publish> {
    let find = |is_it: &dyn Fn(&Publish) -> bool| ports.iter().position(is_it);
    let found = find(&|port| port.guest == wanted).or_else(|| find(&|port| port.guest != other))?;
    Some(ports.remove(found))
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
/// HTTPS, then HTTP.
const PUBLISH: [&str; 2] = ["4433:443", "8080:80"];
/// Where the website unikernel serves if it is told nothing else.
const HTTPS: u16 = 443;
const HTTP: u16 = 80;
/// What has it serve without TLS. A site with this argument gets no certificate for development.
pub(crate) const WITHOUT_TLS: &str = "--https=0";

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
        let files = SiteFiles::Directory(Path::new("website"));
        let own = Site { files, certificate: None, command_line: None };
        let made = site(&own, &[]).source.text;
        assert_eq!(made.parse::<toml::Table>(), text.parse::<toml::Table>());
    }

    #[test]
    fn a_site_serves_what_is_published_and_sends_visitors_there() {
        let site = Site { files: SiteFiles::Memory(&[]), certificate: None, command_line: None };
        let arguments = |published: &[&str]| {
            served(&site, &published.iter().map(ToString::to_string).collect::<Vec<_>>()).join(" ")
        };
        assert_eq!(arguments(&[]), "--https-outside=4433");
        assert_eq!(arguments(&["8080:80", "443:443/udp", "127.0.0.1:9443:443"]), "--https-outside=9443");
        assert_eq!(arguments(&["0:443", "0:80"]), "");
        assert_eq!(arguments(&["4433:4433", "8080:8080"]), "--https=4433 --https-outside=4433 --http=8080");
        assert_eq!(arguments(&["8080:80", "0.0.0.0:443:4433"]), "--https=4433 --https-outside=443");
        assert_eq!(arguments(&["8080:8080", "4433:443"]), "--https-outside=4433 --http=8080");
        assert_eq!(arguments(&["53:53/udp", "4433:4433"]), "--https=4433 --https-outside=4433");
        assert_eq!(arguments(&["53:53/udp"]), "");
    }

    #[test]
    fn a_site_that_is_published_over_http_alone_is_served_without_tls_unless_it_has_a_certificate() {
        let published = ["8080:80".to_owned()];
        let mut site = Site { files: SiteFiles::Memory(&[]), certificate: None, command_line: None };
        assert_eq!(served(&site, &published), ["--https=0"]);
        site.certificate = Some((Path::new("certificate"), Path::new("key")));
        assert!(served(&site, &published).is_empty());
    }
}
