//! What the builder tells the driver about its device and its ports.

use palisade_abi::nic_config::{self, Header, MAX_PORTS, Port};
use palisade_abi::volatile::Memory;
use palisade_services::text::Text;
use solo5::shared_memory;

/// The driver's configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Configuration<'a> {
    pub(crate) header: &'a Header,
    pub(crate) ports: &'a [Port],
}

/// The largest configuration, aligned as its structures are.
#[repr(align(8))]
pub(crate) struct ConfigurationBytes([u8; SIZE]);

impl ConfigurationBytes {
    pub(crate) const fn new() -> Self {
        Self([0; SIZE])
    }

    /// Reads the configuration; `None` if there is none.
    pub(crate) fn read(&mut self) -> Option<Configuration<'_>> {
        let memory = shared_memory("config")?;
        let length = SIZE.min(memory.size());
        memory.copy_out(0, self.0.get_mut(..length)?)?;
        let (header, ports) = nic_config::parse(&self.0)?;
        Some(Configuration { header, ports })
    }
}

/// What people call a port: `port 0 (website:service)`.
pub(crate) fn place(number: usize, port: &Port) -> Text<PLACE> {
    let text = Text::new().str("port ").decimal(number as u64).str(" (").str(port.subject());
    text.str(":").str(port.device()).str(")")
}

/// Bytes of the longest such name.
pub(crate) const PLACE: usize = 128;

const SIZE: usize = nic_config::size(MAX_PORTS);
