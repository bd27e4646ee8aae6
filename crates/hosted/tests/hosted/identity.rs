//! What runs in a process is, byte for byte, what an image holds.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use palisade_abi::layout::{LAUNCHER, LAUNCHER_END, PAGE, PLATFORM};
use palisade_hosted::{Happening, Next, Settings, run};
use palisade_policy::plan::{Backing, Plan, Rights};

use crate::systems::{plan, programs, system};

#[test]
fn a_process_has_the_bytes_of_the_image_at_the_addresses_of_the_plan_and_nothing_else() {
    let planned = plan(&system("[subject.hello]\nunikernel = \"hello\""));
    let image = palisade_image::pack(&planned.plan, &programs()["kernel"]).expect("it can be packed").bytes;
    // A process that waits for a debugger can be looked at: everything is in place, and nothing has run.
    let settings = Settings {
        plan: &planned.plan,
        launcher: &programs()["launcher"],
        network: None,
        limit: Some(PATIENCE),
        stop: None,
        untaken: None,
        debug: Some("hello"),
        renewals: None,
        figures: None,
        trace: false,
    };
    let mut looked = false;
    run(&settings, &mut |happening| {
        let Happening::Started { process, .. } = happening else { return Ok(Next::Continue) };
        looked = true;
        // The launcher goes on while this process looks.
        compare(process, &planned.plan, &image);
        Ok(Next::End)
    })
    .expect("it runs");
    assert!(looked);
}

fn compare(process: i32, plan: &Plan, image: &[u8]) {
    let hello = plan.subjects.iter().find(|subject| subject.name == "hello").expect("there is one");
    let maps = maps(process);
    let memory = File::open(format!("/proc/{process}/mem")).expect("a debugger could read it");
    let mut compared = 0;
    for region in &hello.regions {
        let parts: Vec<_> = maps
            .iter()
            .filter(|map| map.start < region.address + region.size && region.address < map.end)
            .collect();
        assert_eq!(
            parts
                .iter()
                .map(|map| map.end.min(region.address + region.size) - map.start.max(region.address))
                .sum::<u64>(),
            region.size,
            "{}",
            region.name
        );
        let rights = match region.rights {
            Rights::Read => "r--",
            Rights::ReadWrite => "rw-",
            Rights::ReadExecute => "r-x",
        };
        assert!(parts.iter().all(|map| map.rights == rights), "{}: {parts:?}", region.name);
        if let Backing::Content(_) = region.backing {
            let mut bytes = vec![0; region.size as usize];
            memory.read_exact_at(&mut bytes, region.address).expect("it is mapped");
            // In a file all of whose parts lie on page boundaries.
            let found = image.windows(bytes.len()).step_by(PAGE as usize).any(|window| window == bytes);
            assert!(found, "{} is not in the image", region.name);
            compared += 1;
        }
    }
    assert!(compared >= 4, "text, constants, data and the init stub at least");
    for map in maps {
        let planned = hello.regions.iter().any(|r| r.address <= map.start && map.end <= r.address + r.size);
        let launcher = LAUNCHER <= map.start && map.end <= LAUNCHER_END;
        let joined = hello.regions.iter().any(|r| r.address == map.start || r.address + r.size == map.end);
        assert!(
            planned || joined || launcher || map.start == PLATFORM || map.name == "[vsyscall]",
            "{map:?}"
        );
    }
}

#[derive(Debug)]
struct Map {
    start: u64,
    end: u64,
    rights: String,
    name: String,
}

/// The memory map of a process, once its launcher has put everything in place: the platform page comes last (proc(5)).
fn maps(process: i32) -> Vec<Map> {
    let deadline = Instant::now() + PATIENCE;
    let path = format!("/proc/{process}/maps");
    loop {
        let text = fs::read_to_string(Path::new(&path)).unwrap_or_default();
        let maps: Vec<_> = text.lines().map(map).collect();
        if maps.iter().any(|map| map.start == PLATFORM && map.rights == "r--") {
            return maps;
        }
        assert!(Instant::now() < deadline, "it is never mapped:\n{text}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn map(line: &str) -> Map {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text| u64::from_str_radix(text, 16).expect("a number");
    let rights = fields.next().and_then(|rights| rights.get(..3)).expect("rights").to_owned();
    Map { start: number(start), end: number(end), rights, name: fields.nth(3).unwrap_or_default().to_owned() }
}

const PATIENCE: Duration = Duration::from_secs(120);
