//! Every fuzz target, on a few thousand inputs that are the same in each run.

use std::fs;
use std::path::Path;

use palisade_fuzz_targets::targets::{self, Target};

const ROUNDS: usize = 3000;

#[test]
fn subject_infos_of_any_kind_are_read_or_refused() {
    run("subject_info");
}

#[test]
fn notes_of_any_kind_are_read_or_refused() {
    run("note");
}

#[test]
fn channels_of_any_kind_are_read_or_refused() {
    run("channel_reader");
}

#[test]
fn plans_of_any_kind_are_read_or_refused() {
    run("plan");
}

#[test]
fn command_lines_of_any_kind_are_read_or_refused() {
    run("arguments");
}

#[test]
fn frames_of_any_kind_are_openings_or_none() {
    run("opening");
}

#[test]
fn site_archives_of_any_kind_are_read_or_refused() {
    run("site_archive");
}

#[test]
fn http_conversations_of_any_kind_are_answered_whatever_the_pieces() {
    run("http_request");
}

#[test]
fn paths_of_any_kind_stay_inside_the_root() {
    run("http_path");
}

#[test]
fn ranges_of_any_kind_are_within_their_content() {
    run("http_range");
}

#[test]
fn encodings_of_any_kind_are_chosen_from_what_is_there() {
    run("accept_encoding");
}

#[test]
fn frames_of_any_kind_reach_nobody_they_are_not_for() {
    run("switch");
}

#[test]
fn frames_of_any_kind_mean_something_to_a_gateway_or_nothing() {
    run("gateway_frame");
}

#[test]
fn questions_and_answers_of_any_kind_are_understood_or_not() {
    run("name_query");
}

#[test]
fn every_target_has_a_fuzzer() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in targets::ALL {
        let fuzzer = fs::read_to_string(fuzz.join(format!("fuzz_targets/{}.rs", target.name))).unwrap();
        assert!(fuzzer.contains(&format!("targets::{}(", target.name)));
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)));
    }
}

/// Runs a target on valid inputs, on damaged ones, and on noise.
fn run(name: &str) {
    let Target { run, samples, .. } = targets::ALL.into_iter().find(|t| t.name == name).unwrap();
    let valid = samples();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for input in &valid {
        run(input);
    }
    for round in 0..ROUNDS {
        let mut input = valid[round % valid.len()].clone();
        for _ in 0..=random.below(4) {
            damage(&mut input, &mut random);
        }
        run(&input);
        let noise: Vec<u8> = (0..random.below(600)).map(|_| random.next() as u8).collect();
        run(&noise);
    }
}

fn damage(input: &mut Vec<u8>, random: &mut Random) {
    if input.is_empty() {
        return;
    }
    let at = random.below(input.len());
    match random.below(5) {
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = random.next() as u8,
        2 => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        3 => input.truncate(at),
        _ => {
            let from = random.below(input.len());
            let length = random.below(64).min(input.len() - at.max(from));
            input.copy_within(from..from + length, at);
        }
    }
}

/// Xorshift: the same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }
}
