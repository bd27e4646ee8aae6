//! Which log messages are shown.

use core::fmt;

use log::LevelFilter;

use crate::arguments::Value;

/// The least important level that is shown: one for everybody, and others for single sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    everybody: LevelFilter,
    sources: [Option<Source>; MOST_SOURCES],
}

impl Filter {
    /// Shows errors, warnings and information.
    pub const INFO: Self = Self { everybody: LevelFilter::Info, sources: [None; MOST_SOURCES] };

    /// The level of a source: that of the longest name in the filter that the source's name begins with.
    #[must_use]
    pub fn level(&self, source: &str) -> LevelFilter {
        let named = self.sources.iter().flatten().filter(|named| named.covers(source));
        named.max_by_key(|named| named.length).map_or(self.everybody, |named| named.level)
    }

    /// The least important level that any source has.
    #[must_use]
    pub fn lowest(&self) -> LevelFilter {
        let levels = self.sources.iter().flatten().map(|source| source.level);
        levels.fold(self.everybody, Ord::max)
    }

    fn set(&mut self, source: Source) -> Option<()> {
        let same = self.sources.iter().position(|known| known.is_some_and(|k| k.name() == source.name()));
        let place = same.or_else(|| self.sources.iter().position(Option::is_none))?;
        *self.sources.get_mut(place)? = Some(source);
        Some(())
    }
}

/// `LEVEL`, or `SOURCE:LEVEL` separated by commas, where the source `*` is everybody.
impl Value for Filter {
    const FORM: &'static str =
        "a level (off, error, warning, info, debug, trace) or a list such as *:info,net:debug";

    fn parse(text: &str) -> Option<Self> {
        let mut filter = Self::INFO;
        for part in text.split(',') {
            match part.rsplit_once(':') {
                None | Some(("*", _)) => filter.everybody = level(part.strip_prefix("*:").unwrap_or(part))?,
                Some((source, name)) => filter.set(Source::new(source, level(name)?)?)?,
            }
        }
        Some(filter)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*:{}", name(self.everybody))?;
        self.sources
            .iter()
            .flatten()
            .try_for_each(|source| write!(f, ",{}:{}", source.name(), name(source.level)))
    }
}

/// A source of messages, and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    name: [u8; LONGEST_SOURCE],
    length: usize,
    level: LevelFilter,
}

impl Source {
    fn new(name: &str, level: LevelFilter) -> Option<Self> {
        let mut source = Self { name: [0; LONGEST_SOURCE], length: name.len(), level };
        source.name.get_mut(..name.len()).filter(|room| !room.is_empty())?.copy_from_slice(name.as_bytes());
        Some(source)
    }

    fn name(&self) -> &str {
        self.name.get(..self.length).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default()
    }

    fn covers(&self, source: &str) -> bool {
        source.strip_prefix(self.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }
}

fn level(text: &str) -> Option<LevelFilter> {
    NAMES.iter().find(|(name, _)| *name == text).map(|(_, level)| *level)
}

fn name(level: LevelFilter) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == level).map_or("", |(name, _)| name)
}

/// The names of levels. `quiet`, `app` and `warning` are those of MirageOS.
const NAMES: [(&str, LevelFilter); 9] = [
    ("off", LevelFilter::Off),
    ("error", LevelFilter::Error),
    ("warning", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
    ("warn", LevelFilter::Warn),
    ("quiet", LevelFilter::Off),
    ("app", LevelFilter::Error),
];

const MOST_SOURCES: usize = 8;
const LONGEST_SOURCE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_level_is_for_everybody() {
        let filter = Filter::parse("debug").unwrap();
        assert_eq!(filter.level("anything"), LevelFilter::Debug);
        assert_eq!(Filter::parse("*:debug"), Some(filter));
    }

    #[test]
    fn a_source_has_its_own_level() {
        let filter = Filter::parse("*:error,net:debug,net::tcp:trace").unwrap();
        assert_eq!(filter.level("network"), LevelFilter::Error);
        assert_eq!(filter.level("net"), LevelFilter::Debug);
        assert_eq!(filter.level("net::udp"), LevelFilter::Debug);
        assert_eq!(filter.level("net::tcp"), LevelFilter::Trace);
        assert_eq!(filter.lowest(), LevelFilter::Trace);
    }

    #[test]
    fn what_is_no_level_is_refused() {
        let long = format!("{}:info", "x".repeat(LONGEST_SOURCE + 1));
        let many = (0..=MOST_SOURCES).map(|i| format!("s{i}:info")).collect::<Vec<_>>().join(",");
        for wrong in ["", "loud", "net:", ":info", "*:", "info,,", &long, &many] {
            assert_eq!(Filter::parse(wrong), None, "{wrong}");
        }
    }
}
