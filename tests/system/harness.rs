//! Describes a system, boots it with the real command, and gives what came of it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use palisade_machine::{
    Accelerator, Emulator, End, Image, Interrupts, Iommu, Lines, Machine, Network, Next, OnReset, Program,
    Stream, run,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::started::Started;

/// Where a system can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a machine that QEMU plays, with an AMD processor.
    Machine,
    /// In a machine that Bochs plays, with an Intel processor and without a network.
    IntelMachine,
    /// On this computer, without a machine.
    Computer,
}

impl Place {
    /// What the command is told to do.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Machine | Self::IntelMachine => "boot",
            Self::Computer => "run",
        }
    }

    /// Arguments of the command that name the place.
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Machine | Self::Computer => &[],
            Self::IntelMachine => &["--on", "bochs"],
        }
    }

    /// How much longer things may take there: Bochs is slow, and its firmware waits.
    const fn patience(self) -> u32 {
        match self {
            Self::Machine | Self::Computer => 1,
            Self::IntelMachine => 4,
        }
    }

    /// A directory for a test, which may have been there before; each place has its own.
    pub(crate) fn directory(self, name: &str) -> PathBuf {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{self:?}"));
        fs::create_dir_all(&directory).expect("the target directory is writable");
        directory
    }
}

/// Makes tests of functions that take the [`Place`] of the system which they are about: one for each place, in a module that
/// is called like the command's verb.
macro_rules! in_every_place {
    ($($promise:ident),+ $(,)?) => {
        mod boot {
            $(#[test]
            fn $promise() {
                super::$promise($crate::harness::Place::Machine);
            })+
        }

        mod run {
            $(#[test]
            fn $promise() {
                super::$promise($crate::harness::Place::Computer);
            })+
        }
    };
}
pub(crate) use in_every_place;

/// A system, to be started.
pub(crate) struct System {
    pub(crate) directory: TempDir,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) place: Place,
    environment: Vec<(&'static str, String)>,
    seconds: u32,
}

impl System {
    /// The system that a description (TOML) gives. Test unikernels, `echo` and `probe` are programs of it by the name `testing/NAME`.
    pub(crate) fn described(description: &str) -> Self {
        let directory =
            TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        std::os::unix::fs::symlink(testing(), directory.path().join("testing")).expect("a link can be made");
        let description_file = directory.path().join(DESCRIPTION);
        fs::write(&description_file, description).expect("a description can be written");
        Self::new(directory, vec![description_file.into()])
    }

    /// The path of its description.
    pub(crate) fn description(&self) -> PathBuf {
        self.directory.path().join(DESCRIPTION)
    }

    /// A system of this repository.
    pub(crate) fn from_file(path: &str) -> Self {
        Self::from_arguments(&[root().join(path)])
    }

    /// A system that arguments of `boot` give.
    pub(crate) fn from_arguments(arguments: &[impl AsRef<Path>]) -> Self {
        let directory =
            TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let arguments = arguments.iter().map(|argument| argument.as_ref().into()).collect();
        Self::new(directory, arguments)
    }

    fn new(directory: TempDir, arguments: Vec<OsString>) -> Self {
        Self { directory, arguments, place: Place::Machine, environment: Vec::new(), seconds: SECONDS }
    }

    /// In this place, in place of a machine.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// With another argument of `boot`.
    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With this in the command's environment.
    pub(crate) fn environment(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Ended after this time, for tests that expect nothing but that: a loaded computer is slow.
    pub(crate) fn seconds(mut self, seconds: u32) -> Self {
        self.seconds = seconds;
        self
    }

    /// Boots it, and measures how much of a CPU of this computer the emulator uses for some seconds, after a subject has
    /// logged that it is ready, in a line that begins like this: 1.0 is all of it. Ends the system then.
    pub(crate) fn boot_measured(self, subject: &str, ready: &str) -> (Run, f64) {
        let script = self.directory.path().join("emulator");
        let process = self.directory.path().join("process");
        let text = format!("#!/bin/bash\necho $$ > {}\nexec qemu-system-x86_64 \"$@\"\n", process.display());
        fs::write(&script, text).expect("a script can be written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
        let ready = format!("[{subject}] {ready}");
        let mut share = 0.0;
        let run = self.argument("--emulator").argument(script).boot_with(|command| {
            command.wait_for(&ready, |stdout, _| stdout.contains(&ready).then_some(()));
            // What is left to be done after the start.
            thread::sleep(Duration::from_secs(3));
            let process = fs::read_to_string(&process).expect("the emulator has started");
            let (before, start) = (processor_time(process.trim()), Instant::now());
            thread::sleep(Duration::from_secs(5));
            let used = processor_time(process.trim()) - before;
            share = used.as_secs_f64() / start.elapsed().as_secs_f64();
        });
        (run, share)
    }

    /// Boots it, and ends it when everything that its subjects have logged, in lines `[subject] text`, is as expected.
    pub(crate) fn boot_until(self, expected: impl Fn(&str) -> bool) -> Run {
        self.boot_with(|command| {
            command.wait_for("what is expected", |stdout, _| expected(stdout).then_some(()));
        })
    }

    /// Boots it and waits for its end.
    pub(crate) fn boot(self) -> Run {
        let output = self.directory.path().join("output");
        let done = self.command(&output, self.seconds).output().expect("the command starts");
        Run {
            exit: done.status.code(),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
            output,
            _directory: self.directory,
        }
    }

    /// The command that starts it, with all its output in this directory, and ends it after so many seconds.
    pub(crate) fn command(&self, output: &Path, seconds: u32) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command
            .arg(self.place.verb())
            .args(self.place.arguments())
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .args(["--for", &(seconds * self.place.patience()).to_string(), "--verbose", "--output"])
            .arg(output)
            .stdin(Stdio::null());
        command
    }

    /// Boots it, does something, and ends it.
    fn boot_with(self, act: impl FnOnce(&mut Started)) -> Run {
        let output = self.directory.path().join("output");
        let mut command = Started::new(&mut self.command(&output, self.seconds));
        act(&mut command);
        let (exit, stdout, stderr) = command.end();
        Run { exit, stdout, stderr, output, _directory: self.directory }
    }
}

/// Boots an image as it is; gives how it ended and the lines of the serial port.
pub(crate) fn boot_image(program: Program, image: Image<'_>) -> (End, Vec<String>) {
    let iommu = match program {
        Program::Qemu => Some(Iommu::Amd),
        Program::Bochs => None,
    };
    let ended = boot_machine_on(program, image, iommu, None);
    (ended.end, ended.serial)
}

/// Boots an image as it is on a machine of QEMU with these devices. When the kernel stops it is over.
pub(crate) fn boot_machine(image: Image<'_>, iommu: Option<Iommu>, network: Option<Network>) -> Ended {
    boot_machine_on(Program::Qemu, image, iommu, network)
}

fn boot_machine_on(
    program: Program,
    image: Image<'_>,
    iommu: Option<Iommu>,
    network: Option<Network>,
) -> Ended {
    let machine = Machine {
        image,
        memory: 512 << 20,
        cpus: 1,
        accelerator: Accelerator::Software,
        iommu,
        on_reset: OnReset::End,
        network,
        limit: Some(Duration::from_secs((SECONDS * Place::IntelMachine.patience()).into())),
    };
    let emulator = Emulator::find(program, None).expect("these tests need QEMU and Bochs");
    let interrupts = Interrupts::catch().expect("signals can be caught");
    let mut lines = [Lines::default(), Lines::default()];
    let (mut serial, mut console) = (Vec::new(), Vec::new());
    let report = run(&emulator, &machine, &interrupts, &mut |stream, bytes| {
        let [of_serial, of_console] = &mut lines;
        let (lines, list) = match stream {
            Stream::Serial => (of_serial, &mut serial),
            Stream::Console => (of_console, &mut console),
        };
        list.extend(lines.push(bytes).iter().map(|line| String::from_utf8_lossy(line).into_owned()));
        let stopped = console.iter().any(|line: &String| line.starts_with("kernel stopped"));
        Ok(if stopped { Next::EndAfter(Duration::from_secs(1)) } else { Next::Continue })
    });
    Ended { end: report.expect("the emulator starts").end, serial, console }
}

/// What came of an image.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    serial: Vec<String>,
    console: Vec<String>,
}

impl Ended {
    /// Asserts that a line of the serial port begins like this.
    #[track_caller]
    pub(crate) fn assert_serial(&self, start: &str) {
        assert!(self.serial.iter().any(|line| line.starts_with(start)), "no {start:?} in {self:#?}");
    }

    /// Asserts that a line of the kernel begins like this.
    #[track_caller]
    pub(crate) fn assert_console(&self, start: &str) {
        assert!(self.console.iter().any(|line| line.starts_with(start)), "no {start:?} in {self:#?}");
    }
}

/// A freestanding program of the repository, built when the first test asks for one.
pub(crate) fn program(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<Vec<palisade_barebuild::Program>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare");
        let programs = palisade_barebuild::build(&root().join("bare"), &target, &PROGRAMS);
        programs.unwrap_or_else(|error| panic!("the programs do not build: {error}"))
    });
    built.iter().find(|program| program.name == name).expect("it is one of those").bytes.clone()
}

/// What came of a boot.
pub(crate) struct Run {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) output: PathBuf,
    /// What the system was made of, for as long as somebody looks at it.
    pub(crate) _directory: TempDir,
}

impl Run {
    /// Asserts the exit status of the command; if it is another one, shows everything there is to see.
    #[track_caller]
    pub(crate) fn assert_exit(&self, expected: i32) {
        assert_eq!(self.exit, Some(expected), "exit status; {self}");
    }

    /// Asserts that a subject logged lines which begin like these, in this order, with others between them or not.
    #[track_caller]
    pub(crate) fn assert_in_order(&self, subject: &str, expected: &[&str]) {
        let lines = self.lines(subject);
        let mut rest = lines.iter();
        for start in expected {
            let found = rest.any(|line| line.starts_with(start));
            assert!(found, "[{subject}] logged no line {start:?} in its place; {self}");
        }
    }

    /// The lines that a subject logged.
    pub(crate) fn lines(&self, subject: &str) -> Vec<String> {
        self.read(&format!("{subject}.log")).lines().map(str::to_owned).collect()
    }

    /// The lines of the kernel.
    pub(crate) fn kernel_lines(&self) -> Vec<String> {
        self.read("kernel.out").lines().map(str::to_owned).collect()
    }

    /// The contents of `result.json`.
    pub(crate) fn result(&self) -> Value {
        serde_json::from_str(&self.read("result.json")).expect("the result is JSON")
    }

    /// A subject's part of the result.
    #[track_caller]
    pub(crate) fn subject(&self, name: &str) -> Value {
        let result = self.result();
        let subjects = result["subjects"].as_array().expect("there are subjects");
        subjects
            .iter()
            .find(|subject| subject["name"] == name)
            .cloned()
            .expect("the subject is in the result")
    }

    /// The name of the only unikernel.
    pub(crate) fn unikernel(&self) -> String {
        let result = self.result();
        let subjects = result["subjects"].as_array().expect("there are subjects");
        let unikernels: Vec<_> = subjects.iter().filter(|subject| subject["unikernel"] == true).collect();
        let [unikernel] = unikernels.as_slice() else { panic!("not one unikernel: {self}") };
        unikernel["name"].as_str().expect("it has a name").to_owned()
    }

    /// What the command wrote to standard output.
    pub(crate) fn stdout(&self) -> &str {
        &self.stdout
    }

    fn read(&self, name: &str) -> String {
        let bytes =
            fs::read(self.output.join(name)).unwrap_or_else(|error| panic!("{name}: {error}; {self}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {:?}, standard output:\n{}standard error:\n{}", self.exit, self.stdout, self.stderr)
    }
}

/// How long the threads of a process have run (`/proc/PID/task/TID/schedstat`: nanoseconds first).
fn processor_time(process: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("the emulator runs");
    let nanoseconds = threads.filter_map(|thread| {
        let statistics = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        statistics.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Where the test unikernels are, built when the first test asks.
fn testing() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let bare = root().join("bare");
        let names: Vec<String> = fs::read_dir(bare.join("testing"))
            .expect("there are test unikernels")
            .map(|entry| entry.expect("they can be listed").file_name().to_string_lossy().into_owned())
            .chain(["echo", "probe"].map(str::to_owned))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = temporary.join("testing");
        fs::create_dir_all(&directory).expect("the target directory is writable");
        let programs = palisade_barebuild::build(&bare, &temporary.join("bare"), &names);
        for program in programs.unwrap_or_else(|error| panic!("the test unikernels do not build: {error}")) {
            fs::write(directory.join(&program.name), &program.bytes)
                .expect("the target directory is writable");
        }
        directory
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The name of the file that describes a system, in its directory.
const DESCRIPTION: &str = "system.toml";
/// What tests pack themselves.
const PROGRAMS: [&str; 7] = ["kernel", "init", "time", "log", "supervisor", "dma-attacker", "dma-victim"];
/// Enough for every end that a test expects, on a loaded computer too.
const SECONDS: u32 = 300;
