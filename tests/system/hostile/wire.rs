//! The other end of the card's wire.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A wire that no card is connected to yet.
pub(crate) struct LooseWire {
    listener: UnixListener,
    directory: TempDir,
}

/// A wire. Whoever has it sees every frame that the card sends, and can send it any.
pub(crate) struct Wire {
    stream: UnixStream,
    arrived: Receiver<Vec<u8>>,
}

impl LooseWire {
    /// Lays a wire.
    pub(crate) fn new() -> Self {
        // Not among the other temporary files: the path of a socket has at most 107 bytes.
        let directory = TempDir::new().expect("there is a place for temporary files");
        let listener = UnixListener::bind(directory.path().join("wire")).expect("a socket can be made");
        Self { listener, directory }
    }

    /// An emulator that connects its card to this wire, instead of to a network that it plays itself.
    pub(crate) fn emulator(&self) -> PathBuf {
        let script = self.directory.path().join("emulator");
        let wire = self.directory.path().join("wire");
        let netdev = format!("stream,id=net0,server=off,addr.type=unix,addr.path={}", wire.display());
        let text = format!("#!/bin/bash\nexec qemu-system-x86_64 \"${{@/#user,id=net0,*/{netdev}}}\"\n");
        fs::write(&script, text).expect("a script can be written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
        script
    }

    /// Waits for the card.
    pub(crate) fn connected(self) -> Wire {
        self.listener.set_nonblocking(true).expect("a socket can be asked without waiting");
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if Instant::now() > deadline => {
                    panic!("the emulator does not connect its card: {error}")
                }
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        };
        stream.set_nonblocking(false).expect("a socket can be asked to wait");
        stream.set_write_timeout(Some(PATIENCE)).expect("there can be a limit");
        let mut incoming = stream.try_clone().expect("a socket can be shared");
        let (sender, arrived) = mpsc::channel();
        // What the card sends is always taken from it, so that neither side ever waits for the other for ever.
        thread::spawn(move || {
            while let Ok(frame) = read_frame(&mut incoming) {
                if sender.send(frame).is_err() {
                    return;
                }
            }
        });
        Wire { stream, arrived }
    }
}

impl Wire {
    /// Sends a frame, of 1 byte to 64 KiB: the emulator takes an empty one for a card that cannot take it. Waits while the card cannot take it.
    #[track_caller]
    pub(crate) fn send(&mut self, frame: &[u8]) {
        // The emulator wants the length first, in four bytes.
        let length = u32::try_from(frame.len()).expect("a frame is short");
        let message = [&length.to_be_bytes()[..], frame].concat();
        self.stream.write_all(&message).expect("the emulator runs");
    }

    /// The next frame that the card has sent, if there is one.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        match self.arrived.try_recv() {
            Ok(frame) => Some(frame),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the emulator has ended"),
        }
    }
}

fn read_frame(from: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

/// How long the machine may take to be made, or to take frames in, on a loaded computer.
const PATIENCE: Duration = Duration::from_secs(300);
