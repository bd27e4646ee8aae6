//! Writing a subject info.

use zerocopy::FromBytes;

use super::layout::{Header, RawName, RawResource};
use super::{Data, MAX_RESOURCES, Version};
use crate::layout::SUBJECT_INFO_SIZE;

/// Writes a subject info into the memory it is given. What was written is complete after each call.
#[derive(Debug)]
pub struct Builder<'a> {
    version: Version,
    header: &'a mut Header,
    resources: &'a mut [RawResource],
    count: usize,
}

impl<'a> Builder<'a> {
    /// Begins a subject info for the subject `name`; `bytes` is overwritten.
    ///
    /// # Errors
    /// The name is too long.
    pub fn new(
        bytes: &'a mut [u8; SUBJECT_INFO_SIZE as usize],
        version: Version,
        name: &str,
        tsc_khz: u32,
    ) -> Result<Self, BuildError> {
        bytes.fill(0);
        let name = RawName::new(name).ok_or(BuildError::NameTooLong)?;
        // `Full` cannot be: the layout asserts that header and resources fit.
        let (header, rest) = Header::mut_from_prefix(bytes).map_err(|_| BuildError::Full)?;
        let (resources, _) =
            <[RawResource]>::mut_from_prefix_with_elems(rest, MAX_RESOURCES).map_err(|_| BuildError::Full)?;
        *header = Header::new(version, name, tsc_khz);
        Ok(Self { version, header, resources, count: 0 })
    }

    /// Adds a resource.
    ///
    /// # Errors
    /// The name is too long, the version cannot express the data, or there are too many resources. Nothing is added then.
    pub fn add(&mut self, name: &str, data: &Data) -> Result<(), BuildError> {
        let name = RawName::new(name).ok_or(BuildError::NameTooLong)?;
        let resource = RawResource::new(self.version, name, data).ok_or(BuildError::NotInVersion)?;
        *self.resources.get_mut(self.count).ok_or(BuildError::Full)? = resource;
        self.count += 1;
        self.header.set_resource_count(self.version, u16::try_from(self.count).unwrap_or(u16::MAX));
        Ok(())
    }
}

/// Why something cannot be said in a subject info.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildError {
    /// A name has more than [`super::MAX_NAME`] bytes.
    NameTooLong,
    /// The version knows no such kind of memory, or no devices.
    NotInVersion,
    /// There are [`MAX_RESOURCES`] resources already.
    Full,
}
