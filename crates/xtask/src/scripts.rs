//! Runs the shell scripts of a folder one after the other and ends with a table: what passed, what failed, how long.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long one script may take unless `--limit-minutes` says otherwise.
const LIMIT_MINUTES_DEFAULT: u64 = 10;
/// No option may ask for more than this.
const LIMIT_MINUTES_MAX: u64 = 24 * 60;
/// How often a running script is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often the terminal hears that a long script is still running.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);
/// How long a script that ran out of time may take to clean up after itself.
const GRACE: Duration = Duration::from_secs(10);
/// How a script says that it had nothing to run on; `make` knows the same number from automake.
const SKIPPED_EXIT_CODE: i32 = 77;

/// `cargo xtask scripts FOLDER [--limit-minutes N] [--only NAME]`: true when nothing failed.
pub(crate) fn run_folder(folder: &str, options: &[&str]) -> anyhow::Result<bool> {
    let (limit, only) = read_options(options)?;
    let scripts = scripts_in(Path::new(folder), only)?;
    if scripts.is_empty() {
        if let Some(name) = only {
            bail!("there is no script {folder}/{name}.sh");
        }
        println!("{folder}: no scripts, nothing to run");
        return Ok(true);
    }
    let mut rows = Vec::new();
    for (index, script) in scripts.iter().enumerate() {
        println!(
            "==> [{}/{}] {} (limit {} min)",
            index + 1,
            scripts.len(),
            script.display(),
            limit.as_secs() / 60
        );
        let started = Instant::now();
        let outcome = run_script(script, limit)?;
        rows.push(Row { name: name_of(script), outcome, took: started.elapsed() });
    }
    println!("\n{}", table_of(folder, &rows));
    Ok(rows.iter().all(|row| !row.outcome.is_failure()))
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped,
    Failed(String),
}

impl Outcome {
    fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

struct Row {
    name: String,
    outcome: Outcome,
    took: Duration,
}

fn read_options<'option>(options: &[&'option str]) -> anyhow::Result<(Duration, Option<&'option str>)> {
    let mut minutes = LIMIT_MINUTES_DEFAULT;
    let mut only = None;
    let mut rest = options;
    while let Some((option, tail)) = rest.split_first() {
        let (value, tail) = tail.split_first().with_context(|| format!("{option} needs a value"))?;
        match *option {
            "--limit-minutes" => {
                minutes = value.parse().with_context(|| format!("{value} is no number of minutes"))?
            }
            "--only" => only = Some(*value),
            other => bail!("{other} is not an option: use --limit-minutes N or --only NAME"),
        }
        rest = tail;
    }
    if minutes == 0 || minutes > LIMIT_MINUTES_MAX {
        bail!("--limit-minutes must lie between 1 and {LIMIT_MINUTES_MAX}");
    }
    Ok((Duration::from_secs(minutes * 60), only))
}

/// The scripts of a folder in the order of their names; a folder that is not there has none.
fn scripts_in(folder: &Path, only: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let is_script = path.extension().is_some_and(|extension| extension == "sh");
        if is_script && only.is_none_or(|name| name_of(&path) == name) {
            scripts.push(path);
        }
    }
    scripts.sort();
    Ok(scripts)
}

fn name_of(script: &Path) -> String {
    script.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn run_script(script: &Path, limit: Duration) -> anyhow::Result<Outcome> {
    let mut child = Command::new("bash")
        .arg(script)
        .spawn()
        .with_context(|| format!("cannot start bash for {}", script.display()))?;
    let started = Instant::now();
    let mut progress_at = PROGRESS_EVERY;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(outcome_of(status));
        }
        if started.elapsed() >= limit {
            stop(&mut child)?;
            return Ok(Outcome::Failed(format!("ran out of its {} s", limit.as_secs())));
        }
        if started.elapsed() >= progress_at {
            println!("    {} still running after {} min", name_of(script), progress_at.as_secs() / 60);
            progress_at += PROGRESS_EVERY;
        }
        std::thread::sleep(POLL);
    }
}

fn outcome_of(status: ExitStatus) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Passed,
        Some(SKIPPED_EXIT_CODE) => Outcome::Skipped,
        Some(code) => Outcome::Failed(format!("exit code {code}")),
        None => Outcome::Failed("ended by a signal".to_owned()),
    }
}

/// Asks the script and everything it started to end, waits, and then makes them.
///
/// They share our process group, so that Ctrl-C reaches them all; that is why they are found by parent, not by group.
fn stop(child: &mut Child) -> anyhow::Result<()> {
    let family = descendants(child.id())?;
    signal("TERM", &family)?;
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if child.try_wait()?.is_some() && descendants_alive(&family).is_empty() {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    signal("KILL", &descendants_alive(&family))?;
    child.wait()?;
    Ok(())
}

fn signal(name: &str, processes: &[u32]) -> anyhow::Result<()> {
    if processes.is_empty() {
        return Ok(());
    }
    // A process that ended by itself in the meantime makes `kill` complain, which is no news.
    let ids = processes.iter().map(u32::to_string);
    Command::new("kill").arg(format!("-{name}")).args(ids).stderr(std::process::Stdio::null()).status()?;
    Ok(())
}

/// A process and all below it, found in /proc.
fn descendants(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The name in parentheses may hold anything, so the fields are counted from its end: state, then parent.
        let parent =
            stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(1)?.parse().ok());
        parents.extend(parent.map(|parent: u32| (id, parent)));
    }
    let mut family = vec![root];
    let mut next = 0;
    while let Some(member) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(id, _)| *id));
        next += 1;
    }
    Ok(family)
}

/// Those that still run; a zombie has ended and only waits to be collected.
fn descendants_alive(family: &[u32]) -> Vec<u32> {
    let is_alive = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
    };
    family.iter().copied().filter(is_alive).collect()
}

fn table_of(folder: &str, rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default().max(4);
    let mut lines = vec![format!("{folder}\n  {:<width$}  {:<7}  seconds", "name", "result")];
    for row in rows {
        let (word, detail) = match &row.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Skipped => ("SKIPPED", "  (it says above what it misses)"),
            Outcome::Failed(why) => ("FAILED", why.as_str()),
        };
        let detail = if row.outcome.is_failure() { format!("  ({detail})") } else { detail.to_owned() };
        lines.push(format!("  {:<width$}  {word:<7}  {:>7.1}{detail}", row.name, row.took.as_secs_f64()));
    }
    let count = |wanted: fn(&Outcome) -> bool| rows.iter().filter(|row| wanted(&row.outcome)).count();
    let passed = count(|outcome| *outcome == Outcome::Passed);
    let (skipped, failed) = (count(|outcome| *outcome == Outcome::Skipped), count(Outcome::is_failure));
    lines.push(format!("scripts: {} run: {passed} passed, {failed} failed, {skipped} skipped", rows.len()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with scripts that is removed when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, scripts: &[(&str, &str)]) -> Self {
            let path =
                std::env::temp_dir().join(format!("throughline-scripts-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            for (file, text) in scripts {
                std::fs::write(path.join(file), text).unwrap();
            }
            Self(path)
        }

        fn run(&self, options: &[&str]) -> anyhow::Result<bool> {
            run_folder(self.0.to_str().unwrap(), options)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_folder_passes_when_no_script_fails() {
        let folder = Folder::new(
            "mixed",
            &[("a.sh", "exit 0"), ("b.sh", "exit 77"), ("c.sh", "exit 3"), ("note.md", "")],
        );
        assert!(!folder.run(&[]).unwrap());
        assert!(folder.run(&["--only", "a"]).unwrap());
        assert!(folder.run(&["--only", "b"]).unwrap(), "skipped is not failed");
        assert!(!folder.run(&["--only", "c"]).unwrap());
        assert!(folder.run(&["--only", "missing"]).is_err());
        assert!(run_folder("no/such/folder", &[]).unwrap(), "no scripts yet");
        for options in
            [&["--limit-minutes"][..], &["--limit-minutes", "0"], &["--limit-minutes", "x"], &["--else", "1"]]
        {
            assert!(folder.run(options).is_err(), "{options:?}");
        }
    }

    #[test]
    fn a_script_out_of_time_goes_with_all_it_started() {
        let folder = Folder::new("slow", &[("a.sh", "sleep 600 & echo $! > \"${0%.sh}.pid\"; wait")]);
        let outcome = run_script(&folder.0.join("a.sh"), Duration::from_millis(500)).unwrap();
        assert_eq!(outcome, Outcome::Failed("ran out of its 0 s".to_owned()));
        let id: u32 = std::fs::read_to_string(folder.0.join("a.pid")).unwrap().trim().parse().unwrap();
        assert!(descendants_alive(&[id]).is_empty(), "the sleeper must be gone");
    }

    #[test]
    fn the_table_counts_what_happened() {
        let row =
            |name: &str, outcome| Row { name: name.to_owned(), outcome, took: Duration::from_millis(1_250) };
        let rows = [
            row("crash", Outcome::Passed),
            row("long-name", Outcome::Failed("exit code 1".to_owned())),
            row("x", Outcome::Skipped),
        ];
        let table = table_of("tests/proof", &rows);
        assert!(table.contains("  crash      passed       1.2"), "{table}");
        assert!(table.contains("  long-name  FAILED       1.2  (exit code 1)"), "{table}");
        assert!(table.ends_with("scripts: 3 run: 1 passed, 1 failed, 1 skipped"), "{table}");
    }
}
