//! Websites that share a machine and its network card.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Place, System, in_every_place};
use crate::running::{TlsClient, website};

in_every_place!(
    two_sites_answer_at_the_same_time_each_with_an_address_of_its_own,
    a_flood_from_its_neighbour_leaves_a_website_answering,
);

fn two_sites_answer_at_the_same_time_each_with_an_address_of_its_own(place: Place) {
    let sites = System::from_file("systems/two-sites.toml")
        .at(place)
        .argument("--set=website.publish=['0:443']")
        .argument("--set=notes.publish=['0:443']")
        .start_published(2, None);
    let answers = thread::scope(|scope| {
        let ask = |address| (0..10).map(|_| sites.curl(address, &[]).body).collect::<BTreeSet<_>>();
        let asking: Vec<_> =
            sites.addresses().iter().map(|address| scope.spawn(move || ask(address))).collect();
        asking.into_iter().map(|answers| answers.join().expect("both answer")).collect::<BTreeSet<_>>()
    });
    // Each gives one page, again and again, and they are not the same.
    let pages = ["website", "notes"]
        .map(|site| BTreeSet::from([fs::read(example(site).join("index.html")).expect("there is one")]));
    assert_eq!(answers, BTreeSet::from(pages));
    let run = sites.stop();
    run.assert_exit(143);
    run.assert_in_order("website", &["[info] website: https://192.168.254.10:443/ has "]);
    run.assert_in_order("notes", &["[info] website: https://192.168.254.11:443/ has "]);
}

fn a_flood_from_its_neighbour_leaves_a_website_answering(place: Place) {
    let flooded = requests(place, "flood 192.168.254.11 192.168.254.10 60000");
    // The figures depend on what else the computer does, which may change in the middle.
    let keeps_its_share = (0..3).any(|_| {
        let calm = requests(place, "serve 192.168.254.11");
        let beside = requests(place, "flood 192.168.254.11 192.168.254.1 60000");
        println!("{calm} requests in {} s beside a quiet neighbour", MEASURED.as_secs());
        println!("{beside} while it floods the host: {} %", beside * 100 / calm);
        println!("{flooded} while it floods the website: {} %", flooded * 100 / calm);
        beside * 10 > calm
    });
    assert!(keeps_its_share && flooded > 0);
}

/// How many requests over TLS a website answers beside a neighbour that does this.
fn requests(place: Place, action: &str) -> usize {
    let neighbour = format!(
        r#"
        publish = ["0:443"]
        [subject.neighbour]
        unikernel = "testing/net-peer"
        bootparams = "{action} --ipv4=192.168.254.11/24 --ipv4-gateway=192.168.254.1"
        ram = "1 MiB"
        "#
    );
    let site = System::described(&(website(example("website"), "--logs=access:warning") + &neighbour))
        .at(place)
        .start_published(1, None);
    let mut clients: Vec<TlsClient> = (0..CLIENTS).map(|_| site.connect()).collect();
    let end = Instant::now() + MEASURED;
    let count = thread::scope(|scope| {
        let asking: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(move || ask_until(client, end))).collect();
        asking.into_iter().map(|count| count.join().expect("the site answers")).sum()
    });
    let run = site.stop();
    run.assert_exit(143);
    run.assert_in_order("neighbour", &["this is 192.168.254.11 "]);
    // A flood begins when it knows where to go, and goes on longer than this asks.
    let lines = run.lines("neighbour");
    assert_eq!(lines.iter().any(|line| line.contains(" is [")), action.starts_with("flood"), "{run}");
    assert!(!lines.iter().any(|line| line.starts_with("flooded with ")), "{run}");
    count
}

/// Asks for a small file again and again; gives how often it came.
fn ask_until(client: &mut TlsClient, end: Instant) -> usize {
    let (mut count, mut buffer) = (0, [0; 4096]);
    while Instant::now() < end {
        client.write_all(b"GET /robots.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the site listens");
        let mut answer = Vec::new();
        while !answer.ends_with(b"Allow: /\n") {
            let length = client.read(&mut buffer).expect("the site answers");
            assert_ne!(length, 0, "the site ends the connection");
            answer.extend_from_slice(&buffer[..length]);
        }
        count += 1;
    }
    count
}

/// The directory of a site of this repository.
fn example(site: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems").join(site)
}

/// How many ask at the same time.
const CLIENTS: usize = 4;
const MEASURED: Duration = Duration::from_secs(4);
