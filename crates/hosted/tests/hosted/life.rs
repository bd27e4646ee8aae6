//! What becomes of subjects in processes is what becomes of them in a machine.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use palisade_hosted::{End, Happening, Next, Renewed, renewals};

use crate::systems::{plan, renew, run_to_end, system, watch};

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

#[test]
fn whoever_is_to_be_started_anew_for_several_reasons_is_started_once() {
    let description =
        |status| system(&format!("[subject.ends]\nunikernel = \"ends\"\nbootparams = \"{status}\"\n"));
    let (old, new) = (description("never"), description("3"));
    let changed = Renewed::between(&plan(&old).plan, &plan(&new).plan).expect("they differ by content only");
    let (renewer, renewals) = renewals().expect("there are descriptors");
    let outcome = renew(&old, &renewals, |happening, _| {
        if let Happening::Started { generation: 1, .. } = happening {
            renewer.renew([changed.clone(), changed.clone()].concat());
        }
        Next::Continue
    });
    assert!(outcome.said("[supervisor] ends: exited with status 3"), "{outcome:#?}");
    let generations: Vec<_> = outcome.started.iter().map(|(_, generation, _)| *generation).collect();
    assert_eq!(generations, [1, 2]);
}

#[test]
fn whoever_takes_no_output_does_not_hold_supervision_up() {
    let description = system(
        "[subject.ends]\nunikernel = \"ends\"\nbootparams = \"3\"\nrestart = \"always\"\nbackoff = \"1 ms\"\n",
    );
    let mut waited = false;
    let outcome = watch(&description, |happening, _| match happening {
        Happening::Started { generation: 1, process, .. } => {
            // Takes nothing until the process has ended, and somebody has noticed that.
            let process = format!("/proc/{process}");
            let deadline = Instant::now() + PATIENCE;
            while Path::new(&process).exists() {
                assert!(Instant::now() < deadline, "nobody has waited for it");
                thread::sleep(Duration::from_millis(10));
            }
            waited = true;
            Next::Continue
        }
        Happening::Started { generation: 3.., .. } => Next::End,
        _ => Next::Continue,
    });
    assert!(waited && matches!(outcome.end, Ok(End::Stopped)), "{outcome:#?}");
    assert!(outcome.said("[supervisor] ends: exited with status 3"), "{outcome:#?}");
}

const PATIENCE: Duration = Duration::from_secs(60);
