//! What each verb of the command does. A verb returns how the process ends, or why it could not do its work.

mod boot;
mod build;
mod check;
mod completions;
mod describe;
mod inspect;
mod measure;
mod new;
mod rules;
mod run;
mod verify;

pub(crate) use boot::boot;
pub(crate) use build::build;
pub(crate) use check::check;
pub(crate) use completions::completions;
pub(crate) use describe::describe;
pub(crate) use inspect::inspect;
pub(crate) use measure::measure;
pub(crate) use new::new;
pub(crate) use rules::rules;
pub(crate) use run::run;
pub(crate) use verify::{list, verify};
