//! Sizes, names, words, attributes and front pages: taste that a machine can hold.

mod rust;
mod words;

use crate::finding::Finding;
use crate::workspace::{self, TextFile};

/// A file longer than this is refused.
const FILE_LINES_MAX: usize = 1_000;
/// A file longer than this is named, so that somebody thinks about cutting it.
const FILE_LINES_GOAL: usize = 500;
/// Hand-written sources; documents and data may be as long as they need.
const SIZED_EXTENSIONS: &[&str] = &["rs", "py", "sh", "ts", "tsx", "js", "mjs", "cjs", "css"];

pub(crate) fn check_repository() -> anyhow::Result<Vec<Finding>> {
    Ok(check(&workspace::text_files()?))
}

fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(check_shape(file));
        findings.extend(words::check(file));
    }
    findings.extend(rust::check(files));
    findings
}

fn check_shape(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if SIZED_EXTENSIONS.contains(&file.extension()) && lines > FILE_LINES_MAX {
        let message =
            format!("{lines} lines, and {FILE_LINES_MAX} are the limit: cut the file where the idea changes");
        findings.push(Finding::error(&file.path, message));
    } else if SIZED_EXTENSIONS.contains(&file.extension()) && lines > FILE_LINES_GOAL {
        findings
            .push(Finding::warning(&file.path, format!("{lines} lines, and {FILE_LINES_GOAL} are the goal")));
    }
    if file.path == "mod.rs" || file.path.ends_with("/mod.rs") {
        findings.push(Finding::error(
            &file.path,
            "name the file after the module: `foo.rs` beside `foo/`, never `mod.rs`",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{assert_caught, assert_no_errors};

    #[test]
    fn the_repository_is_tidy() {
        assert_no_errors(&check_repository().unwrap());
    }

    #[test]
    fn sizes_are_held_at_their_borders() {
        let file = |lines: usize| TextFile::new("crates/a/src/b.rs", "//\n".repeat(lines));
        assert_eq!(check_shape(&file(FILE_LINES_GOAL)), []);
        assert!(check_shape(&file(FILE_LINES_MAX)).iter().all(|finding| !finding.is_error()));
        assert_eq!(check_shape(&file(FILE_LINES_GOAL + 1)).len(), 1, "a warning");
        assert_caught("one line too many", &check_shape(&file(FILE_LINES_MAX + 1)), "1001 lines");
        let document = TextFile::new("docs/long.md", "a\n".repeat(FILE_LINES_MAX + 1));
        assert_eq!(check_shape(&document), []);
    }

    #[test]
    fn mod_rs_is_caught_everywhere() {
        for path in ["crates/a/src/b/mod.rs", "crates/a/tests/common/mod.rs"] {
            assert_caught(path, &check(&[TextFile::new(path, "")]), "never `mod.rs`");
        }
    }
}
