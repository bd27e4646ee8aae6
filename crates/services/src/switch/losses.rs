//! What the switch drops, and why.

use crate::text::Text;

/// Why a frame was dropped. The order is that of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It has no room for a header, or is longer than a frame can be.
    Length,
    /// Its source address is zero or that of a group.
    NoSource,
    /// Its source address is not the one that its port has settled on.
    ForeignSource,
    /// Its source address is that of another port.
    TakenSource,
    /// It came from the wire, and its source address is that of a port.
    OwnSource,
    /// It is for the port that sent it.
    ToItself,
    /// It is for the next bridge only: a pause frame, for instance.
    LinkLocal,
    /// The port wrote faster than the switch could read.
    Overrun,
    /// It is for a port that is too far behind to take more from other ports.
    Crowded,
}

impl Loss {
    /// All reasons, in the order of the counters.
    pub const ALL: [Self; LOSSES] = [
        Self::Length,
        Self::NoSource,
        Self::ForeignSource,
        Self::TakenSource,
        Self::OwnSource,
        Self::ToItself,
        Self::LinkLocal,
        Self::Overrun,
        Self::Crowded,
    ];

    /// Ends the sentence "3 frames dropped: ...".
    fn reason(self) -> &'static str {
        match self {
            Self::Length => "wrong length",
            Self::NoSource => "no valid source address",
            Self::ForeignSource => "foreign source address",
            Self::TakenSource => "source address of another port",
            Self::OwnSource => "source address of a port, from outside",
            Self::ToItself => "addressed to their sender",
            Self::LinkLocal => "not for beyond the link",
            Self::Overrun => "written too fast",
            Self::Crowded => "more than their receiver takes",
        }
    }
}

/// How many frames from one place were dropped, by reason, and how many of those were reported.
#[derive(Debug, Clone, Copy)]
pub struct Losses {
    counted: [u64; LOSSES],
    reported: [u64; LOSSES],
}

impl Losses {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { counted: [0; LOSSES], reported: [0; LOSSES] }
    }

    /// Counts lost frames.
    pub fn count(&mut self, loss: Loss, frames: u64) {
        if let Some(count) = self.counted.get_mut(loss as usize) {
            *count = count.saturating_add(frames);
        }
    }

    /// Frames lost for this reason.
    #[must_use]
    pub fn of(&self, loss: Loss) -> u64 {
        self.counted.get(loss as usize).copied().unwrap_or(0)
    }

    /// Frames lost for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counted.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether frames were lost that no report has mentioned.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.counted != self.reported
    }

    /// A line for each reason that has become more frequent since the last report about `place`, and counts as reported.
    pub fn report(&mut self, place: &str, mut write: impl FnMut(&[u8])) {
        for ((loss, counted), reported) in Loss::ALL.into_iter().zip(self.counted).zip(&mut self.reported) {
            let new = counted.saturating_sub(*reported);
            *reported = counted;
            if new != 0 {
                let frames = if new == 1 { " frame dropped: " } else { " frames dropped: " };
                let line = Text::<MAX_LINE>::new().str(place).str(": ");
                write(line.decimal(new).str(frames).str(loss.reason()).as_bytes());
            }
        }
    }
}

impl Default for Losses {
    fn default() -> Self {
        Self::new()
    }
}

/// Number of reasons.
pub const LOSSES: usize = 9;

/// The longest name of a port, a number and a reason.
const MAX_LINE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(losses: &mut Losses) -> Vec<String> {
        let mut lines = vec![];
        losses.report("port 0 (website:service)", |line| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
        });
        lines
    }

    #[test]
    fn each_loss_is_reported_once_with_its_reason() {
        let mut losses = Losses::new();
        assert!(!losses.has_news());
        losses.count(Loss::ForeignSource, 3);
        losses.count(Loss::Overrun, 1);
        assert!(losses.has_news());
        assert_eq!(
            report(&mut losses),
            [
                "port 0 (website:service): 3 frames dropped: foreign source address",
                "port 0 (website:service): 1 frame dropped: written too fast",
            ]
        );
        assert!(!losses.has_news());
        losses.count(Loss::ForeignSource, 2);
        assert_eq!(
            report(&mut losses),
            ["port 0 (website:service): 2 frames dropped: foreign source address"]
        );
        assert_eq!((losses.of(Loss::ForeignSource), losses.total()), (5, 6));
    }

    #[test]
    fn a_count_does_not_overflow() {
        let mut losses = Losses::new();
        losses.count(Loss::Overrun, u64::MAX);
        losses.count(Loss::Overrun, u64::MAX);
        losses.count(Loss::Length, 1);
        assert_eq!(losses.total(), u64::MAX);
    }

    #[test]
    fn every_reason_has_its_counter() {
        for (index, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(loss as usize, index);
        }
    }
}
