//! Words that have no place in the repository. They are spelled in two halves here, so that this file may exist.

use crate::finding::Finding;
use crate::source;
use crate::workspace::TextFile;

/// A word, and what to do about it.
struct Banned {
    word: &'static str,
    advice: &'static str,
}

const UNFINISHED: &str = "finish it, or say in a document what is missing";
const MACHINE: &str = "a path of one machine: make it relative, or an option";
const REGISTRY: &str =
    "the package registry is the user's choice: let cargo, pip and npm use what they are set to";
const MAKING: &str = "say what the code does and why, not how or by whom it was made";

/// Matched as whole words, with upper and lower case as written.
const WORDS: &[Banned] = &[
    Banned { word: concat!("TO", "DO"), advice: UNFINISHED },
    Banned { word: concat!("FIX", "ME"), advice: UNFINISHED },
    Banned { word: concat!("Cla", "ude"), advice: MAKING },
    Banned { word: concat!("Anth", "ropic"), advice: MAKING },
    Banned { word: concat!("Chat", "GPT"), advice: MAKING },
    Banned { word: concat!("Cop", "ilot"), advice: MAKING },
    Banned { word: concat!("LL", "M"), advice: MAKING },
    Banned { word: concat!("language ", "model"), advice: MAKING },
    Banned { word: concat!("sub", "agent"), advice: MAKING },
    Banned { word: concat!("sub-", "agent"), advice: MAKING },
    Banned { word: concat!("coding ", "agent"), advice: MAKING },
    Banned { word: concat!("AI-", "generated"), advice: MAKING },
];

/// Matched anywhere, unless a letter or digit stands before them.
const FRAGMENTS: &[Banned] = &[
    Banned { word: concat!("/wo", "rk/"), advice: MACHINE },
    Banned { word: concat!("/ho", "me/"), advice: MACHINE },
    Banned { word: concat!("/ro", "ot/"), advice: MACHINE },
    Banned { word: concat!("/Us", "ers/"), advice: MACHINE },
    Banned { word: concat!("index", ".crates.io"), advice: REGISTRY },
    Banned { word: concat!("static", ".crates.io"), advice: REGISTRY },
    Banned { word: concat!("pypi.org", "/simple"), advice: REGISTRY },
    Banned { word: concat!("files.python", "hosted.org"), advice: REGISTRY },
    Banned { word: concat!("registry", ".npmjs.org"), advice: REGISTRY },
    Banned { word: concat!("registry", ".yarnpkg.com"), advice: REGISTRY },
    Banned { word: concat!("--index", "-url"), advice: REGISTRY },
    Banned { word: concat!("--extra-index", "-url"), advice: REGISTRY },
    Banned { word: concat!("--registry", "="), advice: REGISTRY },
    Banned { word: concat!("index", "-url ="), advice: REGISTRY },
    Banned { word: concat!("replace", "-with ="), advice: REGISTRY },
];

/// The one place an npm lock file may name as the origin of a package; npm replaces it by the registry in use.
const NPM_ORIGIN: &str = concat!("https://registry", ".npmjs.org/");
/// Files that list packages, and their origins, for a package manager.
const NPM_LOCK: &str = "package-lock.json";
/// Texts that are not ours to word.
const EXEMPT: &[&str] = &["LICENSE", "Cargo.lock"];

pub(crate) fn check(file: &TextFile) -> Vec<Finding> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if name == NPM_LOCK {
        return check_npm_lock(file);
    }
    if EXEMPT.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut report = |at: usize, banned: &Banned| {
        let place = format!("{}:{}", file.path, source::line_of(&file.text, at));
        findings.push(Finding::error(place, format!("`{}`: {}", banned.word, banned.advice)));
    };
    for banned in WORDS {
        source::words(&file.text, banned.word).for_each(|at| report(at, banned));
    }
    for banned in FRAGMENTS {
        for (at, _) in file.text.match_indices(banned.word) {
            let before = file.text.get(..at).and_then(|head| head.chars().next_back());
            if !before.is_some_and(char::is_alphanumeric) {
                report(at, banned);
            }
        }
    }
    for (at, _) in file.text.match_indices("issue ") {
        let number = file.text.get(at + "issue ".len()..).unwrap_or_default().trim_start_matches('#');
        if number.starts_with(|letter: char| letter.is_ascii_digit()) {
            report(at, &Banned { word: "issue N", advice: MAKING });
        }
    }
    findings
}

fn check_npm_lock(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let Some(origin) = line.trim().strip_prefix("\"resolved\": \"") else { continue };
        if !origin.starts_with(NPM_ORIGIN) && !origin.starts_with("file:") {
            let message = format!(
                "a package from elsewhere: write the lock file so that `resolved` begins with {NPM_ORIGIN}"
            );
            findings.push(Finding::error(format!("{}:{}", file.path, index + 1), message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::assert_caught;

    #[test]
    fn every_banned_word_is_caught_in_any_file() {
        for banned in WORDS.iter().chain(FRAGMENTS) {
            for path in ["crates/a/src/lib.rs", "Makefile", "docs/a.md"] {
                let file = TextFile::new(path, format!("first\nsee {}.\n", banned.word));
                assert_caught(banned.word, &check(&file), &format!("{path}:2"));
            }
        }
        assert_caught("number", &check(&TextFile::new("a.md", concat!("as iss", "ue #12 asks"))), "a.md:1");
    }

    #[test]
    fn words_inside_other_words_pass() {
        let harmless = ["TODOS", "LLMs", "network/", "netwo", "an issue that", "org/project#7564"];
        for text in harmless {
            assert_eq!(check(&TextFile::new("a.md", text)), [], "{text}");
        }
        assert_eq!(check(&TextFile::new("a.md", format!("net{}", concat!("/wo", "rk/")))).len(), 0);
    }

    #[test]
    fn npm_lock_files_name_only_the_public_registry() {
        let line = |origin: &str| {
            TextFile::new("clients/a/package-lock.json", format!("\n  \"resolved\": \"{origin}a.tgz\",\n"))
        };
        assert_eq!(check(&line(NPM_ORIGIN)), []);
        assert_caught("mirror", &check(&line("https://mirror.example/")), "package-lock.json:2");
        assert_caught("git", &check(&line("git+ssh://git@example/")), "package-lock.json:2");
    }
}
