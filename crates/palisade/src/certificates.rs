//! The certificates of a system's subjects: judged if somebody brought them, introduced if they were made here.

use std::time::SystemTime;

use palisade_policy::{Data, Planned, Subject};
use palisade_trust::PemFile;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::{Failure, Message};
use crate::supplies::UsedAuthority;
use crate::terminal::Terminal;

/// Judges every certificate of the system with its key, before a machine boots with them.
pub(crate) fn check(planned: &Planned, terminal: &Terminal) -> Result<(), Failure> {
    for subject in &planned.system.subjects {
        let (Some(certificate), Some(key)) = (file(subject, CERTIFICATE), file(subject, KEY)) else {
            continue;
        };
        let names = [certificate, key].map(name_of);
        let [certificate, key] = [(certificate, &names[0]), (key, &names[1])]
            .map(|(data, name)| PemFile { name, bytes: &data.contents });
        let checked = palisade_trust::check(certificate, key, SystemTime::now()).map_err(|flaw| {
            let help = flaw.help().to_owned();
            Failure::message(Exit::Input, flaw, Some(help))
        })?;
        for warning in checked.warnings {
            terminal.warning(&Message::warning(warning.message, warning.help))?;
        }
    }
    Ok(())
}

/// Whether an image of the system contains somebody's private key.
pub(crate) fn has_private_key(planned: &Planned) -> bool {
    planned.system.subjects.iter().any(|subject| file(subject, KEY).is_some())
}

/// Tells which authority made a certificate, and how to trust it; `url` is where it is used, if that is known.
pub(crate) fn introduce(
    authority: &UsedAuthority,
    url: Option<&str>,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let UsedAuthority { path, fingerprint, is_new } = authority;
    if terminal.json() {
        let object = json!({ "event": "authority", "path": path, "sha256": fingerprint, "new": is_new });
        return Ok(terminal.object(&object)?);
    }
    let (path, url) = (path.display(), url.unwrap_or("https://localhost:PORT/"));
    if *is_new {
        terminal.remark(format_args!(
            "made an authority for development certificates, which are good for localhost and private addresses only\n\
             \x20 certificate  {path}\n\
             \x20 SHA-256      {fingerprint}\n\
             to trust it:\n\
             \x20 curl         curl --cacert {path} {url}\n\
             \x20 browsers     import it as an authority in the settings, under certificates\n\
             \x20 Debian       as root: cp {path} /usr/local/share/ca-certificates/palisade.crt && \
             update-ca-certificates"
        ));
    } else {
        terminal.remark(format_args!("development certificate by {path}, SHA-256 {fingerprint}"));
    }
    Ok(())
}

fn file<'a>(subject: &'a Subject, name: &str) -> Option<&'a Data> {
    subject.data.iter().find(|data| data.name.value == name)
}

/// The file or directory as the description names it.
pub(crate) fn name_of(data: &Data) -> String {
    let place = &data.name.place;
    let text = place.source.text.get(place.range.clone()).unwrap_or(&data.name.value);
    text.trim_matches(['"', '\'']).to_owned()
}

const CERTIFICATE: &str = "certificate";
const KEY: &str = "key";
