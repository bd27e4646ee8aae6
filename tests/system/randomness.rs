//! Websites on a processor without a generator of random numbers: no secrets, and so no TLS.

use crate::harness::System;
use crate::running::{PAGE, one_page, website};

#[test]
fn without_randomness_a_website_does_not_start_tls_and_says_why() {
    let run = without_random_numbers("").boot();
    run.assert_in_order(
        "website",
        &[
            "[warning] unikernel::random: no randomness: the processor has no generator, or it gives nothing",
            "[error] unikernel: there is no randomness: the processor has no working generator",
        ],
    );
    // It ends of its own will. Nobody gets the site, not even a redirect.
    let website = run.subject("website");
    assert_eq!((&website["state"], &website["status"]), (&"exited".into(), &1.into()), "{run}");
    run.assert_exit(1);
    for scheme in ["https", "http"] {
        let silent = |line: &str| line.contains(&format!(" {scheme}://")) && line.ends_with("never answered");
        assert!(run.stderr.lines().any(silent), "{run}");
    }
}

#[test]
fn without_randomness_a_website_is_served_that_asks_for_no_tls() {
    let site = without_random_numbers("--https=0").start_published(1, None);
    let page = site.get_plain("/");
    assert_eq!((page.status, page.body.as_slice()), (200, PAGE.as_bytes()));
    let run = site.stop();
    run.assert_exit(143);
    run.assert_in_order("website", &["[warning] website: the site is served without TLS"]);
}

/// A website, with more arguments for its unikernel, in a machine whose processor has no random numbers.
fn without_random_numbers(arguments: &str) -> System {
    let description = website("site", arguments) + "publish = [\"0:443\", \"0:80\"]\n";
    let system = System::described(&description);
    one_page(system.directory.path());
    system.argument("--emulator").argument(EMULATOR)
}

/// A wrapper around the emulator that takes the generator from its processor.
const EMULATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-without-random-numbers");
