//! The real server as a child process: for benches, and for tests that kill it.
//!
//! Everything goes through what an operator has too: the command line, the three addresses, signals, and what the
//! kernel says about the process.

mod usage;

pub use usage::{ThreadUsage, Usage};

use crate::http_client::{Client, Credential, Endpoint, HttpError, Request, Response};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How long a start may take, recovery included.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a graceful stop may take: the last checkpoint is in it.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a starting or stopping server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// The longest line that the server may print.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// The most lines that are looked through for the token.
const LINES_MAX: usize = 1_000;
/// How a token of an operator begins.
const TOKEN_PREFIX: &str = "tlt_";
/// Ports can be taken by others between choosing and using them; so often others are tried.
const PORT_ATTEMPTS_MAX: usize = 5;

/// How to start.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The binary `throughline`.
    pub binary: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// Settings, each `section.key=value`.
    pub set: Vec<String>,
}

/// What lets a client in.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Scopes admin, profile:read and decide.
    pub admin_token: String,
    /// Its word is the shop's.
    pub server_write_key: String,
    /// Its word is a claim.
    pub browser_write_key: String,
}

/// Where the server listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Events.
    pub ingest: SocketAddr,
    /// Operators.
    pub admin: SocketAddr,
    /// Profiles and decisions.
    pub profiles: SocketAddr,
}

/// A server that runs as a child. Dropping it kills it.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    options: ServerOptions,
    ports: Ports,
    keys: Keys,
    ready_after: Duration,
}

impl ServerProcess {
    /// Starts on a new data directory and waits until the server is ready.
    pub fn start(options: &ServerOptions) -> anyhow::Result<Self> {
        let mut last = None;
        for _ in 0..PORT_ATTEMPTS_MAX {
            match Self::start_at(options, free_ports()?, None) {
                Ok(server) => return Ok(server),
                Err(error) => last = Some(error),
            }
            if options.data.join("log").exists() {
                // It came further than its ports: another attempt would not show the token again.
                break;
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("the server did not start")))
    }

    /// Starts again on the data of a server that was killed or stopped, at the same addresses.
    pub fn restart(self) -> anyhow::Result<Self> {
        let (options, ports, keys) = (self.options.clone(), self.ports, self.keys.clone());
        drop(self);
        Self::start_at(&options, ports, Some(keys))
    }

    /// The same with other settings.
    pub fn restart_with(mut self, set: Vec<String>) -> anyhow::Result<Self> {
        self.options.set = set;
        self.restart()
    }

    fn start_at(options: &ServerOptions, ports: Ports, keys: Option<Keys>) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut command = Command::new(&options.binary);
        command.arg("serve").arg("--data").arg(&options.data);
        for (name, address) in
            [("ingest", ports.ingest), ("admin", ports.admin), ("profiles", ports.profiles)]
        {
            command.arg("--set").arg(format!("listen.{name}={address}"));
        }
        for set in &options.set {
            command.arg("--set").arg(set);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", options.binary.display()))?;
        let token = listen_for_token(child.stdout.take());
        let complaints = last_words(child.stderr.take());
        let unknown = Keys {
            admin_token: String::new(),
            server_write_key: String::new(),
            browser_write_key: String::new(),
        };
        let fresh = keys.is_none();
        let mut server = Self {
            child,
            options: options.clone(),
            ports,
            keys: keys.unwrap_or(unknown),
            ready_after: Duration::ZERO,
        };
        server.wait_until_ready(started).with_context(|| {
            let said: Vec<String> = complaints.try_iter().collect();
            format!("the server did not become ready; its last words: {}", said.join(" | "))
        })?;
        server.ready_after = started.elapsed();
        if fresh {
            server.learn_keys(&token, started)?;
        }
        Ok(server)
    }

    fn wait_until_ready(&mut self, started: Instant) -> anyhow::Result<()> {
        let mut client = Client::new(endpoint(self.ports.admin), &Credential::Bearer(String::new()));
        while started.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            let probe = Request { method: "GET", path: "/readyz", headers: &[], body: &[] };
            if client.send(probe).is_ok_and(|response| response.status == 200) {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("it takes longer than {} s", START_TIMEOUT.as_secs())
    }

    fn learn_keys(&mut self, token: &Receiver<String>, started: Instant) -> anyhow::Result<()> {
        let left = START_TIMEOUT.saturating_sub(started.elapsed());
        match token.recv_timeout(left) {
            Ok(token) => self.keys.admin_token = token,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                bail!("the server showed no token: is {} new?", self.options.data.display())
            }
        }
        let answer = self.admin("GET", "/admin/v1/write-keys", &Value::Null)?;
        let keys = answer.get("write_keys").and_then(Value::as_array).cloned().unwrap_or_default();
        let of_kind = |kind: &str| {
            let found = keys.iter().find(|key| key.get("kind").and_then(Value::as_str) == Some(kind));
            let text = found.and_then(|key| key.get("key")).and_then(Value::as_str);
            text.map(str::to_owned).with_context(|| format!("the server made no {kind} write key"))
        };
        self.keys.server_write_key = of_kind("server")?;
        self.keys.browser_write_key = of_kind("browser")?;
        Ok(())
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// What lets a client in.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.options.data
    }

    /// From the start of the process until it was ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the process has used so far.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id())
    }

    /// A client of the ingest door with the server write key.
    pub fn ingest_client(&self) -> Client {
        Client::new(endpoint(self.ports.ingest), &Credential::WriteKey(self.keys.server_write_key.clone()))
    }

    /// A client of the profile listener.
    pub fn profiles_client(&self) -> Client {
        Client::new(endpoint(self.ports.profiles), &Credential::Bearer(self.keys.admin_token.clone()))
    }

    /// Asks the admin listener; anything but success is an error.
    pub fn admin(&self, method: &'static str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut client =
            Client::new(endpoint(self.ports.admin), &Credential::Bearer(self.keys.admin_token.clone()));
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let response = client.send(Request { method, path, headers: &[], body: body.as_bytes() })?;
        json_of(path, &response)
    }

    /// A number of `/admin/v1/status`.
    pub fn status_number(&self, name: &str) -> anyhow::Result<u64> {
        let status = self.admin("GET", "/admin/v1/status", &Value::Null)?;
        status.get(name).and_then(Value::as_u64).with_context(|| format!("the status has no number {name}"))
    }

    /// Ends it at once, as a power cut of the process would (kill -9).
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("the server cannot be killed")?;
        self.child.wait().context("the killed server does not end")?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let id = id.context("the server has no process id")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .context("the server cannot be stopped")?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("the server does not stop within {} s", STOP_TIMEOUT.as_secs())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail where the process has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of a successful answer.
pub fn json_of(path: &str, response: &Response) -> anyhow::Result<Value> {
    if !(200..300).contains(&response.status) {
        bail!("{path} answered {}: {}", response.status, response.quote());
    }
    serde_json::from_slice(&response.body)
        .with_context(|| format!("{path} answered with something that is no JSON"))
}

/// An address as an endpoint.
pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { authority: address.to_string(), prefix: String::new() }
}

/// Posts JSON. Whatever the status, there is an answer; an error means that none came.
pub fn post(client: &mut Client, path: &str, body: &[u8]) -> Result<Response, HttpError> {
    client.send(Request { method: "POST", path, headers: &[], body })
}

fn free_ports() -> anyhow::Result<Ports> {
    // All three are held until all are chosen, so that they differ.
    let mut held = Vec::new();
    let mut choose = || -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free on 127.0.0.1")?;
        let address = listener.local_addr()?;
        held.push(listener);
        Ok(address)
    };
    Ok(Ports { ingest: choose()?, admin: choose()?, profiles: choose()? })
}

/// Reads the server's output to its end, so that it never waits for us, and passes on the token that a first start
/// shows.
fn listen_for_token(output: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    let take = move |line: &str| {
        let word =
            line.split(|character: char| !(character.is_ascii_alphanumeric() || "_-".contains(character)));
        if let Some(token) = word.into_iter().find(|word| word.starts_with(TOKEN_PREFIX)) {
            // One is enough; a second one finds the channel full.
            let _ = sender.try_send(token.to_owned());
        }
    };
    read_lines(output, take);
    receiver
}

/// Keeps the latest lines of the server's standard error.
fn last_words(output: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    read_lines(output, move |line| {
        let _ = sender.try_send(line.trim_end().to_owned());
    });
    receiver
}

fn read_lines(output: Option<impl Read + Send + 'static>, mut take: impl FnMut(&str) + Send + 'static) {
    let Some(output) = output else { return };
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            #[expect(clippy::disallowed_methods, reason = "`take` names the limit")]
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            match read {
                Ok(0) | Err(_) => return,
                Ok(_) => take(&String::from_utf8_lossy(&line)),
            }
        }
    });
}
