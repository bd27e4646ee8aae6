//! From what the command line names to a plan, and from a plan to an image that the verifier has passed.

use std::env;
use std::path::Path;

use palisade_image::verify::{Expected, verify};
use palisade_image::{Image, pack};
use palisade_policy::{Library, Options, Planned, Problem, Site, SiteFiles, parse_size};

use crate::certificates;
use crate::cli::{SystemSource, Undescribed};
use crate::crate_program;
use crate::embedded;
use crate::example;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::published::https_url;
use crate::supplies::Supplies;
use crate::terminal::Terminal;
use crate::verb;

/// What the command line names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The description.
    pub(crate) description: Option<&'a Path>,
    /// What takes its place, or changes it. If there is neither, the example site takes its place.
    pub(crate) undescribed: &'a Undescribed,
}

impl<'a> From<&'a SystemSource> for Source<'a> {
    fn from(source: &'a SystemSource) -> Self {
        Self { description: source.description.as_deref(), undescribed: &source.undescribed }
    }
}

/// What is asked of the machine beyond its description.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MachineWish<'a> {
    /// Where it is to be emulated.
    pub(crate) emulator: Option<palisade_policy::Emulator>,
    /// Memory, as the command line gives it.
    pub(crate) memory: Option<&'a str>,
    /// CPUs.
    pub(crate) cpus: Option<u16>,
}

/// What a system is planned for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// A machine, with this wish.
    Machine(MachineWish<'a>),
    /// This computer: what the machine's devices could do does not matter.
    Computer,
}

impl Purpose<'_> {
    /// The machine that the description names, as it is.
    pub(crate) const MACHINE: Self = Self::Machine(MachineWish { emulator: None, memory: None, cpus: None });

    fn wish(&self) -> MachineWish<'_> {
        match self {
            Self::Machine(wish) => *wish,
            Self::Computer => MachineWish::default(),
        }
    }
}

/// Reads, checks and allocates a system. Warnings are shown, and which certificate is made for it.
pub(crate) fn plan<'a>(
    source: impl Into<Source<'a>>,
    purpose: Purpose<'_>,
    publish: &[String],
    terminal: &Terminal,
) -> Result<Planned, Failure> {
    plan_with(&Supplies::default(), source, purpose, publish, terminal)
}

/// The same with supplies that may have been used for this system before.
pub(crate) fn plan_with<'a>(
    supplies: &Supplies,
    source: impl Into<Source<'a>>,
    purpose: Purpose<'_>,
    publish: &[String],
    terminal: &Terminal,
) -> Result<Planned, Failure> {
    let Source { description, undescribed } = source.into();
    let machine = purpose.wish();
    let options = Options {
        overrides: undescribed.set.iter().map(|text| key_and_value(text)).collect::<Result<_, _>>()?,
        memory: machine.memory.map(memory).transpose()?,
        cpus: machine.cpus,
        emulator: machine.emulator,
        publish: publish.to_vec(),
        newest: source_date()?,
        ..Options::default()
    };
    let command_line = undescribed.bootparams.as_deref();
    let planned = match (description, &undescribed.unikernel) {
        (Some(description), _) => palisade_policy::load(description, &options, supplies),
        (None, Some(unikernel)) => {
            let is_crate = unikernel.is_dir() && supplies.program(&unikernel.to_string_lossy()).is_none();
            let built = is_crate.then(|| crate_program::build(unikernel)).transpose()?;
            let program = built.as_deref().unwrap_or(unikernel);
            palisade_policy::for_unikernel(program, command_line.unwrap_or_default(), &options, supplies)
        }
        (None, None) => {
            let example = example::files();
            let files = undescribed.site.as_deref().map_or(SiteFiles::Memory(&example), SiteFiles::Directory);
            let certificate = undescribed.cert.as_deref().zip(undescribed.key.as_deref());
            palisade_policy::for_site(&Site { files, certificate, command_line }, &options, supplies)
        }
    };
    // A new authority is introduced even if nothing comes of the system: the next time it is not new.
    let authority = supplies.authority();
    if let Some(authority) = authority.iter().find(|authority| authority.is_new || planned.is_ok()) {
        let url = planned.as_ref().ok().and_then(|planned| https_url(&planned.system.subjects));
        certificates::introduce(authority, url.as_deref(), terminal)?;
    }
    let planned = planned.map_err(|problems| Failure::new(Exit::Input, problems))?;
    let about_devices = |warning: &&Problem| warning.rule().id == DMA_RULE;
    let is_told = |warning: &&Problem| matches!(purpose, Purpose::Machine(_)) || !about_devices(warning);
    for warning in planned.warnings.iter().filter(is_told) {
        terminal.warning(warning)?;
    }
    certificates::check(&planned, terminal)?;
    Ok(planned)
}

/// Packs a plan, and has the independent reader prove the result before anybody uses it.
pub(crate) fn image(planned: &Planned, terminal: &Terminal) -> Result<Image, Failure> {
    let image = pack(&planned.plan, embedded::KERNEL).map_err(Failure::input)?;
    let verdict = verify(&image.bytes, &Expected { kernel: Some(embedded::KERNEL) });
    if !verdict.is_good() {
        let help = format!(
            "this is a mistake of palisade itself; the verifier found:\n{}",
            verb::list(&verdict.findings)
        );
        return Err(Failure::message(
            Exit::Host,
            "the image that was built does not keep the rules",
            Some(help),
        ));
    }
    terminal.detail(format_args!(
        "{}: image of {} KiB, verified",
        image.name,
        image.bytes.len().div_ceil(1024)
    ));
    Ok(image)
}

fn key_and_value(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().into(), value.into())),
        _ => {
            let help = "write it as key=value, such as --set hello.ram='64 MiB'".to_owned();
            Err(Failure::message(Exit::Input, format!("--set {text}: this sets nothing"), Some(help)))
        }
    }
}

/// The time that files count as changed at the latest, for builds that are to be the same at any time.
fn source_date() -> Result<Option<u64>, Failure> {
    let Some(text) = env::var_os(SOURCE_DATE) else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok());
    let wrong = || Failure::input(format!("{SOURCE_DATE} is not a number of seconds since 1970"));
    seconds.map(Some).ok_or_else(wrong)
}

fn memory(text: &str) -> Result<u64, Failure> {
    parse_size(text).map_err(|error| Failure::input(format!("--memory {text}: {error}")))
}

/// Bytes as people compare them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The rule that warns of devices which reach all memory.
const DMA_RULE: &str = "dma-unconfined";
/// See <https://reproducible-builds.org/specs/source-date-epoch/>.
const SOURCE_DATE: &str = "SOURCE_DATE_EPOCH";
