//! The example site in a browser: Chromium, without a window.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::harness::{Place, System, in_every_place};

in_every_place!(a_browser_that_trusts_the_authority_shows_the_example_site,);

fn a_browser_that_trusts_the_authority_shows_the_example_site(place: Place) {
    let site = System::from_file("systems/website.toml").at(place).start(None);
    let browser = Browser::new();
    let refused = browser.visit(place, site.address());
    assert!(refused.page.is_empty(), "{}", refused.page);
    assert!(refused.messages.contains("ERR_CERT_AUTHORITY_INVALID"), "{}", refused.messages);

    browser.trust(site.authority());
    let Visit { page, messages, screenshot } = browser.visit(place, site.address());
    assert!(page.contains("<h1>A site behind walls</h1>"), "{page}{messages}");
    // The script says so, of the picture too, once the picture has arrived and is one.
    assert!(page.contains("This page came over HTTPS in "), "{page}{messages}");
    assert!(page.contains(", and a picture."), "{page}{messages}");
    let run = site.stop();
    run.assert_exit(143);

    println!("the screenshot is {}", screenshot.display());
    let (size, pixels) = pixels(&screenshot);
    assert_eq!(size, WINDOW);
    // Letters and gradients give many colours; the logs across the stakes are the only thing of theirs.
    let colours: BTreeSet<_> = pixels.iter().collect();
    assert!(colours.len() > 100, "{} colours", colours.len());
    let logs = pixels.iter().filter(|pixel| **pixel == LOGS).count();
    assert!((1500..=2 * 128 * 9).contains(&logs), "{logs} pixels of the picture's logs");
}

/// A browser that nobody has used yet. It leaves nothing behind but its screenshots.
struct Browser {
    home: TempDir,
}

/// What a visit brought.
struct Visit {
    /// The page as it is after its script has run; empty if the browser refuses to show it.
    page: String,
    /// What the browser has to say itself.
    messages: String,
    screenshot: PathBuf,
}

impl Browser {
    fn new() -> Self {
        let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let browser = Self { home };
        fs::create_dir_all(browser.certificates()).expect("a directory can be made");
        browser.certutil(&["-N", "--empty-password"]);
        browser
    }

    /// Trusts an authority for websites, as its user would in the settings.
    fn trust(&self, authority: &Path) {
        let authority = authority.to_str().expect("the path is text");
        self.certutil(&["-A", "-n", "authority", "-t", "C,,", "-i", authority]);
    }

    fn visit(&self, place: Place, address: &str) -> Visit {
        let screenshot = place.directory("screenshots").join("website.png");
        // One of an earlier test would be as good as none.
        let _ = fs::remove_file(&screenshot);
        let (width, height) = WINDOW;
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", LIMIT, "chromium", "--headless=new", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args(["--disable-breakpad", "--disable-dev-shm-usage", "--hide-scrollbars"])
            // Colours as they are in the files, and time for the script.
            .args(["--force-color-profile=srgb", "--virtual-time-budget=5000", "--dump-dom"])
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--screenshot={}", screenshot.display()))
            .arg(format!("--user-data-dir={}", self.home.path().join("profile").display()))
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_DATA_HOME");
        if rustix::process::geteuid().is_root() {
            // Chromium does not start as root with its sandbox.
            command.arg("--no-sandbox");
        }
        let done = command.arg(format!("{address}/")).output().expect("these tests need timeout");
        let messages = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "chromium: {}: {messages}", done.status);
        Visit { page: String::from_utf8_lossy(&done.stdout).into_owned(), messages, screenshot }
    }

    fn certutil(&self, arguments: &[&str]) {
        let Output { status, stderr, .. } = Command::new("certutil")
            .arg("-d")
            .arg(format!("sql:{}", self.certificates().display()))
            .args(arguments)
            .output()
            .expect("these tests need certutil");
        assert!(status.success(), "certutil: {}", String::from_utf8_lossy(&stderr));
    }

    /// Where Chromium looks for the certificates that its user trusts.
    fn certificates(&self) -> PathBuf {
        self.home.path().join(".pki/nssdb")
    }
}

/// Size and pixels (red, green, blue) of a PNG file.
fn pixels(path: &Path) -> ((u32, u32), Vec<[u8; 3]>) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().expect("it is a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits into memory")];
    let frame = reader.next_frame(&mut bytes).expect("it is whole");
    let samples = frame.color_type.samples();
    assert!(samples >= 3, "it has colours");
    let pixels = bytes.chunks_exact(samples).map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    ((frame.width, frame.height), pixels.collect())
}

/// Width and height of the browser's window.
const WINDOW: (u32, u32) = (1280, 1000);
/// The colour of the two logs across the stakes of `wall.svg`: each of 128 by 9 pixels with rounded corners.
const LOGS: [u8; 3] = [0x4f, 0x32, 0x17];
/// Seconds after which the browser is ended.
const LIMIT: &str = "400";
