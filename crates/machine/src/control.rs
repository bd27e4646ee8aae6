//! QEMU's control channel (QMP): the only way to tell a guest that powered off from one that reset.
//!
//! The emulator starts with its CPUs stopped, and what it is asked waits in the socket before it starts. So no event
//! can be missed, and nobody has to hold a conversation.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::run::Event;

/// Our end of a control channel, and the emulator's.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours.into(), theirs.into()))
}

/// The arguments that make the emulator use the descriptor `fd` as its control channel.
pub(crate) fn arguments(fd: RawFd) -> [String; 4] {
    [
        "-chardev".into(),
        format!("socket,id=control,fd={fd}"),
        "-mon".into(),
        "chardev=control,mode=control".into(),
    ]
}

/// Puts a question into the channel, behind the greeting that the protocol wants first.
pub(crate) fn ask(channel: &OwnedFd, question: &str) -> io::Result<()> {
    let mut channel = File::from(channel.try_clone()?);
    writeln!(channel, "{}\n{question}", json!({ "execute": "qmp_capabilities" }))
}

/// Lets the CPUs run.
pub(crate) const CONTINUE: &str = r#"{"execute":"cont"}"#;

/// Asks what the most able CPU model offers with the accelerator in use.
pub(crate) const CPU_MODEL: &str =
    r#"{"execute":"query-cpu-model-expansion","arguments":{"type":"full","model":{"name":"max"}}}"#;

/// What the emulator says that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// Something happened to the machine.
    Event(Event),
    /// Features of the most able CPU model.
    CpuModel {
        /// Secure virtual machine.
        svm: bool,
        /// Nested paging.
        npt: bool,
    },
}

impl Message {
    /// Reads a line of the protocol.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        if let Some(features) = value.pointer("/return/model/props") {
            let has = |name| features.get(name).and_then(Value::as_bool) == Some(true);
            return Some(Self::CpuModel { svm: has("svm"), npt: has("npt") });
        }
        let text = |path| value.pointer(path).and_then(Value::as_str);
        match (text("/event")?, text("/data/reason")) {
            ("RESET", Some("guest-reset")) => Some(Self::Event(Event::Reset)),
            ("SHUTDOWN", Some("guest-shutdown")) => Some(Self::Event(Event::PowerOff)),
            ("SHUTDOWN", Some("guest-reset")) => Some(Self::Event(Event::LastReset)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_off_and_reset_are_told_apart() {
        let shutdown = |reason| {
            let line = json!({ "event": "SHUTDOWN", "data": { "guest": true, "reason": reason } });
            Message::parse(line.to_string().as_bytes())
        };
        assert_eq!(shutdown("guest-shutdown"), Some(Message::Event(Event::PowerOff)));
        assert_eq!(shutdown("guest-reset"), Some(Message::Event(Event::LastReset)));
        assert_eq!(shutdown("host-signal"), None);
    }

    #[test]
    fn the_reset_that_every_start_makes_does_not_count() {
        let line = br#"{"event":"RESET","data":{"guest":false,"reason":"host-qmp-system-reset"}}"#;
        assert_eq!(Message::parse(line), None);
        let line = br#"{"event":"RESET","data":{"guest":true,"reason":"guest-reset"}}"#;
        assert_eq!(Message::parse(line), Some(Message::Event(Event::Reset)));
    }

    #[test]
    fn missing_features_are_absent_features() {
        let model = |props| json!({ "return": { "model": { "name": "max", "props": props } } }).to_string();
        let both = model(json!({ "svm": true, "npt": true }));
        assert_eq!(Message::parse(both.as_bytes()), Some(Message::CpuModel { svm: true, npt: true }));
        let none = model(json!({ "svm": false }));
        assert_eq!(Message::parse(none.as_bytes()), Some(Message::CpuModel { svm: false, npt: false }));
    }

    #[test]
    fn what_is_not_the_protocol_is_ignored() {
        for line in ["", "no json", "[]", r#"{"return":{}}"#, r#"{"event":7}"#] {
            assert_eq!(Message::parse(line.as_bytes()), None, "{line}");
        }
    }
}
