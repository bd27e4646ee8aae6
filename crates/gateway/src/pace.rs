//! When what a unikernel sends is passed on.
//!
//! What it says on a connection comes in many frames, and costs least if it is passed on in one piece: each piece is a call
//! of the kernel on one side and an acknowledgement on the other. So what comes waits until no more comes, or
//! very much has, or somebody else sends as well.

/// What came since connections had their turn.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Frames of this round.
    round: usize,
    /// Frames of this and earlier rounds.
    all: usize,
    sender: Option<usize>,
    /// They came from several ports.
    mixed: bool,
}

impl Pace {
    /// A frame has come from the port `sender` that others may follow.
    pub(crate) fn heard(&mut self, sender: usize) {
        self.mixed |= self.sender.is_some_and(|other| other != sender);
        self.sender = Some(sender);
        self.round += 1;
        self.all += 1;
    }

    /// Whether what has come waits for more: never while others send as well, whom a flood would keep waiting.
    pub(crate) fn holds(&self) -> bool {
        self.round > 0 && self.all < MOST_HELD && !self.mixed
    }

    /// A round is over. What has come was passed on in it, unless it had to wait.
    pub(crate) fn end_round(&mut self) {
        if self.holds() {
            self.round = 0;
        } else {
            *self = Self::default();
        }
    }

    /// Whether the only one who sends may have more to say at once, if it is let.
    pub(crate) fn expects_more(&self) -> bool {
        self.all > 0
    }
}

/// Frames after which connections have their turn although more may come.
const MOST_HELD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_wait_while_frames_come_but_not_for_ever() {
        let mut pace = Pace::default();
        assert!(!pace.holds() && !pace.expects_more());
        let rounds = (0..MOST_HELD).take_while(|_| {
            (0..8).for_each(|_| pace.heard(3));
            let holds = pace.holds();
            pace.end_round();
            holds
        });
        assert_eq!(rounds.count(), MOST_HELD / 8 - 1);
        assert!(!pace.expects_more(), "it begins anew");
        pace.heard(3);
        pace.end_round();
        assert!(!pace.holds() && pace.expects_more(), "a round without frames is their turn");
        pace.end_round();
        assert!(!pace.expects_more());
    }

    #[test]
    fn nobody_waits_while_others_send() {
        let mut pace = Pace::default();
        pace.heard(3);
        assert!(pace.holds());
        pace.heard(4);
        assert!(!pace.holds());
        pace.end_round();
        assert!(!pace.expects_more());
    }
}
