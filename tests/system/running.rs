//! A website in a machine that runs, and clients of it.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::harness::{Run, System};
use crate::started::Started;

/// The subject `website` of a description: it serves a directory, with more arguments. More of its keys may follow.
pub(crate) fn website(site: impl AsRef<Path>, arguments: &str) -> String {
    format!(
        "[subject.website]\nunikernel = \"website\"\nsite = {:?}\n\
         bootparams = \"--ipv4=192.168.254.10/24 --ipv4-gateway=192.168.254.1 {arguments}\"\n",
        site.as_ref()
    )
}

/// The directory `site` in this one, with a single page, [`PAGE`].
pub(crate) fn one_page(directory: &Path) -> PathBuf {
    let site = directory.join("site");
    fs::create_dir_all(&site).expect("a directory can be made");
    fs::write(site.join("index.html"), PAGE).expect("a file can be written");
    site
}

/// A machine that runs, with websites that answer.
pub(crate) struct Running {
    command: Started,
    /// Where sites are, over TLS or without: `https://localhost:4433` and so on.
    addresses: Vec<String>,
    directory: TempDir,
    output: PathBuf,
    authority: PathBuf,
}

/// An answer to `curl`.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The names in lower case.
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A connection to the site.
pub(crate) type TlsClient = StreamOwned<ClientConnection, TcpStream>;

impl System {
    /// Boots a website and waits until it answers, over TLS and without. It is trusted by its own certificate if that is
    /// given, and else by the authority that the command makes for it.
    pub(crate) fn start(self, certificate: Option<&Path>) -> Running {
        let published = ["--publish", "0:443", "--publish", "0:80"];
        published.into_iter().fold(self, Self::argument).start_published(2, certificate)
    }

    /// Boots websites and waits until they answer at so many ports that the system itself publishes.
    pub(crate) fn start_published(self, ports: usize, certificate: Option<&Path>) -> Running {
        let (output, configuration) =
            (self.directory.path().join("output"), self.directory.path().join("configuration"));
        let mut command = self.command(&output, LIMIT);
        let mut command = Started::new(command.env("XDG_CONFIG_HOME", &configuration));
        let answers = |_: &str, stderr: &str| {
            let addresses: Vec<_> = stderr.lines().filter_map(answered).collect();
            (addresses.len() >= ports).then_some(addresses)
        };
        let addresses = command.wait_for("an answer of each site", answers);
        let authority = certificate.map_or(configuration.join("palisade/ca.pem"), Path::to_owned);
        Running { command, addresses, directory: self.directory, output, authority }
    }
}

impl Running {
    /// Asks for a path over TLS, with more arguments of `curl`.
    pub(crate) fn get(&self, path: &str, arguments: &[&str]) -> Reply {
        self.curl(&format!("{}{path}", self.address()), arguments)
    }

    /// Asks for a path without TLS.
    pub(crate) fn get_plain(&self, path: &str) -> Reply {
        self.curl(&format!("{}{path}", self.find("http:")), &[])
    }

    /// What `curl` itself writes with these arguments; `{https}` stands for the address.
    pub(crate) fn curl_says(&self, arguments: &[&str]) -> String {
        let arguments = arguments.iter().map(|argument| argument.replace("{https}", self.address()));
        let done = self.curl_command().args(arguments).output().expect("these tests need curl");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
    }

    /// What `openssl` says, with these arguments, about a visit to the first page, and the page. Unlike `curl` it asks for
    /// tickets with TLS 1.2, too.
    pub(crate) fn openssl_says(&self, arguments: &[&str]) -> String {
        let address = self.address().split("//").nth(1).expect("there is a host");
        let mut client = Command::new("openssl")
            .args(["s_client", "-ign_eof", "-servername", "localhost", "-connect", address, "-CAfile"])
            .arg(&self.authority)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need openssl");
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.stdin.take().expect("it is piped").write_all(request).expect("it takes its input");
        let done = client.wait_with_output().expect("it ends with the connection");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// A connection over TLS.
    pub(crate) fn connect(&self) -> TlsClient {
        let mut stream = StreamOwned::new(self.tls_client(), self.connect_raw());
        stream.conn.complete_io(&mut stream.sock).expect("both sides can agree");
        stream
    }

    /// The client's side of TLS, before it has said anything.
    pub(crate) fn tls_client(&self) -> ClientConnection {
        let certificate =
            CertificateDer::from_pem_file(&self.authority).expect("the authority has a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("it is one");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("it is a name");
        ClientConnection::new(config.into(), name).expect("the configuration is good")
    }

    /// A connection to the port for TLS, without it.
    pub(crate) fn connect_raw(&self) -> TcpStream {
        open(self.address())
    }

    /// A connection to the port without TLS.
    pub(crate) fn connect_plain(&self) -> TcpStream {
        open(self.find("http:"))
    }

    /// The certificate that clients have to trust.
    pub(crate) fn authority(&self) -> &Path {
        &self.authority
    }

    /// Where the site, or the first of several that answered, is over TLS, without a path.
    pub(crate) fn address(&self) -> &str {
        self.find("https:")
    }

    /// Where all sites are, in the order in which they answered.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Ends the machine, and gives what came of it.
    pub(crate) fn stop(self) -> Run {
        let (exit, stdout, stderr) = self.command.end();
        Run { exit, stdout, stderr, output: self.output, _directory: self.directory }
    }

    /// Waits until a website that says what it debugs has completed at least so many handshakes, and until all connections
    /// over TLS have ended that it has seen. Gives how many handshakes these were, and the bytes of memory that it uses then.
    #[track_caller]
    pub(crate) fn memory_after(&mut self, handshakes: usize) -> (usize, u64) {
        self.wait_for("website", "the end of all connections", |lines| {
            let count = |what| lines.iter().filter(|line| line.contains(what)).count();
            let (completed, failed) = (count(": Some(TLSv"), count(": no TLS: "));
            let used = |line: &&str| {
                line.strip_suffix(" bytes of memory are in use")?.rsplit(' ').next()?.parse().ok()
            };
            let used: Vec<_> = lines.iter().filter_map(used).collect();
            let all = completed >= handshakes && completed + failed == used.len();
            if all { Some((completed, *used.last()?)) } else { None }
        })
    }

    /// Asserts that a website soon uses no more memory than it did after so many handshakes, but for what tickets and the log
    /// need: the last connections of an attack may still be on their way out. `ask` makes one more each time.
    #[track_caller]
    pub(crate) fn assert_memory_is_back(
        &mut self,
        (handshakes, before): (usize, u64),
        mut ask: impl FnMut(&Self),
    ) {
        let (begun, mut completed) = (Instant::now(), handshakes);
        loop {
            ask(self);
            let after;
            (completed, after) = self.memory_after(completed + 1);
            if after.saturating_sub(before) <= SLACK {
                return println!("{before} bytes of memory were in use before, {after} after");
            }
            assert!(begun.elapsed() < PATIENCE, "{before} bytes of memory were in use before, {after} after");
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until this can be found in the lines that a subject has logged so far.
    #[track_caller]
    pub(crate) fn wait_for<T>(
        &mut self,
        subject: &str,
        what: &str,
        find: impl Fn(&[&str]) -> Option<T>,
    ) -> T {
        let prefix = format!("[{subject}] ");
        self.command.wait_for(what, |stdout, _| {
            find(&stdout.lines().filter_map(|line| line.strip_prefix(&prefix)).collect::<Vec<_>>())
        })
    }

    /// Waits until this can be found in what the command has said of its own accord.
    #[track_caller]
    pub(crate) fn wait_for_remark<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.command.wait_for(what, |_, stderr| find(stderr))
    }

    /// The number of a subject's process: see [`Started::process_of`].
    #[track_caller]
    pub(crate) fn process_of(&mut self, subject: &str, generation: u64) -> String {
        self.command.process_of(subject, generation)
    }

    /// Sends the command a signal, by name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        self.command.signal(name);
    }

    fn find(&self, scheme: &str) -> &str {
        let found = self.addresses.iter().find(|address| address.starts_with(scheme));
        found.expect("a site answers there")
    }

    /// Asks for an address, with more arguments of `curl`.
    pub(crate) fn curl(&self, address: &str, arguments: &[&str]) -> Reply {
        let done = self.curl_command().arg("--include").args(arguments).arg(address).output();
        let done = done.expect("these tests need curl");
        assert!(done.status.success(), "{address}: {}", String::from_utf8_lossy(&done.stderr));
        Reply::parse(&done.stdout)
    }

    /// What is at an address, if anybody answers.
    pub(crate) fn try_curl(&self, address: &str) -> Option<Vec<u8>> {
        let done = self.curl_command().arg(address).output().expect("these tests need curl");
        done.status.success().then_some(done.stdout)
    }

    fn curl_command(&self) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["--disable", "--silent", "--show-error", "--max-time", &LIMIT.to_string(), "--cacert"])
            .arg(&self.authority);
        command
    }
}

impl Reply {
    /// The value of a field whose name is in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status: status.expect("there is a status"), fields, body: bytes[end + 4..].to_vec() }
    }
}

/// Where a website is, if this line says that it has answered: `https://localhost:4433` and so on.
fn answered(line: &str) -> Option<String> {
    let address = line.contains("(answered").then(|| line.find("http"))?;
    Some(line[address?..].split(['/', ' ']).take(3).collect::<Vec<_>>().join("/"))
}

fn open(address: &str) -> TcpStream {
    let address = address.split("//").nth(1).expect("there is a host").replace("localhost", "127.0.0.1");
    let stream = TcpStream::connect(address).expect("the emulator listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("there can be a limit");
    stream
}

/// Makes a certificate for `localhost` that is its own authority, with a key of this kind, and gives both files.
pub(crate) fn certificate(directory: &Path, key: &[&str]) -> [PathBuf; 2] {
    let [certificate, private] = ["certificate.pem", "key.pem"].map(|name| directory.join(name));
    let done = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-newkey"])
        .args(key)
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&private)
        .output()
        .expect("these tests need openssl");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(fs::metadata(&private).is_ok_and(|file| file.len() != 0));
    [certificate, private]
}

/// A page.
pub(crate) const PAGE: &str = "<p>hello</p>";
/// Bytes that tickets and the log may need more than before.
const SLACK: u64 = 4096;
/// Seconds after which a machine and a visit end by themselves, should a test fail to end them.
const LIMIT: u32 = 900;
/// How long an answer may take on a loaded computer.
const PATIENCE: Duration = Duration::from_secs(300);
