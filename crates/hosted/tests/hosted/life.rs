//! What becomes of subjects in processes is what becomes of them in a machine.

use palisade_hosted::{End, Next};

use crate::systems::{run_to_end, system, watch};

#[test]
fn a_unikernel_says_what_it_says_in_a_machine() {
    let outcome = run_to_end(&system("[subject.hello]\nunikernel = \"hello\"\nbootparams = \"Hi!\""));
    assert!(matches!(outcome.end, Ok(End::PowerOff)), "{outcome:#?}");
    for line in [
        "[hello] Hello, World",
        "[hello] Command line is: 'Hi!'",
        "[hello] Solo5: solo5_exit(0) called",
        "[supervisor] hello: exited with status 0",
        "[supervisor] system: all unikernels have ended",
    ] {
        assert!(outcome.said(line), "{line}: {outcome:#?}");
    }
    assert_eq!(outcome.started.len(), 1);
}

#[test]
fn who_fails_is_started_anew_as_the_policy_says() {
    let description = system(
        "[subject.ends]\nunikernel = \"ends\"\nbootparams = \"3\"\nrestart = \"on-failure\"\nbackoff = \"1 ms\"\n",
    );
    let third = "[supervisor] ends: restarting, generation 3";
    let outcome = watch(&description, |_, lines| {
        if lines.iter().filter(|line| *line == third).count() > 0 { Next::End } else { Next::Continue }
    });
    assert!(matches!(outcome.end, Ok(End::Stopped)), "{outcome:#?}");
    assert!(outcome.said("[supervisor] ends: exited with status 3"), "{outcome:#?}");
    let generations: Vec<_> = outcome.started.iter().map(|(_, generation, _)| *generation).collect();
    assert!(generations.starts_with(&[1, 2]), "{generations:?}");
}
