//! The files that a subject reads as memory regions: websites, certificates, and whatever else it is given.

use palisade_abi::layout::{DATA, DATA_END};

use super::{Context, parse_publish};
use crate::document::{Fields, text_of};
use crate::input::read_file;
use crate::problem::Problem;
use crate::rules::{data as rules, reading};
use crate::source::{Located, Place};
use crate::system::{Data, Publish};
use crate::undescribed::WITHOUT_TLS;
use crate::units;

/// The data regions of a subject. A site that comes without a certificate gets one for development, if it is to be served
/// over TLS.
pub(super) fn all(
    fields: &Fields<'_>,
    subject: &Located<String>,
    command_line: &str,
    publish: &[Located<Publish>],
    context: &Context<'_>,
) -> Vec<Data> {
    let site = fields.text(SITE);
    let pair = [CERTIFICATE, KEY].map(|key| fields.text(key).map(|file| (key, file)));
    let mut regions = Vec::new();
    regions.extend(site.as_ref().and_then(|directory| pack(directory, context)));
    let over_tls = command_line.split_whitespace().all(|argument| argument != WITHOUT_TLS);
    match (&site, &pair) {
        (Some(site), [None, None]) if over_tls => {
            let instead = context.options.publish.iter().filter_map(|text| parse_publish(text));
            let published: Vec<_> = publish.iter().map(|publish| publish.value).chain(instead).collect();
            let names = visited_names(&subject.value, command_line, &published);
            regions.extend(development_certificate(site, &names, context))
        }
        (_, [Some((given, file)), None] | [None, Some((given, file))]) => context.problems.add(
            Problem::error(&rules::CERTIFICATE, format!("`{}` has a {given} alone", subject.value))
                .at(&file.place, "of no use alone")
                .help("give both, `certificate` and `key`, each the name of a PEM file"),
        ),
        _ => {}
    }
    for (key, file) in pair.into_iter().flatten() {
        let name = Located::new(key.to_owned(), &file.place);
        regions.extend(read(name, &file, LARGEST_PEM, context));
    }
    let Some((key, node)) = fields.entry("data") else { return regions };
    let what = format!("the data of {}", subject.value);
    let Some(table) = Fields::of(node, &key.place, &what, context.problems) else { return regions };
    for (name, node) in table.entries() {
        let Some(file) = text_of(node, &name.value, context.problems) else { continue };
        regions.extend(read(name.clone(), &file, DATA_END - DATA, context));
    }
    regions
}

/// A directory as a website.
fn pack(directory: &Located<String>, context: &Context<'_>) -> Option<Data> {
    let options = palisade_site::Options { newest: context.options.newest };
    let packed = match context.files.site {
        Some(files) => Ok(palisade_site::pack::pack_files(files.to_vec())),
        None => palisade_site::pack(&context.files.folder.join(&directory.value), &options),
    };
    let packed = packed.map_err(|error| {
        context.problems.add(
            Problem::error(&reading::FILE, format!("the site cannot be packed: {error}"))
                .at(&directory.place, "this directory")
                .help("name a directory with the site's files; a path in a description is relative to its folder"),
        );
    });
    let packed = packed.ok()?;
    Some(Data { site: Some(packed.summary), ..data(SITE, &directory.place, packed.bytes) })
}

fn read(name: Located<String>, file: &Located<String>, largest: u64, context: &Context<'_>) -> Option<Data> {
    let path = context.files.folder.join(&file.value);
    let bytes = read_file(&path, largest)
        .map_err(|error| {
            context.problems.add(
                Problem::error(&reading::FILE, format!("cannot read {}: {error}", path.display()))
                    .at(&file.place, "this file")
                    .help(format!(
                        "a path in a description is relative to its folder, and the file has {} at most",
                        units::size(largest)
                    )),
            );
        })
        .ok()?;
    if bytes.is_empty() {
        context.problems.add(
            Problem::error(&rules::SIZE, format!("{} is empty", path.display()))
                .at(&file.place, "this file")
                .help("a region has at least one byte: remove the key, or write something into the file"),
        );
        return None;
    }
    Some(Data { name, contents: bytes.into(), site: None })
}

fn development_certificate(site: &Located<String>, names: &[String], context: &Context<'_>) -> Vec<Data> {
    match context.library.development_certificate(names) {
        Ok(made) => vec![
            data(CERTIFICATE, &site.place, made.certificate.into_bytes()),
            data(KEY, &site.place, made.key.into_bytes()),
        ],
        Err(error) => {
            context.problems.add(
                Problem::error(&rules::CERTIFICATE, format!("there is no certificate for the site: {error}"))
                    .at(&site.place, "this site")
                    .help("give it one: `certificate` and `key`, each the name of a PEM file"),
            );
            Vec::new()
        }
    }
}

/// Under what a site is visited that is published on this computer, and at its own addresses.
fn visited_names(subject: &str, command_line: &str, published: &[Publish]) -> Vec<String> {
    let fixed =
        ["localhost".to_owned(), format!("{subject}.localhost"), "127.0.0.1".to_owned(), "::1".to_owned()];
    let own = command_line.split_whitespace().filter_map(|argument| {
        let address = ["--ipv4=", "--ipv6="].iter().find_map(|option| argument.strip_prefix(option))?;
        let address = address.split('/').next()?;
        address.parse().ok().map(|address: std::net::IpAddr| address.to_string())
    });
    let hosts = published.iter().map(|publish| *publish.host.ip());
    let hosts =
        hosts.filter(|host| !host.is_loopback() && !host.is_unspecified()).map(|host| host.to_string());
    fixed.into_iter().chain(own).chain(hosts).collect()
}

fn data(name: &str, place: &Place, bytes: Vec<u8>) -> Data {
    Data { name: Located::new(name.to_owned(), place), contents: bytes.into(), site: None }
}

const SITE: &str = "site";
const CERTIFICATE: &str = "certificate";
const KEY: &str = "key";
/// A certificate has a few KiB, a chain of them some more.
const LARGEST_PEM: u64 = 1 << 20;
